//! Second factors, as people and operators meet them.

use serde_json::{Value, json};
use totp_rs::{Builder, Secret};

use crate::service::{ACME, Answer, Caller, GLOBEX, PASSWORD, Service};

/// The code that an authenticator app shows now.
pub(crate) fn code(enrolled: &Answer) -> String {
    let secret = Secret::try_from_base32(enrolled.text("/data/secret")).unwrap();
    let app = Builder::new().with_secret(secret).with_account_name("x").build().unwrap();
    app.generate_current().to_string()
}

pub(crate) fn recovery_codes(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let codes = answer.body["data"]["recovery_codes"].as_array().unwrap();
    codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect()
}

fn is_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{}", answer.body);
}

/// Somebody who has just signed up, with what they sign in with.
async fn newcomer(service: &Service, name: &str) -> (Caller, Value) {
    let email = format!("{name}@example.com");
    let body = json!({ "email": email, "password": PASSWORD, "company_name": name, "slug": name });
    let made = service.anonymous().post("/api/auth/sign-up", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    (service.anonymous().with_token(&made.text("/data/access_token")), json!({ "email": email, "password": PASSWORD }))
}

/// What somebody signs in with, and one thing more.
fn with(credentials: &Value, name: &str, value: &str) -> Value {
    let mut body = credentials.clone();
    body[name] = json!(value);
    body
}

#[tokio::test]
async fn a_person_sets_a_factor_up_signs_in_with_it_and_takes_it_away() {
    let service = Service::shared();
    let (caller, credentials) = newcomer(service, "two-factors").await;
    let sign_in = async |body: &Value| service.anonymous().post("/api/auth/sign-in", body).await;
    assert_eq!(caller.get("/api/auth/me").await.body["data"]["user"]["mfa_enabled"], false);
    let enrolled = caller.post("/api/auth/mfa/enrol", &json!({})).await;
    assert_eq!(enrolled.status, 200, "{}", enrolled.body);
    let uri = enrolled.text("/data/otpauth_uri");
    assert!(uri.starts_with("otpauth://totp/") && uri.contains("two-factors%40example.com"), "{uri}");
    assert_eq!(sign_in(&credentials).await.status, 200, "nothing has confirmed it yet");
    is_refused(&caller.post("/api/auth/mfa/confirm", &json!({ "code": "000000" })).await, 401, "unauthenticated");
    let used = code(&enrolled);
    let codes = recovery_codes(&caller.post("/api/auth/mfa/confirm", &json!({ "code": used })).await);
    assert_eq!(codes.len(), 10);
    is_refused(&caller.post("/api/auth/mfa/enrol", &json!({})).await, 409, "conflict");
    is_refused(&sign_in(&credentials).await, 403, "mfa_required");
    is_refused(&sign_in(&with(&credentials, "totp", &used)).await, 401, "unauthenticated");
    assert_eq!(sign_in(&with(&credentials, "totp", &codes[0])).await.status, 200);
    is_refused(&sign_in(&with(&credentials, "totp", &codes[0])).await, 401, "unauthenticated");
    assert_eq!(sign_in(&with(&credentials, "recovery_code", &codes[1])).await.status, 200);
    let state = caller.get("/api/auth/mfa").await;
    assert_eq!((&state.body["data"]["enabled"], &state.body["data"]["recovery_codes_left"]), (&json!(true), &json!(8)));
    assert_eq!(caller.get("/api/auth/me").await.body["data"]["user"]["mfa_enabled"], true);
    let renewed = caller.post("/api/auth/mfa/recovery-codes", &json!({ "code": codes[2] })).await;
    let renewed = recovery_codes(&renewed);
    is_refused(&caller.post("/api/auth/mfa/disable", &json!({ "code": codes[3] })).await, 401, "unauthenticated");
    assert_eq!(caller.post("/api/auth/mfa/disable", &json!({ "code": renewed[0] })).await.status, 200);
    assert_eq!(sign_in(&credentials).await.status, 200);
}

#[tokio::test]
async fn a_stranger_learns_nothing_about_factors() {
    let service = Service::shared();
    let (caller, credentials) = newcomer(service, "secured").await;
    let enrolled = caller.post("/api/auth/mfa/enrol", &json!({})).await;
    recovery_codes(&caller.post("/api/auth/mfa/confirm", &json!({ "code": code(&enrolled) })).await);
    let guess = async |email: &str| {
        let body = json!({ "email": email, "password": "not the password", "totp": "000000" });
        service.anonymous().post("/api/auth/sign-in", &body).await.comparable()
    };
    assert_eq!(guess(credentials["email"].as_str().unwrap()).await, guess("nobody-at-all@example.com").await);
}

#[tokio::test]
async fn an_operator_in_production_does_nothing_before_a_second_factor_is_set_up() {
    let service = Service::start("solar").restart_in_production("solar");
    let email = "olga@operators.example";
    let made = service.command(&["operator", "create", email]);
    let credentials = json!({ "email": email, "password": made["data"]["password"] });
    let sign_in = async |body: &Value| service.anonymous().post("/api/operators/sign-in", body).await;
    let first = sign_in(&credentials).await;
    assert_eq!(first.body["data"]["mfa_setup_required"], true, "{}", first.body);
    let operator = service.anonymous().with_token(&first.text("/data/access_token"));
    is_refused(&operator.get("/api/admin/tenants").await, 403, "mfa_required");
    is_refused(&operator.get("/metrics").await, 403, "mfa_required");
    let enrolled = operator.post("/api/operators/mfa/enrol", &json!({})).await;
    let confirmed = operator.post("/api/operators/mfa/confirm", &json!({ "code": code(&enrolled) })).await;
    let codes = recovery_codes(&confirmed);
    assert_eq!(operator.get("/api/admin/tenants").await.status, 200);
    is_refused(&sign_in(&credentials).await, 403, "mfa_required");
    let second = sign_in(&with(&credentials, "totp", &codes[0])).await;
    assert_eq!(second.body["data"]["mfa_setup_required"], false, "{}", second.body);
    let second = service.anonymous().with_token(&second.text("/data/access_token"));
    assert_eq!(second.get("/api/admin/tenants").await.status, 200);
    assert_eq!(second.get("/api/operators/mfa").await.body["data"]["recovery_codes_left"], 9);
    let reset = service.command(&["operator", "reset-mfa", email]);
    assert_eq!(reset["data"]["reset"], true, "{reset}");
    assert_eq!(second.get("/api/operators/mfa").await.status, 401, "its session has ended");
    assert_eq!(sign_in(&credentials).await.body["data"]["mfa_setup_required"], true);
}

#[tokio::test]
async fn an_organisation_demands_one_of_its_people_but_not_of_its_keys() {
    let service = Service::start("solar").restart_in_production("solar");
    let owner = service.owner(&ACME).await;
    let key = owner.key(ACME.slug, "owner").await;
    let path = format!("/api/tenants/{}/mfa-policy", ACME.slug);
    let policy = owner.get(&path).await;
    assert_eq!(policy.body["data"], json!({ "demanded_of": "managers", "grace_days": 7, "trusted_devices": true }));
    let due = owner.get("/api/auth/me").await.text("/data/memberships/0/mfa_due_at");
    assert!(due.starts_with("20"), "{due}");
    let viewer = service.member(&ACME, "sales_rep").await;
    is_refused(&viewer.patch(&path, &json!({ "grace_days": 90 })).await, 403, "permission_denied");
    let faulty = owner.patch(&path, &json!({ "demanded_of": "admins", "grace_days": 91 })).await;
    assert_eq!((faulty.status.as_u16(), faulty.body["error"]["details"].as_array().unwrap().len()), (422, 2));
    let changed = owner.patch(&path, &json!({ "demanded_of": "everybody", "grace_days": 0 })).await;
    assert_eq!(
        changed.body["data"],
        json!({ "demanded_of": "everybody", "grace_days": 0, "trusted_devices": true }),
        "{}",
        changed.body
    );
    for caller in [&owner, &viewer] {
        is_refused(&caller.get("/api/leads").await, 403, "mfa_required");
        is_refused(&caller.patch(&path, &json!({ "demanded_of": "nobody" })).await, 403, "mfa_required");
    }
    assert_eq!(key.get("/api/leads").await.status, 200, "a program has no second factor");
    assert_eq!(service.owner(&GLOBEX).await.get("/api/leads").await.status, 200, "another organisation's");
    let enrolled = owner.post("/api/auth/mfa/enrol", &json!({})).await;
    recovery_codes(&owner.post("/api/auth/mfa/confirm", &json!({ "code": code(&enrolled) })).await);
    assert_eq!(owner.get("/api/leads").await.status, 200, "in the same session, at once");
}

#[tokio::test]
async fn an_operator_in_development_works_without_one() {
    let operator = Service::shared().operator("developer").await;
    assert_eq!(operator.get("/api/operators/mfa").await.body["data"]["enabled"], false);
    assert_eq!(operator.get("/api/admin/tenants").await.status, 200);
}

#[tokio::test]
async fn a_trusted_device_is_not_asked_again_until_it_is_listed_and_revoked() {
    let service = Service::shared();
    let (caller, credentials) = newcomer(service, "trusting").await;
    let sign_in = async |body: &Value| service.anonymous().post("/api/auth/sign-in", body).await;
    let enrolled = caller.post("/api/auth/mfa/enrol", &json!({})).await;
    let codes = recovery_codes(&caller.post("/api/auth/mfa/confirm", &json!({ "code": code(&enrolled) })).await);
    let mut body = with(&credentials, "totp", &codes[0]);
    body["trust_device"] = json!(true);
    let token = sign_in(&body).await.text("/data/device_token");
    let trusted = sign_in(&with(&credentials, "device_token", &token)).await;
    assert_eq!((trusted.status.as_u16(), &trusted.body["data"]["device_token"]), (200, &Value::Null));
    let here = service.anonymous().with_token(&trusted.text("/data/access_token"));
    is_refused(&here.post("/api/auth/mfa/enrol", &json!({})).await, 403, "step_up_required");
    let with_token = json!({ "totp": token });
    is_refused(&here.post("/api/auth/step-up", &with_token).await, 401, "unauthenticated");
    let id = here.get("/api/auth/devices").await.text("/data/0/id");
    assert_eq!(here.delete(&format!("/api/auth/devices/{id}")).await.status, 200);
    is_refused(&sign_in(&with(&credentials, "device_token", &token)).await, 403, "mfa_required");
    assert_eq!(here.delete("/api/auth/devices").await.body["data"]["revoked"], 0);
}

#[tokio::test]
async fn who_has_lost_everything_is_helped_by_an_operator() {
    let service = Service::shared();
    let (caller, credentials) = newcomer(service, "lost-it").await;
    let sign_in = async || service.anonymous().post("/api/auth/sign-in", &credentials).await;
    let secure = async |caller: &Caller| {
        let enrolled = caller.post("/api/auth/mfa/enrol", &json!({})).await;
        recovery_codes(&caller.post("/api/auth/mfa/confirm", &json!({ "code": code(&enrolled) })).await);
    };
    secure(&caller).await;
    is_refused(&sign_in().await, 403, "mfa_required");
    let id = caller.get("/api/auth/me").await.text("/data/user/id");
    let path = format!("/api/admin/users/{id}/reset-mfa");
    let operator = service.operator("helpful").await;
    assert_eq!(operator.post(&path, &json!({})).await.body["data"]["reset"], true);
    assert_eq!(caller.get("/api/auth/me").await.status, 401, "its sessions have ended");
    let again = service.anonymous().with_token(&sign_in().await.text("/data/access_token"));
    secure(&again).await;
    let reset = service.command(&["user", "reset-mfa", "lost-it@example.com"]);
    assert_eq!(reset["data"]["reset"], true, "{reset}");
    assert_eq!(sign_in().await.status, 200);
    assert_eq!(service.command(&["user", "reset-mfa", "lost-it@example.com"])["data"]["reset"], false);
    assert_eq!(operator.post(&path, &json!({})).await.body["data"]["reset"], false);
    let absent = path.replace(&id, "01900000-0000-7000-8000-00000000dead");
    is_refused(&operator.post(&absent, &json!({})).await, 404, "not_found");
    let told =
        "select count(*) from control.mails where recipient = 'lost-it@example.com' and kind = 'second_factor_reset'";
    assert_eq!(service.sql_as("rowhouse_owner", "rowhouse_control", told).unwrap(), "2");
}
