-- A workshop at work, in the year before 2026-11-01. Everything follows from a number n, so that it
-- is the same on every machine, and agrees: an order is for a vehicle of its contact, its lines fit
-- its subject, an invoice is the sum of its order's lines, a payment the total of its invoice.

-- Compiling the large statement below would take longer than the rows of a small demo.
set local jit = off;

insert into suppliers (id, name, email, phone, delivery_days, status, created_at, updated_at)
select rowhouse.demo_id('supplier', n), name, 'orders@' || host || '.example.com',
       '+44 1632 960' || lpad(n::text, 3, '0'), days,
       status, timestamptz '2025-11-03 08:00+00', timestamptz '2025-11-03 08:00+00'
from (values
    (1, 'Northern Motor Factors', 'northern-factors', 1, 'active'),
    (2, 'Pennine Parts', 'pennine', 1, 'active'),
    (3, 'Tyne Tyres', 'tyne-tyres', 2, 'active'),
    (4, 'Continental Components', 'continental-components', 4, 'active'),
    (5, 'Bargain Bits', 'bargain-bits', 9, 'blocked')
) s (n, name, host, days, status)
on conflict do nothing;

-- Eleven kinds of parts in as many makes as are wanted. The first eleven are what the jobs below use.
insert into parts (id, sku, name, supplier_id, price, cost, stock, reorder_at, shelf, fits, status, created_at,
                   updated_at)
select rowhouse.demo_id('part', n), k.code || '-' || lpad((1 + n / 11)::text, 4, '0'),
       k.name || ', '
       || rowhouse.demo_pick(n / 11, 1, array['Bosch', 'Mann', 'Brembo', 'Valeo', 'Febi', 'Denso', 'Hella', 'Mahle']),
       rowhouse.demo_id('supplier', 1 + n % 4),
       k.cents * (100 + n / 11 % 8 * 4) / 100 / 100.0,
       k.cents * (60 + n / 11 % 8 * 2) / 100 / 100.0,
       rowhouse.demo_number(n, 2, 0, 40), rowhouse.demo_number(n, 3, 1, 4) * 2,
       rowhouse.demo_pick(n, 4, array['A', 'B', 'C', 'D']) || rowhouse.demo_number(n, 5, 1, 24),
       case n % 3 when 0 then array['Ford', 'Vauxhall'] when 1 then array['Audi', 'Škoda', 'Volkswagen'] else '{}' end,
       case when n > 11 and n % 17 = 0 then 'discontinued' else 'active' end,
       timestamptz '2025-11-03 09:00+00' + rowhouse.demo_number(n, 6, 0, 3000) * interval '1 minute',
       timestamptz '2026-02-02 09:00+00' + rowhouse.demo_number(n, 7, 0, 380000) * interval '1 minute'
from generate_series(0, greatest(rowhouse.demo_rows() * 0.02, 16)::integer) n
join (values
    (0, 'OF', 'Oil filter', 950), (1, 'OIL', 'Engine oil 5W-30, litre', 1120), (2, 'PAD', 'Brake pads, front', 4890),
    (3, 'DISC', 'Brake disc, front', 6240), (4, 'R134', 'Refrigerant, 100 g', 1480), (5, 'BAT', 'Battery 70 Ah', 11900),
    (6, 'BELT', 'Timing belt kit', 14350), (7, 'PUMP', 'Water pump', 8760), (8, 'WIPE', 'Wiper blade', 1390),
    (9, 'BULB', 'Bulb H7', 980), (10, 'AIR', 'Air filter', 1850)
) k (kind, code, name, cents) on k.kind = n % 11
on conflict do nothing;

with team as materialized (
    select array_agg(user_id order by joined_at, user_id) as ids from rowhouse.members where active
)
insert into accounts (id, name, kind, status, parent_id, tax_number, street, city, credit_limit, payment_days,
                      discount_percent, tags, notes, owner_id, created_at, updated_at)
