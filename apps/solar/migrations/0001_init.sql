-- Solar: from the first call to a system on the grid.

create type lead_temperature as enum ('cold', 'warm', 'hot');

-- Companies that buy, that people work for, or that send leads.
create table organizations (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    id          uuid not null default rowhouse.new_id(),
    name        text not null check (length(name) between 1 and 200),
    kind        text not null default 'business'
                check (kind in ('business', 'farm', 'housing', 'public', 'installer', 'utility')),
    website     text,
    city        text,
    status      text not null default 'prospect' check (status in ('prospect', 'customer', 'partner', 'inactive')),
    notes       text not null default '',
    -- Everybody who sells must find a company before adding it a second time.
    is_public   boolean not null default true,
    owner_id    uuid,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, name),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on organizations (tenant_id, status);
create index on organizations (tenant_id, owner_id);
create index on organizations (tenant_id, created_at, id);

-- People: the contacts. A lead becomes one when it is converted.
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
    -- People without an address are many: nulls are distinct.
    unique (tenant_id, email),
    foreign key (tenant_id, organization_id) references organizations (tenant_id, id)
        on delete set null (organization_id),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on people (tenant_id, full_name);
create index on people (tenant_id, organization_id);
create index on people (tenant_id, owner_id);
create index on people (tenant_id, created_at, id);

-- Where leads come from, and how they are handed out.
create table campaigns (
    tenant_id       uuid not null default rowhouse.tenant_id(),
    id              uuid not null default rowhouse.new_id(),
    name            text not null check (length(name) between 1 and 200),
    status          text not null default 'draft' check (status in ('draft', 'active', 'paused', 'finished')),
    -- round_robin: whoever waited longest. weighted: in the proportion of the members' weights.
    -- least_busy: whoever has the fewest open leads. manual: somebody decides.
    assignment_type text not null default 'manual'
                    check (assignment_type in ('manual', 'round_robin', 'weighted', 'least_busy')),
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
create index on campaigns (tenant_id, status);
create index on campaigns (tenant_id, starts_on);
create index on campaigns (tenant_id, owner_id);
create index on campaigns (tenant_id, created_at, id);

-- Who takes part in handing out a campaign's leads.
create table campaign_members (
    tenant_id        uuid not null default rowhouse.tenant_id(),
    id               uuid not null default rowhouse.new_id(),
    campaign_id      uuid not null,
    owner_id         uuid not null,
    weight           smallint not null default 1 check (weight between 1 and 100),
    -- Null is "never": such a member is next in a round robin.
    last_assigned_at timestamptz,
    created_at       timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, campaign_id, owner_id),
    foreign key (tenant_id, campaign_id) references campaigns (tenant_id, id) on delete cascade,
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete cascade
);
create index on campaign_members (tenant_id, owner_id);
create index on campaign_members (tenant_id, created_at, id);

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
    -- What the form of the website asks changes often, so it has no columns: roof, battery, ...
    details        jsonb not null default '{}',
    notes          text not null default '',
    lost_reason    text check (lost_reason in ('price', 'competitor', 'roof', 'financing', 'no_answer', 'other')),
    is_public      boolean not null default false,
    follow_up_at   timestamptz,
    converted_at   timestamptz,
    owner_id       uuid,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),
    primary key (tenant_id, id),
    check (lost_reason is null or status = 'lost'),
    check (converted_at is null or status = 'converted'),
    foreign key (tenant_id, campaign_id) references campaigns (tenant_id, id) on delete set null (campaign_id),
    foreign key (tenant_id, person_id) references people (tenant_id, id) on delete set null (person_id),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on leads (tenant_id, status);
create index on leads (tenant_id, created_at, id);
create index on leads (tenant_id, follow_up_at);
create index on leads (tenant_id, campaign_id);
create index on leads (tenant_id, person_id);
create index on leads (tenant_id, owner_id);

-- The eight stages every tenant starts with; each may rename, add and reorder its own.
create table pipeline_stages (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    id          uuid not null default rowhouse.new_id(),
    name        text not null check (length(name) between 1 and 80),
    category    text not null check (category in ('sales', 'project_management', 'installation')),
    -- Not unique: reordering would have to move every stage in one statement.
    position    integer not null check (position > 0),
    -- How long a project should stay; the board marks those that stay longer.
    target_days integer check (target_days > 0),
    is_public   boolean not null default true,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, name)
);
create index on pipeline_stages (tenant_id, position);
create index on pipeline_stages (tenant_id, created_at, id);

