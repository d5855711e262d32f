-- Launchpad: what is deployed where, and the workflows that do it.

create type run_trigger as enum ('push', 'manual', 'api', 'schedule', 'rollback');

create table projects (
    tenant_id      uuid not null default rowhouse.tenant_id(),
    id             uuid not null default rowhouse.new_id(),
    name           text not null check (length(name) between 1 and 100),
    description    text not null default '',
    repository     text,
    default_branch text not null default 'main',
    status         text not null default 'active' check (status in ('active', 'paused', 'archived')),
    topics         text[] not null default '{}',
    -- What its deployments may cost in a month; null is no limit.
    monthly_budget numeric(12, 2) check (monthly_budget >= 0),
    is_public      boolean not null default true,
    owner_id       uuid,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, name),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on projects (tenant_id, status);
create index on projects (tenant_id, owner_id);
create index on projects (tenant_id, created_at, id);

-- Who works on what.
create table project_members (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    project_id uuid not null,
    owner_id   uuid not null,
    access     text not null default 'deploy' check (access in ('read', 'deploy', 'administer')),
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, project_id, owner_id),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade,
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete cascade
);
create index on project_members (tenant_id, owner_id);
create index on project_members (tenant_id, created_at, id);

create table environments (
    tenant_id      uuid not null default rowhouse.tenant_id(),
    id             uuid not null default rowhouse.new_id(),
    project_id     uuid not null,
    name           text not null check (length(name) between 1 and 60),
    kind           text not null default 'preview' check (kind in ('production', 'staging', 'preview')),
    region_id      uuid references shared.regions (id),
    -- Where its variables were copied from when it was made.
    copied_from_id uuid,
    -- Plain settings only: secrets live in the platform's secret store.
    variables      jsonb not null default '{}',
    is_protected   boolean not null default false,
    is_public      boolean not null default true,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, project_id, name),
    check (copied_from_id <> id),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade,
    foreign key (tenant_id, copied_from_id) references environments (tenant_id, id) on delete set null (copied_from_id)
);
create index on environments (tenant_id, kind);
create index on environments (tenant_id, region_id);
create index on environments (tenant_id, copied_from_id);
create index on environments (tenant_id, created_at, id);

-- One host, one line. Two tenants may both claim a host: who owns it is told by the name server, not
-- by whoever came first.
create table domains (
    tenant_id              uuid not null default rowhouse.tenant_id(),
    id                     uuid not null default rowhouse.new_id(),
    environment_id         uuid not null,
    host                   text not null check (host = lower(host) and length(host) between 4 and 253),
    status                 text not null default 'pending'
                           check (status in ('pending', 'verified', 'active', 'failed')),
    verification_token     text,
    verified_at            timestamptz,
    certificate_expires_on date,
    is_public              boolean not null default true,
    created_at             timestamptz not null default now(),
    updated_at             timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, host),
    foreign key (tenant_id, environment_id) references environments (tenant_id, id) on delete cascade
);
create index on domains (tenant_id, status);
create index on domains (tenant_id, certificate_expires_on);
create index on domains (tenant_id, environment_id);
create index on domains (tenant_id, created_at, id);

create table deployments (
    tenant_id      uuid not null default rowhouse.tenant_id(),
    id             uuid not null default rowhouse.new_id(),
    -- Kept as text: what was deployed stays known when the project is renamed or gone.
    project_name   text not null check (length(project_name) between 1 and 100),
    status         text not null default 'pending'
                   check (status in ('pending', 'building', 'active', 'superseded', 'failed',
                                     'cancelled', 'rolled_back')),
    url            text,
    project_id     uuid,
    environment_id uuid,
    -- The deployment that this one takes back.
    rollback_of_id uuid,
    trigger        run_trigger not null default 'manual',
    branch         text not null default 'main',
    commit_sha     text check (length(commit_sha) between 7 and 40),
    commit_message text not null default '',
    cost           numeric(12, 4) not null default 0 check (cost >= 0),
    duration_ms    bigint check (duration_ms >= 0),
    scheduled_at   timestamptz,
    started_at     timestamptz,
    finished_at    timestamptz,
    is_public      boolean not null default true,
    owner_id       uuid,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),
    primary key (tenant_id, id),
    check (rollback_of_id <> id),
    check (finished_at >= started_at),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete set null (project_id),
    foreign key (tenant_id, environment_id) references environments (tenant_id, id) on delete set null (environment_id),
    foreign key (tenant_id, rollback_of_id) references deployments (tenant_id, id) on delete set null (rollback_of_id),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on deployments (tenant_id, status);
create index on deployments (tenant_id, created_at, id);
create index on deployments (tenant_id, scheduled_at);
create index on deployments (tenant_id, project_id);
create index on deployments (tenant_id, environment_id);
create index on deployments (tenant_id, rollback_of_id);
create index on deployments (tenant_id, owner_id);

-- What had to be green before a deployment went out.
create table deployment_checks (
    tenant_id     uuid not null default rowhouse.tenant_id(),
    id            uuid not null default rowhouse.new_id(),
    deployment_id uuid not null,
    name          text not null check (length(name) between 1 and 100),
    status        text not null default 'pending'
                  check (status in ('pending', 'running', 'passed', 'failed', 'skipped')),
    summary       text not null default '',
    duration_ms   bigint check (duration_ms >= 0),
    is_public     boolean not null default true,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, deployment_id, name),
    foreign key (tenant_id, deployment_id) references deployments (tenant_id, id) on delete cascade
);
create index on deployment_checks (tenant_id, status);
create index on deployment_checks (tenant_id, created_at, id);

create table workflows (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    id          uuid not null default rowhouse.new_id(),
    name        text not null check (length(name) between 1 and 100),
    description text not null default '',
    status      text not null default 'draft' check (status in ('draft', 'active', 'paused')),
    -- {"trigger": {...}, "steps": [{"id", "name", "type", "config", "nextSteps"}, ...]}
    config      jsonb not null default '{}' check (jsonb_typeof(config) = 'object'),
    -- Null is for all projects.
    project_id  uuid,
    next_run_at timestamptz,
    is_public   boolean not null default true,
    owner_id    uuid,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, project_id, name),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade,
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on workflows (tenant_id, status);
create index on workflows (tenant_id, next_run_at);
create index on workflows (tenant_id, name);
create index on workflows (tenant_id, owner_id);
create index on workflows (tenant_id, created_at, id);

create table workflow_runs (
    tenant_id     uuid not null default rowhouse.tenant_id(),
    id            uuid not null default rowhouse.new_id(),
    workflow_id   uuid not null,
    deployment_id uuid,
    status        text not null default 'queued'
                  check (status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    trigger       run_trigger not null default 'manual',
    log           text not null default '',
    started_at    timestamptz,
    finished_at   timestamptz,
    is_public     boolean not null default true,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    primary key (tenant_id, id),
    check (finished_at >= started_at),
    foreign key (tenant_id, workflow_id) references workflows (tenant_id, id) on delete cascade,
    foreign key (tenant_id, deployment_id) references deployments (tenant_id, id) on delete set null (deployment_id)
);
create index on workflow_runs (tenant_id, status);
create index on workflow_runs (tenant_id, workflow_id);
create index on workflow_runs (tenant_id, deployment_id);
create index on workflow_runs (tenant_id, created_at, id);
