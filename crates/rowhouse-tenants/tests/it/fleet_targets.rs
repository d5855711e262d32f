//! Migrations over many targets when something stands in the way: locks, other processes, the
//! end of a process, tenants that appear meanwhile, changes by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use rowhouse_app::fingerprint;
use rowhouse_postgres::{Location, params, quote_identifier};
use rowhouse_tenants::{FleetReport, Placement, Tenant, Tenants};
use tokio::sync::Notify;

use crate::town::{PLACEMENTS, Town, provision, quiet, try_provision};

/// Not the same when it is done twice.
const ONCE: &str = "
alter table customers add column applied integer not null default 0;
update customers set applied = applied + 1;";
const AGAIN: &str = "-- rowhouse: repeat
update customers set applied = applied + 1
where (tenant_id, id) in (select tenant_id, id from customers where applied = 1 limit 1);";
const CONCURRENTLY: &str = "-- rowhouse: no-transaction
create index concurrently if not exists customers_applied on customers (tenant_id, applied);";

/// Tenants with a place of their own: schemas, and a database as every third.
async fn own_places(town: &Town, tenants: &Arc<Tenants>, count: usize) -> Vec<Arc<Tenant>> {
    let mut made = Vec::new();
    for number in 0..count {
        let placement = if number % 3 == 2 { Placement::Database } else { Placement::Schema };
        made.push(provision(tenants, &format!("place-{number}"), placement).await);
    }
    assert_eq!(town.count(&made[0], "customers").await, 1);
    made
}

fn in_schema(location: &Location, table: &str) -> String {
    format!("{}.{table}", quote_identifier(&location.schema))
}

/// States by target, as recorded or as the real schemas are.
async fn states(tenants: &Tenants, verify: bool) -> BTreeMap<String, &'static str> {
    let states = tenants.migrate_status(verify).await.unwrap();
    states.into_iter().map(|state| (format!("{}/{}", state.database, state.schema), state.state)).collect()
}

async fn not_current(tenants: &Tenants) -> BTreeMap<String, &'static str> {
    states(tenants, true).await.into_iter().filter(|(_, state)| *state != "current").collect()
}

fn name(tenant: &Tenant) -> String {
    format!("{}/{}", tenant.location.database, tenant.location.schema)
}

/// The sum of what was applied to a place's customers; they began with one.
async fn applied(town: &Town, location: &Location) -> i64 {
    let sum = format!("select sum(applied) from {}", in_schema(location, "customers"));
    town.system(location).await.query(&sum, &[]).await.unwrap()[0].get(0)
}

fn told(report: &FleetReport) -> (usize, usize, usize) {
    (report.migrated, report.current, report.failed.len())
}

#[tokio::test]
async fn a_locked_table_is_tried_again_and_then_named_while_the_others_go_on() {
    let town = Town::start().await;
    let places = own_places(&town, &town.open().await, 5).await;
    town.write("migrations/0002_once.sql", ONCE);
    let after = town.open().await;
    let [for_a_moment, for_long] = [&places[0], &places[1]];
    let mut holders = Vec::new();
    for tenant in [for_a_moment, for_long] {
        let mut holder = town.system(&tenant.location).await;
        holder.begin().await.unwrap();
        holder
            .batch(&format!("lock table {} in access share mode", in_schema(&tenant.location, "customers")))
            .await
            .unwrap();
        holders.push(holder);
    }
    let (mut long, mut moment) = (holders.pop().unwrap(), holders.pop().unwrap());
    let give_back = async {
        town.wait_for_blocked(&for_a_moment.location, 1).await;
        town.wait_for_unblocked(&for_a_moment.location).await;
        moment.rollback().await.unwrap();
    };
    let (report, ()) = tokio::join!(after.migrate_up(1, &|_| {}), give_back);
    let report = report.unwrap();
    assert_eq!(told(&report), (4, 1, 1), "{report:?}");
    let (failed, error) = report.failed.first_key_value().unwrap();
    assert_eq!(*failed, name(for_long));
    assert!(error.contains("0002_once") && error.contains("holds a lock"), "{error}");
    assert_eq!(
        states(&after, false).await.into_iter().find(|(_, state)| *state != "current"),
        Some((name(for_long), "failed"))
    );

    long.rollback().await.unwrap();
    let report = after.migrate_up(1, &|_| {}).await.unwrap();
    assert_eq!(told(&report), (1, 5, 0), "{report:?}");
    assert_eq!(not_current(&after).await, BTreeMap::new());
    for tenant in &places {
        assert_eq!(applied(&town, &tenant.location).await, 1);
    }
}

