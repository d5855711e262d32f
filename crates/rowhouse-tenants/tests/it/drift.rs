//! The scheduled scan: what it finds, and the alerts that operators get from it.

use rowhouse_audit::{Actor, Alert, AlertFilter};
use rowhouse_postgres::{Location, quote_identifier};
use rowhouse_tenants::{Placement, Tenants};
use rowhouse_types::UserId;

use crate::town::{Town, provision};

impl Town {
    /// A scan, as if six hours had passed. Gives how many targets have drifted since the last.
    async fn scan(&self, tenants: &Tenants) -> usize {
        self.control().await.batch("update control.scans set began_at = began_at - interval '6 hours'").await.unwrap();
        tenants.scan_if_due().await.unwrap().expect("it is due")
    }

    /// All alerts, the newest first.
    async fn alerts(&self) -> Vec<Alert> {
        self.audit().alerts(&AlertFilter::default()).await.unwrap()
    }

    async fn take_note(&self) {
        let alert = self.alerts().await.remove(0);
        assert!(self.audit().acknowledge_alert(alert.id, &Actor::operator(UserId::generate())).await.unwrap());
    }

    async fn change(&self, location: &Location, change: &str) {
        let path = format!("set local search_path = {}", quote_identifier(&location.schema));
        self.system(location).await.batch(&format!("{path}; {change}")).await.unwrap();
    }
}

fn subject(location: &Location) -> String {
    format!("target:{}/{}", location.database, location.schema)
}

#[tokio::test]
async fn a_scheduled_scan_names_what_was_changed_by_hand_and_only_one_process_makes_it() {
    let town = Town::start().await;
    let (one, other) = (town.open().await, town.open().await);
    let tenant = provision(&one, "acme", Placement::Schema).await;
    assert_eq!(one.scan_if_due().await.unwrap(), Some(0));
    let change = format!("alter table {}.customers add column by_hand text", tenant.location.schema);
    town.system(&tenant.location).await.batch(&change).await.unwrap();
    assert_eq!(other.scan_if_due().await.unwrap(), None, "the last one is not long ago");
    town.control().await.query("update control.scans set began_at = began_at - interval '1 day'", &[]).await.unwrap();
    assert_eq!(other.scan_if_due().await.unwrap(), Some(1));
    let drifted: Vec<_> =
        one.migrate_status(false).await.unwrap().into_iter().filter(|state| state.state == "drifted").collect();
    assert_eq!(drifted.len(), 1, "{drifted:?}");
    assert_eq!(drifted[0].schema, *tenant.location.schema);
    assert_eq!(one.scan_if_due().await.unwrap(), None);
}

#[tokio::test]
async fn a_target_that_has_drifted_raises_one_alert_that_names_it() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let mut drifted = Vec::new();
    for placement in [Placement::Schema, Placement::Database] {
        let tenant = provision(&tenants, placement.as_str(), placement).await;
        drifted.push(tenant.location.clone());
    }
    assert_eq!(town.scan(&tenants).await, 0);
    assert!(town.alerts().await.is_empty());
    drifted.push(town.test.databases.pool_location());
    for location in &drifted {
        town.change(location, "alter table customers add column by_hand text").await;
    }
    assert_eq!(town.scan(&tenants).await, 3);
    let mut subjects: Vec<String> = town.alerts().await.into_iter().map(|alert| alert.subject).collect();
    let mut expected: Vec<String> = drifted.iter().map(subject).collect();
    subjects.sort();
    expected.sort();
    assert_eq!(subjects, expected);
    assert_eq!(town.scan(&tenants).await, 0, "none has drifted since");
    for alert in town.alerts().await {
        assert_eq!((alert.kind.as_str(), alert.severity.as_str(), alert.count), ("schema_drift", "high", 2));
        assert_eq!(alert.tenant_id, None, "where its rows live is no business of a tenant's");
        assert!(alert.title.contains(&alert.subject["target:".len()..]), "{}", alert.title);
    }
    assert_eq!(town.alerts().await.len(), 3);
}

#[tokio::test]
async fn drift_that_was_taken_note_of_is_told_again_when_it_changes_or_comes_back() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let acme = provision(&tenants, "acme", Placement::Schema).await.location.clone();
    let state = async || -> &'static str {
        let states = tenants.migrate_status(false).await.unwrap();
        states.iter().find(|state| state.schema == *acme.schema).unwrap().state
    };
    town.change(&acme, "alter table customers add column by_hand text").await;
    town.scan(&tenants).await;
    town.take_note().await;
    assert_eq!(town.scan(&tenants).await, 0);
    assert_eq!(town.alerts().await.len(), 1, "it is known");
    town.change(&acme, "alter table customers add column by_another_hand text").await;
    town.scan(&tenants).await;
    assert_eq!(town.alerts().await.len(), 2, "it has changed");
    town.take_note().await;
    town.change(&acme, "alter table customers drop column by_hand, drop column by_another_hand").await;
    assert_eq!(state().await, "drifted", "as recorded");
    town.scan(&tenants).await;
    assert_eq!(state().await, "current");
    assert!(town.alerts().await.iter().all(|alert| alert.ended_at.is_some()));
    town.change(&acme, "alter table customers add column by_another_hand text").await;
    assert_eq!(town.scan(&tenants).await, 1, "it is back");
    assert_eq!(town.alerts().await.len(), 3);
    town.take_note().await;
    // Gone altogether.
    let drop = format!("drop schema {} cascade", quote_identifier(&acme.schema));
    town.system(&acme).await.batch(&drop).await.unwrap();
    town.scan(&tenants).await;
    let alert = town.alerts().await.remove(0);
    assert!(alert.title.contains("is gone") && alert.acknowledged_at.is_none(), "{alert:?}");
}

/// A migration takes what is there as what is meant: the drift has ended.
#[tokio::test]
async fn a_migration_ends_the_drift() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let acme = provision(&tenants, "acme", Placement::Schema).await.location.clone();
    town.change(&acme, "alter table customers add column by_hand text").await;
    town.scan(&tenants).await;
    town.write("migrations/0002_more.sql", "alter table customers add column more text;");
    let tenants = town.open().await;
    let report = tenants.migrate_up(2, &|_| {}).await.unwrap();
    assert!(report.failed.is_empty(), "{report:?}");
    town.scan(&tenants).await;
    let alerts = town.alerts().await;
    let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
    assert!(alert.ended_at.is_some() && alert.acknowledged_at.is_none(), "{alert:?}");
}
