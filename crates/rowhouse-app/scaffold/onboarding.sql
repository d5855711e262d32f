-- What each new tenant starts with. Runs inside the tenant's own transaction, so tenant_id
-- needs no mention. It may run twice.
insert into customers (id, name)
values (rowhouse.demo_id('customer', 0), 'Your first customer')
on conflict do nothing;
