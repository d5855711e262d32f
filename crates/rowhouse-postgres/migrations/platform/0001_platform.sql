-- What every data database carries beside the app's own tables: schema "rowhouse" (the
-- platform's functions and tables), "shared" (reference data every tenant reads) and "app"
-- (the app's tables in pool and database placement; schema placement has one per tenant).
--
-- Runs as the owner role. {service} and {reader} are replaced by the roles' quoted names.

create schema if not exists rowhouse;
create schema if not exists shared;
create schema if not exists app;

-- The tenant of the running transaction, or null, which every policy reads as "no rows".
-- Inlined by the planner; the setting is local to the transaction (set_config(..., true)).
create function rowhouse.tenant_id() returns uuid
    language sql stable parallel safe
    return nullif(current_setting('rowhouse.tenant_id', true), '')::uuid;

-- A time-ordered random id (UUID version 7, RFC 9562): milliseconds, then 74 random bits.
create function rowhouse.new_id() returns uuid
    language sql volatile parallel safe
    return encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                from 1 for 6),
            52, 1), 53, 1), 'hex')::uuid;

-- Helpers of seeds. All are deterministic, so that a demo looks the same on every machine.
-- How many rows the running `rowhouse seed demo` wants for this tenant, over all tables.
create function rowhouse.demo_rows() returns integer
    language sql stable parallel safe
    return coalesce(nullif(current_setting('rowhouse.demo_rows', true), ''), '200')::integer;

-- The nth id of a kind within the running tenant (UUID version 8: made from a hash).
create function rowhouse.demo_id(kind text, n bigint) returns uuid
    language sql stable parallel safe
    return overlay(overlay(
        md5(coalesce(current_setting('rowhouse.tenant_id', true), '') || kind || n::text)
        placing '8' from 13 for 1) placing 'a' from 17 for 1)::uuid;

-- A number from low to high, both included, that depends on n and salt only.
create function rowhouse.demo_number(n bigint, salt integer, low bigint, high bigint) returns bigint
    language sql immutable parallel safe
    return low + mod(abs(hashint8extended(n, salt) / 2), high - low + 1);

-- One of the options, chosen by n and salt only.
create function rowhouse.demo_pick(n bigint, salt integer, options text[]) returns text
    language sql immutable parallel safe
    return options[1 + mod(abs(hashint8extended(n, salt) / 2), cardinality(options))];

-- The people of each tenant, projected from the control database so that an app's
-- (tenant_id, owner_id) can be a foreign key. Written by the platform only.
create table rowhouse.members (
    tenant_id    uuid not null default rowhouse.tenant_id(),
    user_id      uuid not null,
    role         text not null,
    display_name text not null default '',
    email        text not null default '',
    active       boolean not null default true,
    joined_at    timestamptz not null default now(),
    primary key (tenant_id, user_id)
);
alter table rowhouse.members enable row level security;
create policy rowhouse_tenant on rowhouse.members
    using (tenant_id = rowhouse.tenant_id())
    with check (tenant_id = rowhouse.tenant_id());

-- What has been applied where. One row per target schema and file; "rowhouse" is the target
-- of the platform's own set, "shared" of the shared tables, any other name of the app's set.
create table if not exists rowhouse._migrations (
    target      text not null,
    name        text not null,
    checksum    text not null,
    applied_at  timestamptz not null default now(),
    duration_ms bigint not null,
    release     text not null default '',
    primary key (target, name)
);

revoke all on schema rowhouse, shared, app from public;
grant usage on schema rowhouse, shared, app to {service}, {reader};
grant select, insert, update, delete on rowhouse.members to {service};
grant select on rowhouse.members to {reader};