#[tokio::test]
async fn two_processes_that_migrate_at_once_do_each_target_once() {
    let town = Town::start().await;
    let before = town.open().await;
    let places = own_places(&town, &before, 8).await;
    provision(&before, "in-pool", Placement::Pool).await;
    town.write("migrations/0002_once.sql", ONCE);
    town.write("migrations/0003_again.backfill.sql", AGAIN);
    town.write("migrations/0004_applied.sql", CONCURRENTLY);
    let (one, other) = tokio::join!(town.process(quiet()), town.process(quiet()));
    let (first, second) = tokio::join!(one.migrate_up(3, &|_| {}), other.migrate_up(3, &|_| {}));
    for report in [first.unwrap(), second.unwrap()] {
        assert!(report.failed.is_empty() && report.drifted.is_empty(), "{report:?}");
    }
    for location in places.iter().map(|tenant| &tenant.location).chain([&town.test.databases.pool_location()]) {
        assert_eq!(applied(&town, location).await, 2, "{location:?}");
    }
    assert_eq!(not_current(&one).await, BTreeMap::new());
    let prints = "select count(distinct fingerprint) from control.targets where kind in ('pool', 'schema', 'database')";
    assert_eq!(town.control().await.query(prints, &[]).await.unwrap()[0].get::<_, i64>(0), 1);
}

/// However long: a backfill of another process may take hours, and is no failure.
#[tokio::test]
async fn a_target_that_another_process_is_at_is_waited_for() {
    const LOCK: &str = "select pg_advisory_lock(hashtextextended('rowhouse migrate ' || $1, 0))";
    const UNLOCK: &str = "select pg_advisory_unlock(hashtextextended('rowhouse migrate ' || $1, 0))";
    // Files that run together wait in a transaction first, one that runs alone does not.
    for (file, sql) in [("0002_once.sql", ONCE), ("0002_applied.sql", "-- rowhouse: no-transaction\nselect 1;")] {
        let town = Town::start().await;
        let places = own_places(&town, &town.open().await, 2).await;
        town.write(&format!("migrations/{file}"), sql);
        let after = town.open().await;
        let location = &places[0].location;
        let holder = town.system(location).await;
        holder.query(LOCK, params![&*location.schema]).await.unwrap();
        let mut migration = Box::pin(after.migrate_up(1, &|_| {}));
        let in_the_way = async {
            if sql == ONCE {
                town.wait_for_blocked(location, 1).await;
                town.wait_for_unblocked(location).await;
            }
            // It neither waits in a statement, which would hold up an index that is being built,
            // nor comes to its end.
            for _ in 0..20 {
                town.wait_for_unblocked(location).await;
            }
        };
        tokio::select! {
            ended = &mut migration => panic!("it did not wait: {ended:?}"),
            () = in_the_way => {}
        }
        holder.query(UNLOCK, params![&*location.schema]).await.unwrap();
        assert_eq!(told(&migration.await.unwrap()), (2, 1, 0), "{file}");
        assert_eq!(not_current(&after).await, BTreeMap::new());
    }
}

/// Begins a migration and gives it up when so many targets are done, as a process that dies.
async fn die_after(tenants: &Tenants, targets: usize) {
    let passed = Notify::new();
    let progress = |progress: rowhouse_tenants::FleetProgress| {
        if progress.done == targets {
            passed.notify_one();
        }
    };
    tokio::select! {
        biased;
        () = passed.notified() => {}
        report = tenants.migrate_up(1, &progress) => panic!("it came to its end: {report:?}"),
    }
}

