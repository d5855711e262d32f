-- Plain PostgreSQL. Every table carries tenant_id, and every key begins with it; row-level
-- security, the policy, grants and missing indexes are added by Rowhouse.

create table customers (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    name       text not null check (length(name) between 1 and 200),
    email      text,
    owner_id   uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, email),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);

-- What somebody is told who breaks the rule.
comment on constraint customers_tenant_id_email_key on customers is 'Another customer has this e-mail address.';

create table tickets (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    id          uuid not null default rowhouse.new_id(),
    customer_id uuid not null,
    subject     text not null check (length(subject) between 1 and 200),
    body        text not null default '',
    status      text not null default 'open' check (status in ('open', 'waiting', 'closed')),
    owner_id    uuid,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, customer_id) references customers (tenant_id, id) on delete cascade,
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
