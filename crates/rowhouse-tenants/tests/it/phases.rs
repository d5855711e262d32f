//! A change in three phases, and backfills in batches that can be stopped anywhere.

use std::sync::Arc;

use rowhouse_postgres::{Location, quote_identifier};
use rowhouse_tenants::{Placement, Tenant, Tenants};

use crate::town::{PLACEMENTS, Town, drop_after_polls, provision, quiet};

/// Adds a column and counts how often each row is filled.
const EXPAND: &str = "
alter table customers add column code text;
alter table customers add column filled integer not null default 0;";
/// Three rows a batch, the same ones first every time.
const BACKFILL: &str = "-- rowhouse: repeat
update customers set code = upper(name), filled = filled + 1
where (tenant_id, id) in (select tenant_id, id from customers where code is null order by name limit 3);";
/// What the release before wrote meanwhile is brought over, then its column goes.
const CONTRACT: &str = "
update customers set code = upper(name), filled = filled + 1 where code is null;
alter table customers alter column code set default '', alter column code set not null;
alter table orders drop column priority;
drop type priority;";
/// Of a batch.
const BATCH: i64 = 3;

/// A tenant with as many customers beside its first; their names tell their order.
async fn with_customers(town: &Town, tenants: &Arc<Tenants>, slug: &str, placement: Placement, count: u32) -> Location {
    let tenant = provision(tenants, slug, placement).await;
    add_customers(town, &tenant, 1, count).await;
    tenant.location.clone()
}

async fn add_customers(town: &Town, tenant: &Tenant, from: u32, to: u32) {
    let connection = town.tenant(tenant).await;
    let schema = quote_identifier(connection.schema());
    let insert = format!(
        "insert into {schema}.customers (name) select 'a customer ' || n from generate_series({from}, {to}) n returning 1"
    );
    connection.run(&insert, &[]).await.unwrap();
}

/// How the customers of a place stand: all, those with a code, the sum of how often each was
/// filled, and the transactions that wrote them last.
async fn filled(town: &Town, location: &Location) -> (i64, i64, i64, i64) {
    let sql = format!(
        "select count(*), count(code), sum(filled), count(distinct xmin::text) from {}.customers",
        quote_identifier(&location.schema)
    );
    let row = town.system(location).await.query_opt(&sql, &[]).await.unwrap().unwrap();
    (row.get(0), row.get(1), row.get(2), row.get(3))
}

/// Of each target with rows, which is not on the newest release or not what was recorded.
async fn not_current(tenants: &Tenants) -> Vec<String> {
    let states = tenants.migrate_status(true).await.unwrap();
    let wrong = states.into_iter().filter(|state| state.state != "current");
    wrong.map(|state| format!("{}/{} {} {:?}", state.database, state.schema, state.state, state.error)).collect()
}

#[tokio::test]
async fn three_phases_reach_every_placement_and_every_row_once() {
    let town = Town::start().await;
    let before = town.open().await;
    let mut places = Vec::new();
    for placement in PLACEMENTS {
        places.push(with_customers(&town, &before, &format!("first-{placement}"), placement, 7).await);
    }
    with_customers(&town, &before, "second-pool", Placement::Pool, 4).await;

    town.write("migrations/0002_code.expand.sql", EXPAND);
    town.write("migrations/0003_code.backfill.sql", BACKFILL);
    let between = town.open().await;
    assert_eq!(between.migrate_up(4, &|_| {}).await.unwrap().migrated, 2);
    assert_eq!(not_current(&between).await, Vec::<String>::new());
    // In the shared tables all tenants' rows, in the others one's own, each in batches.
    for (location, rows) in places.iter().zip([7 + 1 + 4 + 1, 7 + 1, 7 + 1]) {
        let (all, done, times, transactions) = filled(&town, location).await;
        assert_eq!((all, done, times), (rows, rows, rows), "{location:?}");
        assert_eq!(transactions, (rows + BATCH - 1) / BATCH, "a transaction a batch, {location:?}");
    }

    // The release before goes on writing until it is replaced.
    for placement in PLACEMENTS {
        let tenant = before.find(&format!("first-{placement}")).await.unwrap().unwrap();
        add_customers(&town, &tenant, 8, 8).await;
    }
    town.write("migrations/0004_code.contract.sql", CONTRACT);
    let after = town.open().await;
    assert_eq!(after.migrate_up(4, &|_| {}).await.unwrap().migrated, 2);
    for (location, rows) in places.iter().zip([7 + 1 + 4 + 1 + 1, 7 + 1 + 1, 7 + 1 + 1]) {
        let (all, done, times, _) = filled(&town, location).await;
        assert_eq!((all, done, times), (rows, rows, rows), "{location:?}");
    }
    // A new place, made in one go, is like those that took the three steps.
    provision(&after, "third-schema", Placement::Schema).await;
    provision(&after, "third-database", Placement::Database).await;
    assert_eq!(not_current(&after).await, Vec::<String>::new());
    let prints = "select count(distinct fingerprint) from control.targets where kind in ('pool', 'schema', 'database')";
    assert_eq!(town.control().await.query(prints, &[]).await.unwrap()[0].get::<_, i64>(0), 1);
}