#[tokio::test]
async fn a_process_that_dies_between_targets_is_followed_by_one_that_does_the_rest() {
    let town = Town::start().await;
    let places = own_places(&town, &town.open().await, 6).await;
    town.write("migrations/0002_once.sql", ONCE);
    for targets in [1, 3, 5] {
        let dying = town.process(quiet()).await;
        die_after(&dying, targets.min(dying.targets_behind().await.unwrap() - 1)).await;
    }
    let next = town.process(quiet()).await;
    assert!(next.targets_behind().await.unwrap() > 0);
    let report = next.migrate_up(2, &|_| {}).await.unwrap();
    assert!(report.failed.is_empty() && report.drifted.is_empty(), "{report:?}");
    assert_eq!(not_current(&next).await, BTreeMap::new());
    for tenant in &places {
        assert_eq!(applied(&town, &tenant.location).await, 1);
    }
}

#[tokio::test]
async fn a_session_that_is_ended_costs_its_target_only() {
    let town = Town::start().await;
    let places = own_places(&town, &town.open().await, 5).await;
    town.write("migrations/0002_once.sql", ONCE);
    let after = town.open().await;
    // The second of a piece of work: one is done, one is under way, others are to come.
    let mut schemas: Vec<&Arc<Tenant>> = places.iter().filter(|tenant| tenant.placement == Placement::Schema).collect();
    schemas.sort_by_key(|tenant| tenant.location.schema.to_string());
    let victim = schemas[1];
    let mut holder = town.system(&victim.location).await;
    holder.begin().await.unwrap();
    holder
        .batch(&format!("lock table {} in access share mode", in_schema(&victim.location, "customers")))
        .await
        .unwrap();
    let kill = async {
        let blocked = town.wait_for_blocked(&victim.location, 1).await;
        town.end_session(blocked[0]).await;
    };
    let (report, ()) = tokio::join!(after.migrate_up(1, &|_| {}), kill);
    let report = report.unwrap();
    assert_eq!(told(&report), (4, 1, 1), "{report:?}");
    let (failed, error) = report.failed.first_key_value().unwrap();
    assert_eq!(*failed, name(victim));
    assert!(error.contains("0002_once") && error.contains("administrator command"), "{error}");
    holder.rollback().await.unwrap();
    assert_eq!(told(&after.migrate_up(1, &|_| {}).await.unwrap()), (1, 5, 0));
    assert_eq!(not_current(&after).await, BTreeMap::new());
}

#[tokio::test]
async fn tenants_that_appear_meanwhile_or_afterwards_have_the_newest_tables() {
    let town = Town::start().await;
    let before = town.open().await;
    let places = own_places(&town, &before, 4).await;
    town.write("migrations/0002_once.sql", ONCE);
    let after = town.open().await;
    // While the first target waits, tenants are made: by this process, and by one that still
    // runs the release before.
    let mut holder = town.system(&places[0].location).await;
    holder.begin().await.unwrap();
    holder
        .batch(&format!("lock table {} in access share mode", in_schema(&places[0].location, "customers")))
        .await
        .unwrap();
    let meanwhile = async {
        town.wait_for_blocked(&places[0].location, 1).await;
        for placement in [Placement::Schema, Placement::Database, Placement::Pool] {
            provision(&after, &format!("meanwhile-{placement}"), placement).await;
            provision(&before, &format!("old-process-{placement}"), placement).await;
        }
        holder.rollback().await.unwrap();
    };
    let (report, ()) = tokio::join!(after.migrate_up(1, &|_| {}), meanwhile);
    assert_eq!(report.unwrap().failed, BTreeMap::new());
    assert_eq!(not_current(&after).await, BTreeMap::new(), "also those of the process before");
    for placement in [Placement::Schema, Placement::Database, Placement::Pool] {
        let tenant = provision(&after, &format!("afterwards-{placement}"), placement).await;
        assert!(applied(&town, &tenant.location).await >= 0, "it has the column");
    }
    assert_eq!(not_current(&after).await, BTreeMap::new());
    // Whatever a process of the release before makes after that is behind, and told.
    let late = try_provision(&before, "late", Placement::Schema).await.unwrap().tenant;
    assert_eq!(not_current(&after).await, BTreeMap::from([(name(&late), "behind")]));
    assert_eq!(after.migrate_up(1, &|_| {}).await.unwrap().migrated, 1);
    assert_eq!(not_current(&after).await, BTreeMap::new());
}

