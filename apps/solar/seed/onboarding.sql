-- Each new tenant starts with the eight stages and one campaign that hands leads out in turn.
insert into pipeline_stages (id, name, category, position) values
    (rowhouse.demo_id('stage', 1), 'Lead', 'sales', 1),
    (rowhouse.demo_id('stage', 2), 'Site Survey', 'sales', 2),
    (rowhouse.demo_id('stage', 3), 'Design', 'project_management', 3),
    (rowhouse.demo_id('stage', 4), 'Permitting', 'project_management', 4),
    (rowhouse.demo_id('stage', 5), 'Installation', 'installation', 5),
    (rowhouse.demo_id('stage', 6), 'Inspection', 'installation', 6),
    (rowhouse.demo_id('stage', 7), 'Activation', 'installation', 7),
    (rowhouse.demo_id('stage', 8), 'Complete', 'installation', 8)
on conflict do nothing;

insert into campaigns (id, name, status, assignment_type)
values (rowhouse.demo_id('campaign', 0), 'General Leads', 'active', 'round_robin')
on conflict do nothing;