create table projects (
    tenant_id          uuid not null default rowhouse.tenant_id(),
    id                 uuid not null default rowhouse.new_id(),
    name               text not null check (length(name) between 1 and 200),
    -- Where the work is. Nothing is deleted under a project: a stage in use stays.
    stage_id           uuid not null,
    stage_entered_at   timestamptz not null default now(),
    -- Whether there is work at all, whatever the stage.
    status             text not null default 'active' check (status in ('active', 'on_hold', 'cancelled', 'done')),
    person_id          uuid,
    organization_id    uuid,
    lead_id            uuid,
    parent_id          uuid,
    panel_model_id     uuid references shared.panel_models (id),
    panel_count        integer not null default 0 check (panel_count between 0 and 100000),
    equipment          jsonb not null default '{}',
    price              numeric(12, 2) not null default 0 check (price >= 0),
    payment_plan       text not null default 'cash' check (payment_plan in ('cash', 'loan', 'lease')),
    site_address       text not null default '',
    survey_at          timestamptz,
    contract_signed_on date,
    installed_on       date,
    activated_on       date,
    notes              text not null default '',
    is_public          boolean not null default false,
    owner_id           uuid,
    created_at         timestamptz not null default now(),
    updated_at         timestamptz not null default now(),
    primary key (tenant_id, id),
    check (parent_id <> id),
    -- The grid operator switches on what is there, never before.
    check (activated_on is null or installed_on is null or activated_on >= installed_on),
    foreign key (tenant_id, stage_id) references pipeline_stages (tenant_id, id),
    foreign key (tenant_id, person_id) references people (tenant_id, id) on delete set null (person_id),
    foreign key (tenant_id, organization_id) references organizations (tenant_id, id)
        on delete set null (organization_id),
    foreign key (tenant_id, lead_id) references leads (tenant_id, id) on delete set null (lead_id),
    -- An extension of an earlier system.
    foreign key (tenant_id, parent_id) references projects (tenant_id, id) on delete set null (parent_id),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on projects (tenant_id, stage_id);
create index on projects (tenant_id, status);
create index on projects (tenant_id, survey_at);
create index on projects (tenant_id, person_id);
create index on projects (tenant_id, organization_id);
create index on projects (tenant_id, lead_id);
create index on projects (tenant_id, parent_id);
create index on projects (tenant_id, panel_model_id);
create index on projects (tenant_id, owner_id);
create index on projects (tenant_id, created_at, id);

-- Who else has a say in a project: a couple owns the house, an architect draws the plan.
create table project_people (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    project_id uuid not null,
    person_id  uuid not null,
    role       text not null default 'homeowner'
               check (role in ('homeowner', 'co_owner', 'architect', 'electrician', 'neighbour')),
    is_public  boolean not null default true,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, project_id, person_id),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade,
    foreign key (tenant_id, person_id) references people (tenant_id, id) on delete cascade
);
create index on project_people (tenant_id, person_id);
create index on project_people (tenant_id, created_at, id);

create table appointments (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    subject    text not null check (length(subject) between 1 and 200),
    kind       text not null default 'call' check (kind in ('call', 'site_survey', 'installation', 'inspection')),
    status     text not null default 'planned' check (status in ('planned', 'done', 'cancelled', 'no_show')),
    starts_at  timestamptz not null,
    duration   interval not null default '1 hour' check (duration > interval '0'),
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
create index on appointments (tenant_id, status);
create index on appointments (tenant_id, project_id);
create index on appointments (tenant_id, lead_id);
create index on appointments (tenant_id, owner_id);
create index on appointments (tenant_id, created_at, id);

create table proposals (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    id          uuid not null default rowhouse.new_id(),
    title       text not null check (length(title) between 1 and 200),
    project_id  uuid not null,
    status      text not null default 'draft' check (status in ('draft', 'sent', 'accepted', 'rejected')),
    -- The sum of the items when it was sent; a proposal that the customer holds does not change.
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
create index on proposals (tenant_id, project_id);
create index on proposals (tenant_id, owner_id);
create index on proposals (tenant_id, created_at, id);

create table proposal_items (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    id          uuid not null default rowhouse.new_id(),
    proposal_id uuid not null,
    position    integer not null default 1 check (position > 0),
    description text not null check (length(description) between 1 and 200),
    quantity    numeric(10, 2) not null default 1 check (quantity > 0),
    -- A discount is an item with a negative price.
    unit_price  numeric(12, 2) not null default 0,
    amount      numeric(12, 2) not null generated always as (round(quantity * unit_price, 2)) stored,
    is_public   boolean not null default true,
    created_at  timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, proposal_id, position),
    foreign key (tenant_id, proposal_id) references proposals (tenant_id, id) on delete cascade
);
create index on proposal_items (tenant_id, created_at, id);

-- What the authorities have to allow. An installation waits for all of a project's permits.
create table permits (
    tenant_id    uuid not null default rowhouse.tenant_id(),
    id           uuid not null default rowhouse.new_id(),
    project_id   uuid not null,
    kind         text not null default 'building' check (kind in ('building', 'electrical', 'grid_connection')),
    authority    text not null check (length(authority) between 1 and 200),
    number       text,
    status       text not null default 'preparing'
                 check (status in ('preparing', 'submitted', 'approved', 'rejected', 'expired')),
    fee          numeric(12, 2) not null default 0 check (fee >= 0),
    submitted_on date,
    decided_on   date,
    is_public    boolean not null default true,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, authority, number),
    check (decided_on is null or submitted_on is null or decided_on >= submitted_on),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade
);
create index on permits (tenant_id, status);
create index on permits (tenant_id, submitted_on);
create index on permits (tenant_id, project_id);
create index on permits (tenant_id, created_at, id);

