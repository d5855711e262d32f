-- Browsers: a cookie stands for a session, on one host. Reached by the system scope only.

-- Cookies, by the hash of what is in them. One of a session on a host: the newest.
create table control.web_sessions (
    id           uuid primary key,
    secret_hash  bytea not null unique,
    session_id   uuid not null references control.sessions (id) on delete cascade,
    -- Whose host it is; none on the sign-in host.
    tenant_id    uuid default rowhouse.tenant_id(),
    host         text not null,
    created_at   timestamptz not null default now(),
    last_used_at timestamptz not null default now(),
    -- When it ends if it is not used.
    expires_at   timestamptz not null,
    -- When it ends, however much it is used.
    ends_at      timestamptz not null,
    unique (session_id, host)
);
create index on control.web_sessions (tenant_id);
create index on control.web_sessions (ends_at);
alter table control.web_sessions enable row level security;
create policy rowhouse_tenant on control.web_sessions
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());

-- Codes by which a session goes on, on a tenant's host: good once, for moments. One of a session
-- to a tenant: the newest.
create table control.hand_offs (
    code_hash  bytea not null unique,
    session_id uuid not null references control.sessions (id) on delete cascade,
    tenant_id  uuid not null default rowhouse.tenant_id(),
    host       text not null,
    -- The path to go on to.
    return_to  text not null,
    expires_at timestamptz not null,
    primary key (session_id, tenant_id)
);
create index on control.hand_offs (tenant_id);
create index on control.hand_offs (expires_at);
alter table control.hand_offs enable row level security;
create policy rowhouse_tenant on control.hand_offs
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());

-- Whether the session ends at its time however much it is used: a developer's token.
alter table control.sessions add column has_fixed_end boolean not null default false;
update control.sessions set has_fixed_end = true where user_agent = 'rowhouse token' and token_hash is null;
