-- Roles that a tenant's own people make, beside the built-in ones and the app's.
create table control.roles (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    key         text not null check (key ~ '^[a-z][a-z0-9_]{0,39}$'),
    name        text not null,
    description text not null default '',
    permissions text[] not null,
    created_by  uuid references control.users (id) on delete set null,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    primary key (tenant_id, key)
);
create index on control.roles (created_by);

-- A tenant reads its own.
alter table control.roles enable row level security;
create policy rowhouse_tenant on control.roles
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());
grant select on control.roles to {service};
