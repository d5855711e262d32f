-- Each new team starts with one project to try things on and a workflow that deploys what is pushed.
-- May run twice: what a team has changed since stays changed.
insert into projects (id, name, description, topics)
values (rowhouse.demo_id('project', 0), 'hello-world', 'A first project. Rename it, or delete it.', array['example'])
on conflict do nothing;

insert into workflows (id, name, description, status, config)
values (rowhouse.demo_id('workflow', 0), 'Deploy on push', 'Builds, tests and deploys the main branch.', 'active', '{
    "trigger": {"type": "push", "branch": "main"},
    "steps": [
        {"id": "build", "name": "Build", "type": "command", "config": {"run": "make build"}, "nextSteps": ["test"]},
        {"id": "test", "name": "Test", "type": "command", "config": {"run": "make test"}, "nextSteps": ["deploy"]},
        {"id": "deploy", "name": "Deploy", "type": "deploy", "config": {"environment": "production"}, "nextSteps": []}
    ]
}')
on conflict do nothing;
