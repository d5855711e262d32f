-- Second factors of people and operators. The secret is sealed for its row; of recovery codes only
-- keyed hashes are kept, and none of what was used.
create table control.second_factors (
    holder        uuid primary key,
    user_id       uuid references control.users (id) on delete cascade,
    operator_id   uuid references control.operators (id) on delete cascade,
    sealed_secret bytea not null,
    -- The newest time step whose code was used: no code is accepted twice, nor one from before.
    last_step     bigint not null default 0,
    created_at    timestamptz not null default now(),
    confirmed_at  timestamptz,
    check (num_nonnulls(user_id, operator_id) = 1 and holder = coalesce(user_id, operator_id))
);
create index on control.second_factors (user_id);
create index on control.second_factors (operator_id);

create table control.recovery_codes (
    holder    uuid not null references control.second_factors (holder) on delete cascade,
    code_hash bytea not null,
    primary key (holder, code_hash)
);

-- When this session's operator has shown a second factor.
alter table control.operator_sessions add column mfa_at timestamptz;
