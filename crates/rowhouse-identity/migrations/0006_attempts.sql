-- How often the sensitive routes were tried, from a network, at an account, and at an account from one
-- network, and who has to wait. Subjects are keyed hashes: the table tells neither addresses nor who was tried.
create table control.attempts (
    subject        text primary key,
    counted        integer not null,
    window_ends_at timestamptz not null,
    failures       integer not null default 0,
    failed_at      timestamptz,
    blocked_until  timestamptz,
    -- Of an account from one network: its owner was there, so that what others do at it elsewhere
    -- does not stop them.
    known_until    timestamptz,
    -- When its owner was last written to of a lock.
    told_at        timestamptz
) with (fillfactor = 70);

-- Counts an attempt for each subject (the one whose failures lock it, the network, the account from
-- everywhere) and gives the seconds to wait, or null if it may go on. A function, so that it rides in the
-- statement that the attempt needs anyway. Counted before the attempt: many at once get no more than
-- one after the other.
create function control.attempt(
    guarded text, account text, network text, attempts_max integer, window_seconds integer)
returns double precision
language sql volatile
set search_path = pg_catalog
as $$
    with own as (
        insert into control.attempts as a (subject, counted, window_ends_at)
        -- In one order, and the account's last, so that two attempts never wait for each other.
        select s.subject, 1, now() + make_interval(secs => window_seconds)
        from unnest(array[guarded, network]) as s(subject) where s.subject is not null order by s.subject
        on conflict (subject) do update set
            counted = case when a.window_ends_at <= now() then 1 else least(a.counted, attempts_max) + 1 end,
            window_ends_at = case when a.window_ends_at <= now() then excluded.window_ends_at
                                  else a.window_ends_at end
        returning a.subject, a.counted, a.window_ends_at, a.blocked_until, a.known_until
    ), refused as (
        select max(greatest(case when counted > attempts_max then window_ends_at end,
                            case when blocked_until > now() then blocked_until end)) as until
        from own
    ), everybodys as (
        -- What is refused already counts for nobody else: one network must not use the account's
        -- attempts up.
        insert into control.attempts as a (subject, counted, window_ends_at)
        select account, case when refused.until is null then 1 else 0 end, now() + make_interval(secs => window_seconds)
        from refused where account is not null
        on conflict (subject) do update set
            counted = case when a.window_ends_at <= now() then excluded.counted
                           else least(a.counted + excluded.counted, attempts_max + 1) end,
            window_ends_at = case when a.window_ends_at <= now() then excluded.window_ends_at
                                  else a.window_ends_at end
        returning greatest(case when a.counted > attempts_max then a.window_ends_at end,
                           case when a.blocked_until > now() then a.blocked_until end) as until
    )
    select extract(epoch from greatest(refused.until, (
               select e.until from everybodys e
               where not exists (select from own k where k.subject = guarded and k.known_until > now())
           )) - now())::double precision
    from refused
$$;
revoke execute on function control.attempt(text, text, text, integer, integer) from public;
