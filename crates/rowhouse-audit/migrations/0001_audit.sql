-- Security events, the alerts raised from them, and the audit log of operators' actions.
-- Reached by the system scope only; a tenant's own audit log comes with its data database.

create table control.security_events (
    id               uuid primary key default rowhouse.new_id(),
    occurred_at      timestamptz not null default now(),
    kind             text not null,
    user_id          uuid,
    tenant_id        uuid,
    attempted_tenant text,
    resource         text,
    method           text,
    ip               text,
    user_agent       text,
    request_id       text,
    details          jsonb not null default '{}'
);
create index on control.security_events (kind, user_id, occurred_at);
create index on control.security_events (tenant_id, id);

create table control.alerts (
    id              uuid primary key default rowhouse.new_id(),
    kind            text not null,
    severity        text not null check (severity in ('low', 'medium', 'high')),
    subject         text not null,
    title           text not null,
    count           bigint not null,
    first_at        timestamptz not null default now(),
    last_at         timestamptz not null default now(),
    acknowledged_at timestamptz
);
-- One open alert per subject: it is counted up rather than repeated.
create unique index alerts_open_idx on control.alerts (kind, subject) where acknowledged_at is null;

create table control.audit_log (
    id          uuid primary key default rowhouse.new_id(),
    occurred_at timestamptz not null default now(),
    actor_kind  text not null,
    actor_id    uuid,
    action      text not null,
    tenant_id   uuid,
    request_id  text,
    details     jsonb not null default '{}'
);
create index on control.audit_log (tenant_id, id);
