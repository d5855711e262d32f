-- Keys of several algorithms, replaced one by one: each is published before it signs, and verifies until
-- the last token that it signed has ended. Its end may lie ahead: retired_at is when it is over.
alter table control.signing_keys
    add column signs_from timestamptz not null default now(),
    -- The end of the longest token that it signed, where that is longer than tokens are by themselves.
    add column tokens_until timestamptz,
    add check (algorithm in ('ES256', 'RS256'));
update control.signing_keys set signs_from = created_at;
