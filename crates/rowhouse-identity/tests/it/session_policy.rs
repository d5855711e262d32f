//! When tenants' sessions end: sooner than the operator's, and never later.

use rowhouse_audit::Actor;
use rowhouse_identity::{
    Device, HandOff, IdentitySettings, ReturnTo, SessionPolicy, SessionPolicyPatch, Tokens, WebHost, WebSession,
};
use rowhouse_types::TenantId;
use secrecy::ExposeSecret as _;
use std::sync::Arc;

use crate::{Ground, device, refusal, sign_in_to};

const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;
const ACME: WebHost<'_> = WebHost { name: "acme.localhost", tenant: Some("acme") };
const SIGN_IN_HOST: WebHost<'_> = WebHost { name: "localhost", tenant: None };

impl Ground {
    async fn ends(&self, tenant: TenantId, idle_minutes: Option<i32>, absolute_hours: Option<i32>) -> SessionPolicy {
        let patch = SessionPolicyPatch { idle_minutes, absolute_hours };
        self.identity.change_session_policy(tenant, patch, &Actor::system()).await.unwrap()
    }

    /// Minutes until the sessions end, by table, the oldest first.
    async fn minutes_left(&self, table: &str) -> Vec<i64> {
        let left = format!(
            "select round(extract(epoch from expires_at - now()) / 60)::bigint from control.{table} order by created_at"
        );
        self.control().await.query(&left, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// As if this much time had passed since the sign-in; of use nothing is said.
    async fn signed_in(&self, ago: &str) {
        self.batch(&format!("update control.sessions set created_at = created_at - interval '{ago}'")).await;
    }

    async fn cookie(&self, tokens: &Tokens, host: WebHost<'_>) -> String {
        let opened = self.identity.open_web_session(tokens.session, host, None).await.unwrap();
        opened.secret.expose_secret().to_owned()
    }

    async fn by_cookie(
        &self,
        cookie: &str,
        host: WebHost<'_>,
    ) -> Result<Arc<WebSession>, rowhouse_identity::IdentityError> {
        self.identity.verify_cookie(cookie, host, Device::default).await
    }
}

#[tokio::test]
async fn a_tenant_that_says_nothing_has_the_operators_and_none_may_have_more() {
    let ground = Ground::start().await;
    let (_, acme) = ground.ann_of_acme().await;
    let bounds = SessionPolicy { idle_minutes: 30 * 24 * 60, absolute_hours: 90 * 24 };
    assert_eq!(ground.identity.session_policy(acme).await.unwrap(), bounds);
    let tokens = ground.sign_in("ann@example.com").await;
    assert_eq!(ground.minutes_left("sessions").await, [30 * DAY]);
    assert_eq!(ground.ends(acme, Some(60), None).await, SessionPolicy { idle_minutes: 60, ..bounds });
    assert_eq!(ground.ends(acme, None, Some(8)).await, SessionPolicy { idle_minutes: 60, absolute_hours: 8 });
    assert_eq!(ground.minutes_left("sessions").await, [HOUR], "open ones end as soon");
    assert_eq!(ground.ends(acme, Some(1_000_000), Some(1_000_000)).await, bounds);
    let refreshed = ground.identity.refresh(&tokens.refresh_token, device()).await.unwrap();
    assert_eq!(ground.minutes_left("sessions").await, [30 * DAY], "and later once they are used");
    let strict = IdentitySettings { session_days: 1, session_days_max: 2, ..IdentitySettings::default() };
    let strict = ground.open(ground.master.clone(), strict).await.unwrap();
    strict.refresh(&refreshed.refresh_token, device()).await.unwrap();
    assert_eq!(ground.minutes_left("sessions").await, [DAY]);
    assert_eq!(strict.session_policy(acme).await.unwrap(), SessionPolicy { idle_minutes: 24 * 60, absolute_hours: 48 });
}

#[tokio::test]
async fn a_session_by_token_ends_unused_and_at_its_time() {
    let ground = Ground::start().await;
    let (_, acme) = ground.ann_of_acme().await;
    ground.ends(acme, Some(60), Some(8)).await;
    let mut tokens = ground.sign_in("ann@example.com").await;
    assert_eq!(ground.minutes_left("sessions").await, [HOUR]);
    ground.signed_in("7 hours 30 minutes").await;
    tokens = ground.identity.refresh(&tokens.refresh_token, device()).await.unwrap();
    assert_eq!(ground.minutes_left("sessions").await, [30], "use does not put it off beyond its time");
    let claims = ground.claims(&tokens).await;
    ground.ends(acme, None, Some(1)).await;
    assert_eq!(refusal(ground.identity.verify_access_token(&tokens.access_token).await), "invalid token", "at once");
    assert_eq!(refusal(ground.identity.refresh(&tokens.refresh_token, device()).await), "invalid token");
    assert_eq!(claims.org.as_ref().unwrap().id, acme);
}

#[tokio::test]
async fn another_tenants_policy_holds_from_the_switch_on() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let globex = ground.tenant("globex").await;
    ground.join(globex, ann, "member").await;
    ground.ends(globex, Some(30), Some(2)).await;
    let tokens = ground.identity.sign_in(sign_in_to("ann@example.com", "acme")).await.unwrap();
    let claims = ground.claims(&tokens).await;
    let switched = ground.identity.switch(&claims, "globex", device()).await.unwrap();
    assert_eq!(ground.minutes_left("sessions").await, [30]);
    let claims = ground.claims(&switched).await;
    ground.identity.switch(&claims, "acme", device()).await.unwrap();
    assert_eq!(ground.minutes_left("sessions").await, [30 * DAY]);
    ground.signed_in("121 minutes").await;
    assert_eq!(refusal(ground.identity.switch(&claims, "globex", device()).await), "sign-in too old");
    let base_domain = "localhost";
    let to = HandOff { tenant: "globex", base_domain, return_to: &ReturnTo::default(), device: &device() };
    assert_eq!(refusal(ground.identity.hand_off(&claims, &to).await), "sign-in too old");
    assert_eq!(ground.minutes_left("sessions").await, [30 * DAY], "and it goes on where it is");
}

#[tokio::test]
async fn each_cookie_ends_by_its_own_tenants_policy() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let globex = ground.tenant("globex").await;
    ground.join(globex, ann, "member").await;
    ground.ends(acme, Some(60), Some(8)).await;
    let tokens = ground.identity.sign_in(sign_in_to("ann@example.com", "globex")).await.unwrap();
    let here = ground.cookie(&tokens, SIGN_IN_HOST).await;
    let claims = ground.by_cookie(&here, SIGN_IN_HOST).await.unwrap().claims.clone();
    let to = HandOff { tenant: "acme", base_domain: "localhost", return_to: &ReturnTo::default(), device: &device() };
    let code = ground.identity.hand_off(&claims, &to).await.unwrap();
    let there = ground.identity.take_hand_off(&code.code, ACME, &device()).await.unwrap();
    let there = there.web.secret.expose_secret().to_owned();
    assert_eq!(ground.minutes_left("web_sessions").await, [30 * DAY, HOUR]);
    ground.batch("update control.web_sessions set expires_at = now() where tenant_id is not null").await;
    let other = ground.other_process().await;
    assert_eq!(
        refusal(other.verify_cookie(&there, ACME, Device::default).await),
        "invalid token",
        "unused for an hour"
    );
    assert!(other.verify_cookie(&here, SIGN_IN_HOST, Device::default).await.is_ok());
    ground.ends(globex, Some(15), None).await;
    assert_eq!(ground.minutes_left("web_sessions").await[0], 15);
    assert_eq!(ground.minutes_left("sessions").await, [30 * DAY], "the session itself has the operator's word");
}

#[tokio::test]
async fn a_change_is_told_in_the_audit_log() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let patch = SessionPolicyPatch { idle_minutes: Some(15), absolute_hours: None };
    ground.identity.change_session_policy(acme, patch, &Actor::user(ann)).await.unwrap();
    let told =
        ground.audit.entries(&rowhouse_audit::EntryFilter { tenant: Some(acme), ..Default::default() }).await.unwrap();
    let line = told.iter().find(|line| line.action == "change_session_policy").unwrap();
    assert_eq!((line.actor_id, line.details.as_ref().unwrap()["idle_minutes"].as_i64()), (Some(ann.uuid()), Some(15)));
}
