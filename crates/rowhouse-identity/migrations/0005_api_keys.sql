-- API keys of tenants: programs that work in a tenant without a person.

-- Of a key only hashes are kept: the newest one's, and after a rotation the one's before, which is
-- good until previous_until. A key holds a role or permissions of its own, not both.
create table control.api_keys (
    tenant_id      uuid not null default rowhouse.tenant_id(),
    id             uuid not null,
    name           text not null,
    prefix         text not null,
    hash           bytea not null,
    previous_hash  bytea,
    previous_until timestamptz,
    role           text,
    permissions    text[],
    created_by     uuid references control.users (id) on delete set null,
    created_at     timestamptz not null default now(),
    rotated_at     timestamptz,
    lifetime_days  integer,
    expires_at     timestamptz,
    last_used_at   timestamptz,
    last_used_ip   text,
    primary key (tenant_id, id),
    check ((role is null) <> (permissions is null)),
    check ((previous_hash is null) = (previous_until is null))
);
create unique index on control.api_keys (hash);
create unique index on control.api_keys (previous_hash);
create index on control.api_keys (created_by);

-- A tenant reads its own, without the hashes.
alter table control.api_keys enable row level security;
create policy rowhouse_tenant on control.api_keys
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());
grant select (tenant_id, id, name, prefix, previous_until, role, permissions, created_by, created_at, rotated_at,
              expires_at, last_used_at, last_used_ip) on control.api_keys to {service};
