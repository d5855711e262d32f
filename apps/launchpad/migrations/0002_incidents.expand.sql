-- What went wrong after a deployment, and what the next one brings. Both are new to the release
-- before, which goes on without them: a column that may be empty and a table of its own.
alter table deployments add column release_notes text;

create table incidents (
    tenant_id     uuid not null default rowhouse.tenant_id(),
    id            uuid not null default rowhouse.new_id(),
    deployment_id uuid,
    title         text not null check (length(title) between 1 and 200),
    severity      text not null default 'minor' check (severity in ('minor', 'major', 'critical')),
    status        text not null default 'open' check (status in ('open', 'investigating', 'resolved')),
    report        text not null default '',
    opened_at     timestamptz not null default now(),
    resolved_at   timestamptz,
    is_public     boolean not null default true,
    owner_id      uuid,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    primary key (tenant_id, id),
    check (resolved_at >= opened_at),
    foreign key (tenant_id, deployment_id) references deployments (tenant_id, id) on delete set null (deployment_id),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on incidents (tenant_id, status);
create index on incidents (tenant_id, opened_at);
create index on incidents (tenant_id, deployment_id);
create index on incidents (tenant_id, owner_id);
create index on incidents (tenant_id, created_at, id);
