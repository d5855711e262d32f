//! API keys: what they hold, and how soon a change of one acts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rowhouse_audit::Actor;
use rowhouse_identity::{
    ApiKeyMaker, ApiKeyPage, Identity, IdentityError, IdentitySettings, KeyAccess, KeyRights, MadeApiKey, NewApiKey,
};
use rowhouse_postgres::params;
use rowhouse_types::{Grants, KeyId, RoleKey, TenantId, UserId};

use crate::{Ground, device, refusal};

fn role(role: &str) -> KeyRights {
    KeyRights::Role(RoleKey::new(role))
}

fn permissions(permissions: &[&str]) -> KeyRights {
    KeyRights::Permissions(permissions.iter().map(|text| text.parse().unwrap()).collect())
}

fn new(rights: KeyRights) -> NewApiKey {
    NewApiKey { name: "Website".into(), rights, lifetime_days: Some(90), requests_per_minute: None }
}

async fn verify(identity: &Identity, made: &MadeApiKey) -> Result<Arc<KeyAccess>, IdentityError> {
    identity.verify_api_key(made.secret.expose(), device).await
}

impl Ground {
    /// Makes a key as somebody of a role.
    async fn key_by(
        &self,
        user: UserId,
        maker: &str,
        tenant: TenantId,
        rights: KeyRights,
    ) -> Result<MadeApiKey, IdentityError> {
        let (actor, grants) = (Actor::user(user), Grants::built_in(maker).unwrap());
        let maker = ApiKeyMaker { user, actor: &actor, grants: &grants };
        self.identity.create_api_key(maker, tenant, new(rights)).await
    }

    async fn rotate_by(
        &self,
        user: UserId,
        maker: &str,
        tenant: TenantId,
        key: KeyId,
        overlap: u64,
    ) -> Result<MadeApiKey, IdentityError> {
        let (actor, grants) = (Actor::user(user), Grants::built_in(maker).unwrap());
        let maker = ApiKeyMaker { user, actor: &actor, grants: &grants };
        self.identity.rotate_api_key(maker, tenant, key, Duration::from_secs(overlap)).await
    }
}

#[tokio::test]
async fn a_key_never_holds_more_than_who_makes_or_rotates_it() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    for (maker, rights, outcome) in [
        ("owner", role("owner"), "made"),
        ("admin", role("owner"), "not held"),
        ("admin", role("admin"), "made"),
        ("admin", permissions(&["organization:manage"]), "not held"),
        ("admin", permissions(&["leads:view:own", "leads:edit"]), "made"),
        ("member", permissions(&["leads:view"]), "not held"),
        ("member", permissions(&["leads:view:own", "leads:create"]), "made"),
        ("member", role("viewer"), "made"),
        ("viewer", role("member"), "not held"),
        ("owner", role("nobody"), "unknown role"),
    ] {
        let made = ground.key_by(ann, maker, acme, rights.clone()).await;
        let told = if made.is_ok() { "made" } else { refusal(made) };
        assert_eq!(told, outcome, "{rights:?} by {maker}");
    }
    let strong = ground.key_by(ann, "owner", acme, role("owner")).await.unwrap().key.id;
    assert_eq!(refusal(ground.rotate_by(ann, "admin", acme, strong, 0).await), "not held");
    assert!(ground.rotate_by(ann, "owner", acme, strong, 0).await.is_ok());
}

#[tokio::test]
async fn a_role_of_a_key_is_what_it_is_now() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let roles =
        |permission: &str| HashMap::from([(RoleKey::new("fitter"), Grants::new([permission.parse().unwrap()]))]);
    ground.identity.set_roles(roles("projects:view"));
    let made = ground.key_by(ann, "owner", acme, role("fitter")).await.unwrap();
    let held = async || -> Vec<String> {
        let access = verify(&ground.identity, &made).await.unwrap();
        access.grants.permissions().map(|permission| permission.to_string()).collect()
    };
    assert_eq!(held().await, ["projects:view"]);
    ground.identity.set_roles(roles("leads:view"));
    assert_eq!(held().await, ["leads:view"]);
    ground.identity.set_roles(HashMap::new());
    assert!(held().await.is_empty(), "a role that is gone allows nothing");
}

