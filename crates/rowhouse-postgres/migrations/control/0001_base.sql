-- The ground of the control database: the schemas, the functions that policies and defaults
-- use (the same as in every data database), and the ledger. Domain crates add their tables.

create schema if not exists rowhouse;
create schema if not exists control;

create function rowhouse.tenant_id() returns uuid
    language sql stable parallel safe
    return nullif(current_setting('rowhouse.tenant_id', true), '')::uuid;

create function rowhouse.new_id() returns uuid
    language sql volatile parallel safe
    return encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                from 1 for 6),
            52, 1), 53, 1), 'hex')::uuid;

create table if not exists rowhouse._migrations (
    target      text not null,
    name        text not null,
    checksum    text not null,
    applied_at  timestamptz not null default now(),
    duration_ms bigint not null,
    release     text not null default '',
    primary key (target, name)
);

revoke all on schema rowhouse, control from public;
grant usage on schema rowhouse, control to {service}, {reader};
