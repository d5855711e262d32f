-- A team that deploys often: most rows are deployments and runs of workflows.
insert into projects (id, name, repository, labels, owner_id)
select rowhouse.demo_id('project', n),
       rowhouse.demo_pick(n, 1, array['checkout', 'search', 'gateway', 'mailer', 'reports', 'mobile']) || '-' || n,
       'git.example.com/team/' || n,
       case when n % 2 = 0 then array['backend'] else array['frontend', 'public'] end,
       m.ids[1 + n % cardinality(m.ids)]
from generate_series(1, greatest(rowhouse.demo_rows() / 50, 3)) n
cross join (select coalesce(nullif(array_agg(user_id order by user_id), '{}'), array[null::uuid]) as ids from rowhouse.members) m
on conflict do nothing;

insert into environments (id, project_id, name, variables)
select rowhouse.demo_id('environment', n), rowhouse.demo_id('project', n), 'production', jsonb_build_object('REPLICAS', 1 + n % 3)
from generate_series(1, greatest(rowhouse.demo_rows() / 50, 3)) n
on conflict do nothing;

insert into deployments (id, project_name, project_id, environment_id, status, url, commit_message, duration_ms, cost, owner_id, created_at)
select rowhouse.demo_id('deployment', n),
       rowhouse.demo_pick(p.k, 1, array['checkout', 'search', 'gateway', 'mailer', 'reports', 'mobile']) || '-' || p.k,
       rowhouse.demo_id('project', p.k),
       rowhouse.demo_id('environment', p.k),
       rowhouse.demo_pick(n, 10, array['active', 'active', 'active', 'failed', 'rolled_back', 'building']),
       'https://d' || n || '.example.com',
       rowhouse.demo_pick(n, 11, array['Fix the date of invoices', 'Add retries', 'Update dependencies', 'Speed up the first page', 'Revert the banner']),
       rowhouse.demo_number(n, 12, 12000, 240000),
       rowhouse.demo_number(n, 12, 12000, 240000) / 100000.0,
       m.ids[1 + n % cardinality(m.ids)],
       timestamptz '2025-11-01 08:00+00' + rowhouse.demo_number(n, 13, 0, 31000000) * interval '1 second'
from generate_series(1, greatest(rowhouse.demo_rows() * 3 / 5, 8)) n
cross join lateral (select 1 + n % greatest(rowhouse.demo_rows() / 50, 3) as k) p
cross join (select coalesce(nullif(array_agg(user_id order by user_id), '{}'), array[null::uuid]) as ids from rowhouse.members) m
on conflict do nothing;

insert into workflow_runs (id, workflow_id, deployment_id, status, log)
select rowhouse.demo_id('run', n), rowhouse.demo_id('workflow', 0), rowhouse.demo_id('deployment', n),
       rowhouse.demo_pick(n, 20, array['succeeded', 'succeeded', 'succeeded', 'failed']),
       rowhouse.demo_pick(n, 21, array['built, tested, deployed', 'built, tested, deployed', 'a test failed'])
from generate_series(1, greatest(rowhouse.demo_rows() * 7 / 20, 5)) n
on conflict do nothing;