#[tokio::test]
async fn an_end_acts_at_once_here_and_within_a_second_elsewhere() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let elsewhere = ground.other_process().await;
    for rotates in [true, false] {
        let made = ground.key_by(ann, "owner", acme, role("viewer")).await.unwrap();
        for identity in [&ground.identity, &elsewhere] {
            assert_eq!(verify(identity, &made).await.unwrap().tenant, acme);
        }
        if rotates {
            ground.rotate_by(ann, "owner", acme, made.key.id, 0).await.unwrap();
        } else {
            ground.identity.revoke_api_key(&Actor::user(ann), acme, made.key.id).await.unwrap();
        }
        let ended = Instant::now();
        assert_eq!(refusal(verify(&ground.identity, &made).await), "invalid key");
        // Whatever began within the second may still pass; what begins after it does not.
        loop {
            let begun = ended.elapsed();
            if verify(&elsewhere, &made).await.is_err() {
                break;
            }
            assert!(begun < Duration::from_secs(1), "a key passed {begun:?} after its end");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn an_overlap_is_no_longer_than_the_key_would_have_lived_and_a_rotation_renews_it() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let made = ground.key_by(ann, "owner", acme, role("viewer")).await.unwrap();
    ground.batch("update control.api_keys set expires_at = now() + interval '1 hour'").await;
    let rotated = ground.rotate_by(ann, "owner", acme, made.key.id, 24 * 3600).await.unwrap();
    let left = |until: Option<chrono::DateTime<chrono::Utc>>| (until.unwrap() - chrono::Utc::now()).num_hours();
    assert!(left(rotated.key.previous_until) < 2);
    assert_eq!(left(rotated.key.expires_at), 90 * 24 - 1);
    assert!(verify(&ground.identity, &made).await.is_ok() && verify(&ground.identity, &rotated).await.is_ok());
    ground.batch("update control.api_keys set previous_until = now()").await;
    let elsewhere = ground.other_process().await;
    assert_eq!(refusal(verify(&elsewhere, &made).await), "invalid key");
    assert!(verify(&elsewhere, &rotated).await.is_ok());
    let listed = ground.identity.api_keys(&ground.context(acme), &ApiKeyPage::default()).await.unwrap();
    assert_eq!(listed[0].previous_until, None, "it is over");
}

#[tokio::test]
async fn a_key_is_found_again_without_asking_and_a_refusal_is_recorded() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let made = ground.key_by(ann, "owner", acme, role("viewer")).await.unwrap();
    let mut remembered = false;
    // Two that a second lies between are asked for twice; a hundred such pairs are no accident.
    for _ in 0..100 {
        let first = verify(&ground.identity, &made).await.unwrap();
        remembered = remembered || Arc::ptr_eq(&first, &verify(&ground.identity, &made).await.unwrap());
    }
    assert!(remembered);
    let unknown = format!("rh_live_{}", "0".repeat(64));
    assert_eq!(refusal(ground.identity.verify_api_key(&unknown, device).await), "invalid key");
    ground.batch("update control.api_keys set expires_at = now()").await;
    assert_eq!(refusal(verify(&ground.other_process().await, &made).await), "invalid key");
    let events = ground.recorded().await;
    let refused = events.iter().filter(|event| event.kind == "api_key_refused");
    let refused: Vec<_> = refused.map(|event| (event.tenant_id, event.ip.as_deref())).collect();
    assert_eq!(refused, [(Some(acme.uuid()), Some("192.0.2.7")), (None, Some("192.0.2.7"))]);
}

#[tokio::test]
async fn a_use_is_noted_once_a_minute() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let made = ground.key_by(ann, "owner", acme, role("viewer")).await.unwrap();
    let access = verify(&ground.identity, &made).await.unwrap();
    let noted = async || -> (Option<chrono::DateTime<chrono::Utc>>, Option<String>) {
        let select = "select last_used_at, last_used_ip from control.api_keys where id = $1";
        let row = ground.control().await.query_opt(select, params![made.key.id]).await.unwrap().unwrap();
        (row.get(0), row.get(1))
    };
    ground.identity.key_used(&access, device().ip);
    while noted().await.0.is_none() {
        tokio::task::yield_now().await;
    }
    let first = noted().await;
    assert_eq!(first.1.as_deref(), Some("192.0.2.7"));
    // A minute later this process still remembers that it has written; another one writes.
    ground.batch("update control.api_keys set last_used_at = last_used_at - interval '61 seconds'").await;
    ground.identity.key_used(&access, device().ip);
    ground.other_process().await.key_used(&access, None);
    while noted().await.1.is_some() {
        tokio::task::yield_now().await;
    }
    assert!(noted().await.0 >= first.0);
}

