//! Operators at work in a person's place: named everywhere, for a while, and not for what is the
//! person's alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Client;
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use crate::service::{ACME, Answer, Caller, GLOBEX, Service};

const REASON: &str = "Ticket 7: the list is empty";

async fn impersonate(operator: &Caller, body: &Value) -> Answer {
    operator.post("/api/admin/tenants/acme/impersonate", body).await
}

/// An operator in the place of ACME's owner.
async fn in_place(service: &Service, operator: &Caller) -> (Caller, Answer) {
    let taken = impersonate(operator, &json!({ "email": ACME.email, "reason": REASON })).await;
    assert_eq!(taken.status, 201, "{}", taken.body);
    (service.anonymous().with_token(&taken.text("/data/access_token")), taken)
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.code())
}

fn one(service: &Service, sql: &str) -> String {
    service.sql_as("rowhouse_owner", "rowhouse_control", sql).unwrap()
}

#[tokio::test]
async fn an_operator_works_in_a_members_place_and_is_named() {
    let service = Service::shared();
    let operator = service.operator("helper").await;
    let (caller, taken) = in_place(service, &operator.with("X-Request-Id", "take-place")).await;
    assert!((1750..=1800).contains(&taken.body["data"]["expires_in"].as_i64().unwrap()), "{}", taken.body);
    assert!(taken.body["data"].get("refresh_token").is_none());
    let claims = caller.token.as_ref().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["act"]["email"], "helper@operators.example");
    assert_eq!((&claims["aud"], &claims["user"]["email"]), (&json!("rowhouse"), &json!(ACME.email)));
    let me = caller.get("/api/auth/me").await;
    assert_eq!(me.text("/data/user/email"), ACME.email);
    assert_eq!(me.text("/data/impersonated_by/email"), "helper@operators.example");
    assert_eq!(me.body["data"]["impersonated_by"]["id"], claims["act"]["sub"]);
    assert!(me.body["data"]["ends_at"].is_string(), "{}", me.body);
    assert_eq!(caller.get("/api/leads").await.status, 200);
    let invite = json!({ "email": "found-by-helper@acme.example", "role": "viewer" });
    let invited = caller.with("X-Request-Id", "in-place").post("/api/tenants/acme/invitations", &invite).await;
    assert!(invited.status.is_success(), "{}", invited.body);
    let told = "select concat_ws(' ', a.actor_kind, u.email, o.email, a.action, t.slug)
                from control.audit_log a left join control.users u on u.id = a.actor_id
                left join control.operators o on o.id = coalesce(a.operator_id, a.actor_id)
                join control.tenants t on t.id = a.tenant_id where a.request_id = ";
    assert_eq!(
        one(service, &format!("{told} 'take-place'")),
        "operator helper@operators.example impersonate acme",
        "the organisation's own log has it"
    );
    let both = one(service, &format!("{told} 'in-place'"));
    assert!(both.starts_with(&format!("user {} helper@operators.example invite", ACME.email)), "{both}");
    let reason = "select details->>'reason' from control.audit_log where request_id = 'take-place'";
    assert_eq!(one(service, reason), REASON);
    let line = service.log().lines().find(|line| line.contains("in-place")).unwrap().to_owned();
    for id in [&claims["act"]["sub"], &claims["sub"]] {
        assert!(line.contains(id.as_str().unwrap()), "{line}");
    }
    let owner = service.owner(&ACME).await;
    let shown = owner.get("/api/auth/sessions").await.body.to_string();
    assert!(shown.contains("An operator of the service"), "the person sees it among their devices");
    assert!(owner.get("/api/auth/me").await.body["data"].get("impersonated_by").is_none());
}

