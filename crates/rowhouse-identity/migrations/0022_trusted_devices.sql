-- Devices on which somebody has shown a second factor and is not asked for it again for a while. The token is
-- kept hashed; reached by the system scope only.
create table control.trusted_devices (
    id           uuid primary key,
    user_id      uuid not null references control.users (id) on delete cascade,
    token_hash   bytea not null unique,
    ip           text,
    user_agent   text,
    created_at   timestamptz not null default now(),
    last_used_at timestamptz,
    expires_at   timestamptz not null
);
create index on control.trusted_devices (user_id);

-- Whether a device may stand for the second factor of a tenant's people.
alter table control.mfa_policies add column trusted_devices boolean not null default true;
