//! Provisioning: whole or not at all, in every placement, whatever dies where.

use rowhouse_jobs::{Failpoint, set_failpoint};
use rowhouse_tenants::{Placement, TenantStatus};

use crate::installation::{Installation, wanted};

const PLACEMENTS: [Placement; 3] = [Placement::Pool, Placement::Schema, Placement::Database];
const STEPS: [&str; 4] = ["reserve", "place", "seed", "activate"];

#[tokio::test]
async fn a_tenant_of_every_placement_has_its_owner_and_its_first_rows() {
    let installation = Installation::start(0).await;
    for placement in PLACEMENTS {
        let slug = format!("fresh-{placement}");
        let made = installation.tenants.provision(wanted(&slug, placement)).await.unwrap();
        assert_eq!(made.tenant.status, TenantStatus::Active);
        let context = made.tenant.context(&installation.test.authorities.tenant);
        let connection = installation.test.databases.tenant(&context).await.unwrap();
        let schema = rowhouse_postgres::quote_identifier(connection.schema());
        let stages =
            connection.run(&format!("select name from {schema}.pipeline_stages order by position"), &[]).await.unwrap();
        assert_eq!(stages.len(), 8);
        let members = connection.run("select user_id, role from rowhouse.members", &[]).await.unwrap();
        assert_eq!(members.len(), 1);
        assert_eq!(Some(rowhouse_types::UserId::from_uuid(members[0].get(0))), made.owner);
        let access = installation.identity.access(made.owner.unwrap(), made.tenant.id).await.unwrap().unwrap();
        assert_eq!(access.role.as_str(), "owner");
    }
}

#[tokio::test]
async fn a_step_that_fails_leaves_nothing_behind() {
    for placement in PLACEMENTS {
        let installation = Installation::start(0).await;
        for step in STEPS {
            let slug = format!("fail-{step}-{placement}");
            set_failpoint(&format!("provision-{step}-before"), &slug, Failpoint::Error);
            assert!(installation.tenants.provision(wanted(&slug, placement)).await.is_err());
            assert_eq!(installation.remains(&slug).await, Vec::<String>::new(), "{placement}, {step}");
            // The slug and the address are free again.
        }
        installation.make("afterwards", placement).await;
    }
}

#[tokio::test]
async fn a_process_that_dies_between_steps_is_taken_over() {
    for placement in PLACEMENTS {
        let installation = Installation::start(0).await;
        for step in STEPS {
            for when in ["before", "after"] {
                let slug = format!("die-{step}-{when}-{placement}");
                set_failpoint(&format!("provision-{step}-{when}"), &slug, Failpoint::Crash);
                let died = installation.tenants.provision(wanted(&slug, placement)).await;
                let finished = step == "activate" && when == "after";
                assert!(died.is_err() || finished, "{slug}");
                expire_leases(&installation).await;
                installation.reopen(crate::installation::solar()).await.resume_operations().await.unwrap();
                let expected = if step == "reserve" && when == "before" { None } else { Some(TenantStatus::Active) };
                let found = installation.reopen(crate::installation::solar()).await.find(&slug).await.unwrap();
                assert_eq!(found.map(|tenant| tenant.status), expected, "{slug}");
            }
        }
        assert_eq!(installation.count("select count(*) from control.sagas where status <> 'succeeded'").await, 0);
    }
}

pub(crate) async fn expire_leases(installation: &Installation) {
    let scope = installation.test.authorities.system.scope("test");
    let control = installation.test.databases.control(&scope).await.unwrap();
    control.batch("update control.sagas set lease_until = now() - interval '1 second'").await.unwrap();
}

#[tokio::test]
async fn of_many_who_want_one_slug_one_wins_and_the_others_are_told() {
    let installation = Installation::start(0).await;
    let mut racers = Vec::new();
    for number in 0..20 {
        let tenants = installation.tenants.clone();
        let mut provision = wanted("contested", Placement::Pool);
        provision.owner =
            rowhouse_tenants::ProvisionOwner::Invite(format!("racer{number}@example.com").parse().unwrap());
        racers.push(tokio::spawn(async move { tenants.provision(provision).await.map(drop) }));
    }
    let mut won = 0;
    for racer in racers {
        match racer.await.unwrap() {
            Ok(()) => won += 1,
            Err(error) => assert_eq!(error.code, rowhouse_types::ErrorCode::Conflict, "{error}"),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn prepared_schemas_and_databases_are_taken_and_made_anew() {
    let installation = Installation::start(2).await;
    assert_eq!(installation.tenants.fill_warm().await.unwrap(), 4);
    assert_eq!(installation.tenants.fill_warm().await.unwrap(), 0);
    for (slug, placement) in [("warm-one", Placement::Schema), ("warm-two", Placement::Database)] {
        installation.make(slug, placement).await;
    }
    assert_eq!(installation.count("select count(*) from control.targets where kind like 'prepared%'").await, 2);
    assert_eq!(installation.count("select count(*) from control.targets where tenant_id is not null").await, 2);
    assert_eq!(installation.tenants.fill_warm().await.unwrap(), 2);
}

#[tokio::test]
async fn a_deleted_tenant_leaves_nothing_but_its_taken_slug() {
    for placement in PLACEMENTS {
        let installation = Installation::start(0).await;
        let made = installation.tenants.provision(wanted("doomed", placement)).await.unwrap();
        installation.tenants.seed_rows(&made.tenant, 100).await.unwrap();
        installation.tenants.delete(made.tenant.id).await.unwrap();
        let mut remains = installation.remains("doomed").await;
        remains.retain(|what| what != "tenant" && what != "user");
        assert_eq!(remains, Vec::<String>::new(), "{placement}");
        let again = installation.tenants.provision(wanted("doomed", placement)).await;
        assert_eq!(again.err().unwrap().code, rowhouse_types::ErrorCode::Conflict);
    }
}
