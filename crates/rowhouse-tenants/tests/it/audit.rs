//! The audit log of what is done to tenants: an entry exists if and only if the deed does.

use std::sync::Arc;

use rowhouse_audit::{Actor, Audit, EntryFilter, RecordedEntry, SecurityEvent};
use rowhouse_jobs::{Failpoint, set_failpoint};
use rowhouse_postgres::params;
use rowhouse_tenants::{Placement, Provision, ProvisionOwner, Tenant, TenantStatus, Tenants};
use rowhouse_types::{ApiError, ErrorCode, TenantId, UserId};
use serde_json::json;

use crate::town::{PLACEMENTS, Town, provision, quiet, sign_up, try_provision};

impl Town {
    pub(crate) fn audit(&self) -> Audit {
        Audit::start(self.test.databases.clone(), self.test.authorities.system.clone())
    }

    /// All entries about a tenant, the oldest first.
    async fn told(&self, tenant: TenantId) -> Vec<RecordedEntry> {
        let filter = EntryFilter { tenant: Some(tenant), ..EntryFilter::default() };
        let mut entries = self.audit().entries(&filter).await.unwrap();
        entries.reverse();
        entries
    }

    async fn actions(&self, tenant: TenantId) -> Vec<String> {
        self.told(tenant).await.into_iter().map(|entry| entry.action).collect()
    }

    /// Every entry of these actions, the oldest first.
    async fn all_told(&self, actions: &[&str]) -> Vec<RecordedEntry> {
        let filter = EntryFilter { limit: Some(200), ..EntryFilter::default() };
        let mut entries = self.audit().entries(&filter).await.unwrap();
        entries.retain(|entry| actions.contains(&entry.action.as_str()));
        entries.reverse();
        entries
    }

    /// From now on no line of the audit log can be written.
    async fn forbid_entries(&self) {
        let forbid = "alter table control.audit_log add constraint shut check (false) not valid";
        self.control().await.batch(forbid).await.unwrap();
    }

    async fn status(&self, tenant: &Tenant) -> String {
        let status = "select status || status_reason from control.tenants where id = $1";
        self.control().await.query_opt(status, params![tenant.id]).await.unwrap().unwrap().get(0)
    }
}

fn operator() -> (UserId, Actor) {
    let id = UserId::generate();
    (id, Actor::operator(id).in_request("req-42"))
}

fn invite(slug: &str, placement: Placement) -> Provision {
    let owner = ProvisionOwner::Invite(format!("owner@{slug}.example").parse().unwrap());
    Provision { owner, ..sign_up(slug, placement) }
}

#[tokio::test]
async fn every_deed_of_an_operator_is_told_once_with_who_and_in_which_request() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let (id, olga) = operator();
    for placement in PLACEMENTS {
        let slug = placement.as_str();
        let made = tenants.provision_by(&olga, invite(slug, placement)).await.unwrap().tenant;
        // Said twice, done once.
        for _ in 0..2 {
            tenants.suspend_by(&olga, made.id, "unpaid").await.unwrap();
        }
        assert_eq!(town.status(&made).await, "suspendedunpaid");
        for _ in 0..2 {
            tenants.reactivate_by(&olga, made.id).await.unwrap();
        }
        assert_eq!(town.status(&made).await, "active", "the reason goes with the suspension");
        tenants.delete_by(&olga, made.id).await.unwrap();
        tenants.delete_by(&olga, made.id).await.unwrap_err();
        let told = town.told(made.id).await;
        let deeds: Vec<_> = told.iter().map(|entry| (entry.action.as_str(), entry.details.clone().unwrap())).collect();
        let place = json!({ "slug": slug, "placement": slug });
        assert_eq!(
            deeds,
            [
                ("create_tenant", json!({ "slug": slug, "placement": slug, "plan": "starter" })),
                ("suspend_tenant", json!({ "reason": "unpaid" })),
                ("reactivate_tenant", json!({})),
                ("delete_tenant", place),
            ]
        );
        for entry in told {
            assert_eq!((entry.actor_kind.as_str(), entry.actor_id), ("operator", Some(id.uuid())));
            assert_eq!(entry.request_id.as_deref(), Some("req-42"));
        }
    }
}

