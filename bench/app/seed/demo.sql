-- Orders, as many as asked for. The nth order of every tenant has the same id, so that the load
-- generators can name one without asking; the primary key holds the tenant as well.
insert into customers (id, name, email, city, created_at)
select rowhouse.demo_id('customer', n), 'Customer ' || n, 'customer' || n || '@example.com',
       rowhouse.demo_pick(n, 1, array['Fresno', 'Boulder', 'Tucson', 'Austin', 'Reno', 'Boise']),
       timestamptz '2025-11-01 08:00+00' + n * interval '1 minute'
from generate_series(1, greatest(rowhouse.demo_rows() / 100, 1)) n
on conflict do nothing;

insert into orders (id, number, title, status, priority, amount, attributes, notes, customer_id, scheduled_at, created_at)
select ('00000000-0000-8000-a000-' || lpad(to_hex(n), 12, '0'))::uuid,
       n,
       'Order ' || n || ' of ' || rowhouse.demo_pick(n, 2, array['bicycles', 'lamps', 'tea', 'garden chairs', 'paint', 'rope']),
       rowhouse.demo_pick(n, 3, array['new', 'confirmed', 'packed', 'shipped', 'delivered', 'delivered', 'delivered', 'delivered'])::order_status,
       rowhouse.demo_number(n, 4, 0, 5)::integer,
       rowhouse.demo_number(n, 5, 100, 10000000) / 100.0,
       jsonb_build_object('channel', rowhouse.demo_pick(n, 6, array['web', 'shop', 'phone']), 'batch', n % 5000),
       case when n % 5000 = 7 then 'Fragile, handle with care.' else rowhouse.demo_pick(n, 7, array['', 'Call before delivery.', 'Leave at the door.']) end,
       rowhouse.demo_id('customer', 1 + n % greatest(rowhouse.demo_rows() / 100, 1)),
       timestamptz '2025-11-01 08:00+00' + rowhouse.demo_number(n, 8, 0, 31000000) * interval '1 second',
       timestamptz '2025-11-01 08:00+00' + n * interval '1 second'
from generate_series(1, rowhouse.demo_rows()) n
on conflict do nothing;

-- One in five thousand is cancelled: the enum filter of the benchmark is a rare value.
update orders set status = 'cancelled' where number % 5000 = 11;