/// Each of these opens a hole or breaks a promise, and none shows in what was recorded.
const BY_HAND: &[&str] = &[
    "alter table customers add column by_hand text",
    "alter table customers alter column name drop not null",
    "alter table customers drop constraint customers_name_check",
    "alter table customers disable row level security",
    "drop policy rowhouse_tenant on customers",
    "alter policy rowhouse_tenant on customers using (true)",
    "alter policy rowhouse_tenant on customers to {reader}",
    "create policy by_hand on customers for select using (true)",
    "grant truncate on customers to {service}",
    "grant update (name) on customers to {reader}",
    "grant create on schema {schema} to {service}",
    "create or replace view rowhouse_scoped_notes as select * from notes",
    "drop index customers_tenant_owner_id_idx",
    "create function by_hand() returns integer language sql return 1",
    "create rule by_hand as on delete to customers do instead nothing",
    "alter type priority add value 'by hand'",
    "alter table notes drop constraint notes_tenant_id_answers_id_fkey, add constraint notes_tenant_id_answers_id_fkey \
     foreign key (tenant_id, answers_id) references notes (tenant_id, id) not valid",
];

#[tokio::test]
async fn whatever_is_changed_by_hand_shows_in_the_fingerprint() {
    let town = Town::start().await;
    let own = provision(&town.open().await, "own", Placement::Schema).await;
    let roles = town.test.databases.home().roles.clone();
    let (service, reader) = (quote_identifier(&roles.service()), quote_identifier(&roles.reader()));
    let schema = quote_identifier(&own.location.schema);
    let mut connection = town.system(&own.location).await;
    let before = fingerprint(&connection, &own.location.schema).await.unwrap();
    let mut unseen = Vec::new();
    for change in BY_HAND {
        let change = change.replace("{service}", &service).replace("{reader}", &reader).replace("{schema}", &schema);
        connection.begin().await.unwrap();
        let path = format!("set local search_path = {schema}, shared, rowhouse");
        connection.batch(&format!("{path}; {change}; set local search_path to default")).await.unwrap();
        if fingerprint(&connection, &own.location.schema).await.unwrap() == before {
            unseen.push(change);
        }
        connection.rollback().await.unwrap();
    }
    assert_eq!(unseen, Vec::<String>::new());
}

#[tokio::test]
async fn a_target_that_was_changed_behind_our_back_is_found_in_every_placement_by_looking() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let mut expected = BTreeMap::new();
    for placement in PLACEMENTS {
        let tenant = provision(&tenants, placement.as_str(), placement).await;
        provision(&tenants, &format!("untouched-{placement}"), placement).await;
        let change =
            format!("alter policy rowhouse_tenant on {} using (true)", in_schema(&tenant.location, "customers"));
        town.system(&tenant.location).await.batch(&change).await.unwrap();
        expected.insert(name(&tenant), "drifted");
    }
    assert!(states(&tenants, false).await.values().all(|state| *state == "current"), "what is recorded knows nothing");
    assert_eq!(not_current(&tenants).await, expected);
    let shared = provision(&tenants, "other", Placement::Database).await;
    town.system(&shared.location).await.batch("create table shared.by_hand (id integer)").await.unwrap();
    expected.insert(name(&shared), "drifted");
    assert_eq!(not_current(&tenants).await, expected);

    let gone = provision(&tenants, "gone", Placement::Schema).await;
    let drop = format!("drop schema {} cascade", quote_identifier(&gone.location.schema));
    town.system(&gone.location).await.batch(&drop).await.unwrap();
    expected.insert(name(&gone), "missing");
    let lost = provision(&tenants, "lost", Placement::Database).await;
    town.drop_database(&lost.location).await;
    expected.insert(name(&lost), "missing");
    assert_eq!(not_current(&tenants).await, expected);
}

