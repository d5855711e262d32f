-- Garage: a vehicle workshop, from the telephone call to the paid invoice.

create type fuel_type as enum ('petrol', 'diesel', 'hybrid', 'electric', 'gas');

-- Who gets one invoice a month instead of paying at the counter: companies, fleets, dealers.
create table accounts (
    tenant_id        uuid not null default rowhouse.tenant_id(),
    id               uuid not null default rowhouse.new_id(),
    name             text not null check (length(name) between 1 and 200),
    kind             text not null default 'business' check (kind in ('business', 'fleet', 'dealer', 'insurance')),
    status           text not null default 'active' check (status in ('active', 'on_hold', 'inactive')),
    -- A branch: its invoices go to the account above.
    parent_id        uuid,
    tax_number       text,
    street           text,
    city             text,
    credit_limit     numeric(12, 2) not null default 0 check (credit_limit >= 0),
    payment_days     integer not null default 30 check (payment_days between 0 and 120),
    discount_percent numeric(5, 2) not null default 0 check (discount_percent between 0 and 100),
    tags             text[] not null default '{}',
    notes            text not null default '',
    is_public        boolean not null default true,
    owner_id         uuid,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, name),
    check (parent_id <> id),
    foreign key (tenant_id, parent_id) references accounts (tenant_id, id) on delete set null (parent_id),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on accounts (tenant_id, status);
create index on accounts (tenant_id, parent_id);
create index on accounts (tenant_id, owner_id);
create index on accounts (tenant_id, created_at, id);

-- The people who bring and fetch the vehicles.
create table contacts (
    tenant_id         uuid not null default rowhouse.tenant_id(),
    id                uuid not null default rowhouse.new_id(),
    account_id        uuid,
    full_name         text not null check (length(full_name) between 1 and 200),
    email             text check (email like '%@%'),
    phone             varchar(40),
    street            text,
    city              text,
    preferred_channel text not null default 'phone' check (preferred_channel in ('phone', 'email', 'sms')),
    -- The law asks for consent before a reminder is sent.
    allows_reminders  boolean not null default false,
    tags              text[] not null default '{}',
    notes             text not null default '',
    is_public         boolean not null default true,
    owner_id          uuid,
    created_at        timestamptz not null default now(),
    updated_at        timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, email),
    foreign key (tenant_id, account_id) references accounts (tenant_id, id) on delete set null (account_id),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on contacts (tenant_id, full_name);
create index on contacts (tenant_id, account_id);
create index on contacts (tenant_id, owner_id);
create index on contacts (tenant_id, created_at, id);

create table vehicles (
    tenant_id           uuid not null default rowhouse.tenant_id(),
    id                  uuid not null default rowhouse.new_id(),
    plate               text not null check (length(plate) between 1 and 20),
    vin                 text check (length(vin) = 17),
    -- Null for what the catalogue does not know: a tractor, a caravan.
    model_id            uuid references shared.vehicle_models (id),
    contact_id          uuid,
    account_id          uuid,
    fuel                fuel_type not null default 'petrol',
    colour              text,
    mileage             integer not null default 0 check (mileage between 0 and 2000000),
    first_registered_on date,
    next_inspection_on  date,
    status              text not null default 'active' check (status in ('active', 'sold', 'scrapped')),
    -- Tyre sizes, the radio's code, what the maker calls the engine: different for every make.
    details             jsonb not null default '{}',
    notes               text not null default '',
    is_public           boolean not null default true,
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, vin),
    foreign key (tenant_id, contact_id) references contacts (tenant_id, id) on delete set null (contact_id),
    foreign key (tenant_id, account_id) references accounts (tenant_id, id) on delete set null (account_id)
);
-- A plate goes on to the next vehicle when the old one is sold.
create unique index on vehicles (tenant_id, plate) where status = 'active';
create index on vehicles (tenant_id, status);
create index on vehicles (tenant_id, next_inspection_on);
create index on vehicles (tenant_id, model_id);
create index on vehicles (tenant_id, contact_id);
create index on vehicles (tenant_id, account_id);
create index on vehicles (tenant_id, created_at, id);

-- Where a vehicle can stand while somebody works on it.
create table bays (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    name       text not null check (length(name) between 1 and 80),
    kind       text not null default 'lift' check (kind in ('lift', 'pit', 'tyres', 'diagnostics', 'yard')),
    position   integer not null default 1 check (position > 0),
    is_active  boolean not null default true,
    is_public  boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, name)
);
create index on bays (tenant_id, created_at, id);

-- The price list of work: usual hours and the rate, copied into a work order's lines.
create table services (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    id          uuid not null default rowhouse.new_id(),
    code        text not null check (length(code) between 1 and 20),
    name        text not null check (length(name) between 1 and 200),
    category    text not null default 'repair' check (category in ('service', 'repair', 'tyres', 'inspection')),
    hours       numeric(5, 2) not null check (hours > 0),
    hourly_rate numeric(12, 2) not null check (hourly_rate >= 0),
    is_active   boolean not null default true,
    is_public   boolean not null default true,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, code)
);
create index on services (tenant_id, category);
create index on services (tenant_id, created_at, id);

