//! Quick requests that share connections: each gets its own answer, whatever the others do.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use rowhouse_postgres::{
    Access, DatabaseError, DatabaseResult, Databases, Location, Row, Statement, SystemConnection, TenantContext, params,
};
use rowhouse_testkit::TestDatabases;
use rowhouse_types::TenantId;

const THINGS: &str = "
    create table app.things (tenant_id uuid not null default rowhouse.tenant_id(), n integer);
    alter table app.things enable row level security;
    create policy tenant on app.things using (tenant_id = rowhouse.tenant_id());
    grant select, insert, update on app.things to test_service;";
/// On which connection a statement ran, and what it was allowed to take.
const WHERE: &str = "select pg_backend_pid(), current_setting('statement_timeout')";
/// The same of a write.
const WRITE: &str =
    "insert into app.things (n) values (0) returning pg_backend_pid(), current_setting('statement_timeout')";
const LANES: usize = 3;
/// Of which a quarter are lanes for writes.
const CONNECTIONS: usize = 8;

struct Ground {
    test: TestDatabases,
    contexts: Vec<TenantContext>,
}

impl Ground {
    /// As many tenants, each with as many things as its number, counted from 1.
    async fn start(tenants: usize) -> Self {
        let test = TestDatabases::start_with(&[], |settings| {
            settings.limits.lanes_max = LANES;
            settings.limits.service_connections_max = CONNECTIONS;
        })
        .await;
        let location = test.databases.pool_location();
        let contexts: Vec<_> =
            (0..tenants).map(|_| test.authorities.tenant.context(TenantId::generate(), location.clone())).collect();
        let ground = Self { test, contexts };
        ground.system().await.batch(THINGS).await.unwrap();
        for (index, context) in ground.contexts.iter().enumerate() {
            let connection = ground.databases().tenant(context).await.unwrap();
            let things = i32::try_from(index + 1).unwrap();
            let sql = "insert into app.things (n) select generate_series(1, $1::integer)";
            connection.run(sql, params![things]).await.unwrap();
        }
        ground
    }

    fn databases(&self) -> &Databases {
        &self.test.databases
    }

    async fn system(&self) -> SystemConnection {
        let location = self.databases().pool_location();
        self.databases().system(&self.test.authorities.system.scope("test"), &location).await.unwrap()
    }

    async fn quick(&self, tenant: usize, sql: &str) -> DatabaseResult<Vec<Row>> {
        self.run(tenant, Access::Read, sql).await
    }

    async fn write(&self, tenant: usize, sql: &str) -> DatabaseResult<Vec<Row>> {
        self.run(tenant, Access::Write, sql).await
    }

    async fn run(&self, tenant: usize, access: Access, sql: &str) -> DatabaseResult<Vec<Row>> {
        let statements = [Statement { sql, params: &[] }];
        let results = self.databases().run_quick(&self.contexts[tenant], access, &statements).await;
        results.map(|mut results| results.remove(0))
    }

    /// On how many connections as many writes at once run, and whether all are a lane's.
    async fn write_everywhere(&self) -> (usize, bool) {
        let all = join_all((0..self.contexts.len()).map(|tenant| self.write(tenant, WRITE))).await;
        let rows: Vec<_> = all.into_iter().map(|rows| rows.unwrap().remove(0)).collect();
        let connections: HashSet<i32> = rows.iter().map(|row| row.get(0)).collect();
        (connections.len(), rows.iter().all(|row| row.get::<_, &str>(1) == "50ms"))
    }

    async fn count(&self, tenant: usize) -> i64 {
        self.quick(tenant, "select count(*) from app.things").await.unwrap()[0].get(0)
    }

    async fn ran(&self, tenant: usize, sql: &str) -> (i32, String) {
        let rows = self.quick(tenant, sql).await.unwrap();
        (rows[0].get(0), rows[0].get(1))
    }
}

