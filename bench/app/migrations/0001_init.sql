-- Eight tables as a team would write them. orders is the one that is measured: thirteen columns
-- of every usual type, with an index for each filter of the benchmark.
create type order_status as enum ('new', 'confirmed', 'packed', 'shipped', 'delivered', 'cancelled');

create table customers (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    name       text not null,
    email      text not null default '',
    city       text not null default '',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id)
);
create index on customers (tenant_id, created_at, id);
create index on customers (tenant_id, email);

create table products (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    sku        text not null,
    name       text not null,
    price      numeric(12, 2) not null default 0,
    stock      integer not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, sku)
);
create index on products (tenant_id, created_at, id);

create table orders (
    tenant_id    uuid not null default rowhouse.tenant_id(),
    id           uuid not null default rowhouse.new_id(),
    number       integer not null,
    title        text not null,
    status       order_status not null default 'new',
    priority     integer not null default 0,
    amount       numeric(12, 2) not null default 0,
    attributes   jsonb not null default '{}',
    notes        text not null default '',
    customer_id  uuid,
    scheduled_at timestamptz,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, customer_id) references customers (tenant_id, id) on delete set null (customer_id)
);
create index on orders (tenant_id, created_at, id);
create index on orders (tenant_id, status);
create index on orders (tenant_id, customer_id);
create index on orders (tenant_id, scheduled_at);
create index on orders (tenant_id, amount);
create index on orders using gin (attributes jsonb_path_ops);

create table order_lines (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    order_id   uuid not null,
    product_id uuid not null,
    quantity   integer not null default 1,
    price      numeric(12, 2) not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, order_id) references orders (tenant_id, id) on delete cascade,
    foreign key (tenant_id, product_id) references products (tenant_id, id)
);
create index on order_lines (tenant_id, order_id);
create index on order_lines (tenant_id, product_id);
create index on order_lines (tenant_id, created_at, id);

create table payments (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    order_id   uuid not null,
    status     text not null default 'pending' check (status in ('pending', 'paid', 'refunded')),
    amount     numeric(12, 2) not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, order_id) references orders (tenant_id, id) on delete cascade
);
create index on payments (tenant_id, order_id);
create index on payments (tenant_id, status);
create index on payments (tenant_id, created_at, id);

create table shipments (
    tenant_id    uuid not null default rowhouse.tenant_id(),
    id           uuid not null default rowhouse.new_id(),
    order_id     uuid not null,
    status       text not null default 'open' check (status in ('open', 'sent', 'arrived')),
    scheduled_at timestamptz,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, order_id) references orders (tenant_id, id) on delete cascade
);
create index on shipments (tenant_id, order_id);
create index on shipments (tenant_id, status);
create index on shipments (tenant_id, scheduled_at);
create index on shipments (tenant_id, created_at, id);

create table tickets (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    id          uuid not null default rowhouse.new_id(),
    customer_id uuid,
    subject     text not null,
    status      text not null default 'open' check (status in ('open', 'closed')),
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, customer_id) references customers (tenant_id, id) on delete set null (customer_id)
);
create index on tickets (tenant_id, customer_id);
create index on tickets (tenant_id, status);
create index on tickets (tenant_id, created_at, id);

create table notes (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    order_id   uuid not null,
    text       text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, order_id) references orders (tenant_id, id) on delete cascade
);
create index on notes (tenant_id, order_id);
create index on notes (tenant_id, created_at, id);