#[tokio::test]
async fn a_target_on_which_another_text_was_applied_is_refused_and_the_others_go_on() {
    let town = Town::start().await;
    let places = own_places(&town, &town.open().await, 3).await;
    let forge = "update rowhouse._migrations set checksum = 'other' where target = $1 and name = '0001_init'";
    let connection = town.system(&places[1].location).await;
    connection.query(forge, params![&*places[1].location.schema]).await.unwrap();
    town.write("migrations/0002_once.sql", ONCE);
    let after = town.open().await;
    let plans = after.migrate_plan().await.unwrap();
    let refused: Vec<_> = plans.iter().filter(|plan| plan.error.is_some()).collect();
    assert_eq!(refused.len(), 1, "{plans:#?}");
    assert_eq!((refused[0].schema.as_str(), refused[0].pending.len()), (&*places[1].location.schema, 0));
    let report = after.migrate_up(1, &|_| {}).await.unwrap();
    assert_eq!(told(&report), (2, 1, 1), "{report:?}");
    let (failed, error) = report.failed.first_key_value().unwrap();
    assert_eq!(*failed, name(&places[1]));
    assert!(error.contains("0001_init") && error.contains("changed after it was applied"), "{error}");
    let exists = "select count(*) from pg_attribute where attrelid = $1::text::regclass and attname = 'applied'";
    let customers = in_schema(&places[1].location, "customers");
    assert_eq!(connection.query(exists, params![customers]).await.unwrap()[0].get::<_, i64>(0), 0, "left as it was");
}

#[tokio::test]
async fn a_shared_migration_that_was_changed_is_refused_before_anything_is_touched() {
    let town = Town::start().await;
    let places = own_places(&town, &town.open().await, 3).await;
    town.write(
        "migrations/shared/0001_brands.sql",
        "create table brands (id uuid primary key default rowhouse.new_id(), name text not null);",
    );
    let error = town.try_open(quiet()).await.err().unwrap().to_string();
    assert!(error.contains("0001_brands") && error.contains("changed after it was applied"), "{error}");
    assert_eq!(town.count(&places[2], "shared.brands").await, 2);
}

/// What PostgreSQL leaves of an index that could not be built concurrently has its name already.
#[tokio::test]
async fn an_index_that_was_left_unfinished_is_built_anew() {
    let town = Town::start().await;
    let places = own_places(&town, &town.open().await, 3).await;
    let twice = "insert into customers (tenant_id, name) select tenant_id, name from customers";
    for tenant in &places[1..] {
        let path = format!("set local search_path = {}", quote_identifier(&tenant.location.schema));
        town.system(&tenant.location).await.batch(&format!("{path}; {twice}")).await.unwrap();
    }
    let unique = "-- rowhouse: no-transaction
create unique index concurrently if not exists customers_once on customers (tenant_id, name);";
    town.write("migrations/0002_unique.sql", unique);
    let after = town.open().await;
    let report = after.migrate_up(2, &|_| {}).await.unwrap();
    assert_eq!(told(&report), (1, 1, 2), "{report:?}");
    assert!(report.failed.values().all(|error| error.contains("0002_unique")), "{report:?}");
    for tenant in &places[1..] {
        let once = format!(
            "delete from {0} a using {0} b where a.tenant_id = b.tenant_id and a.name = b.name and a.id > b.id",
            in_schema(&tenant.location, "customers")
        );
        town.system(&tenant.location).await.batch(&once).await.unwrap();
    }
    assert_eq!(told(&after.migrate_up(2, &|_| {}).await.unwrap()), (2, 2, 0));
    assert_eq!(not_current(&after).await, BTreeMap::new());
    let prints = "select count(distinct fingerprint) from control.targets where kind in ('pool', 'schema', 'database')";
    assert_eq!(town.control().await.query(prints, &[]).await.unwrap()[0].get::<_, i64>(0), 1, "valid as everywhere");
}
