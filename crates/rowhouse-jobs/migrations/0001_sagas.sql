-- Sagas: multi-step operations. A row is the whole truth about one; whoever holds its lease
-- drives it, and when the lease runs out another may.

create table control.sagas (
    id          uuid primary key,
    definition  text not null,
    subject     text not null,
    tenant_id   uuid,
    status      text not null check (status in ('running', 'succeeded', 'compensating', 'compensated', 'failed')),
    step        integer not null default 0,
    state       jsonb not null,
    error       text,
    lease_owner uuid,
    lease_until timestamptz not null default now(),
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    finished_at timestamptz
);
create index on control.sagas (lease_until) where status in ('running', 'compensating');
create index on control.sagas (tenant_id, id);

create table control.saga_steps (
    saga_id     uuid not null references control.sagas (id) on delete cascade,
    position    integer not null,
    name        text not null,
    outcome     text not null check (outcome in ('done', 'failed', 'undone')),
    error       text,
    duration_ms bigint not null,
    finished_at timestamptz not null default now(),
    id          uuid primary key default rowhouse.new_id()
);
create index on control.saga_steps (saga_id, id);
