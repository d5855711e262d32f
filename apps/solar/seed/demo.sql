-- A solar company at work. Shares of the rows: people 25 %, leads 30 %, projects 15 %, the rest
-- around them. Dates lie in the year before 2026-11-01.
insert into organizations (id, name, city, status, owner_id)
select rowhouse.demo_id('organization', n),
       rowhouse.demo_pick(n, 1, array['Northside', 'Riverbend', 'Oak Hill', 'Sunfield', 'Harbour', 'Granite', 'Meadow', 'Copper'])
       || ' ' || rowhouse.demo_pick(n, 2, array['Dairy', 'Logistics', 'School', 'Brewery', 'Clinic', 'Foundry', 'Nursery', 'Hotel']) || ' ' || n,
       rowhouse.demo_pick(n, 3, array['Fresno', 'Boulder', 'Tucson', 'Austin', 'Reno', 'Boise', 'Santa Fe']),
       rowhouse.demo_pick(n, 4, array['prospect', 'prospect', 'customer', 'customer', 'partner', 'inactive']),
       m.ids[1 + n % cardinality(m.ids)]
from generate_series(1, greatest(rowhouse.demo_rows() / 20, 3)) n
cross join (select coalesce(nullif(array_agg(user_id order by user_id), '{}'), array[null::uuid]) as ids from rowhouse.members) m
on conflict do nothing;

insert into people (id, full_name, email, phone, city, birthday, organization_id, tags, notes, is_public, owner_id, created_at)
select rowhouse.demo_id('person', n),
       rowhouse.demo_pick(n, 10, array['Maria', 'James', 'Aisha', 'Robert', 'Linh', 'Elena', 'Tom', 'Priya', 'Carlos', 'Ingrid', 'Noah', 'Zoe'])
       || ' ' || rowhouse.demo_pick(n, 11, array['Alvarez', 'Baker', 'Chen', 'Diaz', 'Evans', 'Fischer', 'Garcia', 'Haddad', 'Iversen', 'Jones', 'Kaur', 'Lopez']),
       'contact' || n || '@example.com',
       '+1 555 ' || lpad((n % 10000)::text, 4, '0'),
       rowhouse.demo_pick(n, 12, array['Fresno', 'Boulder', 'Tucson', 'Austin', 'Reno', 'Boise', 'Santa Fe']),
       date '1950-01-01' + rowhouse.demo_number(n, 13, 0, 20000)::integer,
       case when n % 3 = 0 then rowhouse.demo_id('organization', 1 + n % greatest(rowhouse.demo_rows() / 20, 3)) end,
       case when n % 4 = 0 then array['newsletter'] when n % 7 = 0 then array['referrer', 'vip'] else '{}' end,
       rowhouse.demo_pick(n, 14, array['', 'Prefers calls in the evening.', 'Wants a battery as well.', 'Asked for references.', 'Has a slate roof.']),
       n % 5 <> 0,
       m.ids[1 + n % cardinality(m.ids)],
       timestamptz '2025-11-01 08:00+00' + rowhouse.demo_number(n, 15, 0, 31000000) * interval '1 second'
from generate_series(1, greatest(rowhouse.demo_rows() / 4, 5)) n
cross join (select coalesce(nullif(array_agg(user_id order by user_id), '{}'), array[null::uuid]) as ids from rowhouse.members) m
on conflict do nothing;

insert into leads (id, full_name, email, phone, city, status, temperature, monthly_bill, roof_area, campaign_id, person_id, details, notes, is_public, follow_up_at, owner_id, created_at, source)
select rowhouse.demo_id('lead', n),
       rowhouse.demo_pick(n, 20, array['Olivia', 'Liam', 'Emma', 'Mateo', 'Ava', 'Lucas', 'Mia', 'Ethan', 'Sofia', 'Omar', 'Grace', 'Hugo'])
       || ' ' || rowhouse.demo_pick(n, 21, array['Moore', 'Nguyen', 'Olsen', 'Patel', 'Quinn', 'Rossi', 'Silva', 'Turner', 'Ueda', 'Vega', 'Wolf', 'Young']),
       'lead' || n || '@example.net',
       '+1 555 ' || lpad((n * 7 % 10000)::text, 4, '0'),
       rowhouse.demo_pick(n, 22, array['Fresno', 'Boulder', 'Tucson', 'Austin', 'Reno', 'Boise', 'Santa Fe']),
       rowhouse.demo_pick(n, 23, array['new', 'new', 'contacted', 'contacted', 'qualified', 'converted', 'lost']),
       rowhouse.demo_pick(n, 24, array['cold', 'warm', 'warm', 'hot'])::lead_temperature,
       rowhouse.demo_number(n, 25, 6000, 42000) / 100.0,
       rowhouse.demo_number(n, 26, 20, 220),
       rowhouse.demo_id('campaign', 0),
       case when n % 2 = 0 then rowhouse.demo_id('person', 1 + n % greatest(rowhouse.demo_rows() / 4, 5)) end,
       jsonb_build_object('roof', rowhouse.demo_pick(n, 27, array['tile', 'slate', 'metal', 'flat']), 'battery', n % 3 = 0),
       rowhouse.demo_pick(n, 28, array['', 'Left a message.', 'Compares three offers.', 'Bill went up last winter.', 'Neighbour is a customer.']),
       n % 6 = 0,
       timestamptz '2026-11-02 09:00+00' + rowhouse.demo_number(n, 29, 0, 60) * interval '1 day',
       m.ids[1 + n % cardinality(m.ids)],
       timestamptz '2025-11-01 08:00+00' + rowhouse.demo_number(n, 30, 0, 31000000) * interval '1 second',
       rowhouse.demo_pick(n, 31, array['website', 'website', 'referral', 'phone', 'fair'])
