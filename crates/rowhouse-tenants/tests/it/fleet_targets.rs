//! Many targets and several processes: locks that are held, work that is stopped, tenants that are
//! made meanwhile.

use std::sync::Arc;

use rowhouse_postgres::{SystemConnection, params};
use rowhouse_tenants::{Placement, Tenants, TenantsSettings};

use crate::town::{Town, drop_after_polls, provision, quiet};

const SCHEMAS: usize = 4;

/// A town with some tenants in schemas and the next release of its app.
async fn town() -> Town {
    let town = Town::start().await;
    let tenants = town.open().await;
    for number in 0..SCHEMAS {
        provision(&tenants, &format!("tenant-{number}"), Placement::Schema).await;
    }
    town.write("migrations/0002_phone.sql", "alter table customers add column phone text;");
    town
}

async fn open(town: &Town) -> Arc<Tenants> {
    town.try_open(TenantsSettings { migrate_at_open: false, ..quiet() }).await.unwrap()
}

async fn not_current(tenants: &Tenants) -> Vec<String> {
    let states = tenants.migrate_status(true).await.unwrap();
    let wrong = states.iter().filter(|state| state.state != "current");
    wrong.map(|state| format!("{}: {} {:?}", state.schema, state.state, state.error)).collect()
}

/// Waits until somebody waits for a lock on the table.
async fn is_waited_for(watcher: &SystemConnection, table: &str) {
    let waits = "select exists (select from pg_locks where not granted and relation = $1::text::regclass)";
    while !watcher.query(waits, params![table]).await.unwrap()[0].get::<_, bool>(0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_table_that_is_in_use_is_tried_again_while_the_others_go_on() {
    let town = town().await;
    let tenants = open(&town).await;
    let busy = tenants.find("tenant-1").await.unwrap().unwrap();
    let table = format!("{}.customers", busy.location.schema);
    let mut user = town.system(&busy.location).await;
    user.begin().await.unwrap();
    user.batch(&format!("lock table {table} in access share mode")).await.unwrap();
    let watcher = town.data().await;
    let release_it = async {
        is_waited_for(&watcher, &table).await;
        // The first attempt gives up, so that nobody queues behind it for long.
        let waits = "select exists (select from pg_locks where not granted and relation = $1::text::regclass)";
        while watcher.query(waits, params![table.as_str()]).await.unwrap()[0].get::<_, bool>(0) {
            tokio::task::yield_now().await;
        }
        user.rollback().await.unwrap();
    };
    let (report, ()) = tokio::join!(tenants.migrate_up(2, &|_| {}), release_it);
    let report = report.unwrap();
    assert_eq!((report.migrated, report.failed.len()), (SCHEMAS + 1, 0), "{:?}", report.failed);
    assert_eq!(not_current(&tenants).await, [""; 0]);
}

#[tokio::test]
async fn two_processes_migrate_each_target_once() {
    let town = town().await;
    let (one, other) = (open(&town).await, open(&town).await);
    let (here, there) = tokio::join!(one.migrate_up(2, &|_| {}), other.migrate_up(2, &|_| {}));
    let (here, there) = (here.unwrap(), there.unwrap());
    assert!(here.failed.is_empty() && there.failed.is_empty(), "{:?} {:?}", here.failed, there.failed);
    assert_eq!(not_current(&one).await, [""; 0]);
    let lines = "select count(*) from rowhouse._migrations where name like '0002%'";
    let lines: i64 = town.data().await.query(lines, &[]).await.unwrap()[0].get(0);
    assert_eq!(lines, i64::try_from(SCHEMAS).unwrap() + 1);
}

#[tokio::test]
async fn stopped_anywhere_the_same_command_goes_on() {
    let town = town().await;
    for polls in 1.. {
        let tenants = open(&town).await;
        if drop_after_polls(tenants.migrate_up(2, &|_| {}), polls).await {
            break;
        }
    }
    let tenants = open(&town).await;
    let report = tenants.migrate_up(2, &|_| {}).await.unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert_eq!(not_current(&tenants).await, [""; 0]);
}

#[tokio::test]
async fn tenants_that_are_made_meanwhile_have_the_newest_schema() {
    let town = town().await;
    // Serves the new release already; the shared tables are migrated, the others are not.
    let tenants = town.open().await;
    let made = async {
        for (number, placement) in crate::town::PLACEMENTS.into_iter().enumerate() {
            provision(&tenants, &format!("late-{number}"), placement).await;
        }
    };
    let (report, ()) = tokio::join!(tenants.migrate_up(1, &|_| {}), made);
    assert!(report.unwrap().failed.is_empty());
    assert_eq!(not_current(&tenants).await, [""; 0]);
}
