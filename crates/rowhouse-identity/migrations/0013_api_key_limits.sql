-- A key's limit, if it has one; the newest minute, since 1970, and the requests that processes have reported of it.
alter table control.api_keys
    add column requests_per_minute integer check (requests_per_minute > 0),
    add column minute              bigint not null default 0,
    add column minute_requests     integer not null default 0;
grant select (requests_per_minute) on control.api_keys to {service};
