-- Operators at work in a person's place: each in a session of its own, which ends at its time.
-- Reached by the system scope only.
create table control.impersonations (
    session_id     uuid primary key references control.sessions (id) on delete cascade,
    tenant_id      uuid not null default rowhouse.tenant_id(),
    user_id        uuid not null,
    operator_id    uuid not null references control.operators (id),
    -- As it was then.
    operator_email text not null,
    reason         text not null,
    created_at     timestamptz not null default now(),
    ends_at        timestamptz not null,
    -- Before its time.
    ended_at       timestamptz
);
create index on control.impersonations (tenant_id);
alter table control.impersonations enable row level security;
create policy rowhouse_tenant on control.impersonations
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());
