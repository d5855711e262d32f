-- A solar company at work, in the year before 2026-11-01. Everything follows from a number n, so
-- that it is the same on every machine, and agrees: a converted lead has a person and a project of
-- the same name, and a project's stage decides which dates, papers and appointments it has.

-- Compiling the large statement below would take longer than the rows of a small demo.
set local jit = off;

with team as materialized (
    select array_agg(user_id order by joined_at, user_id) as ids from rowhouse.members where active
)
insert into organizations (id, name, kind, website, city, status, notes, owner_id, created_at, updated_at)
select rowhouse.demo_id('organization', n),
       place || ' ' || (array['Dairy', 'Logistics', 'School', 'Brewery', 'Clinic', 'Foundry', 'Nursery', 'Hotel',
                              'Apartments', 'Orchard', 'Library', 'Warehouse', 'Bakery', 'Vineyard', 'Supply',
                              'Cold Storage'])[trade]
       || case when n > 256 then ' ' || n / 256 + 1 else '' end,
       (array['farm', 'business', 'public', 'business', 'public', 'business', 'farm', 'business', 'housing', 'farm',
              'public', 'business', 'business', 'farm', 'business', 'business'])[trade],
       'https://' || lower(replace(place, ' ', '-')) || '-' || n || '.example.com',
       rowhouse.demo_pick(n, 3, array['Fresno', 'Boulder', 'Tucson', 'Austin', 'Reno', 'Boise', 'Santa Fe',
                                      'Sacramento']),
       rowhouse.demo_pick(n, 4, array['prospect', 'prospect', 'customer', 'customer', 'customer', 'partner',
                                      'inactive']),
       rowhouse.demo_pick(n, 5, array['', 'Decides in the board meeting each quarter.',
                                      'Wants to lease, not to buy.', 'Large flat roof, no shade.',
                                      'Sends us leads from its members.']),
       team.ids[1 + n % cardinality(team.ids)],
       timestamptz '2025-11-01 08:00+00' + rowhouse.demo_number(n, 6, 0, 15000) * interval '1 minute',
       timestamptz '2026-01-01 08:00+00' + rowhouse.demo_number(n, 7, 0, 430000) * interval '1 minute'
from team
cross join generate_series(1, greatest(rowhouse.demo_rows() / 40, 4)) n
cross join lateral (
    select (array['Riverbend', 'Northside', 'Oak Hill', 'Sunfield', 'Harbour', 'Granite', 'Meadow', 'Copper Creek',
                  'Juniper', 'Mesa Verde', 'Silver Lake', 'Cedar', 'Redstone', 'Valley', 'Bluebird',
                  'Lone Pine'])[1 + n % 16] as place,
           1 + (n + n / 16) % 16 as trade
) o
on conflict do nothing;

with team as materialized (
    select array_agg(user_id order by joined_at, user_id) as ids from rowhouse.members where active
)
insert into campaigns (id, name, status, assignment_type, budget, starts_on, ends_on, owner_id, created_at, updated_at)
select rowhouse.demo_id('campaign', n), name, status, assignment_type, budget, starts_on, ends_on,
       team.ids[1 + n % cardinality(team.ids)], planned_at, planned_at
from team
cross join (values
    (1, 'Winter bills', 'finished', 'round_robin', 4000.00, date '2025-11-15', date '2026-02-28',
     timestamptz '2025-11-04 09:00+00'),
    (2, 'Neighbours bring neighbours', 'active', 'weighted', 2500.00, date '2026-01-10', null,
     timestamptz '2025-12-18 15:00+00'),
    (3, 'County fair', 'finished', 'manual', 6800.00, date '2026-05-20', date '2026-06-08',
     timestamptz '2026-03-02 10:00+00'),
    (4, 'Farm roofs', 'active', 'least_busy', 9000.00, date '2026-08-01', date '2026-12-31',
     timestamptz '2026-06-29 13:00+00'),
    (5, 'Battery upgrade', 'draft', 'round_robin', 3000.00, date '2026-12-01', date '2027-02-28',
     timestamptz '2026-10-20 11:00+00')
) c (n, name, status, assignment_type, budget, starts_on, ends_on, planned_at)
on conflict do nothing;

insert into campaign_members (id, campaign_id, owner_id, weight, created_at)
select rowhouse.demo_id('campaign_member', m.n * 10 + c), rowhouse.demo_id('campaign', c), m.user_id, 1 + m.n % 3,
       timestamptz '2025-11-05 09:00+00'