select rowhouse.demo_id('account', n),
       (array['Dales', 'Swift', 'Castle', 'Riverside', 'Moorland', 'Anchor', 'Fellside', 'Minster', 'Harrogate',
              'Beacon', 'Abbey', 'Viking'])[1 + n % 12]
       || ' ' || (array['Couriers', 'Taxis', 'Plumbing', 'Bakery', 'Car Hire', 'Electrical', 'Motors', 'Care Homes',
                        'Roofing', 'Insurance'])[trade]
       || case when n > 60 then ' ' || n / 60 + 1 else '' end,
       (array['fleet', 'fleet', 'business', 'business', 'fleet', 'business', 'dealer', 'fleet', 'business',
              'insurance'])[trade],
       rowhouse.demo_pick(n, 10, array['active', 'active', 'active', 'active', 'active', 'active', 'on_hold',
                                       'inactive']),
       -- Every tenth one is a branch of the one before.
       case when n % 10 = 0 then rowhouse.demo_id('account', n - 1) end,
       'GB' || 400000000 + n * 7919 % 100000000,
       rowhouse.demo_number(n, 11, 1, 90) || ' '
       || rowhouse.demo_pick(n, 12, array['Station Road', 'Mill Street', 'Quay Side', 'Market Place']),
       rowhouse.demo_pick(n, 13, array['Leeds', 'York', 'Durham', 'Carlisle', 'Hexham', 'Ripon', 'Kendal', 'Whitby']),
       rowhouse.demo_number(n, 14, 1, 20) * 500, (array[14, 30, 30, 60])[1 + n % 4],
       (array[0, 0, 5, 7.5, 10])[1 + n % 5],
       case when n % 4 = 0 then array['fleet contract'] when n % 7 = 0 then array['pays late'] else '{}' end,
       rowhouse.demo_pick(n, 15, array['', 'Vehicles come before seven in the morning.',
                                       'Order number must be on the invoice.', 'Ask before any job above 500.']),
       team.ids[1 + n % cardinality(team.ids)],
       timestamptz '2025-11-01 08:00+00' + rowhouse.demo_number(n, 16, 0, 12000) * interval '1 minute',
       timestamptz '2026-01-10 08:00+00' + rowhouse.demo_number(n, 17, 0, 410000) * interval '1 minute'
from team
cross join generate_series(1, greatest(rowhouse.demo_rows() * 0.015, 4)::integer) n
cross join lateral (select 1 + (n + n / 12) % 10 as trade) t
on conflict do nothing;