#[tokio::test]
async fn all_phases_at_once_are_taken_one_after_the_other() {
    let town = Town::start().await;
    let before = town.open().await;
    let mut places = Vec::new();
    for placement in PLACEMENTS {
        places.push(with_customers(&town, &before, placement.as_str(), placement, 4).await);
    }
    town.write("migrations/0002_code.expand.sql", EXPAND);
    town.write("migrations/0003_code.backfill.sql", BACKFILL);
    town.write("migrations/0004_code.contract.sql", CONTRACT);
    let after = town.open().await;
    let report = after.migrate_up(4, &|_| {}).await.unwrap();
    assert_eq!((report.migrated, report.current), (2, 1), "{report:?}");
    for location in &places {
        assert_eq!(filled(&town, location).await, (5, 5, 5, 2));
    }
    assert_eq!(not_current(&after).await, Vec::<String>::new());
    assert!(after.model().entities["customers"].column("code").is_some());
    assert!(after.model().entities["orders"].column("priority").is_none());
}

/// The last batch waits for a row that somebody holds; there the session is ended.
#[tokio::test]
async fn a_backfill_that_is_killed_between_batches_goes_on_where_it_was() {
    for placement in PLACEMENTS {
        let town = Town::start().await;
        town.write("migrations/0002_code.expand.sql", EXPAND);
        let location = with_customers(&town, &town.open().await, "acme", placement, 7).await;
        town.write("migrations/0003_code.backfill.sql", BACKFILL);
        let customers = format!("{}.customers", quote_identifier(&location.schema));
        let mut holder = town.system(&location).await;
        holder.begin().await.unwrap();
        holder.batch(&format!("select 1 from {customers} order by name desc limit 1 for update")).await.unwrap();
        let mut migration = Box::pin(async {
            match town.try_open(quiet()).await {
                Ok(tenants) => tenants.migrate_up(1, &|_| {}).await.unwrap().failed.into_values().collect(),
                Err(error) => vec![error.to_string()],
            }
        });
        tokio::select! {
            ended = &mut migration => panic!("nothing held it up: {ended:?}"),
            blocked = town.wait_for_blocked(&location, 1) => town.end_session(blocked[0]).await,
        }
        let failed = migration.await;
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert!(failed[0].contains("0003_code.backfill"), "{failed:?}");
        assert_eq!(filled(&town, &location).await, (8, 6, 6, 3), "two batches are there to stay, {placement}");
        holder.rollback().await.unwrap();
        let tenants = town.open().await;
        let report = tenants.migrate_up(1, &|_| {}).await.unwrap();
        assert!(report.failed.is_empty(), "{report:?}");
        assert_eq!(filled(&town, &location).await, (8, 8, 8, 3), "the third batch has the rest, {placement}");
        assert_eq!(not_current(&tenants).await, Vec::<String>::new());
    }
}

/// However often it is stopped, and wherever, it comes nearer to its end.
#[tokio::test]
async fn stopped_at_any_await_point_again_and_again_it_arrives_with_every_row_done_once() {
    let town = Town::start().await;
    let before = town.open().await;
    let mut places = Vec::new();
    for (number, placement) in [Placement::Schema, Placement::Database, Placement::Schema].into_iter().enumerate() {
        places.push(with_customers(&town, &before, &format!("t-{number}"), placement, 10).await);
    }
    town.write("migrations/0002_code.expand.sql", EXPAND);
    town.write("migrations/0003_code.backfill.sql", BACKFILL);
    town.write("migrations/0004_code.contract.sql", CONTRACT);
    let after = town.open().await;
    let mut polls = 0;
    while !drop_after_polls(after.migrate_up(1, &|_| {}), polls).await {
        polls += 1;
    }
    assert!(polls > 20, "it was stopped {polls} times");
    assert_eq!(not_current(&after).await, Vec::<String>::new());
    for location in &places {
        let (all, done, times, transactions) = filled(&town, location).await;
        assert_eq!((all, done, times, transactions), (11, 11, 11, 4), "{location:?}");
    }
}

/// A new program completes tables otherwise; a release that brings nothing but a backfill must
/// not hide that.
#[tokio::test]
async fn a_target_whose_only_file_is_a_backfill_is_completed_too() {
    let town = Town::start().await;
    town.write("migrations/0002_code.expand.sql", EXPAND);
    let before = town.open().await;
    let location = with_customers(&town, &before, "acme", Placement::Schema, 4).await;
    // As a program before this one had left it.
    let drop = format!("drop index {}.customers_tenant_owner_id_idx", quote_identifier(&location.schema));
    town.system(&location).await.batch(&drop).await.unwrap();
    let older = "update control.targets set platform = 'older', fingerprint = 'other' where kind = 'schema'";
    town.control().await.query(older, &[]).await.unwrap();
    town.write("migrations/0003_code.backfill.sql", BACKFILL);
    let after = town.open().await;
    let report = after.migrate_up(1, &|_| {}).await.unwrap();
    assert_eq!((report.migrated, report.failed.len()), (1, 0), "{report:?}");
    assert_eq!(filled(&town, &location).await, (5, 5, 5, 2));
    let prints = "select count(distinct fingerprint) from control.targets where kind in ('pool', 'schema')";
    let control = town.control().await;
    assert_eq!(control.query(prints, &[]).await.unwrap()[0].get::<_, i64>(0), 1);
}
