-- Data for development, the same on every machine: rowhouse.demo_rows() says how many rows.
insert into customers (id, name, email)
select rowhouse.demo_id('customer', n), rowhouse.demo_pick(n, 1, array['North', 'South', 'East', 'West']) || ' '
       || rowhouse.demo_pick(n, 2, array['Bakery', 'Garage', 'Studio', 'Supply']) || ' ' || n, 'customer' || n || '@example.com'
from generate_series(1, greatest(rowhouse.demo_rows() / 4, 1)) n
on conflict do nothing;

insert into tickets (id, customer_id, subject, status, created_at)
select rowhouse.demo_id('ticket', n),
       rowhouse.demo_id('customer', rowhouse.demo_number(n, 3, 1, greatest(rowhouse.demo_rows() / 4, 1))),
       rowhouse.demo_pick(n, 4, array['Cannot sign in', 'Invoice is wrong', 'Delivery is late', 'Please call back']),
       rowhouse.demo_pick(n, 5, array['open', 'waiting', 'closed']),
       timestamptz '2026-01-01' + n * interval '1 hour'
from generate_series(1, rowhouse.demo_rows() * 3 / 4) n
on conflict do nothing;