from generate_series(1, greatest(rowhouse.demo_rows() * 3 / 10, 5)) n
cross join (select coalesce(nullif(array_agg(user_id order by user_id), '{}'), array[null::uuid]) as ids from rowhouse.members) m
on conflict do nothing;

insert into projects (id, name, stage_id, person_id, lead_id, panel_model_id, panel_count, price, site_address, survey_at, installed_on, is_public, owner_id, created_at)
select rowhouse.demo_id('project', n),
       rowhouse.demo_pick(n, 40, array['Rooftop', 'Carport', 'Garden array', 'Barn roof', 'Flat roof']) || ' ' || n,
       rowhouse.demo_id('stage', rowhouse.demo_number(n, 41, 1, 8)),
       rowhouse.demo_id('person', 1 + n % greatest(rowhouse.demo_rows() / 4, 5)),
       case when n % 2 = 0 then rowhouse.demo_id('lead', 1 + n % greatest(rowhouse.demo_rows() * 3 / 10, 5)) end,
       ('5a000000-0000-8000-a000-00000000000' || rowhouse.demo_number(n, 42, 1, 5))::uuid,
       rowhouse.demo_number(n, 43, 8, 60)::integer,
       rowhouse.demo_number(n, 43, 8, 60) * 420,
       n || ' ' || rowhouse.demo_pick(n, 44, array['Elm Street', 'Lake Road', 'Mill Lane', 'Hill Avenue', 'Park Way']),
       timestamptz '2026-03-01 09:00+00' + rowhouse.demo_number(n, 45, 0, 200) * interval '1 day',
       case when rowhouse.demo_number(n, 41, 1, 8) >= 6 then date '2026-10-01' + (n % 28)::integer end,
       n % 8 = 0,
       m.ids[1 + n % cardinality(m.ids)],
       timestamptz '2025-11-01 08:00+00' + rowhouse.demo_number(n, 46, 0, 31000000) * interval '1 second'
from generate_series(1, greatest(rowhouse.demo_rows() * 3 / 20, 4)) n
cross join (select coalesce(nullif(array_agg(user_id order by user_id), '{}'), array[null::uuid]) as ids from rowhouse.members) m
on conflict do nothing;

insert into proposals (id, title, project_id, status, amount, valid_until, owner_id)
select rowhouse.demo_id('proposal', n),
       'Offer ' || n,
       rowhouse.demo_id('project', n),
       rowhouse.demo_pick(n, 50, array['draft', 'sent', 'sent', 'accepted', 'rejected']),
       rowhouse.demo_number(n, 43, 8, 60) * 420,
       date '2026-12-31',
       m.ids[1 + n % cardinality(m.ids)]
from generate_series(1, greatest(rowhouse.demo_rows() / 10, 3)) n
cross join (select coalesce(nullif(array_agg(user_id order by user_id), '{}'), array[null::uuid]) as ids from rowhouse.members) m
on conflict do nothing;

insert into appointments (id, subject, kind, status, starts_at, location, project_id, owner_id)
select rowhouse.demo_id('appointment', n),
       rowhouse.demo_pick(n, 60, array['Call back', 'Measure the roof', 'Install panels', 'Inspection with the grid operator']),
       rowhouse.demo_pick(n, 60, array['call', 'site_survey', 'installation', 'inspection']),
       case when n % 3 = 0 then 'planned' else 'done' end,
       timestamptz '2026-11-01 08:00+00' + (n % 40 - 20) * interval '1 day' + (n % 9) * interval '1 hour',
       rowhouse.demo_pick(n, 61, array['', 'On site', 'By phone', 'Office']),
       rowhouse.demo_id('project', 1 + n % greatest(rowhouse.demo_rows() * 3 / 20, 4)),
       m.ids[1 + n % cardinality(m.ids)]
from generate_series(1, greatest(rowhouse.demo_rows() / 10, 3)) n
cross join (select coalesce(nullif(array_agg(user_id order by user_id), '{}'), array[null::uuid]) as ids from rowhouse.members) m
on conflict do nothing;

insert into tasks (id, subject, status, due_on, project_id, owner_id)
select rowhouse.demo_id('task', n),
       rowhouse.demo_pick(n, 70, array['Send the contract', 'Order panels', 'File the permit', 'Book the crane', 'Write the invoice']),
       case when n % 4 = 0 then 'open' else 'done' end,
       date '2026-11-01' + (n % 60 - 30)::integer,
       rowhouse.demo_id('project', 1 + n % greatest(rowhouse.demo_rows() * 3 / 20, 4)),
       m.ids[1 + n % cardinality(m.ids)]
from generate_series(1, greatest(rowhouse.demo_rows() / 20, 3)) n
cross join (select coalesce(nullif(array_agg(user_id order by user_id), '{}'), array[null::uuid]) as ids from rowhouse.members) m
on conflict do nothing;
