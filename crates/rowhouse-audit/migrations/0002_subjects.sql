-- What alerts are counted by, and what a tenant may read of its own lines.

alter table control.security_events
    add column severity text not null default 'low' check (severity in ('low', 'medium', 'high')),
    -- Who is counted: the person, or the address where nobody is known.
    add column subject text generated always as (coalesce('user:' || user_id::text, 'ip:' || ip)) stored;
create index security_events_attempts_idx on control.security_events (subject, occurred_at)
    where kind = 'cross_tenant_access_attempt';
create index on control.security_events (user_id, id);

alter table control.alerts
    add column user_id   uuid,
    add column tenant_id uuid,
    add column ip        text;
create index on control.alerts (tenant_id, id);

alter table control.audit_log add column target text;

-- A tenant reads its own lines under the one policy. Details are for operators: they may name
-- what a tenant has no business with.
alter table control.security_events enable row level security;
create policy rowhouse_tenant on control.security_events
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());
grant select (id, occurred_at, kind, severity, user_id, tenant_id, attempted_tenant, resource, method, ip, user_agent,
              request_id) on control.security_events to {service};

alter table control.alerts enable row level security;
create policy rowhouse_tenant on control.alerts
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());
grant select on control.alerts to {service};

alter table control.audit_log enable row level security;
create policy rowhouse_tenant on control.audit_log
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());
grant select (id, occurred_at, actor_kind, actor_id, action, target, tenant_id, request_id)
    on control.audit_log to {service};
