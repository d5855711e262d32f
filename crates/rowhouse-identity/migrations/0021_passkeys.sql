-- Passkeys beside authenticator apps. A line of second_factors says from now on that its holder has a second
-- factor, of whatever kind; the app's secret in it is null for who has passkeys only.
alter table control.second_factors
    alter column sealed_secret drop not null,
    -- A secret that waits for its first code, since created_at.
    add column pending_secret bytea;
update control.second_factors set pending_secret = sealed_secret, sealed_secret = null where confirmed_at is null;

create table control.passkeys (
    id            uuid primary key,
    holder        uuid not null references control.second_factors (holder) on delete cascade,
    credential_id bytea not null unique,
    -- The public key, and what the authenticator has told of itself: nothing secret.
    credential    jsonb not null,
    -- The newest count of the authenticator's signatures, if it counts them: a copy falls behind.
    counter       bigint not null default 0,
    name          text not null,
    created_at    timestamptz not null default now(),
    last_used_at  timestamptz
);
create index on control.passkeys (holder);

-- What was begun with a browser and waits for its answer, and what such an answer has proved. Each is
-- good once, for minutes, and for whichever process gets the answer. Of the secret that the client holds
-- a hash is kept; the challenge is sealed for its line.
create table control.passkey_ceremonies (
    token_hash   bytea primary key,
    purpose      text not null check (purpose in ('register', 'sign_in', 'assert', 'proof')),
    -- Nobody yet at a sign-in that names no account.
    holder       uuid,
    -- Empty for a proof, which is all that there is to know.
    sealed_state bytea not null,
    expires_at   timestamptz not null
);
create index on control.passkey_ceremonies (expires_at);