create table suppliers (
    tenant_id     uuid not null default rowhouse.tenant_id(),
    id            uuid not null default rowhouse.new_id(),
    name          text not null check (length(name) between 1 and 200),
    email         text check (email like '%@%'),
    phone         varchar(40),
    delivery_days integer not null default 1 check (delivery_days between 0 and 365),
    status        text not null default 'active' check (status in ('active', 'blocked')),
    is_public     boolean not null default true,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, name)
);
create index on suppliers (tenant_id, status);
create index on suppliers (tenant_id, created_at, id);

create table parts (
    tenant_id   uuid not null default rowhouse.tenant_id(),
    id          uuid not null default rowhouse.new_id(),
    sku         text not null check (length(sku) between 1 and 40),
    name        text not null check (length(name) between 1 and 200),
    supplier_id uuid,
    price       numeric(12, 2) not null check (price >= 0),
    -- What it costs the workshop; the customer at the counter must not see it.
    cost        numeric(12, 2) not null default 0 check (cost >= 0),
    -- Negative when a part was built in before its delivery was booked.
    stock       integer not null default 0,
    reorder_at  integer not null default 0 check (reorder_at >= 0),
    shelf       text,
    fits        text[] not null default '{}',
    status      text not null default 'active' check (status in ('active', 'discontinued')),
    is_public   boolean not null default true,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, sku),
    foreign key (tenant_id, supplier_id) references suppliers (tenant_id, id) on delete set null (supplier_id)
);
create index on parts (tenant_id, status);
create index on parts (tenant_id, supplier_id);
create index on parts (tenant_id, created_at, id);

create table appointments (
    tenant_id    uuid not null default rowhouse.tenant_id(),
    id           uuid not null default rowhouse.new_id(),
    subject      text not null check (length(subject) between 1 and 200),
    status       text not null default 'booked'
                 check (status in ('booked', 'confirmed', 'arrived', 'cancelled', 'no_show')),
    starts_at    timestamptz not null,
    ends_at      timestamptz not null,
    contact_id   uuid,
    vehicle_id   uuid,
    bay_id       uuid,
    courtesy_car boolean not null default false,
    notes        text not null default '',
    is_public    boolean not null default true,
    owner_id     uuid,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    primary key (tenant_id, id),
    check (ends_at > starts_at),
    foreign key (tenant_id, contact_id) references contacts (tenant_id, id) on delete cascade,
    foreign key (tenant_id, vehicle_id) references vehicles (tenant_id, id) on delete cascade,
    foreign key (tenant_id, bay_id) references bays (tenant_id, id) on delete set null (bay_id),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on appointments (tenant_id, starts_at);
create index on appointments (tenant_id, status);
create index on appointments (tenant_id, contact_id);
create index on appointments (tenant_id, vehicle_id);
create index on appointments (tenant_id, bay_id);
create index on appointments (tenant_id, owner_id);
create index on appointments (tenant_id, created_at, id);

create table work_orders (
    tenant_id      uuid not null default rowhouse.tenant_id(),
    id             uuid not null default rowhouse.new_id(),
    -- The number on the key's tag. A draft may have none yet.
    number         text check (length(number) between 1 and 40),
    subject        text not null check (length(subject) between 1 and 200),
    status         text not null default 'draft'
                   check (status in ('draft', 'approved', 'in_progress', 'waiting_for_parts', 'ready',
                                     'closed', 'cancelled')),
    is_urgent      boolean not null default false,
    -- A vehicle with orders stays: its history is what the next buyer asks for.
    vehicle_id     uuid not null,
    contact_id     uuid,
    account_id     uuid,
    appointment_id uuid,
    bay_id         uuid,
    -- The order whose work did not hold. Its lines then have a discount of 100 percent.
    warranty_of_id uuid,
    complaint      text not null default '',
    findings       text not null default '',
    mileage        integer check (mileage between 0 and 2000000),
    checklist      jsonb not null default '[]',
    estimate       numeric(12, 2) check (estimate >= 0),
    promised_at    timestamptz,
    started_at     timestamptz,
    finished_at    timestamptz,
    is_public      boolean not null default true,
    owner_id       uuid,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, number),
    check (warranty_of_id <> id),
    check (finished_at >= started_at),
    foreign key (tenant_id, vehicle_id) references vehicles (tenant_id, id),
    foreign key (tenant_id, contact_id) references contacts (tenant_id, id) on delete set null (contact_id),
    foreign key (tenant_id, account_id) references accounts (tenant_id, id) on delete set null (account_id),
    foreign key (tenant_id, appointment_id) references appointments (tenant_id, id) on delete set null (appointment_id),
    foreign key (tenant_id, bay_id) references bays (tenant_id, id) on delete set null (bay_id),
    foreign key (tenant_id, warranty_of_id) references work_orders (tenant_id, id) on delete set null (warranty_of_id),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on work_orders (tenant_id, status);
create index on work_orders (tenant_id, promised_at);
create index on work_orders (tenant_id, vehicle_id);
create index on work_orders (tenant_id, contact_id);
create index on work_orders (tenant_id, account_id);
create index on work_orders (tenant_id, appointment_id);
create index on work_orders (tenant_id, bay_id);
create index on work_orders (tenant_id, warranty_of_id);
create index on work_orders (tenant_id, owner_id);
create index on work_orders (tenant_id, created_at, id);

-- What is done and built in. Prices are copied from the lists: those change, an order does not.
create table work_order_lines (
    tenant_id        uuid not null default rowhouse.tenant_id(),
    id               uuid not null default rowhouse.new_id(),
    work_order_id    uuid not null,
    position         integer not null default 1 check (position > 0),
    kind             text not null default 'labour' check (kind in ('labour', 'part', 'fee')),
    service_id       uuid,
    part_id          uuid,
    description      text not null check (length(description) between 1 and 200),
    quantity         numeric(10, 2) not null default 1 check (quantity > 0),
    unit_price       numeric(12, 2) not null default 0 check (unit_price >= 0),
    discount_percent numeric(5, 2) not null default 0 check (discount_percent between 0 and 100),
    amount           numeric(12, 2) not null
                     generated always as (round(quantity * unit_price * (100 - discount_percent) / 100, 2)) stored,
    is_public        boolean not null default true,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, work_order_id, position),
    check (service_id is null or kind = 'labour'),
    check (part_id is null or kind = 'part'),
    foreign key (tenant_id, work_order_id) references work_orders (tenant_id, id) on delete cascade,
    foreign key (tenant_id, service_id) references services (tenant_id, id) on delete set null (service_id),
    foreign key (tenant_id, part_id) references parts (tenant_id, id) on delete set null (part_id)
);
create index on work_order_lines (tenant_id, service_id);
create index on work_order_lines (tenant_id, part_id);
create index on work_order_lines (tenant_id, created_at, id);

