-- Of whom a tenant demands a second factor. A tenant without a line demands it of those who manage people.
create table control.mfa_policies (
    tenant_id   uuid primary key default rowhouse.tenant_id(),
    demanded_of text not null check (demanded_of in ('nobody', 'managers', 'everybody')),
    grace_days  integer not null check (grace_days between 0 and 90),
    -- From when the grace of those counts who were there before.
    changed_at  timestamptz not null default now()
);
alter table control.mfa_policies enable row level security;
create policy rowhouse_tenant on control.mfa_policies
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());

-- From when a member's own grace counts: since they have the role; for those of an earlier release, from now on.
alter table control.memberships add column mfa_asked_at timestamptz not null default now();
