//! Deleting a tenant: stopped anywhere, it is gone in the end, and nobody else's rows are touched.

use std::sync::Arc;

use rowhouse_jobs::{Failpoint, ListSagas, set_failpoint};
use rowhouse_postgres::{Location, params, quote_identifier};
use rowhouse_tenants::{Placement, Tenant, TenantStatus, Tenants};
use rowhouse_types::{ErrorCode, InvitationId};

use crate::town::{PLACEMENTS, Town, drop_after_polls, provision, quiet};

const STEPS: [&str; 3] = ["close", "rows", "forget"];
const PLACES: [&str; 3] = ["before", "unrecorded", "after"];

/// Stands in every row of a tenant's, so that what is left of it can be looked for.
fn mark(slug: &str) -> String {
    format!("mark-of-{slug}")
}

/// A tenant with rows in every table, a member more, an invitation, a session and an API key.
async fn inhabited(town: &Town, tenants: &Arc<Tenants>, slug: &str, placement: Placement) -> Arc<Tenant> {
    const INVITE: &str = "
        insert into control.invitations (tenant_id, id, email, role, expires_at)
        values ($1, $2, 'guest@' || $3 || '.example', 'member', now() + interval '1 day')";
    const SIGN_IN: &str = "
        insert into control.sessions (id, user_id, tenant_id, token_hash, expires_at)
        select rowhouse.new_id(), user_id, $1, gen_random_uuid()::text::bytea, now() + interval '1 day'
        from control.memberships where tenant_id = $1";
    const KEY: &str = "
        insert into control.api_keys (tenant_id, id, name, prefix, hash, role)
        values ($1, rowhouse.new_id(), $2, 'rh_live_', gen_random_uuid()::text::bytea, 'viewer')";
    const POLICY: &str = "
        insert into control.mfa_policies (tenant_id, demanded_of, grace_days) values ($1, 'everybody', 90)";
    let tenant = provision(tenants, slug, placement).await;
    let connection = town.tenant(&tenant).await;
    let schema = quote_identifier(connection.schema());
    let mark = mark(slug);
    for insert in [
        format!(
            "insert into {schema}.customers (name, owner_id) select '{mark}', user_id from rowhouse.members returning 1"
        ),
        format!("insert into {schema}.orders (customer_id) select id from {schema}.customers returning 1"),
        format!("insert into {schema}.order_lines (order_id, amount) select id, 1 from {schema}.orders returning 1"),
        format!("insert into {schema}.notes (text, answers_id) select '{mark}', id from {schema}.notes returning 1"),
    ] {
        assert!(!connection.run(&insert, &[]).await.unwrap().is_empty(), "{insert}");
    }
    let colleague = "insert into rowhouse.members (tenant_id, user_id, role, display_name) values ($1, gen_random_uuid(), 'member', $2)";
    town.system(&tenant.location).await.query(colleague, params![tenant.id, mark.as_str()]).await.unwrap();
    let control = town.control().await;
    control.query(INVITE, params![tenant.id, InvitationId::generate(), slug]).await.unwrap();
    assert_eq!(control.execute(SIGN_IN, params![tenant.id]).await.unwrap(), 1);
    control.query(POLICY, params![tenant.id]).await.unwrap();
    control.query(KEY, params![tenant.id, mark.as_str()]).await.unwrap();
    tenant
}

/// Tables, of every database there is, with a row in which this text stands.
async fn tables_with(town: &Town, text: &str) -> Vec<String> {
    const DATABASES: &str = "
        select datname from pg_database where starts_with(datname, $1) and strpos(datname, '_template_') = 0 order by 1";
    const TABLES: &str = "
        select format('%I.%I', schemaname, tablename) from pg_tables
        where schemaname not in ('pg_catalog', 'information_schema') order by 1";
    let prefix = town.test.databases.home().roles.database("");
    let mut found = Vec::new();
    for database in town.control().await.query(DATABASES, params![prefix]).await.unwrap() {
        let connection = town.system(&Location::new("home", database.get(0), "app")).await;
        for table in connection.query(TABLES, &[]).await.unwrap() {
            let table: &str = table.get(0);
            let sql = format!("select 1 from {table} t where strpos(t::text, $1) > 0 limit 1");
            if !connection.query(&sql, params![text]).await.unwrap().is_empty() {
                found.push(table.to_owned());
            }
        }
    }
    found
}

