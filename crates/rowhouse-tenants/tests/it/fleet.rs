//! Migrations over many targets.

use rowhouse_postgres::Migration;
use rowhouse_tenants::{Placement, Tenants};

use crate::installation::{Installation, solar, solar_with};

async fn fleet(schemas: usize) -> Installation {
    let installation = Installation::start(0).await;
    for number in 0..schemas {
        installation.make(&format!("fleet-{number}"), Placement::Schema).await;
    }
    installation.make("fleet-own", Placement::Database).await;
    installation.make("fleet-pool", Placement::Pool).await;
    installation
}

async fn states(tenants: &Tenants, verify: bool) -> Vec<&'static str> {
    tenants.migrate_status(verify).await.unwrap().iter().map(|state| state.state).collect()
}

#[tokio::test]
async fn a_new_release_reaches_every_placement_and_can_be_taken_back() {
    let installation = fleet(4).await;
    assert_eq!(states(&installation.tenants, true).await, ["current"; 6]);
    let next = solar_with(
        "0003_rating",
        "alter table leads add column rating integer",
        Some("alter table leads drop column rating"),
    );
    let tenants = installation.reopen(next).await;
    assert_eq!(tenants.migrate_plan().await.unwrap().len(), 5, "opening migrates the pool");
    let report = tenants.migrate_up(3, &|_| {}).await.unwrap();
    assert_eq!((report.migrated, report.current, report.failed.len()), (5, 1, 0));
    assert_eq!(states(&tenants, true).await, ["current"; 6]);
    let again = tenants.migrate_up(3, &|_| {}).await.unwrap();
    assert_eq!((again.migrated, again.current), (0, 6));
    assert!(tenants.model().entities["leads"].column("rating").is_some());
    let prints =
        installation.count("select count(distinct fingerprint) from control.targets where kind <> 'control'").await;
    assert_eq!(prints, 1, "one version, one fingerprint, in every placement");
    let back = tenants.migrate_down().await.unwrap();
    assert_eq!((back.migrated, back.failed.len()), (6, 0), "{:?}", back.failed);
    assert_eq!(states(&tenants, true).await, ["behind"; 6]);
}

#[tokio::test]
async fn a_target_that_fails_is_named_and_the_others_go_on() {
    let installation = fleet(3).await;
    let victim = installation.tenants.find("fleet-1").await.unwrap().unwrap();
    let scope = installation.test.authorities.system.scope("test");
    let connection = installation.test.databases.system(&scope, &victim.location).await.unwrap();
    let schema = victim.location.schema.to_string();
    connection.batch(&format!("alter table {schema}.leads add column rating text")).await.unwrap();
    let next = || solar_with("0003_rating", "alter table leads add column rating integer", None);
    let tenants = installation.reopen(next()).await;
    let report = tenants.migrate_up(2, &|_| {}).await.unwrap();
    assert_eq!((report.migrated, report.failed.len()), (3, 1));
    let (name, error) = report.failed.first_key_value().unwrap();
    assert!(
        name.ends_with(&schema) && error.contains("0003_rating") && error.contains("already exists"),
        "{name}: {error}"
    );
    assert!(states(&tenants, false).await.contains(&"failed"));
    // The half-done work is mended; the same command goes on where it stopped.
    connection
        .batch(&format!("drop view {schema}.rowhouse_scoped_leads; alter table {schema}.leads drop column rating"))
        .await
        .unwrap();
    let report = installation.reopen(next()).await.migrate_up(2, &|_| {}).await.unwrap();
    assert_eq!((report.migrated, report.failed.len()), (1, 0), "{:?}", report.failed);
    assert_eq!(states(&tenants, true).await, ["current"; 5]);
}

#[tokio::test]
async fn a_schema_that_was_changed_by_hand_is_found() {
    let installation = fleet(2).await;
    let victim = installation.tenants.find("fleet-0").await.unwrap().unwrap();
    let scope = installation.test.authorities.system.scope("test");
    let connection = installation.test.databases.system(&scope, &victim.location).await.unwrap();
    connection
        .batch(&format!("alter table {}.tasks disable row level security", victim.location.schema))
        .await
        .unwrap();
    assert_eq!(states(&installation.tenants, false).await, ["current"; 4], "recorded states know nothing of it");
    let verified = installation.tenants.migrate_status(true).await.unwrap();
    let drifted: Vec<&str> =
        verified.iter().filter(|state| state.state == "drifted").map(|state| state.schema.as_str()).collect();
    assert_eq!(drifted, [&*victim.location.schema]);
}

#[tokio::test]
async fn a_migration_that_was_changed_after_it_was_applied_is_refused() {
    let installation = fleet(1).await;
    let mut app = solar();
    let last = app.migrations.migrations.last_mut().unwrap();
    let name = last.name.clone();
    *last = Migration::new(&name, &format!("{}\n-- edited", last.sql), last.down.clone());
    let settings = rowhouse_tenants::TenantsSettings { warm: 0, ..Default::default() };
    let opened = Tenants::open(
        installation.test.databases.clone(),
        &installation.test.authorities,
        installation.identity.clone(),
        app,
        settings,
    )
    .await;
    let error = opened.err().unwrap().to_string();
    assert!(error.contains(&name) && error.contains("changed after it was applied"), "{error}");
}
