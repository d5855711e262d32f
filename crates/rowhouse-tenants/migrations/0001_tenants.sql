-- The registry: tenants, where their rows live, and every place that migrations must reach.

create table control.tenants (
    id         uuid primary key,
    name       text not null,
    slug       text not null unique,
    status     text not null check (status in ('provisioning', 'active', 'suspended', 'deleting', 'archived')),
    status_reason text not null default '',
    plan       text not null,
    placement  text not null check (placement in ('pool', 'schema', 'database')),
    cluster    text not null default '',
    database   text not null default '',
    schema     text not null default '',
    domains    text[] not null default '{}',
    features   jsonb not null default '{}',
    limits     jsonb not null default '{}',
    usage      jsonb not null default '{}',
    billing    jsonb not null default '{}',
    settings   jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index on control.tenants (status, placement);

-- Releases whose schema has passed the linter on a scratch database.
create table control.releases (
    release    text primary key,
    passed_at  timestamptz not null default now()
);

-- A target is a schema that carries the app's tables: the pool's, one of a tenant's own, or one
-- that is kept prepared for the next tenant. Its fingerprint is taken when it is migrated, so
-- that "nothing to do" is answered from here.
create table control.targets (
    cluster     text not null,
    database    text not null,
    schema      text not null,
    kind        text not null check (kind in ('pool', 'schema', 'database', 'prepared_schema', 'prepared_database')),
    tenant_id   uuid,
    release     text not null,
    fingerprint text not null,
    status      text not null default 'ok' check (status in ('ok', 'failed')),
    error       text,
    migrated_at timestamptz not null default now(),
    primary key (cluster, database, schema)
);
create index on control.targets (release);
create index on control.targets (kind) where kind in ('prepared_schema', 'prepared_database');
create index on control.targets (tenant_id);