from (select user_id, row_number() over (order by joined_at, user_id) as n from rowhouse.members where active) m
cross join generate_series(1, 5) c
where (m.n + c) % 3 <> 0
on conflict do nothing;

-- Days are counted from 2026-11-01: a project of age 40 began forty days before.
with team as materialized (
    select array_agg(user_id order by joined_at, user_id) as ids from rowhouse.members where active
),
size as materialized (
    select greatest(rowhouse.demo_rows() * 0.20, 40)::integer as leads,
           greatest(rowhouse.demo_rows() * 0.12, 24)::integer as people,
           greatest(rowhouse.demo_rows() * 0.06, 12)::integer as projects,
           greatest(rowhouse.demo_rows() / 40, 4) as organizations
),
-- Three in seven leads come without a campaign of their own.
campaigns as materialized (
    select array_agg(rowhouse.demo_id('campaign', greatest(c, 0)) order by c) as ids from generate_series(-2, 4) c
),
-- The nth person who asked. The first ones were won: they have a project, whose stage is from 1 to
-- 8. One in sixteen comes back for an extension of the system of the fourth before: same person.
asked as materialized (
    select n, who, stage, age, size.people,
           rowhouse.demo_id('lead', n) as lead_id,
           case when stage is not null or n <= size.people then rowhouse.demo_id('person', who) end as person_id,
           team.ids[1 + who % cardinality(team.ids)] as owner_id,
           given || ' ' || family as full_name,
           family,
           lower(given) || '.' || lower(family) || who || '@example.com' as email,
           -- Picked with one salt from lists of one length: the area code is that of the city.
           '+1 ' || rowhouse.demo_pick(who, 12, array['559', '303', '520', '512', '775', '208', '505', '916'])
           || ' 555 01' || lpad((who % 100)::text, 2, '0') as phone,
           rowhouse.demo_pick(who, 12, array['Fresno', 'Boulder', 'Tucson', 'Austin', 'Reno', 'Boise', 'Santa Fe',
                                             'Sacramento']) as city,
           rowhouse.demo_number(who, 13, 1, 980) || ' '
           || rowhouse.demo_pick(who, 14, array['Elm Street', 'Lake Road', 'Mill Lane', 'Hill Avenue', 'Park Way',
                                                'Canyon Drive', 'Orchard Lane', 'Second Street', 'Juniper Court',
                                                'Ridge Road']) as street,
           case when who % 5 = 0
                then rowhouse.demo_id('organization', 1 + who % size.organizations) end as organization_id
    from size
    cross join team
    cross join generate_series(1, size.leads) n
    cross join lateral (
        select case when n <= size.projects and n % 16 = 9 then n - 4 else n end as who,
               case when n <= size.projects
                    then (array[8, 1, 5, 2, 3, 8, 4, 6, 7, 1, 8, 5, 3, 2, 4, 8])[1 + n % 16] end as stage
        offset 0
    ) w
    cross join lateral (
        select case when stage = 8 then 150 + rowhouse.demo_number(n, 20, 0, 190)
                    when stage < 8 then stage * 12 + rowhouse.demo_number(n, 20, -10, 20)
                    -- More of the recent ones: interest grows.
                    else 1 + rowhouse.demo_number(n, 20, 0, 355) * rowhouse.demo_number(n, 20, 0, 355) / 355 end as age,
               rowhouse.demo_pick(who, 105, array['Maria', 'James', 'Aisha', 'Robert', 'Linh', 'Elena', 'Tom',
                                                  'Priya', 'Carlos', 'Ingrid', 'Noah', 'Zoe', 'Olivia', 'Liam',
                                                  'Emma', 'Mateo', 'Ava', 'Lucas', 'Mia', 'Ethan', 'Sofia', 'Omar',
                                                  'Grace', 'Hugo', 'Nora', 'Samuel', 'Hana', 'Peter', 'Miriam',
                                                  'Walter']) as given,
               rowhouse.demo_pick(who, 11, array['Alvarez', 'Baker', 'Chen', 'Diaz', 'Evans', 'Fischer', 'Garcia',
                                                 'Haddad', 'Iversen', 'Jones', 'Kaur', 'Lopez', 'Moore', 'Nguyen',
                                                 'Olsen', 'Patel', 'Quinn', 'Rossi', 'Silva', 'Turner', 'Ueda',
                                                 'Vega', 'Wolf', 'Young', 'Abbott', 'Bianchi', 'Castillo', 'Dubois',
                                                 'Ellis', 'Novak']) as family
        offset 0
    ) a
),
-- What a project is sold for follows from its panels; the items of the proposal below are the parts
-- of this sum. A system for an organization is larger.
jobs as materialized (
    select n, who, stage, age, owner_id, lead_id, person_id,
           rowhouse.demo_id('project', n) as project_id,
           case when stage > 1 then rowhouse.demo_id('proposal', n) end as proposal_id,
           full_name, family, street || ', ' || city as site_address, organization_id, panels, model, panel_price,
           case when stage > 1 then panels * panel_price + 2400 + 60 * panels + (16 + 2 * panels) * 85
                                    + case when n % 3 = 0 then 6900 else 0 end else 0 end as price,
           case when stage = 8 then 'done'
                when stage <= 2 and n % 17 = 0 then 'cancelled'
                when n % 11 = 0 then 'on_hold'
                else 'active' end as status,
           date '2026-11-01' - age::integer as began_on,
           timestamptz '2026-11-01 00:00+00' - age * interval '24 hours' as began_at,
           rowhouse.demo_number(n, 21, 0, 4)::integer as jitter
    from asked
    cross join lateral (
        select case when organization_id is null then 8 + 2 * rowhouse.demo_number(n, 22, 0, 16)
                    else 60 + 20 * rowhouse.demo_number(n, 22, 0, 12) end as panels,
               1 + n % 5 as model,
               (array[142, 158, 149, 171, 163])[1 + n % 5] as panel_price
        offset 0
    ) p
    where stage is not null
),
new_people as (
    insert into people (id, full_name, email, phone, street, city, birthday, organization_id, tags, notes, is_public,
                        owner_id, created_at, updated_at)
    select person_id, full_name, email, phone, street, city,
           date '1948-01-01' + rowhouse.demo_number(n, 30, 0, 20000)::integer,
           organization_id,
           case n % 7 when 1 then array['newsletter'] when 3 then array['referrer', 'newsletter']
                when 5 then array['homeowner'] else '{}' end,
           ltrim(rowhouse.demo_pick(n, 31, array['', '', 'Prefers calls in the evening.', 'Wants a battery as well.',
                                                 'Asked for references nearby.', 'Has a slate roof.',
                                                 'Drives an electric car.', 'Reads every line of a contract.'])
           || case when n % 3 = 0 then ' Please write, do not call.' else '' end),
           n % 5 <> 4, owner_id,
           timestamptz '2026-11-01 06:30+00' - age * interval '24 hours',
           timestamptz '2026-10-31 07:00+00' - age / 2 * interval '24 hours'
    from asked
    where n <= people and who = n
    on conflict do nothing
),
new_leads as (
    insert into leads (id, full_name, email, phone, city, status, temperature, monthly_bill, roof_area, campaign_id,
                       person_id, details, notes, lost_reason, is_public, follow_up_at, converted_at, owner_id,
                       created_at, updated_at, source)
    select lead_id, full_name, email, phone, city, status,
           (case when stage is not null then rowhouse.demo_pick(n, 40, array['warm', 'hot'])
                 when status = 'lost' then 'cold'
                 else rowhouse.demo_pick(n, 40, array['cold', 'warm', 'warm', 'hot', 'hot']) end)::lead_temperature,
           rowhouse.demo_number(n, 41, 6000, 42000) / 100.0,
           rowhouse.demo_number(n, 42, 40, 440) / 2.0,
           campaigns.ids[rowhouse.demo_number(n, 43, 1, 7)],
           case when stage is not null or (n <= people and n % 3 = 0) then person_id end,
           jsonb_build_object('roof', rowhouse.demo_pick(n, 44, array['tile', 'slate', 'metal', 'flat']),
                              'battery', n % 3 = 0, 'owns_home', n % 8 <> 1),
           ltrim(rowhouse.demo_pick(n, 45, array['', 'Left a message.', 'Compares three offers.',
                                                 'The bill went up last winter.', 'Neighbour is a customer.',
                                                 'Saw us at the fair.', 'Asks about tax credits.'])
           || rowhouse.demo_pick(n, 46, array['', '', ' Call after five.', ' Spouse decides too.',
                                              ' Wants to start in spring.'])),
           case when status = 'lost'
                then rowhouse.demo_pick(n, 47, array['price', 'competitor', 'roof', 'financing', 'no_answer',
                                                     'no_answer']) end,
           n % 6 = 0,
           case when status in ('new', 'contacted', 'qualified')
                then timestamptz '2026-11-02 15:00+00' + rowhouse.demo_number(n, 48, 0, 21) * interval '24 hours'
                     + rowhouse.demo_number(n, 49, 0, 16) * interval '30 minutes' end,
           case when stage is not null then timestamptz '2026-11-01 07:00+00' - age * interval '24 hours' end,
           owner_id, created_at,
           created_at + rowhouse.demo_number(n, 49, 5, 600) * interval '1 minute',
           rowhouse.demo_pick(n, 50, array['website', 'website', 'website', 'referral', 'referral', 'phone', 'fair'])
    from campaigns
    cross join asked
    cross join lateral (
        select case when stage is not null then 'converted'
                    when age < 14 then rowhouse.demo_pick(n, 51, array['new', 'new', 'new', 'contacted'])
                    when age < 70
                    then rowhouse.demo_pick(n, 51, array['new', 'contacted', 'contacted', 'qualified', 'qualified',
                                                         'lost'])
                    else rowhouse.demo_pick(n, 51, array['lost', 'lost', 'lost', 'contacted', 'qualified'])
               end as status,
               timestamptz '2026-10-31 08:00+00'
               - (age + case when stage is not null then rowhouse.demo_number(n, 52, 4, 14) else 0 end)
               * interval '24 hours'
               + rowhouse.demo_number(n, 53, 0, 700) * interval '1 minute' as created_at
        offset 0
    ) l
    on conflict do nothing
),
new_projects as (
    insert into projects (id, name, stage_id, stage_entered_at, status, person_id, organization_id, lead_id,
                          parent_id, panel_model_id, panel_count, equipment, price, payment_plan, site_address,
                          survey_at, contract_signed_on, installed_on, activated_on, notes, is_public, owner_id,
                          created_at, updated_at)
    select project_id,
           family || case when who <> n then ' extension'
                          else rowhouse.demo_pick(n, 60, array[' rooftop', ' rooftop', ' carport', ' garden array',
                                                               ' barn roof', ' flat roof']) end,
           rowhouse.demo_id('stage', stage),
           began_at + (9 + (stage - 1) * 12 * 24 + case when stage = 8 then 20 * 24 else 0 end) * interval '1 hour',
           status,
           person_id, organization_id, lead_id,
           case when who <> n then rowhouse.demo_id('project', who) end,
           case when stage > 1 then ('5a000000-0000-8000-a000-00000000000' || model)::uuid end,
           case when stage > 1 then panels else 0 end,
           case when stage > 1
                then jsonb_build_object('inverter', case when panels < 24 then 'HX-6' else 'HX-12' end,
                                        'battery', n % 3 = 0)
                else '{}' end,
           price,
           rowhouse.demo_pick(n, 61, array['cash', 'cash', 'loan', 'loan', 'lease']),
           site_address,
           case when stage = 2
                then timestamptz '2026-11-02 15:00+00' + rowhouse.demo_number(n, 62, 0, 9) * interval '24 hours'
                when stage > 2 then began_at + (15 + (8 + jitter) * 24) * interval '1 hour' end,
           case when stage > 2 then began_on + 20 + jitter end,
           case when stage > 5 then began_on + 52 + jitter end,
           case when stage > 7 then began_on + 90 + jitter end,
           rowhouse.demo_pick(n, 63, array['', 'Crane needed for the north side.', 'Meter box is in the garage.',
                                           'Two strings, one to the west.', 'Dog in the yard, ring first.',
                                           'Roof was renewed in 2019.']),
           n % 8 = 0, owner_id,
           began_at + interval '9 hours',
           began_at + (9 + (stage * 12 - 11) * 24) * interval '1 hour'
    from jobs
    on conflict do nothing
),
new_project_people as (
    insert into project_people (id, project_id, person_id, role, created_at)
    select rowhouse.demo_id('project_person', n), project_id, person_id, 'homeowner',
           began_at + interval '9 hours'
    from jobs
    union all
    -- The second one is somebody who has no project of their own.
    select rowhouse.demo_id('project_person', -n), project_id,
           rowhouse.demo_id('person', size.projects + 1 + n % (size.people - size.projects)),
           rowhouse.demo_pick(n, 64, array['co_owner', 'co_owner', 'architect', 'electrician', 'neighbour']),
           began_at + (10 + 3 * 24) * interval '1 hour'
    from size
    cross join jobs
    where stage > 2 and n % 4 = 0
    on conflict do nothing
),
new_proposals as (
    insert into proposals (id, title, project_id, status, amount, valid_until, owner_id, created_at, updated_at)
    select proposal_id,
           panels || ' panels for ' || full_name,
           project_id,
           case when stage > 2 then 'accepted' when status = 'cancelled' then 'rejected'
                when n % 2 = 0 then 'sent' else 'draft' end,
           price,
           began_on + 60,
           owner_id,
           began_at + (16 + (9 + jitter) * 24) * interval '1 hour',
           began_at + (17 + case when stage > 2 then 20 + jitter else 9 + jitter end * 24) * interval '1 hour'
    from jobs
    where stage > 1
    on conflict do nothing
),
new_proposal_items as (
    insert into proposal_items (id, proposal_id, position, description, quantity, unit_price, created_at)
    select rowhouse.demo_id('proposal_item', n * 4::bigint + i.position), proposal_id, i.position, i.description,
           i.quantity, i.unit_price, began_at + (16 + (9 + jitter) * 24) * interval '1 hour'
    from jobs
    cross join lateral (values
        (1, 'Panels', panels, panel_price),
        (2, 'Inverter, rails and cables', 1, 2400 + 60 * panels),
        (3, 'Installation, hours', 16 + 2 * panels, 85),
        (4, 'Battery, 10 kWh', 1, 6900)
    ) i (position, description, quantity, unit_price)
    where stage > 1 and (i.position < 4 or n % 3 = 0)
    on conflict do nothing
),
new_permits as (
    insert into permits (id, project_id, kind, authority, number, status, fee, submitted_on, decided_on, created_at,
                         updated_at)
    select rowhouse.demo_id('permit', n), project_id,
           rowhouse.demo_pick(n, 70, array['building', 'building', 'electrical', 'grid_connection']),
           rowhouse.demo_pick(n, 71, array['City building department', 'County planning office',
                                           'State electrical board']),
           case when stage > 4 or n % 2 = 0 then 'PV-' || 26000 + n end,
           case when stage > 4 then 'approved' when n % 2 = 0 then 'submitted' else 'preparing' end,
           rowhouse.demo_number(n, 72, 8, 42) * 10,
           case when stage > 4 or n % 2 = 0 then began_on + 36 end,
           case when stage > 4 then began_on + 41 + jitter end,
           began_at + (11 + 35 * 24) * interval '1 hour',
           began_at + (11 + case when stage > 4 then 45 else 36 end * 24) * interval '1 hour'
    from jobs
    where stage > 3
    on conflict do nothing
),
new_appointments as (
    insert into appointments (id, subject, kind, status, starts_at, duration, location, project_id, owner_id,
                              created_at, updated_at)
    select rowhouse.demo_id('appointment', n), 'Measure the roof of ' || full_name, 'site_survey',
           case when stage > 2 then 'done' when status = 'cancelled' then 'cancelled' else 'planned' end,
           case when stage > 2 then began_at + (15 + (8 + jitter) * 24) * interval '1 hour'
                else timestamptz '2026-11-02 15:00+00' + rowhouse.demo_number(n, 62, 0, 9) * interval '24 hours' end,
           interval '90 minutes', site_address, project_id, owner_id,
           began_at + interval '10 hours', began_at + interval '11 hours'
    from jobs
    where stage > 1
    union all
    select rowhouse.demo_id('appointment', -n), 'Install ' || panels || ' panels', 'installation',
           case when stage > 5 then 'done' else 'planned' end,
           case when stage > 5 then began_at + (14 + (52 + jitter) * 24) * interval '1 hour'
                else timestamptz '2026-11-03 14:00+00' + rowhouse.demo_number(n, 65, 0, 14) * interval '24 hours' end,
           interval '8 hours', site_address, project_id, owner_id,
           began_at + (10 + 44 * 24) * interval '1 hour', began_at + (10 + 45 * 24) * interval '1 hour'
    from jobs
    where stage > 4
    on conflict do nothing
),
-- Each project has the task of its stage open, and that of the stage before done.
new_tasks as (
    insert into tasks (id, subject, status, priority, due_on, done_at, project_id, owner_id, created_at, updated_at)
    select rowhouse.demo_id('task', n * 2::bigint + step - stage),
           (array['Call back and qualify', 'Send the offer', 'Finish the string plan', 'File the permit',
                  'Order panels and book the crane', 'Meet the inspector', 'Ask the grid operator for the meter',
                  'Write the final invoice'])[step],
           case when step < stage or stage = 8 then 'done' else 'open' end,
           case when status = 'on_hold' then 'low'
                else rowhouse.demo_pick(n, 66, array['normal', 'normal', 'high']) end,
           began_on + step * 12 + jitter,
           case when step < stage or stage = 8 then began_at + (16 + step * 11 * 24) * interval '1 hour' end,
           project_id, owner_id,
           began_at + (9 + (step - 1) * 10 * 24) * interval '1 hour',
           began_at + (16 + case when step < stage or stage = 8 then step * 11 else (step - 1) * 10 end * 24)
                    * interval '1 hour'
    from jobs
    cross join lateral generate_series(greatest(stage - 1, 1), stage) step
    where status <> 'cancelled'
    on conflict do nothing
),
new_documents as (
    insert into documents (id, project_id, kind, file_name, content_type, size_bytes, storage_key, status,
                           expires_on, owner_id, created_at, updated_at)
    select rowhouse.demo_id('document', n), project_id,
           kind,
           replace(kind, '_', '-') || '-' || lower(family) || case when kind = 'photo' then '.jpg' else '.pdf' end,
           case when kind = 'photo' then 'image/jpeg' else 'application/pdf' end,
           rowhouse.demo_number(n, 81, 40000, 6000000),
           'documents/' || n,
           case when stage = 3 then 'in_review' else 'approved' end,
           case when kind = 'permit' then began_on + 730 end,
           owner_id,
           began_at + (12 + 21 * 24) * interval '1 hour', began_at + (12 + 22 * 24) * interval '1 hour'
    from jobs
    cross join lateral (
        select case when stage > 5 and n % 3 = 0 then 'inspection_report' when stage > 4 and n % 2 = 0 then 'permit'
                    else rowhouse.demo_pick(n, 80, array['contract', 'contract', 'site_plan', 'photo']) end as kind
    ) k
    where stage > 2
    on conflict do nothing
),
new_notes as (
    insert into notes (id, body, is_pinned, lead_id, project_id, owner_id, created_at, updated_at)
    select rowhouse.demo_id('note', n),
           rowhouse.demo_pick(n, 90, array['Spoke on the phone.', 'Met on site.', 'Answered by mail.',
                                           'Dropped by without an appointment.'])
           || rowhouse.demo_pick(n, 91, array[' Likes the offer, wants to think about the battery.',
                                              ' Asks for a second drawing with more panels to the west.',
                                              ' Bank has agreed to the loan.',
                                              ' Shade from the oak in the afternoon is worse than we thought.',
                                              ' Happy with the crew.', ' Wants to know how long the inverter lasts.'])
           || rowhouse.demo_pick(n, 92, array['', ' Call again next week.', ' Nothing to do for now.']),
           n % 20 = 0,
           case when stage is null then lead_id end,
           case when stage is not null then rowhouse.demo_id('project', n) end,
           owner_id,
           timestamptz '2026-10-31 11:00+00' - age / 2 * interval '24 hours',
           timestamptz '2026-10-31 11:00+00' - age / 2 * interval '24 hours'
    from asked
    where n % 4 = 0
    on conflict do nothing
)
insert into commissions (id, project_id, owner_id, base_amount, percent, status, paid_on, created_at, updated_at)
select rowhouse.demo_id('commission', n), project_id, owner_id, price,
       case when organization_id is null then 5 else 2.5 end,
       case when stage = 8 then 'paid' when stage > 4 then 'approved' else 'pending' end,
       case when stage = 8 then began_on + 100 + jitter end,
       began_at + (13 + (20 + jitter) * 24) * interval '1 hour',
       began_at + (13 + (21 + jitter) * 24) * interval '1 hour'
from jobs
where stage > 2
on conflict do nothing;
