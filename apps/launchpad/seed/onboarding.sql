-- Each team starts with one workflow that deploys what is pushed.
insert into workflows (id, name, status, config)
values (rowhouse.demo_id('workflow', 0), 'Deploy on push', 'active', '{"trigger": "push", "steps": ["build", "test", "deploy"]}')
on conflict do nothing;
