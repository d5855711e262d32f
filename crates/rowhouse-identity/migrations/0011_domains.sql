-- Mail domains of tenants: proved by a TXT record, whoever has a proved address there may join.
create table control.domains (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    id          uuid not null,
    -- In ASCII, as it stands in the DNS.
    domain      text not null check (domain = lower(domain)),
    -- What the record must say. Nothing secret: the DNS tells it to everybody.
    proof       text not null,
    -- As what people join; nobody does without one.
    role        text,
    verified_at timestamptz,
    created_by  uuid references control.users (id) on delete set null,
    created_at  timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, domain)
);
create index on control.domains (created_by);
-- Of those who claim a domain one has proved it.
create unique index on control.domains (domain) where verified_at is not null;

alter table control.domains enable row level security;
create policy rowhouse_tenant on control.domains
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());
grant select on control.domains to {service};