#[tokio::test]
async fn what_is_a_persons_alone_is_not_done_in_their_place() {
    let service = Service::shared();
    let operator = service.operator("limited").await;
    let (caller, taken) = in_place(service, &operator).await;
    let owner = service.owner(&ACME).await;
    let key = owner.make_key("acme", &json!({ "name": "Kept", "role": "viewer" })).await.text("/data/id");
    let session = taken.text("/data/id");
    for (method, path) in [
        ("POST", "/api/auth/password/change".to_owned()),
        ("POST", "/api/auth/email/change".to_owned()),
        ("POST", "/api/auth/verify-email/resend".to_owned()),
        ("PATCH", "/api/auth/me".to_owned()),
        ("GET", "/api/auth/mfa".to_owned()),
        ("POST", "/api/auth/mfa/enrol".to_owned()),
        ("POST", "/api/auth/mfa/disable".to_owned()),
        ("POST", "/api/auth/step-up".to_owned()),
        ("GET", "/api/auth/sessions".to_owned()),
        ("DELETE", "/api/auth/sessions".to_owned()),
        ("DELETE", format!("/api/auth/sessions/{session}")),
        ("POST", "/api/auth/switch".to_owned()),
        ("POST", "/api/auth/hand-off".to_owned()),
        ("GET", "/api/tenants".to_owned()),
        ("POST", "/api/tenants".to_owned()),
        ("POST", "/api/tenants/acme/api-keys".to_owned()),
        ("POST", format!("/api/tenants/acme/api-keys/{key}/rotate")),
        ("DELETE", format!("/api/tenants/acme/api-keys/{key}")),
        ("PATCH", "/api/tenants/acme/mfa-policy".to_owned()),
        ("PATCH", "/api/tenants/acme/session-policy".to_owned()),
        ("POST", "/api/tenants/acme/transfer".to_owned()),
        ("POST", "/api/tenants/acme/leave".to_owned()),
        ("POST", "/api/tenants/acme/domains".to_owned()),
    ] {
        let body = (method == "POST" || method == "PATCH").then(|| json!({}));
        let answer = caller.send(method.parse().unwrap(), &path, body.as_ref()).await;
        assert_eq!(refused(&answer), (403, "permission_denied".into()), "{method} {path}");
    }
    assert_eq!(caller.get("/api/leads").await.status, 200);
    let elsewhere = caller.with("X-Tenant-ID", GLOBEX.slug).get("/api/leads").await;
    assert_eq!(refused(&elsewhere), (403, "tenant_mismatch".into()));
    let again =
        caller.post("/api/admin/tenants/acme/impersonate", &json!({ "email": ACME.email, "reason": "x" })).await;
    assert_eq!(again.status, 401, "it is no operator's token");
}