#[tokio::test]
async fn a_tenant_has_at_most_a_hundred_keys_and_sees_no_other_tenants() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let globex = ground.tenant("globex").await;
    for _ in 0..100 {
        ground.key_by(ann, "owner", acme, role("viewer")).await.unwrap();
    }
    assert_eq!(refusal(ground.key_by(ann, "owner", acme, role("viewer")).await), "too many keys");
    let foreign = ground.key_by(ann, "owner", globex, role("viewer")).await.unwrap();
    let page = ApiKeyPage { limit: Some(201), ..ApiKeyPage::default() };
    let listed = ground.identity.api_keys(&ground.context(acme), &page).await.unwrap();
    assert_eq!(listed.len(), 100);
    assert!(listed.iter().all(|key| key.id != foreign.key.id));
    let next = ApiKeyPage { before: Some(listed[97].id), ..ApiKeyPage::default() };
    assert_eq!(ground.identity.api_keys(&ground.context(acme), &next).await.unwrap().len(), 2);
    assert_eq!(refusal(ground.rotate_by(ann, "owner", acme, foreign.key.id, 0).await), "not found");
    assert_eq!(refusal(ground.identity.revoke_api_key(&Actor::user(ann), acme, foreign.key.id).await), "not found");
    assert!(verify(&ground.identity, &foreign).await.is_ok());
}

#[tokio::test]
async fn a_key_of_development_opens_no_service_and_the_other_way_round() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let settings = IdentitySettings { development: true, ..IdentitySettings::default() };
    let development = ground.open(ground.master.clone(), settings).await.unwrap();
    let (actor, grants) = (Actor::user(ann), Grants::built_in("owner").unwrap());
    let maker = ApiKeyMaker { user: ann, actor: &actor, grants: &grants };
    let test = development.create_api_key(maker, acme, new(role("viewer"))).await.unwrap();
    let live = ground.key_by(ann, "owner", acme, role("viewer")).await.unwrap();
    assert!(test.key.prefix.starts_with("rh_test_") && live.key.prefix.starts_with("rh_live_"));
    assert!(verify(&development, &test).await.is_ok() && verify(&ground.identity, &live).await.is_ok());
    assert_eq!(refusal(verify(&development, &live).await), "invalid key");
    assert_eq!(refusal(verify(&ground.identity, &test).await), "invalid key");
}

#[tokio::test]
async fn a_deed_that_cannot_be_told_is_not_done() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let made = ground.key_by(ann, "owner", acme, role("viewer")).await.unwrap();
    ground.batch("alter table control.audit_log add constraint shut check (false) not valid").await;
    assert!(ground.key_by(ann, "owner", acme, role("viewer")).await.is_err());
    assert!(ground.rotate_by(ann, "owner", acme, made.key.id, 0).await.is_err());
    assert!(ground.identity.revoke_api_key(&Actor::user(ann), acme, made.key.id).await.is_err());
    let listed = ground.identity.api_keys(&ground.context(acme), &ApiKeyPage::default()).await.unwrap();
    assert_eq!(listed.iter().map(|key| key.prefix.as_str()).collect::<Vec<_>>(), [made.key.prefix.as_str()]);
    assert!(verify(&ground.other_process().await, &made).await.is_ok());
}

/// Requests until the key is told to wait.
async fn requests(identity: &Identity, made: &MadeApiKey) -> usize {
    for number in 0.. {
        match verify(identity, made).await {
            Ok(_) => {}
            Err(IdentityError::TooManyRequests { limit: 5, retry_after_seconds: 1..=60 }) => return number,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

#[tokio::test]
async fn a_key_with_a_limit_makes_so_many_requests_in_a_minute_in_all_processes() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let (actor, grants) = (Actor::user(ann), Grants::built_in("owner").unwrap());
    let maker = ApiKeyMaker { user: ann, actor: &actor, grants: &grants };
    let free = ground.key_by(ann, "owner", acme, role("viewer")).await.unwrap();
    let other = ground.other_process().await;
    let minute = || chrono::Utc::now().timestamp() / 60;
    loop {
        let begun_in = minute();
        let limited = NewApiKey { requests_per_minute: Some(5), ..new(role("viewer")) };
        let made = ground.identity.create_api_key(maker, acme, limited).await.unwrap();
        let first = requests(&ground.identity, &made).await;
        // Looking the key up again tells the others.
        ground.identity.set_roles(HashMap::new());
        let again = requests(&ground.identity, &made).await;
        let elsewhere = requests(&other, &made).await;
        // In another minute there are as many again.
        if minute() == begun_in {
            assert_eq!((first, again, elsewhere), (5, 0, 0));
            break;
        }
    }
    let listed = ground.identity.api_keys(&ground.context(acme), &ApiKeyPage::default()).await.unwrap();
    assert_eq!(listed[0].requests_per_minute, Some(5));
    for _ in 0..20 {
        verify(&ground.identity, &free).await.unwrap();
    }
}
