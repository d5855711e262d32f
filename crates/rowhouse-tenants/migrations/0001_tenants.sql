-- The registry: tenants, where their rows live, and every place that migrations must reach.
--
-- Reached by the system scope only: no grant to the service role.

create table control.tenants (
    id            uuid primary key,
    name          text not null,
    slug          text not null unique,
    status        text not null check (status in ('provisioning', 'active', 'suspended', 'deleting', 'archived')),
    status_reason text not null default '',
    plan          text not null,
    placement     text not null check (placement in ('pool', 'schema', 'database', 'instance')),
    cluster       text not null default '',
    database      text not null default '',
    schema        text not null default '',
    domains       text[] not null default '{}',
    features      jsonb not null default '{}',
    limits        jsonb not null default '{}',
    usage         jsonb not null default '{}',
    billing       jsonb not null default '{}',
    settings      jsonb not null default '{}',
    -- About how many rows the demo seed has put in; a development machine's business.
    demo_rows     integer not null default 0,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now()
);
create index on control.tenants (status, slug);
create index on control.tenants using gin (domains);

-- When what is done now and then was begun last, by whichever process.
create table control.scans (
    name     text primary key,
    began_at timestamptz not null
);

-- Releases whose schema has passed the linter on a scratch database.
create table control.releases (
    release    text primary key,
    passed_at  timestamptz not null default now()
);

-- A target is a place that migrations must reach: the control database, the pool, a tenant's own
-- schema or database, the template that databases are copied from, and what is kept prepared for
-- the next tenant. Its fingerprint is taken when it is migrated, so that "nothing to do" is
-- answered from here, and a real schema that differs from it has drifted.
create table control.targets (
    cluster     text not null,
    database    text not null,
    schema      text not null,
    kind        text not null check (kind in (
                    'control', 'pool', 'schema', 'database', 'template', 'prepared_schema', 'prepared_database')),
    tenant_id   uuid,
    -- The app's release and the platform's version it was last brought to.
    release     text not null,
    platform    text not null,
    -- Of the app's tables, the same in every placement; and of schema shared, in a target that has
    -- a database of its own.
    fingerprint        text not null,
    shared_fingerprint text not null default '',
    -- making: begun, and of no use yet; stale: about to be dropped.
    status      text not null check (status in ('making', 'ok', 'failed', 'drifted', 'stale')),
    error       text,
    migrated_at timestamptz not null default now(),
    primary key (cluster, database, schema)
);
create index on control.targets (kind, release);
create index on control.targets (tenant_id);
alter table control.targets enable row level security;
create policy rowhouse_tenant on control.targets
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());
