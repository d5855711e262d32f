-- Each new tenant starts with the eight stages and one campaign that hands leads out in turn,
-- among everybody who is there. May run twice: what a tenant has changed since stays changed.
insert into pipeline_stages (id, name, category, position, target_days) values
    (rowhouse.demo_id('stage', 1), 'Lead', 'sales', 1, 10),
    (rowhouse.demo_id('stage', 2), 'Site Survey', 'sales', 2, 14),
    (rowhouse.demo_id('stage', 3), 'Design', 'project_management', 3, 10),
    (rowhouse.demo_id('stage', 4), 'Permitting', 'project_management', 4, 30),
    (rowhouse.demo_id('stage', 5), 'Installation', 'installation', 5, 14),
    (rowhouse.demo_id('stage', 6), 'Inspection', 'installation', 6, 10),
    (rowhouse.demo_id('stage', 7), 'Activation', 'installation', 7, 21),
    (rowhouse.demo_id('stage', 8), 'Complete', 'installation', 8, null)
on conflict do nothing;

insert into campaigns (id, name, status, assignment_type)
values (rowhouse.demo_id('campaign', 0), 'General Leads', 'active', 'round_robin')
on conflict do nothing;

insert into campaign_members (campaign_id, owner_id)
select c.id, m.user_id
from campaigns c cross join rowhouse.members m
where c.id = rowhouse.demo_id('campaign', 0) and m.active
on conflict do nothing;
