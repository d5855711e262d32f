-- People, their memberships, sessions and invitations, the keys that sign tokens, operators.

create table control.users (
    id                uuid primary key,
    email             text not null unique check (email = lower(email)),
    password_hash     text,
    first_name        text not null default '',
    last_name         text not null default '',
    avatar_url        text,
    phone             text,
    metadata          jsonb not null default '{}',
    email_verified_at timestamptz,
    active            boolean not null default true,
    last_seen_at      timestamptz,
    created_at        timestamptz not null default now()
);

create table control.memberships (
    tenant_id uuid not null default rowhouse.tenant_id(),
    user_id   uuid not null references control.users (id) on delete cascade,
    role      text not null,
    active    boolean not null default true,
    joined_at timestamptz not null default now(),
    primary key (tenant_id, user_id)
);
create index on control.memberships (user_id);
alter table control.memberships enable row level security;
create policy rowhouse_tenant on control.memberships
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());
grant select on control.memberships to {service};

create table control.invitations (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    id          uuid not null,
    email       text not null,
    role        text not null,
    invited_by  uuid,
    created_at  timestamptz not null default now(),
    expires_at  timestamptz not null,
    accepted_at timestamptz,
    primary key (tenant_id, id)
);
alter table control.invitations enable row level security;
create policy rowhouse_tenant on control.invitations
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());
grant select on control.invitations to {service};

-- One sign-in on one device. The refresh token carries its generation; each use makes the next,
-- and one of an older generation is a stolen one.
create table control.sessions (
    id           uuid primary key,
    user_id      uuid not null references control.users (id) on delete cascade,
    tenant_id    uuid,
    generation   integer not null default 0,
    ip           text,
    user_agent   text,
    created_at   timestamptz not null default now(),
    last_used_at timestamptz not null default now(),
    expires_at   timestamptz not null,
    revoked_at   timestamptz
);
create index on control.sessions (user_id);

-- Private keys are sealed with the master key, each for its own row.
create table control.signing_keys (
    id             uuid primary key,
    algorithm      text not null,
    public_jwk     jsonb not null,
    sealed_private bytea not null,
    created_at     timestamptz not null default now(),
    retired_at     timestamptz
);

create table control.operators (
    id            uuid primary key,
    email         text not null unique check (email = lower(email)),
    password_hash text not null,
    role          text not null default 'admin',
    active        boolean not null default true,
    created_at    timestamptz not null default now()
);
