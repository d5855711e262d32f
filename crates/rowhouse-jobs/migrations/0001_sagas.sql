-- Sagas: multi-step operations. A row is the whole truth about one; whoever holds its lease
-- drives it, and when the lease runs out another may.
--
-- Both tables are reached by the system scope only: no grant to the service role. Rows that name
-- a tenant carry the tenants' policy all the same, so that a later grant cannot open them.

create table control.sagas (
    id               uuid primary key,
    definition       text not null,
    subject          text not null,
    tenant_id        uuid,
    -- What it was started with, and what its steps have found out since.
    input            jsonb not null,
    state            jsonb not null,
    status           text not null check (status in (
                         'queued', 'running', 'waiting', 'compensating',
                         'succeeded', 'compensated', 'cancelled', 'failed')),
    -- The step to be done next, or, while it goes backwards, to be taken back next.
    step             integer not null default 0,
    undoing          boolean not null default false,
    cancel_requested boolean not null default false,
    -- Attempts that failed since the last step that succeeded.
    attempts         integer not null default 0,
    error            jsonb,
    lease_owner      uuid,
    -- Nobody but the owner drives it before this; for a waiting saga, when it is tried again.
    lease_until      timestamptz not null default now(),
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),
    finished_at      timestamptz
);
create index on control.sagas (lease_until) where status in ('queued', 'running', 'waiting', 'compensating');
create index on control.sagas (tenant_id, id);
alter table control.sagas enable row level security;
create policy rowhouse_tenant on control.sagas
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());

create table control.saga_steps (
    saga_id     uuid not null references control.sagas (id) on delete cascade,
    -- Counts what happened, in order: a step may be done, tried again and taken back.
    number      integer not null,
    step        integer not null,
    name        text not null,
    status      text not null check (status in ('done', 'failed', 'undone')),
    attempt     integer not null,
    started_at  timestamptz not null,
    finished_at timestamptz not null,
    error       jsonb,
    output      jsonb,
    primary key (saga_id, number)
);
