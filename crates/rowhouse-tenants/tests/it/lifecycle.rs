//! What may become of a tenant in which state, and who is told what.

use std::sync::Arc;

use rowhouse_jobs::{Failpoint, set_failpoint};
use rowhouse_tenants::{ListTenants, Placement, Tenant, TenantStatus, Tenants};
use rowhouse_types::{ApiError, ErrorCode, TenantId};

use crate::town::{PLACEMENTS, Town, provision, quiet, try_provision};

/// A tenant in each state there is, its slug the state's word.
async fn one_of_each(town: &Town, tenants: &Arc<Tenants>) -> Vec<Arc<Tenant>> {
    set_failpoint("provision-seed-after", "provisioning", Failpoint::Crash);
    try_provision(tenants, "provisioning", Placement::Schema).await.unwrap_err();
    provision(tenants, "active", Placement::Schema).await;
    let suspended = provision(tenants, "suspended", Placement::Schema).await;
    tenants.suspend(suspended.id).await.unwrap();
    let deleting = provision(tenants, "deleting", Placement::Schema).await;
    set_failpoint("delete-close-after", "deleting", Failpoint::Crash);
    tenants.delete(deleting.id).await.unwrap_err();
    let archived = provision(tenants, "archived", Placement::Schema).await;
    tenants.delete(archived.id).await.unwrap();
    // As another process knows them, without what is remembered here.
    let tenants = town.process(quiet()).await;
    let mut all = Vec::new();
    for word in ["provisioning", "active", "suspended", "deleting", "archived"] {
        let tenant = tenants.find(word).await.unwrap().unwrap();
        assert_eq!(tenant.status.as_str(), word);
        all.push(tenant);
    }
    all
}

async fn attempt(tenants: &Arc<Tenants>, change: &str, id: TenantId) -> Result<TenantStatus, ApiError> {
    match change {
        "suspend" => tenants.suspend(id).await.map(|tenant| tenant.status),
        "reactivate" => tenants.reactivate(id).await.map(|tenant| tenant.status),
        _ => tenants.delete(id).await.map(|()| TenantStatus::Archived),
    }
}

#[tokio::test]
async fn each_change_is_possible_from_some_states_and_refused_from_the_others_with_the_reason() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let all = one_of_each(&town, &tenants).await;
    let mut found = Vec::new();
    for change in ["suspend", "reactivate", "delete"] {
        for tenant in &all {
            let outcome = match attempt(&town.process(quiet()).await, change, tenant.id).await {
                Ok(status) => status.to_string(),
                Err(error) => {
                    if error.code == ErrorCode::Conflict {
                        assert!(error.message.contains(tenant.status.as_str()), "{}", error.message);
                    }
                    let now = town.process(quiet()).await.find(tenant.slug.as_str()).await.unwrap().unwrap();
                    assert_eq!(now.status, tenant.status, "{change} {}", tenant.slug);
                    error.code.as_str().to_owned()
                }
            };
            found.push(format!("{change} {}: {outcome}", tenant.status));
            // Back to where it was.
            match (change, tenant.status) {
                ("suspend", TenantStatus::Active) => drop(tenants.reactivate(tenant.id).await.unwrap()),
                ("reactivate", TenantStatus::Suspended) => drop(tenants.suspend(tenant.id).await.unwrap()),
                _ => {}
            }
        }
    }
    assert_eq!(
        found,
        [
            "suspend provisioning: conflict",
            "suspend active: suspended",
            "suspend suspended: suspended",
            "suspend deleting: conflict",
            "suspend archived: not_found",
            "reactivate provisioning: conflict",
            "reactivate active: active",
            "reactivate suspended: active",
            "reactivate deleting: conflict",
            "reactivate archived: not_found",
            "delete provisioning: conflict",
            "delete active: archived",
            "delete suspended: archived",
            "delete deleting: conflict",
            "delete archived: not_found",
        ]
    );
    for change in ["suspend", "reactivate", "delete"] {
        let stranger = attempt(&tenants, change, TenantId::generate()).await.unwrap_err();
        assert_eq!(stranger.code, ErrorCode::NotFound, "{change}");
    }
}