#[tokio::test]
async fn many_requests_share_few_connections_and_each_sees_its_own_tenant() {
    let ground = Ground::start(20).await;
    for _ in 0..20 {
        let counts = join_all((0..20).map(|tenant| ground.count(tenant))).await;
        assert_eq!(counts, (1..=20).collect::<Vec<_>>());
    }
    let ran = join_all((0..20).map(|tenant| ground.ran(tenant, WHERE))).await;
    let connections: HashSet<_> = ran.iter().map(|(connection, _)| connection).collect();
    assert!((1..=LANES).contains(&connections.len()), "{ran:?}");
    assert!(ran.iter().all(|(_, timeout)| timeout == "50ms"), "{ran:?}");
    // What is set for a lane's statements stays with them.
    let alone = ground.databases().tenant(&ground.contexts[0]).await.unwrap().run(WHERE, &[]).await.unwrap();
    assert_ne!(alone[0].get::<_, &str>(1), "50ms");
}

#[tokio::test]
async fn over_all_databases_no_more_lanes_are_busy_than_the_server_has_cores_for() {
    let ground = Ground::start(1).await;
    let home = ground.databases().pool_location();
    let mut contexts = Vec::new();
    for number in 0..LANES + 2 {
        let name = format!("lanes_{number}");
        ground.system().await.batch(&format!("create database {name}")).await.unwrap();
        let location = Location::new(&home.cluster, &name, "public");
        contexts.push(ground.test.authorities.tenant.context(TenantId::generate(), location));
    }
    let ran = async |context: &TenantContext| -> i32 {
        let statements = [Statement { sql: WHERE, params: &[] }];
        ground.databases().run_quick(context, Access::Read, &statements).await.unwrap()[0][0].get(0)
    };
    // Each has a lane; then two at once come to each, in turn.
    join_all(contexts.iter().map(&ran)).await;
    let connections = join_all(contexts.iter().flat_map(|context| [context; 2]).map(ran)).await;
    let of_each: Vec<usize> = connections.chunks(2).map(|two| HashSet::<&i32>::from_iter(two).len()).collect();
    assert_eq!(of_each, [2, 2, 1, 1, 1], "a second is opened only while there is a core for it");
}

#[tokio::test]
async fn a_failing_statement_is_its_own_requests_alone() {
    let ground = Ground::start(12).await;
    for failing in ["select 1 / (n - n) from app.things", "select nonsense", "select 'x'::integer", "set role postgres"]
    {
        let ground = &ground;
        let all = join_all((0..12).map(|tenant| async move {
            match tenant % 3 {
                0 => Err(ground.quick(tenant, failing).await.map(drop)),
                _ => Ok(ground.count(tenant).await),
            }
        }))
        .await;
        for (tenant, outcome) in all.into_iter().enumerate() {
            match outcome {
                Ok(count) => assert_eq!(count, i64::try_from(tenant + 1).unwrap()),
                Err(failed) => assert!(failed.is_err(), "{failing}"),
            }
        }
    }
}

#[tokio::test]
async fn answers_of_dropped_requests_are_nobodys() {
    let ground = Ground::start(12).await;
    assert_eq!(ground.count(0).await, 1);
    for polls in 1..4 {
        let mut dropped: Vec<_> = (0..8).map(|tenant| Box::pin(ground.count(tenant))).collect();
        for _ in 0..polls {
            for request in &mut dropped {
                assert!(request.as_mut().now_or_never().is_none_or(|count| count > 0));
                tokio::task::yield_now().await;
            }
        }
        let kept = join_all((8..12).map(|tenant| ground.count(tenant)));
        drop(dropped);
        assert_eq!(kept.await, [9, 10, 11, 12]);
    }
}

