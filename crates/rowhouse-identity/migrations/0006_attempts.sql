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

-- Counts an attempt for each subject (the one whose failures lock it, the account from everywhere, the
-- network) and gives the seconds to wait, or null if it may go on. A function, so that it rides in the
-- statement that the attempt needs anyway. Counted before the attempt: many at once get no more than
-- one after the other.
create function control.attempt(
    guarded text, account text, network text, attempts_max integer, window_seconds integer)
returns double precision
language sql volatile
set search_path = pg_catalog
as $$
    with counted as (
        insert into control.attempts as a (subject, counted, window_ends_at)
        -- In one order, so that two attempts never wait for each other.
        select s.subject, 1, now() + make_interval(secs => window_seconds)
        from unnest(array[guarded, account, network]) as s(subject) where s.subject is not null order by s.subject
        on conflict (subject) do update set
            counted = case when a.window_ends_at <= now() then 1 else least(a.counted, attempts_max) + 1 end,
            window_ends_at = case when a.window_ends_at <= now() then excluded.window_ends_at
                                  else a.window_ends_at end
        returning a.subject, a.counted, a.window_ends_at, a.blocked_until, a.known_until
    )
    select extract(epoch from max(greatest(
               case when c.counted > attempts_max then c.window_ends_at end,
               case when c.blocked_until > now() then c.blocked_until end)) - now())::double precision
    from counted c
    where c.subject is distinct from account
       or not exists (select from counted k where k.subject = guarded and k.known_until > now())
$$;
revoke execute on function control.attempt(text, text, text, integer, integer) from public;