#[tokio::test]
async fn a_suspended_tenant_keeps_its_rows_and_its_tables_go_with_the_releases() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let other = town.process(quiet()).await;
    let mut all = Vec::new();
    for placement in PLACEMENTS {
        let tenant = provision(&tenants, placement.as_str(), placement).await;
        assert_eq!(other.find(placement.as_str()).await.unwrap().unwrap().status, TenantStatus::Active);
        assert_eq!(tenants.suspend(tenant.id).await.unwrap().status, TenantStatus::Suspended);
        assert_eq!(tenants.find(placement.as_str()).await.unwrap().unwrap().status, TenantStatus::Suspended, "at once");
        all.push(tenant);
    }
    for tenant in &all {
        // Another process notices when what it remembers has aged.
        while other.find(tenant.slug.as_str()).await.unwrap().unwrap().status != TenantStatus::Suspended {
            tokio::task::yield_now().await;
        }
    }
    town.write("migrations/0002_code.sql", "alter table customers add column code text;");
    let next = town.open().await;
    assert_eq!(next.migrate_up(2, &|_| {}).await.unwrap().failed.len(), 0);
    for tenant in &all {
        let back = next.reactivate(tenant.id).await.unwrap();
        assert_eq!((back.status, &back.location), (TenantStatus::Active, &tenant.location));
        assert_eq!(town.count(&back, "customers").await, 1);
        assert_eq!(town.count(&back, "customers where code is null").await, 1);
    }
}

#[tokio::test]
async fn of_changes_at_once_one_has_the_last_word_and_all_agree_on_it() {
    let town = Town::start().await;
    let (one, other) = (town.process(quiet()).await, town.process(quiet()).await);
    for round in 0..5 {
        let tenant = provision(&one, &format!("round-{round}"), Placement::Pool).await;
        let (suspended, deleted, deleted_too, reactivated) = tokio::join!(
            one.suspend(tenant.id),
            one.delete(tenant.id),
            other.delete(tenant.id),
            other.reactivate(tenant.id)
        );
        assert!(deleted.is_ok() || deleted_too.is_ok(), "{deleted:?} {deleted_too:?}");
        let refused =
            [suspended.map(drop), deleted, deleted_too, reactivated.map(drop)].into_iter().filter_map(Result::err);
        for error in refused {
            assert!(matches!(error.code, ErrorCode::Conflict | ErrorCode::NotFound), "{error:?}");
        }
        town.settle(&one).await;
        let now = town.process(quiet()).await.find(tenant.slug.as_str()).await.unwrap().unwrap();
        assert_eq!(now.status, TenantStatus::Archived);
        assert_eq!(town.count(&tenant, "customers").await, 0);
    }
}

#[tokio::test]
async fn tenants_are_listed_by_state_and_page_by_page_without_those_that_are_gone() {
    let town = Town::start().await;
    let tenants = town.open().await;
    one_of_each(&town, &tenants).await;
    for number in 0..7 {
        provision(&tenants, &format!("many-{number}"), Placement::Pool).await;
    }
    let slugs = async |list: ListTenants| -> Vec<String> {
        let page = tenants.list(&list).await.unwrap();
        page.tenants.iter().map(|tenant| tenant.slug.to_string()).collect()
    };
    for status in ["provisioning", "suspended", "deleting", "archived"] {
        let list = ListTenants { status: Some(status.parse().unwrap()), ..ListTenants::default() };
        assert_eq!(slugs(list).await, [status]);
    }
    let everyone = slugs(ListTenants::default()).await;
    assert_eq!(everyone.len(), 11);
    assert!(!everyone.contains(&"archived".to_owned()));
    assert!(everyone.is_sorted());
    let (mut paged, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = tenants.list(&ListTenants { after, limit: 4, ..ListTenants::default() }).await.unwrap();
        paged.extend(page.tenants.iter().map(|tenant| tenant.slug.to_string()));
        (after, pages) = (page.next, pages + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!((paged, pages), (everyone, 3));
    let many = ListTenants { search: Some("MANY".into()), placement: Some(Placement::Pool), ..ListTenants::default() };
    assert_eq!(slugs(many).await.len(), 7);
    let wild = ListTenants { search: Some("%".into()), ..ListTenants::default() };
    assert_eq!(slugs(wild).await, Vec::<String>::new(), "a search is for text, not a pattern");
}