/// Every row of a tenant's, wherever it stands.
async fn everything_of(town: &Town, tenant: &Tenant) -> Vec<String> {
    let schema = quote_identifier(&tenant.location.schema);
    let own = ["customers", "orders", "order_lines", "notes"].map(|table| format!("{schema}.{table}"));
    let control = ["memberships", "mfa_policies", "invitations", "sessions", "api_keys", "targets"]
        .map(|table| format!("control.{table}"));
    let mut rows = Vec::new();
    for (connection, tables) in [
        (town.system(&tenant.location).await, [&own[..], &["rowhouse.members".to_owned()]].concat()),
        (town.control().await, control.to_vec()),
    ] {
        for table in tables {
            let sql = format!("select t::text from {table} t where tenant_id = $1 order by 1");
            let found = connection.query(&sql, params![tenant.id]).await.unwrap();
            rows.extend(found.iter().map(|row| format!("{table} {}", row.get::<_, &str>(0))));
        }
    }
    rows
}

/// A town in which tenants of every placement live who have nothing to do with the deletions.
async fn neighbourhood() -> (Town, Arc<Tenants>, Vec<(Arc<Tenant>, Vec<String>)>) {
    let town = Town::start().await;
    let tenants = town.open().await;
    let mut neighbours = Vec::new();
    for placement in PLACEMENTS {
        let tenant = inhabited(&town, &tenants, &format!("neighbour-{placement}"), placement).await;
        let rows = everything_of(&town, &tenant).await;
        assert!(rows.len() >= 11, "{rows:#?}");
        neighbours.push((tenant, rows));
    }
    (town, tenants, neighbours)
}

/// What is left says that there was such a tenant, and of the owner that there is such a person.
async fn assert_gone(town: &Town, tenants: &Tenants, tenant: &Tenant, neighbours: &[(Arc<Tenant>, Vec<String>)]) {
    let slug = tenant.slug.as_str();
    let found = tenants.find(slug).await.unwrap().unwrap();
    assert_eq!((found.status, found.name.as_str()), (TenantStatus::Archived, ""), "{slug}");
    assert_eq!(tables_with(town, &mark(slug)).await, Vec::<String>::new(), "{slug}");
    assert_eq!(tables_with(town, &format!("The {slug}")).await, Vec::<String>::new(), "{slug}");
    assert_eq!(
        tables_with(town, &tenant.id.to_string()).await,
        ["control.audit_log", "control.sagas", "control.tenants"],
        "{slug}"
    );
    assert_eq!(tables_with(town, &format!("@{slug}.example")).await, ["control.users"], "{slug}");
    let place = format!("_{}", tenant.id.uuid().simple());
    let exists = "
        select datname from pg_database where strpos(datname, $1) > 0
        union all select nspname from pg_namespace where strpos(nspname, $1) > 0
        union all select target from rowhouse._migrations where strpos(target, $1) > 0";
    assert_eq!(town.data().await.query(exists, params![place]).await.unwrap().len(), 0, "{slug}");
    for (neighbour, rows) in neighbours {
        assert_eq!(everything_of(town, neighbour).await, *rows, "{} after {slug}", neighbour.slug);
    }
}

#[tokio::test]
async fn in_each_placement_nothing_is_left_of_a_tenant_that_was_deleted() {
    let (town, tenants, neighbours) = neighbourhood().await;
    for placement in PLACEMENTS {
        let tenant = inhabited(&town, &tenants, placement.as_str(), placement).await;
        tenants.delete(tenant.id).await.unwrap();
        town.settle(&tenants).await;
        assert_gone(&town, &tenants, &tenant, &neighbours).await;
        assert_eq!(tenants.delete(tenant.id).await.unwrap_err().code, ErrorCode::NotFound);
        assert_eq!(tenants.suspend(tenant.id).await.unwrap_err().code, ErrorCode::NotFound);
    }
    assert!(tenants.migrate_status(true).await.unwrap().iter().all(|state| state.state == "current"));
}

#[tokio::test]
async fn a_process_that_dies_while_it_deletes_is_followed_by_one_that_goes_on() {
    let (town, tenants, neighbours) = neighbourhood().await;
    let other = town.process(quiet()).await;
    for placement in PLACEMENTS {
        for (step, place) in STEPS.into_iter().flat_map(|step| PLACES.map(|place| (step, place))) {
            let slug = format!("killed-{placement}-{step}-{place}");
            let tenant = inhabited(&town, &tenants, &slug, placement).await;
            let before = everything_of(&town, &tenant).await;
            set_failpoint(&format!("delete-{step}-{place}"), &slug, Failpoint::Crash);
            tenants.delete(tenant.id).await.unwrap_err();
            town.settle(&other).await;
            if step == "close" && place != "after" {
                // It had not begun: whoever asked for it knows, and asks again.
                assert_eq!(everything_of(&town, &tenant).await, before, "{slug}");
                tenants.delete(tenant.id).await.unwrap();
                town.settle(&other).await;
            }
            assert_gone(&town, &tenants, &tenant, &neighbours).await;
        }
    }
}

