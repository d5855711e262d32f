-- Launchpad: what is deployed where, and the workflows that do it.

create table projects (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    name       text not null check (length(name) between 1 and 100),
    repository text,
    status     text not null default 'active' check (status in ('active', 'archived')),
    labels     text[] not null default '{}',
    is_public  boolean not null default false,
    owner_id   uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, name),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);

create table environments (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    project_id uuid not null,
    name       text not null check (name in ('production', 'staging', 'preview')),
    variables  jsonb not null default '{}',
    is_public  boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, project_id, name),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade
);

create table deployments (
    tenant_id      uuid not null default rowhouse.tenant_id(),
    id             uuid not null default rowhouse.new_id(),
    -- Kept as text: a deployment outlives its project.
    project_name   text not null check (length(project_name) between 1 and 100),
    project_id     uuid,
    environment_id uuid,
    status         text not null default 'pending' check (status in ('pending', 'building', 'active', 'failed', 'rolled_back')),
    url            text,
    commit_message text not null default '',
    duration_ms    bigint check (duration_ms >= 0),
    cost           numeric(10, 4) not null default 0,
    is_public      boolean not null default false,
    owner_id       uuid,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete set null (project_id),
    foreign key (tenant_id, environment_id) references environments (tenant_id, id) on delete set null (environment_id),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on deployments (tenant_id, status);
create index on deployments (tenant_id, created_at);

create table workflows (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    name       text not null check (length(name) between 1 and 100),
    status     text not null default 'draft' check (status in ('draft', 'active', 'paused')),
    config     jsonb not null default '{}',
    is_public  boolean not null default false,
    owner_id   uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, name),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);

create table workflow_runs (
    tenant_id     uuid not null default rowhouse.tenant_id(),
    id            uuid not null default rowhouse.new_id(),
    workflow_id   uuid not null,
    deployment_id uuid,
    status        text not null default 'running' check (status in ('running', 'succeeded', 'failed')),
    log           text not null default '',
    is_public     boolean not null default false,
    created_at    timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, workflow_id) references workflows (tenant_id, id) on delete cascade,
    foreign key (tenant_id, deployment_id) references deployments (tenant_id, id) on delete set null (deployment_id)
);
