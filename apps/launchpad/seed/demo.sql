-- A team that deploys often, in the year before the evening of 2026-10-31, more and more towards its
-- end. Everything follows from a number n, so that it is the same on every machine, and agrees: each
-- environment has one deployment that is active, its checks and runs fit its status, and what was
-- rolled back has an incident and a deployment that took it back.

-- Compiling the large statement below would take longer than the rows of a small demo.
set local jit = off;

with team as materialized (
    select array_agg(user_id order by joined_at, user_id) as ids from rowhouse.members where active
),
size as materialized (
    select projects, 3 * projects as environments,
           greatest(rows * 0.30, 60)::integer as deployments,
           greatest(rows * 0.30 / 300, 1)::integer as unfinished,
           5 * projects as workflows,
           greatest(rows * 0.20, 40)::integer as runs
    from (select rowhouse.demo_rows() as rows, greatest(rowhouse.demo_rows() / 100, 4) as projects) s
),
named as materialized (
    select n, rowhouse.demo_id('project', n) as project_id, team.ids[1 + n % cardinality(team.ids)] as owner_id,
           (array['checkout', 'search', 'gateway', 'mailer', 'reports', 'mobile-web', 'billing', 'handbook',
                  'image-resizer', 'sign-in', 'inventory', 'price-list', 'status-page', 'newsletter',
                  'warehouse-sync', 'chat'])[1 + n % 16]
           || case when n >= 16 then '-' || 1 + n / 16 else '' end as name
    from size
    cross join team
    cross join generate_series(1, size.projects) n
),
new_projects as (
    insert into projects (id, name, description, repository, status, topics, monthly_budget, is_public, owner_id,
                          created_at, updated_at)
    select project_id, name,
           rowhouse.demo_pick(n, 1, array['What customers see first.', 'Runs every night.',
                                          'Used by three other projects.', 'To be replaced next year.',
                                          'Small, and rarely changed.']),
           'https://git.example.com/team/' || name,
           case when n % 13 = 0 then 'paused' else 'active' end,
           case n % 4 when 0 then array['backend'] when 1 then array['frontend', 'public']
                when 2 then array['backend', 'critical'] else '{}' end,
           case when n % 3 = 0 then rowhouse.demo_number(n, 2, 2, 40) * 25 end,
           n % 7 <> 0,
           owner_id,
           timestamptz '2025-10-20 09:00+00' + rowhouse.demo_number(n, 3, 0, 12000) * interval '1 minute',
           timestamptz '2025-11-10 09:00+00' + rowhouse.demo_number(n, 4, 0, 500000) * interval '1 minute'
    from named
    on conflict do nothing
),
new_members as (
    insert into project_members (id, project_id, owner_id, access, created_at)
    select rowhouse.demo_id('project_member', n * 2::bigint + k), project_id,
           team.ids[1 + (n + k) % cardinality(team.ids)],
           case k when 0 then 'administer' else 'deploy' end, timestamptz '2025-11-01 09:00+00'
    from team
    cross join named
    cross join generate_series(0, 1) k
    where team.ids is not null
    on conflict do nothing
),
-- Three environments of each project.
places as materialized (
    select k * projects + n as n, n as project, project_id, name as project_name,
           rowhouse.demo_id('environment', k * projects + n) as environment_id,
           (array['production', 'staging', 'preview'])[1 + k] as kind
    from size
    cross join named
    cross join generate_series(0, 2) k
),
new_environments as (
    insert into environments (id, project_id, name, kind, region_id, copied_from_id, variables, is_protected,
                              created_at, updated_at)
    select environment_id, project_id, kind, kind,
           ('1a000000-0000-8000-a000-00000000000' || 1 + project % 7)::uuid,
           case when kind <> 'production' then rowhouse.demo_id('environment', project) end,
           jsonb_build_object('REPLICAS', case kind when 'production' then 2 + project % 4 else 1 end,
                              'LOG_LEVEL', case kind when 'production' then 'info' else 'debug' end),
           kind = 'production',
           timestamptz '2025-10-29 10:00+00' + n % 3 * interval '1 hour',
           timestamptz '2025-10-29 10:00+00' + n % 7 * interval '24 hours'
    from places
    on conflict do nothing
),
new_domains as (
    insert into domains (id, environment_id, host, status, verification_token, verified_at, certificate_expires_on,
                         created_at, updated_at)
    select rowhouse.demo_id('domain', n), environment_id,
           case kind when 'production' then 'www.' else 'staging.' end || project_name || '.example.com',
           case when n % 9 = 0 then 'pending' else 'active' end,
           md5('domain' || n),
           case when n % 9 <> 0 then timestamptz '2025-10-30 12:00+00' + n % 20 * interval '24 hours' end,
           case when n % 9 <> 0 then date '2026-11-05' + n % 80 end,
           timestamptz '2025-10-30 11:00+00', timestamptz '2025-10-30 12:00+00' + n % 20 * interval '24 hours'
    from places
    where kind = 'production' or (kind = 'staging' and project % 3 = 0)
    on conflict do nothing
),
-- Deployments go round the environments, the highest n last. So the one before in the same
-- environment is n - environments, and the last of each is what is active, unless it is unfinished.
-- One in forty is rolled back by the next one in its environment.
rollouts as materialized (
    select s.n, rowhouse.demo_id('deployment', s.n) as deployment_id, p.project_name, p.project_id, p.environment_id,
           p.kind, p.project, s.environments, s.takes_back, s.status, s.began_at,
           (case when s.takes_back then 'rollback' when p.kind = 'staging' and s.n % 5 = 0 then 'schedule'
                 else rowhouse.demo_pick(s.n, 13, array['push', 'push', 'push', 'push', 'manual', 'api'])
            end)::run_trigger as trigger,
           rowhouse.demo_number(s.n, 10, 18000, 260000) as duration_ms,
           team.ids[1 + (p.project + s.n / s.environments) % cardinality(team.ids)] as owner_id
    from (
        select n, size.environments, takes_back,
               timestamptz '2026-10-31 18:00+00'
               - interval '1 minute' * ((size.deployments - n)::float8 / size.deployments) ^ 2 * 520000 as began_at,
               case when left_over < size.unfinished then case when left_over % 3 = 2 then 'pending' else 'building' end
                    when left_over < size.unfinished + size.environments then 'active'
                    when takes_back then 'superseded'
                    when goes_wrong then 'rolled_back'
                    else rowhouse.demo_pick(n, 11, array['superseded', 'superseded', 'superseded', 'superseded',
                                                         'superseded', 'superseded', 'superseded', 'superseded',
                                                         'superseded', 'failed', 'failed', 'cancelled']) end as status
        from size
        cross join generate_series(1, size.deployments) n
        cross join lateral (
            select size.deployments - n as left_over,
                   wrong and not wrong_before as goes_wrong,
                   size.deployments - n >= size.unfinished and wrong_before and not wrong_twice_before as takes_back
            from (
                select rowhouse.demo_number(n, 12, 1, 40) = 1 as wrong,
                       n > size.environments
                       and rowhouse.demo_number(n - size.environments, 12, 1, 40) = 1 as wrong_before,
                       n > 2 * size.environments
                       and rowhouse.demo_number(n - 2 * size.environments, 12, 1, 40) = 1 as wrong_twice_before
                offset 0
            ) g
            offset 0
        ) w
    ) s
    join places p on p.n = 1 + s.n % s.environments
    cross join team
),
new_deployments as (
    insert into deployments (id, project_name, status, url, project_id, environment_id, rollback_of_id, trigger,
                             branch, commit_sha, commit_message, cost, duration_ms, scheduled_at, started_at,
                             finished_at, owner_id, created_at, updated_at, release_notes)
    select deployment_id, project_name, status,
           case when status in ('active', 'superseded', 'rolled_back')
                then 'https://' || project_name || case kind when 'production' then '' else '-' || kind end
                    || '.apps.example.com' end,
           project_id, environment_id,
           case when takes_back then rowhouse.demo_id('deployment', n - environments) end,
           trigger,
           case when kind = 'preview'
                then rowhouse.demo_pick(n, 14, array['feature/', 'fix/', 'try/'])
                     || rowhouse.demo_pick(n, 15, array['login', 'retries', 'cache', 'dark-mode', 'exports'])
                else 'main' end,
           left(md5(n::text), 12),
           case when takes_back then 'Take back the last deployment'
                else rowhouse.demo_pick(n, 16, array['Fix', 'Speed up', 'Rework', 'Test', 'Document', 'Simplify'])
                     || ' ' || rowhouse.demo_pick(n, 17, array['the login form', 'retries of outgoing mail',
                                                        'the search index', 'dates on invoices', 'the export to CSV',
                                                        'the cache of prices', 'uploads of large files',
                                                        'the start page', 'error messages', 'the health check']) end,
           case when status in ('pending', 'building') then 0 else duration_ms * 0.00002 end,
           case when status not in ('pending', 'building') then duration_ms end,
           case when trigger = 'schedule' then began_at end,
           case when status <> 'pending' then began_at + interval '4 seconds' end,
           case when status not in ('pending', 'building')
                then began_at + interval '4 seconds' + duration_ms * interval '1 millisecond' end,
           owner_id, began_at,
           case when status in ('pending', 'building') then began_at + interval '4 seconds'
                else began_at + interval '5 seconds' + duration_ms * interval '1 millisecond' end,
           case when kind = 'production' and n % 4 = 0
                then rowhouse.demo_pick(n, 18, array['Nothing that customers notice.', 'Pages load faster.',
                                                     'Exports contain the tax number.',
                                                     'Please sign in again after this.']) end
    from rollouts
    on conflict do nothing
),
new_checks as (
    insert into deployment_checks (id, deployment_id, name, status, summary, duration_ms, created_at, updated_at)
    select rowhouse.demo_id('check', n * 2::bigint + k), deployment_id, case k when 0 then 'tests' else 'audit' end,
           check_status,
           case check_status
                when 'passed'
                then case k when 0 then rowhouse.demo_number(n, 20, 120, 900) || ' tests passed'
                            else 'No known faults in dependencies' end
                when 'failed' then rowhouse.demo_number(n, 21, 1, 9) || ' tests failed'
                else '' end,
           case when check_status in ('passed', 'failed') then duration_ms / 3 end,
           began_at + interval '6 seconds', began_at + interval '6 seconds'
    from rollouts
    cross join generate_series(0, 1) k
    cross join lateral (
        select case status when 'pending' then 'pending' when 'building' then 'running' when 'cancelled' then 'skipped'
                           when 'failed' then case k when 0 then 'failed' else 'passed' end
                           else 'passed' end as check_status
    ) c
    where k = 0 or n % 3 = 0
    on conflict do nothing
),
-- The first workflow of each project deploys it; the others are its chores.
new_workflows as (
    insert into workflows (id, name, description, status, config, project_id, next_run_at, owner_id, created_at,
                           updated_at)
    select rowhouse.demo_id('workflow', n), k.name, k.description,
           case when k.kind > 0 and n % 11 = 0 then 'paused' when k.kind > 0 and n % 7 = 0 then 'draft'
                else 'active' end,
           jsonb_build_object('trigger', k.trigger, 'steps', k.steps),
           rowhouse.demo_id('project', 1 + (n - 1) % size.projects),
           case when n % 11 <> 0 and n % 7 <> 0 then k.next_run_at end,
           team.ids[1 + n % cardinality(team.ids)],
           timestamptz '2025-10-30 13:00+00' + n % 600 * interval '1 minute',
           timestamptz '2025-11-20 13:00+00' + rowhouse.demo_number(n, 30, 0, 490000) * interval '1 minute'
    from size
    cross join team
    cross join generate_series(1, size.workflows) n
    join (values
        (0, 'Deploy on push', 'Builds, tests and deploys the main branch.', null,
         jsonb '{"type": "push", "branch": "main"}',
         jsonb '[{"id": "build", "name": "Build", "type": "command",
                  "config": {"run": "make build"}, "nextSteps": ["test"]},
                 {"id": "test", "name": "Test", "type": "command",
                  "config": {"run": "make test"}, "nextSteps": ["deploy"]},
                 {"id": "deploy", "name": "Deploy", "type": "deploy",
                  "config": {"environment": "production"}, "nextSteps": []}]'),
        (1, 'Nightly backup', 'Copies the database to storage.', timestamptz '2026-11-01 02:00+00',
         jsonb '{"type": "schedule", "cron": "0 2 * * *"}',
         jsonb '[{"id": "copy", "name": "Copy", "type": "command",
                  "config": {"run": "make backup"}, "nextSteps": ["verify"]},
                 {"id": "verify", "name": "Verify", "type": "command",
                  "config": {"run": "make verify"}, "nextSteps": []}]'),
        (2, 'Remove old previews', 'Takes down previews that nobody opened for two weeks.',
         timestamptz '2026-11-02 03:30+00', jsonb '{"type": "schedule", "cron": "30 3 * * 1"}',
         jsonb '[{"id": "sweep", "name": "Sweep", "type": "http",
                  "config": {"method": "DELETE", "path": "/previews?older=14d"}, "nextSteps": []}]'),
        (3, 'Tell the team', 'Writes to the chat when something fails.', null,
         jsonb '{"type": "event", "name": "deployment.failed"}',
         jsonb '[{"id": "message", "name": "Message", "type": "message",
                  "config": {"channel": "deployments"}, "nextSteps": []}]'),
        (4, 'Weekly audit', 'Looks for faults in dependencies.', timestamptz '2026-11-02 05:00+00',
         jsonb '{"type": "schedule", "cron": "0 5 * * 1"}',
         jsonb '[{"id": "audit", "name": "Audit", "type": "command",
                  "config": {"run": "make audit"}, "nextSteps": ["report"]},
                 {"id": "report", "name": "Report", "type": "message",
                  "config": {"channel": "security"}, "nextSteps": []}]')
    ) k (kind, name, description, next_run_at, trigger, steps)
      on k.kind = (n - 1) / size.projects
    on conflict do nothing
),
new_runs as (
    insert into workflow_runs (id, workflow_id, deployment_id, status, trigger, log, started_at, finished_at,
                               created_at, updated_at)
    -- Of the newest deployments.
    select rowhouse.demo_id('run', r.n), rowhouse.demo_id('workflow', r.project), r.deployment_id,
           case when r.status in ('failed', 'cancelled') then r.status when r.status = 'pending' then 'queued'
                when r.status = 'building' then 'running' else 'succeeded' end,
           r.trigger,
           case r.status when 'pending' then ''
                         when 'building' then 'build: started'
                         when 'failed' then E'build: done\ntest: failed, see the check'
                         when 'cancelled' then 'build: cancelled'
                         else E'build: done\ntest: done\ndeploy: done' end,
           case when r.status <> 'pending' then r.began_at + interval '4 seconds' end,
           case when r.status not in ('pending', 'building')
                then r.began_at + interval '4 seconds' + r.duration_ms * interval '1 millisecond' end,
           r.began_at,
           case when r.status in ('pending', 'building') then r.began_at + interval '4 seconds'
                else r.began_at + interval '5 seconds' + r.duration_ms * interval '1 millisecond' end
    from size
    join rollouts r on r.n > size.deployments - size.runs / 2
    union all
    -- And of the chores: backups every night, sweeps and audits every Monday, messages whenever.
    select rowhouse.demo_id('run', -n), rowhouse.demo_id('workflow', workflow), null,
           case when n % 17 = 0 then 'failed' else 'succeeded' end,
           (case kind when 3 then 'api' else 'schedule' end)::run_trigger,
           case when n % 17 = 0 then 'no answer within ten minutes' else 'done' end,
           began_at,
           began_at + case when n % 17 = 0 then 600 else rowhouse.demo_number(n, 40, 5, 590) end * interval '1 second',
           began_at, began_at + interval '10 minutes'
    from size
    cross join generate_series(1, size.runs / 2) n
    cross join lateral (
        select projects + 1 + n % (4 * projects) as workflow, 1 + n % (4 * projects) / projects as kind,
               n / (4 * projects) as times
        offset 0
    ) w
    cross join lateral (
        select case kind when 1 then timestamptz '2026-10-31 02:00+00' - times % 340 * interval '24 hours'
                         when 2 then timestamptz '2026-10-26 03:30+00' - times % 48 * interval '168 hours'
                         when 3 then timestamptz '2026-10-31 12:00+00'
                                     - (times % 170 * 48 + rowhouse.demo_number(n, 41, 0, 40)) * interval '1 hour'
                         else timestamptz '2026-10-26 05:00+00' - times % 48 * interval '168 hours' end
               + n % 50 * interval '1 second' as began_at
        offset 0
    ) b
    on conflict do nothing
)
insert into incidents (id, deployment_id, title, severity, status, report, opened_at, resolved_at, owner_id,
                       created_at, updated_at)
select rowhouse.demo_id('incident', n), rowhouse.demo_id('deployment', n - environments),
       rowhouse.demo_pick(n, 50, array['Pages answer slowly', 'Sign-in fails', 'Mail is not sent',
                                       'Prices are missing', 'Out of memory'])
       || case kind when 'production' then '' else ' on ' || kind end,
       case kind when 'production' then rowhouse.demo_pick(n, 51, array['major', 'critical', 'minor']) else 'minor' end,
       case when finished then 'resolved' else 'investigating' end,
       case when finished
            then rowhouse.demo_pick(n, 52, array['A missing index.', 'A setting was not copied to this environment.',
                                                 'The new library holds on to connections.'])
                               || ' Taken back, then mended.' else '' end,
       began_at - interval '20 minutes',
       case when finished then began_at + interval '6 minutes' end,
       owner_id, began_at - interval '19 minutes',
       case when finished then began_at + interval '30 minutes' else began_at end
from rollouts
cross join lateral (select status not in ('pending', 'building') as finished) f
where takes_back
on conflict do nothing;
