//! Prepared places: taken once, never when they are stale, and made anew.

use std::collections::BTreeSet;
use std::sync::Arc;

use rowhouse_tenants::{Placement, Tenants, TenantsSettings};

use crate::town::{Town, provision};

const WARM: usize = 2;

/// Makes prepared places when it is told to, not in the background.
fn warm() -> TenantsSettings {
    TenantsSettings { warm: WARM, ..TenantsSettings::default() }
}

async fn open(town: &Town) -> Arc<Tenants> {
    town.try_open(warm()).await.unwrap()
}

/// The names of the places that are ready to be taken, by kind and name.
async fn prepared(town: &Town) -> BTreeSet<String> {
    const READY: &str = "
        select kind || ' ' || case kind when 'prepared_schema' then schema else database end
        from control.targets where kind in ('prepared_schema', 'prepared_database') and status = 'ok'";
    town.control().await.query(READY, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_tenant_takes_a_prepared_place_and_another_is_made() {
    let town = Town::start().await;
    let tenants = open(&town).await;
    assert_eq!(tenants.fill_warm().await.unwrap(), 2 * WARM);
    assert_eq!(tenants.fill_warm().await.unwrap(), 0, "enough are there");
    for (placement, kind) in [(Placement::Schema, "prepared_schema"), (Placement::Database, "prepared_database")] {
        let before = prepared(&town).await;
        let tenant = provision(&tenants, &format!("in-{placement}"), placement).await;
        let place = match placement {
            Placement::Schema => &tenant.location.schema,
            _ => &tenant.location.database,
        };
        let taken: Vec<String> = before.difference(&prepared(&town).await).cloned().collect();
        assert_eq!(taken, [format!("{kind} {place}")]);
        assert_eq!(town.count(&tenant, "customers").await, 1, "its seed is there");
        assert_eq!(town.count(&tenant, "rowhouse.members").await, 1);
        assert_eq!(tenants.fill_warm().await.unwrap(), 1);
        assert_eq!(prepared(&town).await.len(), 2 * WARM);
    }
}

#[tokio::test]
async fn processes_that_prepare_and_take_at_once_neither_exceed_the_number_nor_share_a_place() {
    let town = Town::start().await;
    let (one, other) = (open(&town).await, open(&town).await);
    let (here, there) = tokio::join!(one.fill_warm(), other.fill_warm());
    assert_eq!(here.unwrap() + there.unwrap(), 2 * WARM);
    assert_eq!(prepared(&town).await.len(), 2 * WARM);
    let made = futures_util::future::join_all((0..6).map(|number| {
        let tenants = if number % 2 == 0 { one.clone() } else { other.clone() };
        async move { provision(&tenants, &format!("tenant-{number}"), Placement::Schema).await }
    }));
    let made = made.await;
    let places: BTreeSet<&str> = made.iter().map(|tenant| &*tenant.location.schema).collect();
    assert_eq!(places.len(), 6, "{places:?}");
    for tenant in made {
        assert_eq!(town.count(&tenant, "customers").await, 1, "{}", tenant.slug);
    }
    assert!(prepared(&town).await.iter().all(|place| place.starts_with("prepared_database")));
}

#[tokio::test]
async fn a_place_of_another_release_is_never_taken_but_renewed() {
    let town = Town::start().await;
    let old = open(&town).await;
    old.fill_warm().await.unwrap();
    town.write("migrations/0002_phone.sql", "alter table customers add column phone text;");
    let tenants = open(&town).await;
    assert!(prepared(&town).await.is_empty(), "the shared tables are of the new release, so they are dropped");
    // A process of the old release makes some again.
    assert_eq!(old.fill_warm().await.unwrap(), 2 * WARM);
    let stale = prepared(&town).await;
    for placement in [Placement::Schema, Placement::Database] {
        let tenant = provision(&tenants, &format!("in-{placement}"), placement).await;
        let phones = format!("select count(phone) from {}.customers", tenant.location.schema);
        assert_eq!(town.tenant(&tenant).await.run(&phones, &[]).await.unwrap()[0].get::<_, i64>(0), 0);
    }
    assert_eq!(prepared(&town).await, stale, "none of them was taken");
    tenants.migrate_up(2, &|_| {}).await.unwrap();
    assert!(prepared(&town).await.is_empty(), "dropped, although no tenant is behind");
    assert_eq!(tenants.fill_warm().await.unwrap(), 2 * WARM);
    assert!(prepared(&town).await.is_disjoint(&stale));
    let states = tenants.migrate_status(true).await.unwrap();
    assert!(states.iter().all(|state| state.state == "current"), "{states:#?}");
}

#[tokio::test]
async fn a_place_that_was_left_half_made_is_dropped_and_never_taken() {
    let town = Town::start().await;
    let tenants = open(&town).await;
    let before = town.inventory().await;
    // Dropped at each of its first awaits: what was begun stays recorded as being made.
    for polls in 1..12 {
        crate::town::drop_after_polls(tenants.fill_warm(), polls).await;
    }
    town.is_quiet().await;
    let age = "update control.targets set migrated_at = now() - interval '1 day' where status = 'making'";
    town.control().await.query(age, &[]).await.unwrap();
    let background = tokio::spawn(tenants.clone().run_background());
    while prepared(&town).await.len() < 2 * WARM {
        tokio::task::yield_now().await;
    }
    background.abort();
    let schemas = |inventory: &[String]| inventory.iter().filter(|line| line.starts_with("schema ")).count();
    assert_eq!(schemas(&town.inventory().await), schemas(&before) + WARM);
    let left = "select count(*) from control.targets where status = 'making'";
    assert_eq!(town.control().await.query(left, &[]).await.unwrap()[0].get::<_, i64>(0), 0);
}