#[tokio::test]
async fn who_signs_up_is_told_as_the_person_they_become_and_the_command_line_as_the_system() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let visitor = Actor::visitor().in_request("req-1");
    let made = tenants.provision_by(&visitor, sign_up("acme", Placement::Pool)).await.unwrap();
    let told = town.told(made.tenant.id).await;
    let [entry] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((entry.actor_kind.as_str(), entry.actor_id), ("user", Some(made.owner.unwrap().uuid())));
    let made = provision(&tenants, "globex", Placement::Pool).await;
    let told = town.told(made.id).await;
    let [entry] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((entry.actor_kind.as_str(), entry.actor_id), ("system", None));
}

#[tokio::test]
async fn what_is_refused_is_not_told() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let acme = provision(&tenants, "acme", Placement::Pool).await;
    let (_, olga) = operator();
    let taken = tenants.provision_by(&olga, invite("acme", Placement::Schema)).await.unwrap_err();
    assert_eq!(taken.code, ErrorCode::Conflict);
    set_failpoint("delete-close-after", "acme", Failpoint::Crash);
    tenants.delete(acme.id).await.unwrap_err();
    tenants.suspend_by(&olga, acme.id, "").await.unwrap_err();
    tenants.reactivate_by(&olga, acme.id).await.unwrap_err();
    tenants.suspend_by(&olga, TenantId::generate(), "").await.unwrap_err();
    let told = town.all_told(&["create_tenant", "suspend_tenant", "reactivate_tenant", "delete_tenant"]).await;
    let told: Vec<_> = told.iter().map(|entry| (entry.action.as_str(), entry.tenant_id)).collect();
    assert_eq!(told, [("create_tenant", Some(acme.id.uuid())), ("delete_tenant", Some(acme.id.uuid()))]);
}

/// Whatever cannot be told is not done: neither half stays.
#[tokio::test]
async fn a_deed_whose_entry_cannot_be_written_leaves_nothing() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let active = provision(&tenants, "active", Placement::Schema).await;
    let suspended = provision(&tenants, "suspended", Placement::Pool).await;
    tenants.suspend(suspended.id).await.unwrap();
    let told = town.all_told(&["create_tenant", "suspend_tenant"]).await.len();
    town.forbid_entries().await;
    let before = town.inventory().await;
    let (_, olga) = operator();
    let mut refused: Vec<ApiError> = Vec::new();
    refused.extend(tenants.suspend_by(&olga, active.id, "").await.err());
    refused.extend(tenants.reactivate_by(&olga, suspended.id).await.err());
    refused.extend(tenants.delete_by(&olga, active.id).await.err());
    refused.extend(tenants.seed_rows(&active, 10).await.err());
    for placement in PLACEMENTS {
        refused.extend(try_provision(&tenants, &format!("new-{placement}"), placement).await.err());
    }
    assert_eq!(refused.len(), 7, "{refused:?}");
    assert_eq!(town.inventory().await, before);
    assert_eq!((town.status(&active).await, town.status(&suspended).await), ("active".into(), "suspended".into()));
    let sagas = "select count(*) from control.sagas where status <> 'succeeded'";
    assert_eq!(town.control().await.query(sagas, &[]).await.unwrap()[0].get::<_, i64>(0), 0);
    town.control().await.batch("alter table control.audit_log drop constraint shut").await.unwrap();
    let written = town.all_told(&["create_tenant", "suspend_tenant", "reactivate_tenant", "delete_tenant"]).await;
    assert_eq!(written.len(), told);
}

/// Under a flood of events the buffered ones are dropped; a deed's entry does not pass by them.
#[tokio::test]
async fn a_deed_is_told_although_the_audits_buffer_is_full() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let audit = town.audit();
    // The writer waits for this table, so nothing leaves the buffer.
    let mut holder = town.control().await;
    holder.begin().await.unwrap();
    holder.batch("lock table control.security_events in access exclusive mode").await.unwrap();
    audit.record(SecurityEvent::default());
    town.wait_for_blocked(&town.test.databases.control_location(), 1).await;
    while audit.dropped() == 0 {
        audit.record(SecurityEvent::default());
    }
    let (_, olga) = operator();
    let made = tenants.provision_by(&olga, invite("acme", Placement::Pool)).await.unwrap().tenant;
    tenants.suspend_by(&olga, made.id, "").await.unwrap();
    tenants.delete_by(&olga, made.id).await.unwrap();
    let dropped = audit.dropped();
    audit.record(SecurityEvent::default());
    assert!(audit.dropped() > dropped, "the buffer is still full");
    assert_eq!(town.actions(made.id).await, ["create_tenant", "suspend_tenant", "delete_tenant"]);
    holder.rollback().await.unwrap();
}

