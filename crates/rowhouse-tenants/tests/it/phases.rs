//! A change in phases: expand, backfill in batches, contract, over targets of every placement.

use std::sync::Arc;

use rowhouse_postgres::{DatabaseError, params};
use rowhouse_tenants::{Placement, Tenant, Tenants};

use crate::town::{Town, provision};

/// Rows of a tenant; with the one of its seed.
const ROWS: i64 = 25;
const BATCH: i64 = 10;

/// Counts how often it has touched a row: once, whatever happens.
const EXPAND: &str = "alter table customers add column phone text, add column touched integer not null default 0;";
const BACKFILL: &str = "-- rowhouse: repeat
update customers set phone = '(none)', touched = touched + 1
where (tenant_id, id) in (select tenant_id, id from customers where phone is null limit 10);";
const CONTRACT: &str = "alter table customers alter column phone set not null;";

async fn filled(town: &Town) -> Vec<Arc<Tenant>> {
    let tenants = town.open().await;
    let mut all = Vec::new();
    for (number, placement) in
        [Placement::Pool, Placement::Pool, Placement::Schema, Placement::Database].into_iter().enumerate()
    {
        let tenant = provision(&tenants, &format!("tenant-{number}"), placement).await;
        let fill = format!(
            "insert into {}.customers (name) select 'Customer ' || n from generate_series(2, {ROWS}) n",
            tenant.location.schema
        );
        town.tenant(&tenant).await.run(&fill, &[]).await.unwrap();
        all.push(tenant);
    }
    all
}

fn expand(town: &Town) {
    town.write("migrations/0002_phone.expand.sql", EXPAND);
}

fn release(town: &Town) {
    expand(town);
    town.write("migrations/0003_phone.backfill.sql", BACKFILL);
    town.write("migrations/0004_phone.contract.sql", CONTRACT);
}

/// Without bringing the shared tables forward, so that the test sees it done.
async fn reopen(town: &Town) -> Arc<Tenants> {
    let settings = rowhouse_tenants::TenantsSettings { migrate_at_open: false, ..crate::town::quiet() };
    town.try_open(settings).await.unwrap()
}

/// Rows filled, the most often that one was touched, and the transactions that did it.
async fn progress(town: &Town, tenant: &Tenant) -> (i64, i32, i64) {
    let sql = format!(
        "select count(phone), coalesce(max(touched), 0), count(distinct xmin::text) from {}.customers",
        tenant.location.schema
    );
    let rows = town.tenant(tenant).await.run(&sql, &[]).await.unwrap();
    (rows[0].get(0), rows[0].get(1), rows[0].get(2))
}

#[tokio::test]
async fn every_row_of_every_tenant_is_filled_in_batches() {
    let town = Town::start().await;
    let all = filled(&town).await;
    release(&town);
    let tenants = reopen(&town).await;
    let report = tenants.migrate_up(2, &|_| {}).await.unwrap();
    assert_eq!((report.migrated, report.failed.len()), (3, 0), "{:?}", report.failed);
    for tenant in all {
        let (done, most, transactions) = progress(&town, &tenant).await;
        assert_eq!((done, most), (ROWS, 1), "{}", tenant.slug);
        assert!(transactions >= ROWS / BATCH, "{}: {transactions} transactions", tenant.slug);
    }
    let states = tenants.migrate_status(true).await.unwrap();
    assert!(states.iter().all(|state| state.state == "current"), "{states:#?}");
}

#[tokio::test]
async fn a_new_tenant_has_what_all_phases_left() {
    let town = Town::start().await;
    release(&town);
    town.write("seed/onboarding.sql", "insert into customers (name, phone) values ('Walk-in', '1')");
    let tenants = town.open().await;
    for placement in crate::town::PLACEMENTS {
        let tenant = provision(&tenants, &format!("in-{placement}"), placement).await;
        let without = format!("insert into {}.customers (name) values ('No phone')", tenant.location.schema);
        let refused = town.tenant(&tenant).await.run(&without, &[]).await.unwrap_err();
        assert!(matches!(refused, DatabaseError::Constraint(_)), "{placement}: {refused}");
    }
}

/// The process dies while a batch waits for a row that somebody holds; those before it are done.
#[tokio::test]
async fn killed_between_batches_it_goes_on_from_there_and_fills_no_row_twice() {
    let town = Town::start().await;
    let all = filled(&town).await;
    expand(&town);
    assert_eq!(reopen(&town).await.migrate_up(2, &|_| {}).await.unwrap().migrated, 3);
    release(&town);
    // In the order in which they are migrated.
    for held in [&all[1], &all[3], &all[2]] {
        let mut user = town.system(&held.location).await;
        user.begin().await.unwrap();
        let hold = format!(
            "select from {0}.customers where ctid = (select max(ctid) from {0}.customers where tenant_id = $1) for update",
            held.location.schema
        );
        assert_eq!(user.query(&hold, params![held.id]).await.unwrap().len(), 1);
        let watcher = town.system(&held.location).await;
        let is_waited_for = async {
            let waits = "select exists (select from pg_locks where not granted and locktype = 'transactionid')";
            while !watcher.query(waits, &[]).await.unwrap()[0].get::<_, bool>(0) {
                tokio::task::yield_now().await;
            }
        };
        let tenants = reopen(&town).await;
        tokio::select! {
            report = tenants.migrate_up(1, &|_| {}) => panic!("nobody waited for the row: {report:?}"),
            () = is_waited_for => {}
        }
        user.rollback().await.unwrap();
        town.is_quiet().await;
        let (done, most, _) = progress(&town, held).await;
        assert!((BATCH..ROWS).contains(&done), "{}: {done} rows are filled", held.slug);
        assert_eq!(most, 1, "{}", held.slug);
    }
    let report = reopen(&town).await.migrate_up(2, &|_| {}).await.unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    for tenant in all {
        let (done, most, _) = progress(&town, &tenant).await;
        assert_eq!((done, most), (ROWS, 1), "{}", tenant.slug);
    }
}
