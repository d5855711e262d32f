//! Prepared schemas and databases: taken, refilled, renewed, and never handed out stale or twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use rowhouse_jobs::{Failpoint, set_failpoint};
use rowhouse_postgres::{DatabaseResult, params};
use rowhouse_tenants::{Placement, Tenants, TenantsSettings};

use crate::town::{Town, provision, quiet, sign_up, try_provision};

const OWN: [Placement; 2] = [Placement::Schema, Placement::Database];
const ADD: &str = "alter table customers add column code text;";

/// So many of each kind, made when the test says so.
fn warm(count: usize) -> TenantsSettings {
    TenantsSettings { warm: count, ..quiet() }
}

/// Names of the prepared places: schemas, databases.
async fn prepared(town: &Town) -> (BTreeSet<String>, BTreeSet<String>) {
    let ready = "select kind, database, schema from control.targets where kind like 'prepared%' and status = 'ok'";
    let (mut schemas, mut databases) = (BTreeSet::new(), BTreeSet::new());
    for row in town.control().await.query(ready, &[]).await.unwrap() {
        match row.get::<_, &str>(0) {
            "prepared_schema" => schemas.insert(row.get(2)),
            _ => databases.insert(row.get(1)),
        };
    }
    (schemas, databases)
}

/// Schemas and databases that look like a tenant's or a prepared one, wherever registered.
async fn places(town: &Town) -> BTreeSet<String> {
    const PLACES: &str = "
        select nspname::text from pg_namespace where nspname like 's\\_%'
        union all select datname::text from pg_database where starts_with(datname, $1)
        union all select 'ledger of ' || target from rowhouse._migrations where target like 's\\_%'";
    let prefix = town.test.databases.home().roles.database("d_");
    town.data().await.query(PLACES, params![prefix]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn column_exists(town: &Town, tenants: &Tenants, slug: &str) -> bool {
    let tenant = tenants.find(slug).await.unwrap().unwrap();
    let found = town.tenant(&tenant).await;
    let schema = rowhouse_postgres::quote_identifier(found.schema());
    let read: DatabaseResult<_> = found.run(&format!("select code from {schema}.customers"), &[]).await;
    read.is_ok()
}

#[tokio::test]
async fn whoever_signs_up_gets_a_prepared_place_and_the_pool_is_refilled() {
    let town = Town::start().await;
    let tenants = town.try_open(warm(2)).await.unwrap();
    assert_eq!(tenants.fill_warm().await.unwrap(), 4);
    assert_eq!(tenants.fill_warm().await.unwrap(), 0, "there are enough");
    let (schemas, databases) = prepared(&town).await;
    assert_eq!((schemas.len(), databases.len()), (2, 2));
    let own = provision(&tenants, "own-schema", Placement::Schema).await;
    let database = provision(&tenants, "own-database", Placement::Database).await;
    assert!(schemas.contains(&*own.location.schema) && databases.contains(&*database.location.database));
    for tenant in [&own, &database] {
        assert_eq!(town.count(tenant, "customers").await, 1, "the onboarding seed");
        assert_eq!(town.count(tenant, "rowhouse.members").await, 1);
    }
    assert_eq!(tenants.fill_warm().await.unwrap(), 2);
    let (schemas, databases) = prepared(&town).await;
    assert_eq!((schemas.len(), databases.len()), (2, 2));
    assert!(!schemas.contains(&*own.location.schema) && !databases.contains(&*database.location.database));
    assert!(tenants.migrate_status(true).await.unwrap().iter().all(|state| state.state == "current"));
}

#[tokio::test]
async fn in_the_background_the_pool_is_filled_and_what_was_taken_is_replaced() {
    let town = Town::start().await;
    let tenants = town.try_open(warm(1)).await.unwrap();
    let background = tokio::spawn(tenants.clone().run_background());
    let full = async || {
        loop {
            let (schemas, databases) = prepared(&town).await;
            if (schemas.len(), databases.len()) == (1, 1) {
                return (schemas, databases);
            }
            tokio::task::yield_now().await;
        }
    };
    let before = full().await;
    let taken = provision(&tenants, "acme", Placement::Schema).await;
    assert!(before.0.contains(&*taken.location.schema));
    let after = full().await;
    assert_ne!(before.0, after.0);
    assert_eq!(before.1, after.1);
    background.abort();
}

#[tokio::test]
async fn an_empty_pool_makes_nobody_wait_for_it() {
    let town = Town::start().await;
    let tenants = town.try_open(warm(1)).await.unwrap();
    tenants.fill_warm().await.unwrap();
    for number in 0..3 {
        for placement in OWN {
            provision(&tenants, &format!("{placement}-{number}"), placement).await;
        }
    }
    assert_eq!(prepared(&town).await, (BTreeSet::new(), BTreeSet::new()));
    assert!(tenants.migrate_status(true).await.unwrap().iter().all(|state| state.state == "current"));
}

#[tokio::test]
async fn after_a_migration_the_prepared_places_are_renewed_and_no_stale_one_is_handed_out() {
    for others in [false, true] {
        let town = Town::start().await;
        let before = town.try_open(warm(2)).await.unwrap();
        if others {
            provision(&before, "early", Placement::Schema).await;
        }
        before.fill_warm().await.unwrap();
        let stale = prepared(&town).await;
        town.write("migrations/0002_code.sql", ADD);
        let after = town.try_open(warm(2)).await.unwrap();
        // Between the pool's migration and the fleet's.
        for placement in OWN {
            provision(&after, &format!("between-{placement}"), placement).await;
            assert!(column_exists(&town, &after, &format!("between-{placement}")).await);
        }
        after.migrate_up(2, &|_| {}).await.unwrap();
        after.fill_warm().await.unwrap();
        let fresh = prepared(&town).await;
        assert_eq!((fresh.0.len(), fresh.1.len()), (2, 2));
        assert!(fresh.0.is_disjoint(&stale.0) && fresh.1.is_disjoint(&stale.1));
        let there = places(&town).await;
        let left: Vec<_> = stale.0.iter().chain(&stale.1).filter(|name| there.contains(*name)).collect();
        assert!(left.is_empty(), "of the release before: {left:?}");
        for placement in OWN {
            let tenant = provision(&after, &format!("late-{placement}"), placement).await;
            assert!(fresh.0.contains(&*tenant.location.schema) || fresh.1.contains(&*tenant.location.database));
            assert!(column_exists(&town, &after, tenant.slug.as_str()).await);
        }
        assert!(after.migrate_status(true).await.unwrap().iter().all(|state| state.state == "current"));
    }
}

/// While a release is rolled out, both are there for a while.
#[tokio::test]
async fn a_process_of_the_release_before_prepares_no_more_places() {
    let town = Town::start().await;
    let before = town.try_open(warm(1)).await.unwrap();
    before.fill_warm().await.unwrap();
    town.write("migrations/0002_code.sql", ADD);
    let after = town.process(warm(1)).await;
    after.migrate_up(1, &|_| {}).await.unwrap();
    assert_eq!(prepared(&town).await, (BTreeSet::new(), BTreeSet::new()));
    assert_eq!(before.fill_warm().await.unwrap(), 0, "nobody would take them, and nobody drop them");
    assert_eq!(after.fill_warm().await.unwrap(), 2);
    let fresh = prepared(&town).await;
    for placement in OWN {
        provision(&before, &format!("old-{placement}"), placement).await;
    }
    assert_eq!(prepared(&town).await, fresh, "not what the next release prepared");
}

#[tokio::test]
async fn of_many_who_come_at_once_no_two_get_the_same_place() {
    let town = Town::start().await;
    let one = town.process(warm(3)).await;
    let other = town.process(warm(3)).await;
    let (first, second) = tokio::join!(one.fill_warm(), other.fill_warm());
    assert_eq!(first.unwrap() + second.unwrap(), 6, "as many as were wanted, not twice");
    let (schemas, databases) = prepared(&town).await;
    let sign_ups = (0..10).map(|number| {
        let (tenants, placement): (&Arc<Tenants>, _) = (if number % 2 == 0 { &one } else { &other }, OWN[number / 5]);
        tenants.provision(sign_up(&format!("t-{number}"), placement))
    });
    let mut locations = BTreeSet::new();
    let mut from_pool = 0;
    for made in join_all(sign_ups).await {
        let tenant = made.unwrap().tenant;
        let (schema, database) = (tenant.location.schema.to_string(), tenant.location.database.to_string());
        from_pool += usize::from(schemas.contains(&schema) || databases.contains(&database));
        assert_eq!(town.count(&tenant, "customers").await, 1);
        assert!(locations.insert((database, schema)), "{}", tenant.slug);
    }
    assert_eq!(from_pool, 6);
}

#[tokio::test]
async fn a_sign_up_that_fails_or_a_tenant_that_is_deleted_leaves_nothing_of_its_prepared_place() {
    let town = Town::start().await;
    let tenants = town.try_open(warm(1)).await.unwrap();
    provision(&tenants, "template", Placement::Database).await;
    let before = places(&town).await;
    for placement in OWN {
        for (step, place) in
            [("place", "unrecorded"), ("place", "after"), ("seed", "after"), ("activate", "unrecorded")]
        {
            for failpoint in [Failpoint::Error, Failpoint::Crash] {
                tenants.fill_warm().await.unwrap();
                let slug = format!("{placement}-{step}-{place}-{failpoint:?}").to_lowercase();
                set_failpoint(&format!("provision-{step}-{place}"), &slug, failpoint);
                try_provision(&tenants, &slug, placement).await.unwrap_err();
                town.settle(&tenants).await;
                if let Some(made) = tenants.find(&slug).await.unwrap() {
                    assert_eq!(failpoint, Failpoint::Crash);
                    assert_eq!(town.count(&made, "customers").await, 1, "{slug}");
                    tenants.delete(made.id).await.unwrap();
                    town.settle(&tenants).await;
                }
            }
        }
    }
    let (schemas, databases) = prepared(&town).await;
    let unused = |name: &&String| schemas.iter().chain(&databases).any(|unused| name.ends_with(unused.as_str()));
    let left: BTreeSet<String> = places(&town).await.iter().filter(|name| !unused(name)).cloned().collect();
    assert_eq!(left, before);
}

/// Recorded before they are begun, half-made places are found when they are old enough that
/// nobody can still be at them.
#[tokio::test]
async fn what_a_process_that_died_left_half_made_is_dropped() {
    let town = Town::start().await;
    let tenants = town.try_open(warm(1)).await.unwrap();
    tenants.fill_warm().await.unwrap();
    let half = prepared(&town).await;
    let died = "update control.targets set status = 'making', migrated_at = now() - interval '11 minutes' where kind like 'prepared%'";
    town.control().await.query(died, &[]).await.unwrap();
    for placement in OWN {
        let tenant = provision(&tenants, placement.as_str(), placement).await;
        assert!(!half.0.contains(&*tenant.location.schema) && !half.1.contains(&*tenant.location.database));
    }
    let background = tokio::spawn(tenants.clone().run_background());
    loop {
        let there = places(&town).await;
        if half.0.iter().chain(&half.1).all(|name| !there.contains(name)) {
            break;
        }
        tokio::task::yield_now().await;
    }
    background.abort();
}
