-- Rowhouse as an OpenID provider: programs that people sign in to with their account here, what people
-- let them know, and the codes and tokens that follow. Reached by the system scope only.

create table control.openid_clients (
    id                        uuid primary key,
    name                      text not null,
    -- None for programs that cannot keep a secret: pages and apps on people's devices.
    secret_hash               bytea,
    -- The secret before it was replaced, for a while.
    previous_secret_hash      bytea,
    previous_secret_until     timestamptz,
    redirect_uris             text[] not null,
    post_logout_redirect_uris text[] not null default '{}',
    scopes                    text[] not null,
    id_token_algorithm        text not null default 'ES256' check (id_token_algorithm in ('ES256', 'RS256')),
    -- The service's own: people are not asked what it may know.
    first_party               boolean not null default false,
    created_at                timestamptz not null default now(),
    updated_at                timestamptz not null default now()
);

create table control.openid_consents (
    user_id    uuid not null references control.users (id) on delete cascade,
    client_id  uuid not null references control.openid_clients (id) on delete cascade,
    scopes     text[] not null,
    granted_at timestamptz not null default now(),
    primary key (user_id, client_id)
);
create index on control.openid_consents (client_id);

-- Requests that wait for the person's consent.
create table control.openid_requests (
    hash       bytea primary key,
    session_id uuid not null references control.sessions (id) on delete cascade,
    client_id  uuid not null references control.openid_clients (id) on delete cascade,
    -- The query of the request, as it came.
    query      text not null,
    expires_at timestamptz not null
);
create index on control.openid_requests (session_id);
create index on control.openid_requests (client_id);
create index on control.openid_requests (expires_at);

-- What a person let a client do in one of their sessions: a code, and the tokens that it gave. It ends
-- with the session.
create table control.openid_grants (
    id              uuid primary key,
    client_id       uuid not null references control.openid_clients (id) on delete cascade,
    user_id         uuid not null references control.users (id) on delete cascade,
    session_id      uuid not null references control.sessions (id) on delete cascade,
    tenant_id       uuid,
    scopes          text[] not null,
    redirect_uri    text not null,
    nonce           text,
    code_challenge  text,
    auth_time       timestamptz not null,
    code_hash       bytea not null unique,
    code_expires_at timestamptz not null,
    redeemed_at     timestamptz,
    -- Of the newest refresh token.
    token_hash      bytea,
    rotated_at      timestamptz,
    created_at      timestamptz not null default now(),
    expires_at      timestamptz not null,
    revoked_at      timestamptz
);
create index on control.openid_grants (client_id);
create index on control.openid_grants (user_id, client_id);
create index on control.openid_grants (session_id);
create index on control.openid_grants (tenant_id);
create index on control.openid_grants (expires_at);

-- Nothing is granted; the policy holds for whoever should be granted something later.
alter table control.openid_grants enable row level security;
create policy rowhouse_tenant on control.openid_grants
    using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());
