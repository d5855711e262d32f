//! Deleting goes on whatever happens, takes everything of the tenant, and nothing of anybody else.

use rowhouse_jobs::{Failpoint, ListSagas, set_failpoint};
use rowhouse_postgres::params;
use rowhouse_tenants::{Placement, Tenant, TenantStatus, Tenants};
use rowhouse_types::ErrorCode;

use crate::town::{PLACEMENTS, Town, provision};

const STEPS: [&str; 3] = ["close", "rows", "forget"];

fn failpoints() -> impl Iterator<Item = String> {
    STEPS.iter().flat_map(|step| ["before", "unrecorded", "after"].map(|place| format!("delete-{step}-{place}")))
}

/// Rows in every table, some of which refer to others.
async fn fill(town: &Town, tenant: &Tenant) {
    let schema = &tenant.location.schema;
    let statements = [
        format!("insert into {schema}.orders (customer_id) select id from {schema}.customers"),
        format!("insert into {schema}.order_lines (order_id) select id from {schema}.orders"),
        format!("insert into {schema}.notes (answers_id, text) select id, 'An answer' from {schema}.notes"),
    ];
    for statement in statements {
        town.tenant(tenant).await.run(&statement, &[]).await.unwrap();
    }
}

/// How many rows a tenant has in each table.
async fn rows(town: &Town, tenant: &Tenant) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in ["customers", "orders", "order_lines", "notes", "rowhouse.members"] {
        counts.push(town.count(tenant, table).await);
    }
    counts
}

/// What a deletion keeps: the slug, which stays taken, and the person, who may have other tenants.
async fn forget_what_is_kept(town: &Town, tenant: &Tenant) {
    let control = town.control().await;
    let email = format!("owner@{}.example", tenant.slug);
    control
        .query("delete from control.tenants where id = $1 and status = 'archived'", params![tenant.id])
        .await
        .unwrap();
    control.query("delete from control.users where email = $1", params![email]).await.unwrap();
}

/// A neighbour in each placement, whose rows nobody may touch.
async fn neighbours(town: &Town, tenants: &std::sync::Arc<Tenants>) -> Vec<std::sync::Arc<Tenant>> {
    let mut neighbours = Vec::new();
    for placement in PLACEMENTS {
        let tenant = provision(tenants, &format!("neighbour-{placement}"), placement).await;
        fill(town, &tenant).await;
        neighbours.push(tenant);
    }
    neighbours
}

async fn stopped_everywhere(how: Failpoint) {
    let town = Town::start().await;
    let (tenants, other) = (town.open().await, town.open().await);
    let neighbours = neighbours(&town, &tenants).await;
    let before = town.inventory().await;
    for placement in PLACEMENTS {
        // After the last step there is nothing left to fail.
        let meant = |name: &String| how == Failpoint::Crash || name != "delete-forget-after";
        for (number, name) in failpoints().filter(meant).enumerate() {
            let doomed = provision(&tenants, &format!("doomed-{placement}-{number}"), placement).await;
            fill(&town, &doomed).await;
            set_failpoint(&name, doomed.slug.as_str(), how);
            let error = tenants.delete(doomed.id).await.unwrap_err();
            town.settle(&other).await;
            if name.starts_with("delete-close-") && !name.ends_with("-after") {
                // Nothing has begun: the tenant is as it was, and whoever asked may ask again.
                assert_eq!(tenants.find(doomed.slug.as_str()).await.unwrap().unwrap().status, TenantStatus::Active);
                assert_eq!(rows(&town, &doomed).await, [1, 1, 1, 2, 1], "{placement}, {name}");
                tenants.delete(doomed.id).await.unwrap();
                town.settle(&other).await;
            } else {
                let expected = if how == Failpoint::Crash { ErrorCode::Unavailable } else { ErrorCode::Internal };
                assert_eq!(error.code, expected, "{placement}, {name}: {error}");
                if how == Failpoint::Error {
                    // It cannot go back and waits for an operator.
                    let operation = tenants.operations(&ListSagas::default()).await.unwrap().remove(0);
                    assert_eq!(operation.subject, doomed.slug.as_str());
                    other.retry_operation(operation.id).await.unwrap();
                    town.settle(&other).await;
                }
            }
            let left = town.open().await.find(doomed.slug.as_str()).await.unwrap().unwrap();
            assert_eq!(left.status, TenantStatus::Archived, "{placement}, {name}");
            assert_eq!(left.name, "", "{placement}, {name}");
            forget_what_is_kept(&town, &doomed).await;
            assert_eq!(town.inventory().await, before, "{placement}, {name}");
        }
    }
    for neighbour in neighbours {
        assert_eq!(rows(&town, &neighbour).await, [1, 1, 1, 2, 1], "{}", neighbour.slug);
    }
}

#[tokio::test]
async fn failing_at_any_step_an_operator_tries_it_again_until_nothing_is_left() {
    stopped_everywhere(Failpoint::Error).await;
}

#[tokio::test]
async fn killed_at_any_step_another_process_leaves_nothing() {
    stopped_everywhere(Failpoint::Crash).await;
}

#[tokio::test]
async fn what_another_process_writes_meanwhile_is_swept_away() {
    let town = Town::start().await;
    let (tenants, other) = (town.open().await, town.open().await);
    let neighbour = provision(&tenants, "neighbour", Placement::Pool).await;
    let doomed = provision(&tenants, "doomed", Placement::Pool).await;
    let late = other.find("doomed").await.unwrap().unwrap();
    tenants.delete(doomed.id).await.unwrap();
    // The other process remembers the tenant as active for a moment.
    town.tenant(&late).await.run("insert into app.notes (text) values ('too late')", &[]).await.unwrap();
    assert_eq!(town.count(&late, "notes").await, 1);
    town.settle(&other).await;
    assert_eq!(town.count(&late, "notes").await, 0);
    assert_eq!(town.count(&neighbour, "notes").await, 1);
}

#[tokio::test]
async fn a_tenant_that_is_gone_cannot_be_deleted_again_and_its_slug_stays_taken() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let tenant = provision(&tenants, "acme", Placement::Pool).await;
    tenants.delete(tenant.id).await.unwrap();
    assert_eq!(tenants.delete(tenant.id).await.unwrap_err().code, ErrorCode::NotFound);
    let again = crate::town::try_provision(&tenants, "acme", Placement::Pool).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::Conflict, "{again}");
}