-- Days are counted back from 2026-11-01, which is a Sunday: an order of age 9 came in on a Friday.
with team as materialized (
    select array_agg(user_id order by joined_at, user_id) as ids from rowhouse.members where active
),
size as materialized (
    select greatest(rowhouse.demo_rows() * 0.075, 12)::integer as contacts,
           greatest(rowhouse.demo_rows() * 0.08, 14)::integer as vehicles,
           greatest(rowhouse.demo_rows() * 0.12, 24)::integer as orders,
           -- On the board now: what came in during the last two weeks.
           greatest(rowhouse.demo_rows() * 0.12 * 0.04, 8)::integer as on_board,
           greatest(rowhouse.demo_rows() * 0.015, 4)::integer as accounts,
           (select count(*) from shared.vehicle_models) as models
),
customers as materialized (
    select n, rowhouse.demo_id('contact', n) as contact_id,
           case when n % 4 = 0 then 1 + n / 4 % size.accounts end as account,
           case when n % 4 = 0 then rowhouse.demo_id('account', 1 + n / 4 % size.accounts) end as account_id,
           team.ids[1 + n % cardinality(team.ids)] as owner_id, given, family
    from size
    cross join team
    cross join generate_series(1, size.contacts) n
    cross join lateral (
        select rowhouse.demo_pick(n, 20, array['Alice', 'Ben', 'Chloe', 'Dev', 'Ellen', 'Farah', 'George', 'Hannah',
                                               'Imran', 'Joan', 'Keith', 'Leila', 'Martin', 'Nadia', 'Oliver',
                                               'Paula', 'Rajesh', 'Sarah', 'Theo', 'Una', 'Victor', 'Wendy', 'Yusuf',
                                               'Zara']) as given,
               rowhouse.demo_pick(n, 21, array['Armstrong', 'Bell', 'Carr', 'Dixon', 'Elliott', 'Forster', 'Graham',
                                               'Hall', 'Irving', 'Jackson', 'Kerr', 'Lowther', 'Milburn', 'Nixon',
                                               'Ogle', 'Potts', 'Ridley', 'Robson', 'Storey', 'Trotter', 'Usher',
                                               'Wake', 'Young', 'Ahmed']) as family
        offset 0
    ) c
),
-- Everybody has one vehicle, the first ones a second.
fleet as materialized (
    select v as n, rowhouse.demo_id('vehicle', v) as vehicle_id, c.contact_id, c.account, c.account_id, c.owner_id,
           c.given, c.family,
           m.id as model_id, m.make || ' ' || m.name as model_name, m.fuel::fuel_type as fuel,
           y.first_year, 6000 + (2027 - y.first_year) * 9000 + rowhouse.demo_number(v, 31, 0, 9000)::integer as mileage
    from size
    cross join generate_series(1, size.vehicles) v
    join customers c on c.n = 1 + (v - 1) % size.contacts
    join (select *, row_number() over (order by make, name) as k from shared.vehicle_models) m
      on m.k = 1 + rowhouse.demo_number(v, 30, 0, size.models - 1)
    cross join lateral (
        select m.first_year + rowhouse.demo_number(v, 32, 0, 2025 - m.first_year)::integer as first_year offset 0
    ) y
),
orders as materialized (
    select o.n, o.age, o.status, rowhouse.demo_id('order', o.n) as order_id, f.vehicle_id, f.contact_id,
           f.account_id, f.owner_id, f.family,
           f.mileage - o.age * 25 as mileage, f.model_name, f.account,
           -- No oil and no timing belt for an electric one.
           case when f.fuel = 'electric' then (array[2, 3, 4, 5, 8])[1 + rowhouse.demo_number(o.who, 43, 0, 4)]
                else 1 + rowhouse.demo_number(o.who, 43, 0, 7) end::integer as job,
           -- Work takes up to three days and does not end on a weekend.
           greatest(late + (array[2, 1, 0, 0, 0, 0, 0])[1 + late % 7], 1) as finish_age,
           case when o.who <> o.n then rowhouse.demo_id('order', o.who) end as warranty_of_id,
           case when o.n % 2 = 0 and o.who = o.n then rowhouse.demo_id('appointment', o.n) end as appointment_id,
           timestamptz '2026-11-01 07:30+00' - o.age * interval '24 hours'
           + rowhouse.demo_number(o.n, 40, 0, 36) * interval '10 minutes' as came_at
    from (
        select s.vehicles, n, who,
               raw + (array[2, 1, 0, 0, 0, 0, 0])[1 + raw % 7] as age,
               raw + (array[2, 1, 0, 0, 0, 0, 0])[1 + raw % 7] - rowhouse.demo_number(n, 41, 0, 3)::integer as late,
               case when left_over >= s.on_board then case when n % 31 = 0 then 'cancelled' else 'closed' end
                    else (array['draft', 'approved', 'in_progress', 'waiting_for_parts', 'in_progress', 'ready'])
                         [1 + left_over * 6::bigint / s.on_board] end as status
        from (
            select size.*, n, size.orders - n as left_over,
                   -- One in twenty-four comes back with the vehicle and the job of an order of some days before.
                   case when n % 24 = 20 and n > back and (n - back) % 31 <> 0 and n <= size.orders - size.on_board
                        then n - back else n end as who,
                   case when n > size.orders - size.on_board then 1 + (size.orders - n) * 11::bigint / size.on_board
                        else 14 + (size.orders - size.on_board - n) * 345::bigint / (size.orders - size.on_board)
                        end::integer as raw
            from size
            cross join generate_series(1, size.orders) n
            cross join lateral (select 8 + 24 * (size.orders / 960) as back offset 0) b
        ) s
    ) o
    join fleet f on f.n = 1 + o.who * 5::bigint % o.vehicles
),
-- What each job needs: hours of a service, parts, and what the workshop adds.
lines as materialized (
    select o.n, o.order_id, o.came_at, o.status, j.position, j.kind, j.description, j.quantity, j.price,
           j.service_id, j.part_id,
           -- An account's discount, as above.
           case when o.warranty_of_id is not null then 100
                else coalesce((array[0, 0, 5, 7.5, 10])[1 + o.account % 5], 0) end as discount
    from orders o
    join (
        select job, position, kind, quantity, description, price,
               case when kind = 'labour' then rowhouse.demo_id('service', ref) end as service_id,
               case when kind = 'part' then rowhouse.demo_id('part', ref) end as part_id
        from (values
            (1, 1, 'labour', 1, 1.5, 'Annual service', 72.00), (1, 2, 'part', 0, 1, 'Oil filter', 9.50),
            (1, 3, 'part', 1, 5, 'Engine oil 5W-30', 11.20), (1, 4, 'part', 10, 1, 'Air filter', 18.50),
            (1, 5, 'fee', null, 1, 'Disposal of old oil', 4.50),
            (2, 1, 'labour', 2, 1.8, 'Front brakes, discs and pads', 78.00),
            (2, 2, 'part', 2, 1, 'Brake pads, front', 48.90),
            (2, 3, 'part', 3, 2, 'Brake disc, front', 62.40), (2, 4, 'fee', null, 1, 'Cleaning and small parts', 6.50),
            (3, 1, 'labour', 3, 0.75, 'Change four wheels and balance', 60.00),
            (3, 2, 'fee', null, 1, 'Storage of four wheels', 35.00),
            (4, 1, 'labour', 4, 1, 'Air conditioning service', 72.00),
            (4, 2, 'part', 4, 4.5, 'Refrigerant, 100 g', 14.80),
            (4, 3, 'fee', null, 1, 'Leak test with dye', 12.00),
            (5, 1, 'labour', 5, 1, 'Diagnosis', 84.00), (5, 2, 'fee', null, 1, 'Cleaning and small parts', 6.50),
            (6, 1, 'labour', 6, 0.5, 'Fit a battery', 72.00), (6, 2, 'part', 5, 1, 'Battery 70 Ah', 119.00),
            (6, 3, 'fee', null, 1, 'Disposal of the old battery', 5.00),
            (7, 1, 'labour', 7, 4.5, 'Timing belt and water pump', 78.00),
            (7, 2, 'part', 6, 1, 'Timing belt kit', 143.50),
            (7, 3, 'part', 7, 1, 'Water pump', 87.60), (7, 4, 'fee', null, 1, 'Coolant and small parts', 18.00),
            (8, 1, 'labour', 8, 1.2, 'Prepare for the yearly inspection', 72.00),
            (8, 2, 'part', 8, 2, 'Wiper blade', 13.90),
            (8, 3, 'part', 9, 1, 'Bulb H7', 9.80), (8, 4, 'fee', null, 1, 'Fee of the test station', 54.85)
        ) t (job, position, kind, ref, quantity, description, price)
    ) j on j.job = o.job
),
sums as materialized (
    select n, sum(round(quantity * price, 2)) as worth,
           sum(round(quantity * price * (100 - discount) / 100, 2)) as subtotal,
           sum(quantity) filter (where kind = 'labour') as hours
    from lines
    group by n
),
-- Private people pay at the counter, accounts within their terms; a few forget.
billed as materialized (
    select o.n, o.order_id, o.contact_id, o.account_id, o.owner_id, o.status, o.finish_age, terms, sums.subtotal,
           rowhouse.demo_id('invoice', o.n) as invoice_id,
           case when o.status = 'closed' and o.finish_age - delay > 0 and o.n % 29 <> 0
                then o.finish_age - delay end as paid_age
    from orders o
    join sums on sums.n = o.n
    cross join lateral (
        select coalesce((array[14, 30, 30, 60])[1 + account % 4], 7) as terms,
               case when account_id is null then 0 else rowhouse.demo_number(o.n, 42, 9, 44)::integer end as delay
        offset 0
    ) t
    where o.status in ('closed', 'ready') and sums.subtotal > 0
),
new_contacts as (
    insert into contacts (id, account_id, full_name, email, phone, street, city, preferred_channel, allows_reminders,
                          tags, notes, owner_id, created_at, updated_at)
    select contact_id, account_id, given || ' ' || family, lower(given) || '.' || lower(family) || n || '@example.com',
           '+44 1632 960' || lpad((n % 1000)::text, 3, '0'),
           rowhouse.demo_number(n, 50, 1, 140) || ' '
               || rowhouse.demo_pick(n, 51, array['High Street', 'Church Lane', 'Victoria Road', 'Green Lane',
                                                  'North Street', 'Park View']),
           rowhouse.demo_pick(n, 52, array['Leeds', 'York', 'Durham', 'Carlisle', 'Hexham', 'Ripon', 'Kendal',
                                           'Whitby']),
           rowhouse.demo_pick(n, 53, array['phone', 'phone', 'email', 'sms']),
           n % 3 <> 0,
           case n % 9 when 1 then array['regular'] when 4 then array['regular', 'winter tyres']
                when 7 then array['careful'] else '{}' end,
           rowhouse.demo_pick(n, 54, array['', '', '', 'Needs a courtesy car.', 'Wants to see the old parts.',
                                           'Never before nine.', 'Talk to the partner about money.']),
           owner_id,
           timestamptz '2025-11-02 08:00+00' + rowhouse.demo_number(n, 55, 0, 1500) * interval '1 minute',
           timestamptz '2025-11-08 08:00+00' + rowhouse.demo_number(n, 56, 0, 510000) * interval '1 minute'
    from customers
    on conflict do nothing
),
new_vehicles as (
    insert into vehicles (id, plate, vin, model_id, contact_id, account_id, fuel, colour, mileage,
                          first_registered_on, next_inspection_on, status, details, notes, created_at, updated_at)
    select vehicle_id,
           chr(65 + pair / 26) || chr(65 + pair % 26) || lpad((first_year % 100)::text, 2, '0') || ' '
           || chr(65 + triple / 676) || chr(65 + triple / 26 % 26) || chr(65 + triple % 26),
           upper(substr(md5(n::text), 1, 10)) || lpad(n::text, 7, '0'),
           model_id, contact_id, account_id, fuel,
           rowhouse.demo_pick(n, 60, array['black', 'white', 'silver', 'blue', 'red', 'grey', 'green']),
           mileage,
           make_date(first_year, 1, 1) + rowhouse.demo_number(n, 61, 0, 360)::integer,
           date '2026-11-01' + rowhouse.demo_number(n, 62, -20, 364)::integer,
           case when n % 37 = 0 then 'sold' when n % 61 = 0 then 'scrapped' else 'active' end,
           jsonb_build_object(
               'tyres', rowhouse.demo_pick(n, 63, array['195/65 R15', '205/55 R16', '225/45 R17', '215/65 R16']),
               'winter_tyres', n % 3 = 0, 'keys', 1 + n % 2),
           rowhouse.demo_pick(n, 64, array['', '', '', 'Locking wheel nut is in the glove box.', 'Tow bar.',
                                           'Windscreen has a chip.']),
           timestamptz '2025-11-03 10:00+00' + rowhouse.demo_number(n, 65, 0, 1400) * interval '1 minute',
           timestamptz '2025-11-09 10:00+00' + rowhouse.demo_number(n, 66, 0, 510000) * interval '1 minute'
    from fleet
    cross join lateral (
        -- Together unlike for every n: the three letters repeat after 17576, and then the two differ.
        select n % 17576 * 7919 % 17576 as triple, (n / 17576 + n % 17576 * 31) % 676 as pair offset 0
    ) p
    on conflict do nothing
),
new_appointments as (
    insert into appointments (id, subject, status, starts_at, ends_at, contact_id, vehicle_id, bay_id, courtesy_car,
                              notes, owner_id, created_at, updated_at)
    select appointment_id, 'Bring in the ' || model_name,
           case when status = 'cancelled' then case when n % 4 = 0 then 'no_show' else 'cancelled' end
                else 'arrived' end,
           came_at, came_at + interval '30 minutes', contact_id, vehicle_id, rowhouse.demo_id('bay', 1 + n / 2 % 4),
           n % 10 = 0,
           rowhouse.demo_pick(n, 70, array['', '', 'Waits in the shop.', 'Leaves the key in the box.',
                                           'Comes back at five.']),
           owner_id,
           came_at - rowhouse.demo_number(n, 71, 1, 3) * interval '24 hours', came_at
    from orders
    where appointment_id is not null
    union all
    -- Booked for the two weeks to come, none of them on a weekend.
    select rowhouse.demo_id('appointment', -n),
           rowhouse.demo_pick(n, 72, array['Annual service', 'Noise from the front', 'Winter tyres',
                                           'Yearly inspection', 'Air conditioning', 'Estimate for a dent']),
           rowhouse.demo_pick(n, 73, array['booked', 'booked', 'confirmed']),
           at, at + rowhouse.demo_number(n, 74, 1, 6) * interval '30 minutes',
           contact_id, vehicle_id, rowhouse.demo_id('bay', 1 + n % 4), n % 8 = 0, '', owner_id,
           timestamptz '2026-10-31 16:00+00' - rowhouse.demo_number(n, 75, 1, 12) * interval '24 hours',
           timestamptz '2026-10-31 16:00+00'
    from size
    cross join fleet
    cross join lateral (select 1 + n % 13 as days offset 0) d
    cross join lateral (
        select timestamptz '2026-11-01 08:00+00'
               + (days + (array[1, 0, 0, 0, 0, 0, 2])[1 + days % 7]) * interval '24 hours'
               + rowhouse.demo_number(n, 76, 0, 16) * interval '30 minutes' as at
        offset 0
    ) s
    where n <= on_board
    on conflict do nothing
),
new_orders as (
    insert into work_orders (id, number, subject, status, vehicle_id, contact_id, account_id, appointment_id, bay_id,
                             warranty_of_id, complaint, findings, mileage, checklist, estimate, promised_at,
                             started_at, finished_at, owner_id, created_at, updated_at, priority)
    select order_id, 'WO-' || 10000 + o.n,
           (array['Annual service', 'Front brakes', 'Change wheels', 'Air conditioning', 'Warning lamp',
                  'Does not start', 'Timing belt', 'Yearly inspection'])[job]
           || case when warranty_of_id is not null then ', again' else '' end,
           status, vehicle_id, contact_id, account_id, appointment_id,
           case when status in ('in_progress', 'waiting_for_parts') then rowhouse.demo_id('bay', 1 + o.n % 4) end,
           warranty_of_id,
           (array['Service lamp is on.', 'Squeals when braking, more so when cold.',
                  'The other set of wheels is in the boot.', 'Blows warm air.', 'Engine lamp comes and goes.',
                  'Clicks, but does not turn over.', 'Due by age, no symptoms.',
                  'Inspection is due this month.'])[job]
           || rowhouse.demo_pick(o.n, 80, array['', '', ' Please wash it.', ' Call before any extra work.',
                                                ' Needs it back by tonight.']),
           case when status in ('draft', 'approved', 'cancelled') then ''
                else (array['Oil was two litres low.', 'Discs below the minimum, pads at 2 mm.',
                            'Tread 4 mm all round.', 'Low on gas, no leak found.', 'Sensor on cylinder three.',
                            'Battery dead after six years.', 'Pump was weeping.', 'Wipers and one bulb.'])[job] end,
           mileage,
           case when status in ('draft', 'approved', 'cancelled') then '[]'
                else jsonb_build_array(jsonb_build_object('item', 'Test drive', 'done', status in ('ready', 'closed')),
                                       jsonb_build_object('item', 'Lamps and fluids', 'done', true)) end,
           ceil(worth / 10) * 10,
           came_at::timestamptz + case when finish_age < o.age then interval '56 hours' else interval '8 hours' end,
           case when status not in ('draft', 'approved', 'cancelled') then came_at + interval '40 minutes' end,
           case when status in ('ready', 'closed')
                then timestamptz '2026-11-01 15:30+00' - finish_age * interval '24 hours' end,
           owner_id,
           came_at,
           case when status in ('ready', 'closed')
                then timestamptz '2026-11-01 16:00+00' - finish_age * interval '24 hours'
                else came_at + interval '50 minutes' end,
           (case when warranty_of_id is not null then 'high' when job = 6 then 'urgent'
                 else rowhouse.demo_pick(o.n, 81, array['normal', 'normal', 'normal', 'low', 'high'])
            end)::work_order_priority
    from orders o
    join sums on sums.n = o.n
    on conflict do nothing
),
new_lines as (
    insert into work_order_lines (id, work_order_id, position, kind, service_id, part_id, description, quantity,
                                  unit_price, discount_percent, created_at, updated_at)
    select rowhouse.demo_id('line', n * 5::bigint + position), order_id, position, kind, service_id, part_id,
           description, quantity, price,
           discount, came_at + interval '20 minutes', came_at + interval '20 minutes'
    from lines
    on conflict do nothing
),
-- The second one who worked on it; the first is the order's owner.
new_mechanics as (
    insert into work_order_mechanics (id, work_order_id, owner_id, hours, created_at, updated_at)
    select rowhouse.demo_id('mechanic', o.n), order_id, team.ids[1 + (o.n / 4) % cardinality(team.ids)],
           round(hours / 2, 2),
           came_at + interval '45 minutes', came_at + interval '45 minutes'
    from team
    cross join orders o
    join sums on sums.n = o.n
    where status not in ('draft', 'approved', 'cancelled') and o.n % 4 = 1
    on conflict do nothing
),
new_invoices as (
    insert into invoices (id, number, status, work_order_id, contact_id, account_id, issued_on, due_on, subtotal,
                          tax_percent, owner_id, created_at, updated_at)
    select invoice_id,
           case when status = 'closed' then 'INV-' || 20000 + n end,
           case when status = 'ready' then 'draft' when paid_age is not null then 'paid'
                when finish_age > terms then 'overdue' else 'sent' end,
           order_id, contact_id, account_id,
           case when status = 'closed' then date '2026-11-01' - finish_age end,
           case when status = 'closed' then date '2026-11-01' - finish_age + terms end,
           subtotal, 20, owner_id,
           timestamptz '2026-11-01 15:45+00' - finish_age * interval '24 hours',
           timestamptz '2026-11-01 16:15+00' - coalesce(paid_age, finish_age) * interval '24 hours'
    from billed
    on conflict do nothing
)
insert into payments (id, invoice_id, method, amount, paid_on, reference, owner_id, created_at, updated_at)
select rowhouse.demo_id('payment', n), invoice_id,
       case when account_id is not null then 'transfer' when n % 5 = 0 then 'cash' else 'card' end,
       subtotal + round(subtotal * 20 / 100, 2),
       date '2026-11-01' - paid_age,
       case when account_id is not null then 'INV-' || 20000 + n end,
       owner_id,
       timestamptz '2026-11-01 16:15+00' - paid_age * interval '24 hours',
       timestamptz '2026-11-01 16:15+00' - paid_age * interval '24 hours'
from billed
where paid_age is not null
on conflict do nothing;
