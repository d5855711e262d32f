//! The gate: tokens of every wrong kind, a tenant's status, events and alerts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::service::{ACME, GLOBEX, PASSWORD, Service};

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn parts(token: &str) -> (Value, Value, String) {
    let mut parts = token.split('.');
    let mut read = || serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap()).unwrap();
    let (header, claims) = (read(), read());
    (header, claims, parts.next().unwrap().to_owned())
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let service = Service::shared();
    let caller = service.owner(&ACME).await;
    let token = caller.token.clone().unwrap();
    let (header, claims, signature) = parts(&token);
    let other = service.owner(&GLOBEX).await.get("/api/auth/me").await.text("/data/tenant/id");
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims.clone();
        change(&mut claims);
        format!("{}.{}.{signature}", part(&header), part(&claims))
    };
    let forgeries = [
        ("alg none", format!("{}.{}.", part(&json!({ "alg": "none", "kid": header["kid"] })), part(&claims))),
        ("HS256", format!("{}.{}.{signature}", part(&json!({ "alg": "HS256", "kid": header["kid"] })), part(&claims))),
        (
            "unknown key",
            format!(
                "{}.{}.{signature}",
                part(&json!({ "alg": "ES256", "kid": "01900000-0000-7000-8000-000000000000" })),
                part(&claims)
            ),
        ),
        ("no key", format!("{}.{}.{signature}", part(&json!({ "alg": "ES256" })), part(&claims))),
        ("another tenant", changed(&|claims| claims["org"]["id"] = json!(other))),
        ("a stronger role", changed(&|claims| claims["org"]["role"] = json!("operator"))),
        ("a later end", changed(&|claims| claims["exp"] = json!(9_999_999_999_i64))),
        ("another audience", changed(&|claims| claims["aud"] = json!("operator"))),
        ("no signature", token.rsplit_once('.').unwrap().0.to_owned() + "."),
        ("two parts", token.rsplit_once('.').unwrap().0.to_owned()),
        ("nothing", String::new()),
        ("noise", "a.b.c".to_owned()),
    ];
    for (name, forged) in forgeries {
        for path in ["/api/leads", "/api/auth/me", "/api/admin/tenants", "/api/tenants/acme"] {
            let answer = caller.with_token(&forged).get(path).await;
            assert_eq!(answer.status, 401, "{name} on {path}: {}", answer.body);
        }
    }
    assert_eq!(caller.get("/api/leads").await.status, 200);
}

#[tokio::test]
async fn a_person_of_several_tenants_switches_and_every_naming_must_agree() {
    let service = Service::shared();
    let signed_up = sign_up(service, "agree").await;
    let caller = service.anonymous().with_token(&signed_up);
    let slug = caller.get("/api/auth/me").await.text("/data/tenant/slug");
    for same in [caller.with("X-Tenant-ID", &slug), caller.with("Host", &format!("{slug}.localhost")), caller.clone()] {
        assert_eq!(same.get(&format!("/api/leads?tenant_id={slug}")).await.status, 200);
    }
    assert_eq!(caller.get(&format!("/api/tenants/{slug}")).await.status, 200);
    let refused = caller.post("/api/auth/switch", &json!({ "tenant": "acme" })).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "tenant_mismatch"));
    let absent = caller.post("/api/auth/switch", &json!({ "tenant": "no-such" })).await;
    assert_eq!(refused.comparable(), absent.comparable());
    let switched = caller.post("/api/auth/switch", &json!({ "tenant": slug })).await;
    assert_eq!(switched.status, 200, "{}", switched.body);
}

async fn sign_up(service: &Service, name: &str) -> String {
    let body = json!({ "email": format!("{name}@example.com"), "password": PASSWORD, "company_name": format!("Company {name}") });
    let answer = service.anonymous().post("/api/auth/sign-up", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.text("/data/access_token")
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_until_it_is_reactivated() {
    let service = Service::shared();
    let caller = service.anonymous().with_token(&sign_up(service, "suspended").await);
    let slug = caller.get("/api/auth/me").await.text("/data/tenant/slug");
    let operator = service.operator("suspender").await;
    assert_eq!(caller.get("/api/leads").await.status, 200);
    assert_eq!(operator.post(&format!("/api/admin/tenants/{slug}/suspend"), &json!({})).await.status, 200);
    for path in ["/api/leads".to_owned(), format!("/api/tenants/{slug}")] {
        let answer = caller.get(&path).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "tenant_suspended"));
    }
    assert_eq!(operator.post(&format!("/api/admin/tenants/{slug}/reactivate"), &json!({})).await.status, 200);
    assert_eq!(caller.get("/api/leads").await.status, 200);
}