#[tokio::test]
async fn a_place_is_taken_for_a_reason_and_for_an_hour_at_most() {
    let service = Service::shared();
    let operator = service.operator("bounded").await;
    let user = service.owner(&ACME).await.get("/api/auth/me").await.text("/data/user/id");
    for (body, status) in [
        (json!({ "email": ACME.email }), 422),
        (json!({ "email": ACME.email, "reason": "  " }), 422),
        (json!({ "email": ACME.email, "reason": "x".repeat(501) }), 422),
        (json!({ "email": ACME.email, "reason": "x", "minutes": 61 }), 422),
        (json!({ "email": ACME.email, "reason": "x", "minutes": 0 }), 422),
        (json!({ "reason": "x" }), 422),
        (json!({ "email": ACME.email, "user_id": user, "reason": "x" }), 422),
        (json!({ "email": "nobody@acme.example", "reason": "x" }), 404),
        (json!({ "email": GLOBEX.email, "reason": "x" }), 404),
        (json!({ "user_id": "nonsense", "reason": "x" }), 404),
        (json!({ "user_id": user, "reason": "x", "minutes": 60 }), 201),
    ] {
        let answer = impersonate(&operator, &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
    let (caller, taken) = in_place(service, &operator).await;
    let id = taken.text("/data/id");
    let left =
        format!("select round(extract(epoch from expires_at - now()) / 60) from control.sessions where id = '{id}'");
    assert_eq!(one(service, &left), "30");
    service.sql("rowhouse_control", &format!("update control.sessions set expires_at = now() where id = '{id}'"));
    let wait_out = async || {
        for _ in 0..20_000 {
            if caller.get("/api/leads?limit=1").await.status == 401 {
                return;
            }
        }
        panic!("it outlives its time");
    };
    wait_out().await;
    service.sql(
        "rowhouse_control",
        "update control.operators set role = 'support' where email = 'bounded@operators.example'",
    );
    let support = impersonate(&operator, &json!({ "email": ACME.email, "reason": "x" })).await;
    assert_eq!(refused(&support), (403, "permission_denied".into()));
}

#[tokio::test]
async fn a_place_is_given_back_by_its_operator_or_taken_by_another() {
    let service = Service::shared();
    let operator = service.operator("first").await;
    let other = service.operator("second").await;
    let (caller, taken) = in_place(service, &operator).await;
    let owner = service.owner(&ACME).await;
    assert_eq!(refused(&owner.post("/api/auth/impersonation/end", &json!({})).await), (400, "invalid_request".into()));
    let ended = caller.with("X-Request-Id", "give-back").post("/api/auth/impersonation/end", &json!({})).await;
    assert_eq!(ended.status, 200, "{}", ended.body);
    assert_eq!(caller.get("/api/leads").await.status, 401, "at once");
    let told = "select actor_kind || ' ' || action || ' ' || (operator_id is not null) from control.audit_log where request_id = 'give-back'";
    assert_eq!(one(service, told), "user end_impersonation true");
    let (second, again) = in_place(service, &operator).await;
    let path = |answer: &Answer| format!("/api/admin/impersonations/{}", answer.text("/data/id"));
    assert_eq!(other.delete(&path(&taken)).await.status, 404, "it has ended");
    let listed = other.get("/api/admin/impersonations?open=true&limit=200").await;
    let found = |answer: &Answer| listed.data().iter().any(|one| one["id"] == answer.text("/data/id").as_str());
    assert_eq!((found(&taken), found(&again)), (false, true), "{}", listed.body);
    assert_eq!(listed.data()[0]["reason"], REASON);
    assert_eq!(other.delete(&path(&again)).await.status, 200);
    assert_eq!(second.get("/api/leads").await.status, 401);
    let all = other.get("/api/admin/impersonations?limit=200").await;
    let ended = all.data().iter().find(|one| one["id"] == again.text("/data/id").as_str()).unwrap();
    assert!(ended["ended_at"].is_string() && ended["operator_email"] == "first@operators.example", "{ended}");
    let (third, _) = in_place(service, &operator).await;
    assert_eq!(third.post("/api/auth/sign-out", &json!({})).await.status, 200);
    assert_eq!(third.get("/api/leads").await.status, 401);
    let events = "select count(*) from control.security_events e
                  where kind in ('impersonation_started', 'impersonation_ended') and details->>'session' = ";
    for answer in [&taken, &again] {
        let count = format!("{events} '{}'", answer.text("/data/id"));
        let mut seen = String::new();
        // The writer works beside the requests.
        for _ in 0..2000 {
            seen = one(service, &count);
            if seen == "2" {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(seen, "2");
    }
}

#[tokio::test]
async fn a_link_opens_the_place_in_a_browser_for_as_long() {
    let service = Service::shared();
    let operator = service.operator("browsing").await;
    let (_, taken) = in_place(service, &operator).await;
    let link = taken.text("/data/hand_off/url");
    assert!(link.contains("://acme.localhost:"), "{link}");
    let path = &link[link.find("/api/").unwrap()..];
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let request = client.get(format!("{}{path}", service.url)).header("Host", "acme.localhost");
    let led = request.header("Sec-Fetch-Site", "none").send().await.unwrap();
    assert_eq!(led.status(), 303);
    let cookie = led.headers()["set-cookie"].to_str().unwrap().to_owned();
    let seconds: i64 = cookie.split("Max-Age=").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
    assert!((1700..=1800).contains(&seconds), "{cookie}");
    let page = service.anonymous().with("Host", "acme.localhost").with("Cookie", cookie.split(';').next().unwrap());
    let me = page.get("/api/auth/me").await;
    assert_eq!(me.text("/data/impersonated_by/email"), "browsing@operators.example");
    let page = page.with("X-CSRF-Token", &page.get("/api/auth/csrf").await.text("/data/csrf_token"));
    assert_eq!(page.get("/api/leads").await.status, 200);
    assert_eq!(refused(&page.post("/api/tenants/acme/leave", &json!({})).await), (403, "permission_denied".into()));
    assert_eq!(page.post("/api/auth/impersonation/end", &json!({})).await.status, 200);
    assert_eq!(page.get("/api/auth/me").await.status, 401);
}

#[tokio::test]
async fn a_place_ends_with_its_operators_account_and_none_is_taken_untold() {
    let service = Service::start("solar");
    let operator = service.operator("leaving").await;
    let (caller, _) = in_place(&service, &operator).await;
    service.sql("rowhouse_control", "alter table control.audit_log add constraint shut check (false) not valid");
    let untold = impersonate(&operator, &json!({ "email": ACME.email, "reason": "x" })).await;
    assert!(untold.status.is_server_error(), "{}", untold.body);
    service.sql("rowhouse_control", "alter table control.audit_log drop constraint shut");
    assert_eq!(one(&service, "select count(*) from control.impersonations"), "1");
    service.sql("rowhouse_control", "update control.operators set active = false");
    for _ in 0..20_000 {
        if caller.get("/api/leads?limit=1").await.status == 401 {
            return;
        }
    }
    panic!("it outlives its operator");
}