#[tokio::test]
async fn a_deletion_that_fails_stands_until_an_operator_lets_it_go_on() {
    let (town, tenants, neighbours) = neighbourhood().await;
    for placement in PLACEMENTS {
        for (step, place) in STEPS.into_iter().flat_map(|step| PLACES.map(|place| (step, place))) {
            let slug = format!("failed-{placement}-{step}-{place}");
            let tenant = inhabited(&town, &tenants, &slug, placement).await;
            let before = everything_of(&town, &tenant).await;
            set_failpoint(&format!("delete-{step}-{place}"), &slug, Failpoint::Error);
            let outcome = tenants.delete(tenant.id).await;
            if (step, place) == ("forget", "after") {
                outcome.unwrap();
            } else if step == "close" && place != "after" {
                assert_eq!(outcome.unwrap_err().code, ErrorCode::Internal, "{slug}");
                assert_eq!(everything_of(&town, &tenant).await, before, "{slug}");
                assert_eq!(tenants.find(&slug).await.unwrap().unwrap().status, TenantStatus::Active, "{slug}");
                tenants.delete(tenant.id).await.unwrap();
            } else {
                outcome.unwrap_err();
                assert_eq!(tenants.find(&slug).await.unwrap().unwrap().status, TenantStatus::Deleting, "{slug}");
                let again = tenants.delete(tenant.id).await.unwrap_err();
                let operation = tenants.operations(&ListSagas::default()).await.unwrap().remove(0);
                assert_eq!(again.code, ErrorCode::Conflict, "{slug}");
                assert!(again.message.contains(&operation.id.to_string()), "{}", again.message);
                assert_eq!(tenants.reactivate(tenant.id).await.unwrap_err().code, ErrorCode::Conflict, "{slug}");
                assert_eq!(tenants.cancel_operation(operation.id).await.unwrap_err().code, ErrorCode::Conflict);
                tenants.retry_operation(operation.id).await.unwrap();
            }
            town.settle(&tenants).await;
            assert_gone(&town, &tenants, &tenant, &neighbours).await;
        }
    }
}

/// Another process serves the tenant until it notices; what that writes goes too.
#[tokio::test]
async fn rows_that_are_written_while_it_is_deleted_are_swept_away() {
    let (town, tenants, neighbours) = neighbourhood().await;
    let other = town.process(quiet()).await;
    for (placement, place) in
        [(Placement::Pool, "before"), (Placement::Pool, "unrecorded"), (Placement::Schema, "before")]
    {
        let tenant = inhabited(&town, &tenants, &format!("late-{placement}-{place}"), placement).await;
        let late = town.tenant(&tenant).await;
        tenants.delete(tenant.id).await.unwrap();
        let member = format!(
            "insert into rowhouse.members (user_id, role, display_name) values (gen_random_uuid(), 'member', '{}') returning 1",
            mark(tenant.slug.as_str())
        );
        late.run(&member, &[]).await.unwrap();
        if placement == Placement::Pool {
            let customer =
                format!("insert into app.customers (name) values ('{}') returning 1", mark(tenant.slug.as_str()));
            late.run(&customer, &[]).await.unwrap();
        }
        drop(late);
        assert!(!tables_with(&town, &mark(tenant.slug.as_str())).await.is_empty());
        set_failpoint(&format!("sweep-rows-{place}"), "sweep", Failpoint::Crash);
        town.settle(&other).await;
        assert_gone(&town, &tenants, &tenant, &neighbours).await;
    }
}

#[tokio::test]
async fn whoever_asks_for_a_deletion_may_go_away_at_any_moment() {
    let (town, tenants, neighbours) = neighbourhood().await;
    for placement in PLACEMENTS {
        for polls in 0.. {
            let tenant = inhabited(&town, &tenants, &format!("{placement}-{polls}"), placement).await;
            let ended = drop_after_polls(tenants.delete(tenant.id), polls).await;
            tenants.finish().await;
            town.settle(&tenants).await;
            if tenants.find(tenant.slug.as_str()).await.unwrap().unwrap().status == TenantStatus::Active {
                tenants.delete(tenant.id).await.unwrap();
                town.settle(&tenants).await;
            }
            assert_gone(&town, &tenants, &tenant, &neighbours).await;
            if ended {
                break;
            }
        }
    }
}
