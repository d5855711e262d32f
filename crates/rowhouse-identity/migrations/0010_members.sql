-- What a tenant knows of its members beside their accounts.
alter table control.memberships
    add column metadata     jsonb not null default '{}',
    add column onboarded_at timestamptz,
    add column last_seen_at timestamptz;

-- The people of the running tenant as its own requests may see them: this of their accounts, and nobody else's.
-- The view reads as its owner, because accounts are of no tenant; its condition is the tenants' policy, and the
-- barrier keeps a reader's own conditions from running before it.
create view control.members with (security_barrier) as
select m.tenant_id, m.user_id, m.role, m.active and u.active as active, m.metadata, m.joined_at, m.onboarded_at,
       m.last_seen_at, u.email, u.first_name, u.last_name, trim(u.first_name || ' ' || u.last_name) as display_name,
       u.avatar_url, u.phone
from control.memberships m join control.users u on u.id = m.user_id
where m.tenant_id = rowhouse.tenant_id();
grant select on control.members to {service};

-- Tenants whose members in the data database may not be in step with their memberships. Written with each
-- change, and removed by whoever has brought them in step with it.
create table control.member_changes (
    tenant_id  uuid primary key default rowhouse.tenant_id(),
    change     uuid not null,
    changed_at timestamptz not null default now()
);
create index on control.member_changes (changed_at);
alter table control.member_changes enable row level security;
create policy rowhouse_tenant on control.member_changes
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());