/// A saga is told with its first step, whoever brings it to its end.
#[tokio::test]
async fn an_operation_that_is_taken_over_is_told_once_and_one_that_is_taken_back_says_so() {
    let town = Town::start().await;
    let tenants = town.open().await;
    for step in ["reserve", "place", "seed", "activate"] {
        for (when, failure) in [("before", Failpoint::Crash), ("after", Failpoint::Crash), ("before", Failpoint::Error)]
        {
            let slug = format!("{step}-{when}-{failure:?}").to_lowercase();
            set_failpoint(&format!("provision-{step}-{when}"), &slug, failure);
            let outcome = try_provision(&tenants, &slug, Placement::Schema).await;
            town.settle(&tenants).await;
            let told = town.all_told(&["create_tenant", "undo_create_tenant"]).await;
            let actions: Vec<&str> = told.iter().map(|entry| entry.action.as_str()).collect();
            let expected: &[&str] = match (step, when, failure) {
                ("reserve", "before", _) => &[],
                (_, _, Failpoint::Error) => &["create_tenant", "undo_create_tenant"],
                _ => &["create_tenant"],
            };
            assert_eq!(actions, expected, "{slug}: {outcome:?}");
            let found = town.process(quiet()).await.find(&slug).await.unwrap();
            let exists = found.is_some_and(|tenant| tenant.status == TenantStatus::Active);
            assert_eq!(exists, actions == ["create_tenant"], "{slug}");
            town.control().await.batch("delete from control.audit_log").await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_deletion_that_dies_anywhere_is_told_once() {
    let town = Town::start().await;
    let tenants = town.open().await;
    for step in ["close", "rows", "forget"] {
        for when in ["before", "after"] {
            let slug = format!("{step}-{when}");
            let tenant = provision(&tenants, &slug, Placement::Schema).await;
            set_failpoint(&format!("delete-{step}-{when}"), &slug, Failpoint::Crash);
            let (_, olga) = operator();
            // After the last step there is nothing left to fail.
            let _ = tenants.delete_by(&olga, tenant.id).await;
            town.settle(&tenants).await;
            let begun = slug != "close-before";
            let expected: &[&str] = if begun { &["create_tenant", "delete_tenant"] } else { &["create_tenant"] };
            assert_eq!(town.actions(tenant.id).await, expected, "{slug}");
            assert_eq!(town.status(&tenant).await, if begun { "archived" } else { "active" }, "{slug}");
        }
    }
}

#[tokio::test]
async fn migrations_and_seeds_are_told_and_nothing_to_do_is_not() {
    const MIGRATIONS: &[&str] = &["migrate_control", "migrate_pool", "migrate_up", "migrate_down"];
    let town = Town::start().await;
    let tenants: Arc<Tenants> = town.open().await;
    let first = town.all_told(MIGRATIONS).await;
    let actions: Vec<&str> = first.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["migrate_control", "migrate_pool"]);
    let files = first[0].details.as_ref().unwrap()["applied"].as_array().unwrap().len();
    assert!(files >= 6, "{first:?}");
    provision(&tenants, "acme", Placement::Schema).await;
    assert_eq!(tenants.migrate_up(2, &|_| {}).await.unwrap().migrated, 0);
    town.open().await;
    rowhouse_tenants::migrate_control(&town.test.databases, &town.test.authorities.system.scope("test")).await.unwrap();
    assert_eq!(town.all_told(MIGRATIONS).await.len(), 2);
    town.write("migrations/0002_code.sql", "alter table customers add column code text;");
    town.write("migrations/0002_code.down.sql", "alter table customers drop column code;");
    let next = town.open().await;
    assert_eq!(next.migrate_up(2, &|_| {}).await.unwrap().migrated, 1);
    assert_eq!(next.migrate_down().await.unwrap().migrated, 2);
    let told = town.all_told(&["migrate_up", "migrate_down"]).await;
    let [up, down] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(up.details.as_ref().unwrap()["targets"], 1);
    assert_eq!(down.details.as_ref().unwrap()["migration"], "0002_code");
    let acme = next.find("acme").await.unwrap().unwrap();
    next.seed_rows(&acme, 20).await.unwrap();
    let told = town.all_told(&["seed_tenant"]).await;
    assert_eq!(told.iter().map(|entry| entry.details.clone().unwrap()).collect::<Vec<_>>(), [json!({ "rows": 20 })]);
}
