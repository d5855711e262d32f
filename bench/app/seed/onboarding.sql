-- What a new shop starts with.
insert into products (sku, name, price)
values ('SHIPPING', 'Shipping', 4.90), ('GIFT', 'Gift wrapping', 2.50), ('VOUCHER', 'Voucher', 25.00)
on conflict do nothing;
insert into customers (id, name) values (rowhouse.demo_id('walk-in', 1), 'Walk-in customer') on conflict do nothing;