#[tokio::test]
async fn an_operator_who_may_only_look_changes_nothing() {
    let service = Service::shared();
    let operator = service.operator("looker").await;
    let caller = service.anonymous().with_token(&sign_up(service, "looked-at").await);
    let slug = caller.get("/api/auth/me").await.text("/data/tenant/slug");
    service.sql("rowhouse_control", "update control.operators set role = 'support' where email like 'looker@%'");
    assert_eq!(operator.get(&format!("/api/admin/tenants/{slug}")).await.status, 200);
    let body = json!({ "name": "New", "slug": "made-by-looker", "admin_email": "a@new.example" });
    for refused in [
        operator.post(&format!("/api/admin/tenants/{slug}/suspend"), &json!({})).await,
        operator.delete(&format!("/api/admin/tenants/{slug}")).await,
        operator.post("/api/admin/tenants", &body).await,
    ] {
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "permission_denied"), "{}", refused.body);
    }
    assert_eq!(caller.get("/api/leads").await.status, 200);
}

#[tokio::test]
async fn an_operator_makes_a_tenant_whose_administrator_accepts_the_invitation() {
    let service = Service::shared();
    let operator = service.operator("maker").await;
    for placement in ["pool", "schema", "database"] {
        let slug = format!("made-{placement}");
        let body = json!({ "name": "Made", "slug": slug, "admin_email": format!("admin@{slug}.example"), "placement": placement });
        let made = operator.post("/api/admin/tenants", &body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let again = operator.post("/api/admin/tenants", &body).await;
        assert_eq!((again.status.as_u16(), again.code().as_str()), (409, "conflict"), "{}", again.body);
        let accept = json!({ "token": made.text("/data/invitation/token"), "password": PASSWORD, "first_name": "Ada" });
        let joined = service.anonymous().post("/api/auth/invitations/accept", &accept).await;
        assert_eq!(joined.status, 200, "{}", joined.body);
        let member = service.anonymous().with_token(&joined.text("/data/access_token"));
        assert_eq!(member.get("/api/pipeline_stages").await.body["pagination"]["total"], 8);
        let lead = member.post("/api/leads", &json!({ "full_name": "First" })).await;
        assert_eq!(lead.status, 201, "{}", lead.body);
        let used = service.anonymous().post("/api/auth/invitations/accept", &accept).await;
        assert_eq!(used.status, 404, "an invitation is good once");
        let gone = operator.delete(&format!("/api/admin/tenants/{slug}")).await;
        assert_eq!(gone.status, 200, "{}", gone.body);
        assert!(member.get("/api/leads").await.status.is_client_error());
    }
}

#[tokio::test]
async fn repeated_attempts_on_other_tenants_are_recorded_and_raise_one_alert() {
    let service = Service::shared();
    let caller = service.anonymous().with_token(&sign_up(service, "prober").await);
    let me = caller.get("/api/auth/me").await.text("/data/user/id");
    for _ in 0..8 {
        assert_eq!(caller.with("X-Tenant-ID", "acme").get("/api/leads").await.status, 403);
    }
    let operator = service.operator("watcher").await;
    let subject = format!("user:{me}");
    let mut alerts = Vec::new();
    // The writer works beside the requests: wait for its state, not for a time.
    for _ in 0..200 {
        let answer = operator.get("/api/admin/alerts").await;
        alerts = answer.data().iter().filter(|alert| alert["subject"] == subject.as_str()).cloned().collect();
        if alerts.first().is_some_and(|alert| alert["count"].as_i64() >= Some(8)) {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0]["severity"], "high");
    let events = operator.get("/api/admin/security-events").await;
    let event = events
        .data()
        .iter()
        .find(|event| event["user_id"] == me.as_str() && event["kind"] == "cross_tenant_access_attempt");
    let event = event.unwrap_or_else(|| panic!("no event in {}", events.body));
    assert_eq!(
        (event["attempted_tenant"].as_str(), event["resource"].as_str(), event["method"].as_str()),
        (Some("acme"), Some("/api/leads"), Some("GET"))
    );
    assert!(event["request_id"].as_str().is_some() && event["ip"].as_str().is_some());
}

/// The values of an object in their order are not the object.
#[tokio::test]
async fn a_list_does_not_pass_for_an_object() {
    let service = Service::shared();
    let owner = service.owner(&ACME).await;
    let sign_in = service.anonymous().post("/api/auth/sign-in", &json!([ACME.email, PASSWORD])).await;
    let profile = owner.patch("/api/auth/me", &json!([null, null])).await;
    for refused in [sign_in, profile] {
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "invalid_request"), "{}", refused.body);
    }
    let many = json!({ "invitations": [["list@acme.example", "viewer"]] });
    let first_steps = json!({ "profile": ["Ann"] });
    for (path, body) in [("invitations/bulk", many), ("users/onboarding", first_steps)] {
        let refused = owner.post(&format!("/api/tenants/acme/{path}"), &body).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "validation_failed"), "{}", refused.body);
    }
}
