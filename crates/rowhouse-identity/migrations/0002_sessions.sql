-- Refresh tokens are kept hashed, operators have sessions, lines of a tenant carry its policy.

-- Only the newest refresh token of a session fits; any other that we signed was used before.
-- Sessions without one (a developer's token) cannot be refreshed.
alter table control.sessions
    drop column generation,
    add column token_hash bytea;
create index on control.sessions (tenant_id);

-- Nothing is granted: sessions are reached by the system scope only. The policy holds for
-- whoever should be granted something later.
alter table control.sessions enable row level security;
create policy rowhouse_tenant on control.sessions
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());

create index on control.invitations (email);

alter table control.operators add check (role in ('admin', 'support'));

create table control.operator_sessions (
    id          uuid primary key,
    operator_id uuid not null references control.operators (id) on delete cascade,
    ip          text,
    user_agent  text,
    created_at  timestamptz not null default now(),
    expires_at  timestamptz not null,
    revoked_at  timestamptz
);
create index on control.operator_sessions (operator_id);
