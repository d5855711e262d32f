-- Clerk in place of the built-in identity: which of its objects are ours, and which of their states
-- were seen. Clerk delivers what happens more than once and in any order.
--
-- Reached by the system scope only.

-- The newest state that was taken of each object, in milliseconds of Clerk's clock. Ids are never
-- used again: what is deleted stays deleted.
create table control.clerk_objects (
    clerk_id text primary key,
    version  bigint not null,
    deleted  boolean not null default false
);

-- Tenants by the organisation, or by the person whose sign-up asked for them. An organisation that
-- was seen and has no line had a tenant that was deleted here.
create table control.clerk_tenants (
    clerk_id  text primary key,
    tenant_id uuid not null default rowhouse.tenant_id(),
    -- The organisation's public metadata.
    metadata  jsonb not null default '{}'
);
create index on control.clerk_tenants (tenant_id);
alter table control.clerk_tenants enable row level security;
create policy rowhouse_tenant on control.clerk_tenants
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());

create table control.clerk_users (
    clerk_id text primary key,
    user_id  uuid not null unique references control.users (id) on delete cascade
);

-- What a person's part in an organisation was last: which membership it stands in, or none if a
-- token told of it first or it was taken away.
create table control.clerk_memberships (
    organization text not null,
    person       text not null,
    membership   text,
    version      bigint not null,
    primary key (organization, person)
);

-- Sessions that ended before their time: their tokens are good for a minute more by themselves.
create table control.clerk_sessions (
    clerk_id text primary key,
    ended_at timestamptz not null default now()
);
create index on control.clerk_sessions (ended_at);

-- Messages that were dealt with to the end.
create table control.clerk_messages (
    id          text primary key,
    received_at timestamptz not null default now()
);
create index on control.clerk_messages (received_at);