#[tokio::test]
async fn what_is_not_quick_is_run_alone_and_remembered() {
    let ground = Ground::start(4).await;
    let slow = "select pg_backend_pid(), current_setting('statement_timeout') from pg_sleep(0.2)";
    let (slow_ran, counts) =
        futures_util::join!(ground.ran(0, slow), join_all((1..4).map(|tenant| ground.count(tenant))));
    assert_eq!(counts, [2, 3, 4]);
    assert_ne!(slow_ran.1, "50ms", "it ended where it had the time");
    // From then on it takes no lane at all, however quick it is by now.
    let quick_now = slow.replace("pg_sleep(0.2)", "pg_sleep($1::integer / 1000.0)");
    let sleeps = |milliseconds: i32| [milliseconds.into()] as [rowhouse_postgres::Param<'static>; 1];
    for (milliseconds, alone) in [(0, false), (200, true), (0, true)] {
        let (sql, params) = (quick_now.as_str(), &sleeps(milliseconds)[..]);
        let results = ground
            .databases()
            .run_quick(&ground.contexts[0], Access::Read, &[Statement { sql, params }])
            .await
            .unwrap();
        assert_eq!(results[0][0].get::<_, &str>(1) != "50ms", alone, "{milliseconds} ms");
    }
    assert_eq!(ground.ran(0, WHERE).await.1, "50ms", "the tenant's other statements go on as before");
}

#[tokio::test]
async fn a_lock_keeps_nobody_waiting_but_who_needs_it() {
    let ground = Ground::start(3).await;
    let mut system = ground.system().await;
    system.begin().await.unwrap();
    system.batch("lock table app.things in access exclusive mode").await.unwrap();
    let waiting = ground.count(0);
    let others = async {
        for tenant in [1, 2, 1, 2] {
            assert_eq!(ground.ran(tenant, WHERE).await.1, "50ms");
        }
        system.commit().await.unwrap();
    };
    let (count, ()) = futures_util::join!(waiting, others);
    assert_eq!(count, 1);
}

#[tokio::test]
async fn while_every_connection_is_busy_the_lanes_go_on() {
    let ground = Ground::start(9).await;
    assert_eq!(ground.count(0).await, 1);
    let mut busy = Vec::new();
    for tenant in 1..CONNECTIONS {
        busy.push(ground.databases().tenant(&ground.contexts[tenant]).await.unwrap().begin().await.unwrap());
    }
    let counts = join_all((0..9).map(|tenant| ground.count(tenant))).await;
    assert_eq!(counts, (1..=9).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_lane_whose_session_ends_is_replaced() {
    let ground = Ground::start(9).await;
    let ends = "select pg_terminate_backend(pg_backend_pid())";
    let ended = ground.quick(0, ends).await;
    assert!(matches!(ended, Err(DatabaseError::Unavailable(_))), "{ended:?}");
    assert_eq!(join_all((0..9).map(|tenant| ground.count(tenant))).await, (1..=9).collect::<Vec<_>>());
    // Ended from outside, while nobody is on them.
    let terminate = "
        select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where usename = session_user and datname = current_database() and pid <> pg_backend_pid()";
    let connection = ground.databases().tenant(&ground.contexts[0]).await.unwrap();
    assert!(!connection.run(terminate, &[]).await.unwrap().is_empty());
    drop(connection);
    assert_eq!(join_all((0..9).map(|tenant| ground.count(tenant))).await, (1..=9).collect::<Vec<_>>());
}

#[tokio::test]
async fn writes_share_connections_while_commits_do_not_wait_for_the_disk() {
    let ground = Ground::start(12).await;
    // The first tells how commits are done, the next ones open the lanes.
    ground.write(0, WRITE).await.unwrap();
    ground.write_everywhere().await;
    let (connections, on_lanes) = ground.write_everywhere().await;
    assert!(connections <= CONNECTIONS / 4 && on_lanes, "{connections}");
    let of = |connections: Vec<(i32, String)>| connections.into_iter().map(|(connection, _)| connection);
    let readers: HashSet<_> = of(join_all((0..12).map(|tenant| ground.ran(tenant, WHERE))).await).collect();
    let writers: HashSet<_> = join_all((0..12).map(|tenant| ground.write(tenant, WRITE)))
        .await
        .into_iter()
        .map(|rows| rows.unwrap()[0].get(0))
        .collect();
    assert!(readers.is_disjoint(&writers), "nobody who reads waits behind somebody who writes");
    let counts = join_all((0..12).map(|tenant| ground.count(tenant))).await;
    let written = |tenant: i64| tenant + 1 + if tenant == 0 { 4 } else { 3 };
    assert_eq!(counts, (0..12).map(written).collect::<Vec<_>>());
    // Each transaction tells how its commit is done; here that of one lane, which the next one is on.
    let durable = "select set_config('synchronous_commit', 'on', false)";
    ground.write(0, durable).await.unwrap();
    ground.write(0, WRITE).await.unwrap();
    assert_ne!(ground.write(0, WRITE).await.unwrap()[0].get::<_, &str>(1), "50ms");
}

#[tokio::test]
async fn a_write_that_is_not_quick_is_done_once() {
    let ground = Ground::start(3).await;
    ground.write(0, WRITE).await.unwrap();
    let slow = "insert into app.things (n) select 7 from pg_sleep(0.2) returning current_setting('statement_timeout')";
    let (ran, others) = futures_util::join!(ground.write(0, slow), ground.write(1, WRITE));
    assert_ne!(ran.unwrap()[0].get::<_, &str>(0), "50ms", "it ended where it had the time");
    assert_eq!(others.unwrap().len(), 1);
    // One thing of the start, one by WRITE, one by the slow statement, whose first attempt left nothing.
    assert_eq!(ground.count(0).await, 3);

    let holder = ground.databases().tenant(&ground.contexts[2]).await.unwrap().begin().await.unwrap();
    holder.query("update app.things set n = n where n = 1", &[]).await.unwrap();
    let waiting = ground.write(2, "update app.things set n = n + 100 where n = 1 returning n");
    let others = async {
        for tenant in [0, 1, 0, 1] {
            assert_eq!(ground.write(tenant, WRITE).await.unwrap()[0].get::<_, &str>(1), "50ms");
        }
        holder.commit().await.unwrap();
    };
    let (waited, ()) = futures_util::join!(waiting, others);
    assert_eq!(waited.unwrap()[0].get::<_, i32>(0), 101);
}

#[tokio::test]
async fn writes_that_fail_leave_the_others_of_their_lane() {
    let ground = Ground::start(12).await;
    ground.write(0, WRITE).await.unwrap();
    let of_another = format!("insert into app.things (tenant_id, n) values ('{}', 1)", ground.contexts[0].tenant());
    let all = join_all((0..12).map(|tenant| {
        let sql = if tenant % 3 == 1 { of_another.as_str() } else { WRITE };
        ground.write(tenant, sql)
    }))
    .await;
    for (tenant, outcome) in all.into_iter().enumerate() {
        assert_eq!(outcome.is_err(), tenant % 3 == 1, "{tenant}");
    }
    let counts = join_all((0..12).map(|tenant| ground.count(tenant))).await;
    let written = |tenant: i64| tenant + 1 + i64::from(tenant % 3 != 1) + i64::from(tenant == 0);
    assert_eq!(counts, (0..12).map(written).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_write_whose_request_is_dropped_is_not_done_at_some_later_time() {
    const COUNT: &str = "select count(*) from app.things";
    let ground = Ground::start(2).await;
    ground.write(0, WRITE).await.unwrap();
    ground.write_everywhere().await;
    let system = ground.system().await;
    let count = async || system.query(COUNT, &[]).await.unwrap()[0].get::<_, i64>(0);
    let before = count().await;
    // It waits for others to be sent with, but nobody comes.
    assert!(Box::pin(ground.write(0, WRITE)).now_or_never().is_none());
    let patience = Instant::now() + Duration::from_secs(30);
    while count().await == before {
        assert!(Instant::now() < patience, "it waits on the lane for the next request");
    }
    assert_eq!(count().await, before + 1);
}
