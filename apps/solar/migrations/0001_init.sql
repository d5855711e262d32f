-- Solar: from a lead to a system on the grid.

create type lead_temperature as enum ('cold', 'warm', 'hot');

-- Companies that buy, or that people work for.
create table organizations (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    id          uuid not null default rowhouse.new_id(),
    name        text not null check (length(name) between 1 and 200),
    website     text,
    city        text,
    status      text not null default 'prospect' check (status in ('prospect', 'customer', 'partner', 'inactive')),
    owner_id    uuid,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, name),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);

-- People: the contacts.
create table people (
    tenant_id       uuid not null default rowhouse.tenant_id(),
    id              uuid not null default rowhouse.new_id(),
    full_name       text not null check (length(full_name) between 1 and 200),
    email           text check (email like '%@%'),
    phone           varchar(40),
    street          text,
    city            text,
    birthday        date,
    organization_id uuid,
    tags            text[] not null default '{}',
    notes           text not null default '',
    is_public       boolean not null default true,
    owner_id        uuid,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, email),
    foreign key (tenant_id, organization_id) references organizations (tenant_id, id) on delete set null (organization_id),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on people (tenant_id, full_name);

-- Where leads come from, and how they are handed out.
create table campaigns (
    tenant_id       uuid not null default rowhouse.tenant_id(),
    id              uuid not null default rowhouse.new_id(),
    name            text not null check (length(name) between 1 and 200),
    status          text not null default 'draft' check (status in ('draft', 'active', 'paused', 'finished')),
    assignment_type text not null default 'manual' check (assignment_type in ('manual', 'round_robin', 'least_busy')),
    budget          numeric(12, 2) not null default 0 check (budget >= 0),
    starts_on       date,
    ends_on         date,
    is_public       boolean not null default true,
    owner_id        uuid,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, name),
    check (ends_on is null or starts_on is null or ends_on >= starts_on),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);

-- Who takes part in handing out a campaign's leads.
create table campaign_members (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    id          uuid not null default rowhouse.new_id(),
    campaign_id uuid not null,
    owner_id    uuid not null,
    weight      smallint not null default 1 check (weight between 1 and 100),
    created_at  timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, campaign_id, owner_id),
    foreign key (tenant_id, campaign_id) references campaigns (tenant_id, id) on delete cascade,
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete cascade
);

create table leads (
    tenant_id      uuid not null default rowhouse.tenant_id(),
    id             uuid not null default rowhouse.new_id(),
    full_name      text not null check (length(full_name) between 1 and 200),
    email          text,
    phone          varchar(40),
    city           text,
    status         text not null default 'new' check (status in ('new', 'contacted', 'qualified', 'converted', 'lost')),
    temperature    lead_temperature not null default 'warm',
    monthly_bill   numeric(10, 2) check (monthly_bill >= 0),
    roof_area      real,
    campaign_id    uuid,
    person_id      uuid,
    details        jsonb not null default '{}',
    notes          text not null default '',
    is_public      boolean not null default false,
    follow_up_at   timestamptz,
    owner_id       uuid,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, campaign_id) references campaigns (tenant_id, id) on delete set null (campaign_id),
    foreign key (tenant_id, person_id) references people (tenant_id, id) on delete set null (person_id),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on leads (tenant_id, status);
create index on leads (tenant_id, created_at);
create index on leads (tenant_id, follow_up_at);

-- The eight stages every tenant starts with; each may rename, add and reorder its own.
create table pipeline_stages (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    name       text not null check (length(name) between 1 and 80),
    category   text not null check (category in ('sales', 'project_management', 'installation')),
    position   integer not null check (position > 0),
    is_public  boolean not null default true,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, name)
);

create table projects (
    tenant_id       uuid not null default rowhouse.tenant_id(),
    id              uuid not null default rowhouse.new_id(),
    name            text not null check (length(name) between 1 and 200),
    stage_id        uuid not null,
    person_id       uuid,
    lead_id         uuid,
    parent_id       uuid,
    panel_model_id  uuid references shared.panel_models (id),
    panel_count     integer not null default 0 check (panel_count between 0 and 100000),
    price           numeric(12, 2) not null default 0 check (price >= 0),
    site_address    text not null default '',
    survey_at       timestamptz,
    installed_on    date,
    notes           text not null default '',
    is_public       boolean not null default false,
    owner_id        uuid,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, stage_id) references pipeline_stages (tenant_id, id),
    foreign key (tenant_id, person_id) references people (tenant_id, id) on delete set null (person_id),
    foreign key (tenant_id, lead_id) references leads (tenant_id, id) on delete set null (lead_id),
    -- An extension of an earlier system.
    foreign key (tenant_id, parent_id) references projects (tenant_id, id) on delete set null (parent_id),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on projects (tenant_id, stage_id);
create index on projects (tenant_id, survey_at);

create table appointments (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    subject    text not null check (length(subject) between 1 and 200),
    kind       text not null default 'call' check (kind in ('call', 'site_survey', 'installation', 'inspection')),
    status     text not null default 'planned' check (status in ('planned', 'done', 'cancelled')),
    starts_at  timestamptz not null,
    duration   interval not null default '1 hour',
    location   text not null default '',
    project_id uuid,
    lead_id    uuid,
    owner_id   uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade,
    foreign key (tenant_id, lead_id) references leads (tenant_id, id) on delete cascade,
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on appointments (tenant_id, starts_at);

create table proposals (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    id          uuid not null default rowhouse.new_id(),
    title       text not null check (length(title) between 1 and 200),
    project_id  uuid not null,
    status      text not null default 'draft' check (status in ('draft', 'sent', 'accepted', 'rejected')),
    amount      numeric(12, 2) not null check (amount >= 0),
    valid_until date,
    owner_id    uuid,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade,
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on proposals (tenant_id, status);

create table tasks (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    subject    text not null check (length(subject) between 1 and 200),
    status     text not null default 'open' check (status in ('open', 'done')),
    due_on     date,
    project_id uuid,
    owner_id   uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade,
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on tasks (tenant_id, status);
create index on tasks (tenant_id, due_on);