create table tasks (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    subject    text not null check (length(subject) between 1 and 200),
    status     text not null default 'open' check (status in ('open', 'done')),
    priority   text not null default 'normal' check (priority in ('low', 'normal', 'high')),
    due_on     date,
    done_at    timestamptz,
    project_id uuid,
    lead_id    uuid,
    owner_id   uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    check (done_at is null or status = 'done'),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade,
    foreign key (tenant_id, lead_id) references leads (tenant_id, id) on delete cascade,
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on tasks (tenant_id, status);
create index on tasks (tenant_id, due_on);
create index on tasks (tenant_id, project_id);
create index on tasks (tenant_id, lead_id);
create index on tasks (tenant_id, owner_id);
create index on tasks (tenant_id, created_at, id);

-- What was said. A note is about one thing; where it belongs to several, it belongs to the project.
create table notes (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    body       text not null check (length(body) between 1 and 10000),
    is_pinned  boolean not null default false,
    lead_id    uuid,
    project_id uuid,
    person_id  uuid,
    owner_id   uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    check (num_nonnulls(lead_id, project_id, person_id) = 1),
    foreign key (tenant_id, lead_id) references leads (tenant_id, id) on delete cascade,
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade,
    foreign key (tenant_id, person_id) references people (tenant_id, id) on delete cascade,
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on notes (tenant_id, lead_id);
create index on notes (tenant_id, project_id);
create index on notes (tenant_id, person_id);
create index on notes (tenant_id, owner_id);
create index on notes (tenant_id, created_at, id);

-- Papers and pictures of a project. The bytes lie in file storage under storage_key.
create table documents (
    tenant_id    uuid not null default rowhouse.tenant_id(),
    id           uuid not null default rowhouse.new_id(),
    project_id   uuid not null,
    kind         text not null default 'other'
                 check (kind in ('contract', 'site_plan', 'permit', 'photo', 'inspection_report', 'invoice', 'other')),
    file_name    text not null check (length(file_name) between 1 and 255),
    content_type text not null default 'application/octet-stream',
    size_bytes   bigint not null default 0 check (size_bytes >= 0),
    storage_key  text,
    status       text not null default 'uploaded' check (status in ('uploaded', 'in_review', 'approved', 'rejected')),
    expires_on   date,
    owner_id     uuid,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade,
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on documents (tenant_id, status);
create index on documents (tenant_id, expires_on);
create index on documents (tenant_id, project_id);
create index on documents (tenant_id, owner_id);
create index on documents (tenant_id, created_at, id);

-- What a sale earns the one who made it. The rule that gave the percentage may change later, so
-- the percentage is kept here.
create table commissions (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    id          uuid not null default rowhouse.new_id(),
    project_id  uuid not null,
    owner_id    uuid,
    base_amount numeric(12, 2) not null check (base_amount >= 0),
    percent     numeric(5, 2) not null check (percent between 0 and 100),
    amount      numeric(12, 2) not null generated always as (round(base_amount * percent / 100, 2)) stored,
    status      text not null default 'pending' check (status in ('pending', 'approved', 'paid')),
    paid_on     date,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, project_id, owner_id),
    check (paid_on is null or status = 'paid'),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade,
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on commissions (tenant_id, status);
create index on commissions (tenant_id, owner_id);
create index on commissions (tenant_id, created_at, id);
