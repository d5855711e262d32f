-- When a tenant's sessions end. A tenant without a line has the operator's bounds.
create table control.session_policies (
    tenant_id      uuid primary key default rowhouse.tenant_id(),
    -- Minutes without use.
    idle_minutes   integer check (idle_minutes >= 15),
    -- Hours from the sign-in on.
    absolute_hours integer check (absolute_hours >= 1),
    changed_at     timestamptz not null default now()
);
alter table control.session_policies enable row level security;
create policy rowhouse_tenant on control.session_policies
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());

-- When a session that is used now ends if it is not used again: by a tenant's policy, and never later
-- than the operator lets it. Without a tenant by the operator's word alone.
create function control.session_end(tenant uuid, opened_at timestamptz, idle_days integer, days integer)
returns timestamptz language sql stable as $$
    select least(now() + make_interval(days => idle_days), now() + make_interval(mins => p.idle_minutes),
                 opened_at + make_interval(days => days), opened_at + make_interval(hours => p.absolute_hours))
    from (select 1) one left join control.session_policies p on p.tenant_id = tenant
$$;
