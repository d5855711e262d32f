//! Tenants for another provider's objects: one for each, whatever dies where and whoever is told twice.

use futures_util::future::join_all;
use rowhouse_audit::Actor;
use rowhouse_jobs::{Failpoint, set_failpoint};
use rowhouse_tenants::Placement;

use crate::installation::{Installation, solar, wanted};

const STEPS: [&str; 4] = ["reserve", "place", "seed", "activate"];

async fn claims(installation: &Installation, claim: &str) -> (i64, i64) {
    let count = async |table: &str| {
        installation.count(&format!("select count(*) from control.{table} where clerk_id = '{claim}'")).await
    };
    (count("clerk_tenants").await, count("clerk_objects").await)
}

#[tokio::test]
async fn a_step_that_fails_gives_the_claim_back() {
    let installation = Installation::start(0).await;
    for step in STEPS {
        let (slug, claim) = (format!("fail-{step}"), format!("org_{step}"));
        let want = || wanted(&slug, Placement::Pool);
        set_failpoint(&format!("provision-{step}-before"), &slug, Failpoint::Error);
        assert!(installation.tenants.provision_claimed(&Actor::system(), want(), &claim).await.is_err(), "{step}");
        assert_eq!(claims(&installation, &claim).await, (0, 0), "{step}");
        let made = installation.tenants.provision_claimed(&Actor::system(), want(), &claim).await.unwrap();
        assert!(made.is_some(), "{step}");
    }
}

#[tokio::test]
async fn a_claim_of_a_process_that_died_is_not_taken_again() {
    let installation = Installation::start(0).await;
    for step in STEPS {
        let (slug, claim) = (format!("die-{step}"), format!("org_{step}"));
        set_failpoint(&format!("provision-{step}-after"), &slug, Failpoint::Crash);
        let want = wanted(&slug, Placement::Pool);
        let died = installation.tenants.provision_claimed(&Actor::system(), want, &claim).await;
        assert!(died.is_err() || step == "activate", "{step}");
        let other = wanted(&format!("other-{step}"), Placement::Pool);
        let again = installation.tenants.provision_claimed(&Actor::system(), other, &claim).await.unwrap();
        assert!(again.is_none(), "{step}");
        crate::provision::expire_leases(&installation).await;
        installation.reopen(solar()).await.resume_operations().await.unwrap();
        assert_eq!(claims(&installation, &claim).await, (1, 1), "{step}");
    }
}

#[tokio::test]
async fn of_many_who_claim_one_object_one_wins_and_a_taken_slug_is_no_obstacle() {
    let installation = Installation::start(0).await;
    installation.make("wanted", Placement::Pool).await;
    let claim = async |number: usize| {
        let mut want = wanted(&format!("wanted-{number}"), Placement::Pool);
        want.slug = Some("wanted".parse().unwrap());
        installation.tenants.provision_claimed(&Actor::system(), want, "org_1").await.unwrap()
    };
    let made: Vec<_> = join_all((0..8).map(claim)).await.into_iter().flatten().collect();
    let [made] = made.as_slice() else { panic!("{} tenants for one claim", made.len()) };
    assert_eq!(made.tenant.slug.as_str(), "wanted-2");
    // An object whose tenant was deleted stays known: it gets no other.
    installation.tenants.delete(made.tenant.id).await.unwrap();
    assert_eq!(claims(&installation, "org_1").await, (0, 1));
}
