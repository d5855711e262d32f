//! Whatever happens while a tenant is made: in the end it is there, or nothing of it is.

use std::sync::Arc;

use rowhouse_jobs::{Failpoint, ListSagas, set_failpoint};
use rowhouse_tenants::{Placement, TenantStatus, Tenants};
use rowhouse_types::ErrorCode;

use crate::town::{PLACEMENTS, Town, drop_after_polls, provision, sign_up, try_provision};

const STEPS: [&str; 4] = ["reserve", "place", "seed", "activate"];

fn failpoints() -> impl Iterator<Item = String> {
    STEPS.iter().flat_map(|step| ["before", "unrecorded", "after"].map(|place| format!("provision-{step}-{place}")))
}

/// A town where each kind of place was made once, so that the template and the like are there.
async fn settled_town() -> (Town, Arc<Tenants>) {
    let town = Town::start().await;
    let tenants = town.open().await;
    for placement in PLACEMENTS {
        provision(&tenants, &format!("first-{placement}"), placement).await;
    }
    (town, tenants)
}

#[tokio::test]
async fn failing_at_any_step_leaves_nothing_behind_in_any_placement() {
    let (town, tenants) = settled_town().await;
    let before = town.inventory().await;
    for placement in PLACEMENTS {
        for name in failpoints().filter(|name| name != "provision-activate-after") {
            set_failpoint(&name, "unlucky", Failpoint::Error);
            let failed = try_provision(&tenants, "unlucky", placement).await.unwrap_err();
            assert!(failed.message.contains(&name), "{placement}: {failed}");
            assert_eq!(town.inventory().await, before, "{placement}, {name}");
        }
        let made = provision(&tenants, "unlucky", placement).await;
        tenants.delete(made.id).await.unwrap();
        forget_archived(&town).await;
        assert_eq!(town.inventory().await, before, "{placement}");
    }
}

/// So that the same name can be used again; in the product it stays taken.
async fn forget_archived(town: &Town) {
    let control = town.control().await;
    control.query("delete from control.tenants where status = 'archived'", &[]).await.unwrap();
    control.query("delete from control.users where email like '%unlucky%'", &[]).await.unwrap();
}

#[tokio::test]
async fn killed_at_any_step_another_process_makes_the_tenant_whole() {
    let (town, tenants) = settled_town().await;
    let other = town.open().await;
    for placement in PLACEMENTS {
        for (number, name) in failpoints().enumerate() {
            let slug = format!("{placement}-{number}");
            let before = town.inventory().await;
            set_failpoint(&name, &slug, Failpoint::Crash);
            let crashed = try_provision(&tenants, &slug, placement).await.unwrap_err();
            assert_eq!(crashed.code, ErrorCode::Unavailable, "{name}");
            town.settle(&other).await;
            match other.find(&slug).await.unwrap() {
                None => {
                    assert!(name.contains("-reserve-") && !name.ends_with("after"), "{name}");
                    assert_eq!(town.inventory().await, before, "{placement}, {name}");
                }
                Some(tenant) => {
                    assert_eq!(tenant.status, TenantStatus::Active, "{placement}, {name}");
                    assert_eq!(town.count(&tenant, "customers").await, 1, "{placement}, {name}");
                    assert_eq!(town.count(&tenant, "rowhouse.members").await, 1, "{placement}, {name}");
                }
            }
        }
    }
}

/// What a dead process did may stand nowhere: steps that are quick to repeat are recorded later.
#[tokio::test]
async fn killed_at_any_step_and_cancelled_another_process_leaves_nothing_behind() {
    let (town, tenants) = settled_town().await;
    let other = town.open().await;
    let before = town.inventory().await;
    for placement in PLACEMENTS {
        for name in failpoints().filter(|name| name != "provision-activate-after") {
            set_failpoint(&name, "unwanted", Failpoint::Crash);
            try_provision(&tenants, "unwanted", placement).await.unwrap_err();
            for operation in tenants.operations(&ListSagas::default()).await.unwrap() {
                if operation.finished_at.is_none() {
                    tenants.cancel_operation(operation.id).await.unwrap();
                }
            }
            town.settle(&other).await;
            assert_eq!(town.inventory().await, before, "{placement}, {name}");
        }
    }
}

#[tokio::test]
async fn killed_while_it_is_taken_back_another_process_leaves_nothing_behind() {
    let (town, tenants) = settled_town().await;
    let other = town.open().await;
    let before = town.inventory().await;
    for placement in PLACEMENTS {
        for step in STEPS {
            for place in ["undo-before", "undo-unrecorded"] {
                let name = format!("provision-{step}-{place}");
                set_failpoint("provision-activate-unrecorded", "doomed", Failpoint::Error);
                set_failpoint(&name, "doomed", Failpoint::Crash);
                try_provision(&tenants, "doomed", placement).await.unwrap_err();
                town.settle(&other).await;
                assert_eq!(town.inventory().await, before, "{placement}, {name}");
            }
        }
    }
}

/// A client may go away, and a process may die, at any await point: also while a statement of
/// its session still runs.
#[tokio::test]
async fn dropped_at_any_poll_a_tenant_is_made_whole_or_leaves_nothing() {
    let (town, tenants) = settled_town().await;
    for placement in PLACEMENTS {
        let mut before = town.inventory().await;
        for polls in 0.. {
            let slug = format!("{placement}-{polls}");
            let ended = drop_after_polls(tenants.provision(sign_up(&slug, placement)), polls).await;
            town.settle(&tenants).await;
            match tenants.find(&slug).await.unwrap() {
                None => assert_eq!(town.inventory().await, before, "{slug}"),
                Some(tenant) => {
                    assert_eq!(tenant.status, TenantStatus::Active, "{slug}");
                    assert_eq!(town.count(&tenant, "customers").await, 1, "{slug}");
                    before = town.inventory().await;
                }
            }
            if ended {
                break;
            }
        }
    }
    let states = tenants.migrate_status(true).await.unwrap();
    assert!(states.iter().all(|state| state.state == "current"), "{states:#?}");
}

#[tokio::test]
async fn a_seed_that_fails_makes_no_tenant() {
    let town = Town::start().await;
    town.write("seed/onboarding.sql", "insert into customers (name) values (repeat('x', 201));");
    let tenants = town.open().await;
    let before = town.inventory().await;
    for placement in [Placement::Pool, Placement::Schema] {
        try_provision(&tenants, "unlucky", placement).await.unwrap_err();
        assert_eq!(town.inventory().await, before, "{placement}");
    }
}