-- Who worked on what, and how long: several people on one order, one person on many.
create table work_order_mechanics (
    tenant_id     uuid not null default rowhouse.tenant_id(),
    id            uuid not null default rowhouse.new_id(),
    work_order_id uuid not null,
    owner_id      uuid not null,
    hours         numeric(5, 2) not null default 0 check (hours >= 0),
    is_public     boolean not null default true,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, work_order_id, owner_id),
    foreign key (tenant_id, work_order_id) references work_orders (tenant_id, id) on delete cascade,
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete cascade
);
create index on work_order_mechanics (tenant_id, owner_id);
create index on work_order_mechanics (tenant_id, created_at, id);

create table invoices (
    tenant_id     uuid not null default rowhouse.tenant_id(),
    id            uuid not null default rowhouse.new_id(),
    -- Given when it is sent: numbers of invoices must have no gaps, and drafts are thrown away.
    number        text check (length(number) between 1 and 40),
    status        text not null default 'draft' check (status in ('draft', 'sent', 'paid', 'overdue', 'void')),
    work_order_id uuid,
    contact_id    uuid,
    account_id    uuid,
    issued_on     date,
    due_on        date,
    -- The sum of the order's lines on the day of issue.
    subtotal      numeric(12, 2) not null default 0 check (subtotal >= 0),
    tax_percent   numeric(5, 2) not null default 20 check (tax_percent between 0 and 100),
    tax           numeric(12, 2) not null generated always as (round(subtotal * tax_percent / 100, 2)) stored,
    total         numeric(12, 2) not null
                  generated always as (subtotal + round(subtotal * tax_percent / 100, 2)) stored,
    notes         text not null default '',
    owner_id      uuid,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, number),
    check (status = 'draft' or (number is not null and issued_on is not null)),
    check (due_on >= issued_on),
    -- An order that was invoiced cannot be deleted: the books refer to it.
    foreign key (tenant_id, work_order_id) references work_orders (tenant_id, id),
    foreign key (tenant_id, contact_id) references contacts (tenant_id, id) on delete set null (contact_id),
    foreign key (tenant_id, account_id) references accounts (tenant_id, id) on delete set null (account_id),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on invoices (tenant_id, status);
create index on invoices (tenant_id, issued_on);
create index on invoices (tenant_id, due_on);
create index on invoices (tenant_id, work_order_id);
create index on invoices (tenant_id, contact_id);
create index on invoices (tenant_id, account_id);
create index on invoices (tenant_id, owner_id);
create index on invoices (tenant_id, created_at, id);

create table payments (
    tenant_id  uuid not null default rowhouse.tenant_id(),
    id         uuid not null default rowhouse.new_id(),
    invoice_id uuid not null,
    method     text not null default 'card' check (method in ('card', 'cash', 'transfer')),
    amount     numeric(12, 2) not null check (amount > 0),
    paid_on    date not null,
    reference  text,
    owner_id   uuid,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    foreign key (tenant_id, invoice_id) references invoices (tenant_id, id),
    foreign key (tenant_id, owner_id) references rowhouse.members (tenant_id, user_id) on delete set null (owner_id)
);
create index on payments (tenant_id, paid_on);
create index on payments (tenant_id, invoice_id);
create index on payments (tenant_id, owner_id);
create index on payments (tenant_id, created_at, id);
