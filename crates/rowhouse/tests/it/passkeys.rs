//! Passkeys, as people with a browser meet them.

use serde_json::{Value, json};

use crate::browser_peer::{Browser, Visitor, page};
use crate::service::{ACME, Answer, Caller, PASSWORD, Service};

fn is_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{}", answer.body);
}

/// Somebody who has just signed up, with what they sign in with.
async fn newcomer(service: &Service, name: &str) -> (Caller, Value) {
    let email = format!("{name}@example.com");
    let body = json!({ "email": email, "password": PASSWORD, "company_name": name });
    let made = service.anonymous().post("/api/auth/sign-up", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    (service.anonymous().with_token(&made.text("/data/access_token")), json!({ "email": email, "password": PASSWORD }))
}

async fn begin_sign_in(service: &Service) -> Answer {
    service.anonymous().post("/api/auth/passkeys/sign-in/begin", &json!({})).await
}

async fn finish_sign_in(service: &Service, body: &Value) -> Answer {
    service.anonymous().post("/api/auth/passkeys/sign-in/finish", body).await
}

async fn begin_assert(service: &Service, credentials: &Value) -> Answer {
    service.anonymous().post("/api/auth/passkeys/assert/begin", credentials).await
}

async fn finish_assert(service: &Service, body: &Value) -> Answer {
    service.anonymous().post("/api/auth/passkeys/assert/finish", body).await
}

/// The proof of a passkey, for whoever has the password.
async fn proof(service: &Service, visitor: &Visitor<'_>, credentials: &Value) -> String {
    let shown = visitor.show(&begin_assert(service, credentials).await).await;
    finish_assert(service, &shown).await.text("/data/code")
}

/// The proof of a passkey, in a session.
async fn proof_within(service: &Service, visitor: &Visitor<'_>, caller: &Caller) -> String {
    let begun = caller.post("/api/auth/passkeys/prove/begin", &json!({})).await;
    finish_assert(service, &visitor.show(&begun).await).await.text("/data/code")
}

async fn sign_in(service: &Service, credentials: &Value, code: Option<&str>) -> Answer {
    let mut body = credentials.clone();
    if let Some(code) = code {
        body["totp"] = json!(code);
    }
    service.anonymous().post("/api/auth/sign-in", &body).await
}

fn events(service: &Service, kind: &str, email: &str) -> String {
    let count = format!(
        "select count(*) from control.security_events e join control.users u on u.id = e.user_id
         where e.kind = '{kind}' and u.email = '{email}'"
    );
    service.sql_as("rowhouse_owner", "rowhouse_control", &count).unwrap()
}

#[tokio::test]
async fn a_passkey_is_added_and_counts_as_a_second_factor() {
    let Some(browser) = Browser::shared() else { return };
    let service = Service::shared();
    let ((caller, credentials), visitor) = (newcomer(service, "keyed").await, browser.visitor(service).await);
    is_refused(&begin_assert(service, &credentials).await, 404, "not_found");
    let added = visitor.add_passkey(&caller, " Ann's laptop ", None).await;
    assert_eq!(added.text("/data/passkey/name"), "Ann's laptop");
    let codes = added.body["data"]["recovery_codes"].as_array().unwrap().clone();
    assert_eq!(codes.len(), 10, "who has passkeys only can lose them, too");
    let state = caller.get("/api/auth/mfa").await;
    assert_eq!((&state.body["data"]["enabled"], &state.body["data"]["totp"]), (&json!(true), &json!(false)));
    assert_eq!(state.body["data"]["passkeys"], 1);
    assert_eq!(caller.get("/api/auth/me").await.body["data"]["user"]["mfa_enabled"], true);
    let refused = sign_in(service, &credentials, None).await;
    is_refused(&refused, 403, "mfa_required");
    let kinds: Vec<_> = refused.body["error"]["details"].as_array().unwrap().iter().map(|kind| &kind["code"]).collect();
    assert_eq!(kinds, ["passkey", "recovery_code"]);
    let code = proof(service, &visitor, &credentials).await;
    assert_eq!(sign_in(service, &credentials, Some(&code)).await.status, 200);
    is_refused(&sign_in(service, &credentials, Some(&code)).await, 401, "unauthenticated");
    assert_eq!(sign_in(service, &credentials, codes[0].as_str()).await.status, 200, "by a recovery code");
    let listed = caller.get("/api/auth/passkeys").await;
    assert!(listed.text("/data/0/last_used_at").starts_with("20"), "{}", listed.body);
    assert_eq!(events(service, "passkey_added", "keyed@example.com"), "1");
}

#[tokio::test]
async fn a_passkey_alone_signs_in_with_both_factors() {
    let Some(browser) = Browser::shared() else { return };
    let service = Service::shared();
    let ((caller, _), visitor) = (newcomer(service, "keyed-alone").await, browser.visitor(service).await);
    visitor.add_passkey(&caller, "Phone", None).await;
    let begun = begin_sign_in(service).await;
    assert_eq!(begun.body["data"]["public_key"]["userVerification"], "required");
    assert_eq!(begun.body["data"]["public_key"]["allowCredentials"].as_array().map_or(0, Vec::len), 0);
    let shown = visitor.show(&begun).await;
    let signed_in = finish_sign_in(service, &shown).await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.body);
    let caller = service.anonymous().with_token(&signed_in.text("/data/access_token"));
    assert_eq!(caller.get("/api/auth/me").await.text("/data/user/email"), "keyed-alone@example.com");
    assert_eq!(caller.post("/api/auth/mfa/enrol", &json!({})).await.status, 200, "it is a recent proof");
    is_refused(&finish_sign_in(service, &shown).await, 401, "unauthenticated");
    let shown = visitor.show(&begin_sign_in(service).await).await;
    let at_browser = service.anonymous().with("X-Rowhouse-Session", "cookie").with("Origin", &service.url);
    let held = at_browser.post("/api/auth/passkeys/sign-in/finish", &shown).await;
    assert_eq!((held.text("/data/session").as_str(), held.body["data"].get("access_token")), ("cookie", None));
    // Of another purpose.
    let mine = begin_sign_in(service).await;
    is_refused(&finish_assert(service, &visitor.show(&mine).await).await, 401, "unauthenticated");
    let named = begin_assert(service, &json!({ "email": "keyed-alone@example.com", "password": PASSWORD })).await;
    is_refused(&finish_sign_in(service, &visitor.show(&named).await).await, 401, "unauthenticated");
}

#[tokio::test]
async fn a_challenge_is_good_once_for_minutes_and_whoever_it_was_for() {
    let Some(browser) = Browser::shared() else { return };
    let service = Service::shared();
    let ((ann, anns), (bob, bobs)) = (newcomer(service, "once-ann").await, newcomer(service, "once-bob").await);
    let (at_ann, at_bob) = (browser.visitor(service).await, browser.visitor(service).await);
    at_ann.add_passkey(&ann, "Ann's", None).await;
    at_bob.add_passkey(&bob, "Bob's", None).await;
    let shown = at_ann.show(&begin_assert(service, &anns).await).await;
    assert_eq!(finish_assert(service, &shown).await.status, 200);
    is_refused(&finish_assert(service, &shown).await, 401, "unauthenticated");
    // Bob's answer to Ann's challenge: his browser has none of her passkeys, so it is made to look so.
    let (begun, mine) = (begin_assert(service, &anns).await, begin_assert(service, &bobs).await);
    assert_eq!(at_bob.answer("get", &begun).await, Err("NotAllowedError".to_owned()));
    let mut forged = at_bob.show(&mine).await;
    forged["ceremony"] = json!(begun.text("/data/ceremony"));
    is_refused(&finish_assert(service, &forged).await, 401, "unauthenticated");
    let right = at_ann.show(&begun).await;
    is_refused(&finish_assert(service, &right).await, 401, "unauthenticated");
    // The proof of another's passkey.
    let code = proof(service, &at_bob, &bobs).await;
    is_refused(&sign_in(service, &anns, Some(&code)).await, 401, "unauthenticated");
    assert_eq!(sign_in(service, &bobs, Some(&code)).await.status, 200, "and it was not used up");
    let late = at_ann.show(&begin_assert(service, &anns).await).await;
    let age = "update control.passkey_ceremonies set expires_at = now() where holder =
               (select id from control.users where email = 'once-ann@example.com')";
    service.sql("rowhouse_control", age);
    is_refused(&finish_assert(service, &late).await, 401, "unauthenticated");
    let code = proof(service, &at_ann, &anns).await;
    service.sql("rowhouse_control", age);
    is_refused(&sign_in(service, &anns, Some(&code)).await, 401, "unauthenticated");
    // A registration is the one's who began it.
    let begun =
        ann.post("/api/auth/passkeys/register/begin", &json!({ "code": proof(service, &at_ann, &anns).await })).await;
    let stranger = browser.visitor(service).await;
    let mut made = stranger.answer("create", &begun).await.unwrap();
    made["name"] = json!("Stolen");
    is_refused(&bob.post("/api/auth/passkeys/register/finish", &made).await, 401, "unauthenticated");
}

#[tokio::test]
async fn an_answer_that_nobody_has_verified_is_refused() {
    let Some(browser) = Browser::shared() else { return };
    let service = Service::shared();
    let ((caller, credentials), visitor) = (newcomer(service, "unverified").await, browser.visitor(service).await);
    visitor.add_passkey(&caller, "Key", None).await;
    visitor.is_verified(false).await;
    for begun in [begin_sign_in(service).await, begin_assert(service, &credentials).await] {
        assert_eq!(visitor.answer("get", &begun).await, Err("NotAllowedError".to_owned()), "the browser says so");
    }
    // A browser that was told that it need not be.
    let mut begun = begin_sign_in(service).await;
    begun.body["data"]["public_key"]["userVerification"] = json!("discouraged");
    let shown = visitor.show(&begun).await;
    is_refused(&finish_sign_in(service, &shown).await, 401, "unauthenticated");
    let mut begun = begin_assert(service, &credentials).await;
    begun.body["data"]["public_key"]["userVerification"] = json!("discouraged");
    let shown = visitor.show(&begun).await;
    is_refused(&finish_assert(service, &shown).await, 401, "unauthenticated");
}

#[tokio::test]
async fn an_answer_from_another_origin_is_refused() {
    let Some(browser) = Browser::shared() else { return };
    let (service, other) = (Service::shared(), Service::start("garage"));
    let ((caller, credentials), visitor) = (newcomer(service, "at-origin").await, browser.visitor(service).await);
    visitor.add_passkey(&caller, "Key", None).await;
    // Below the same host a browser lets any port use the passkey.
    visitor.visit(&page(&other)).await;
    let shown = visitor.show(&begin_sign_in(service).await).await;
    is_refused(&finish_sign_in(service, &shown).await, 401, "unauthenticated");
    let shown = visitor.show(&begin_assert(service, &credentials).await).await;
    is_refused(&finish_assert(service, &shown).await, 401, "unauthenticated");
}

#[tokio::test]
async fn a_tenants_subdomain_is_the_services_own_where_it_is_below_its_host() {
    let Some(browser) = Browser::shared() else { return };
    // Browsers let nobody speak for all of "localhost" but itself.
    let settings = ["--public-url", "http://app.localhost:0", "--base-domain", "app.localhost"];
    let service = Service::start_with("garage", &settings);
    let ((caller, _), visitor) = (newcomer(&service, "below").await, browser.visitor(&service).await);
    visitor.visit(&page(&service).replace("localhost", "app.localhost")).await;
    visitor.add_passkey(&caller, "Key", None).await;
    visitor.visit(&page(&service).replace("localhost", "acme.app.localhost")).await;
    let shown = visitor.show(&begin_sign_in(&service).await).await;
    assert_eq!(finish_sign_in(&service, &shown).await.status, 200);
    // The service's host is not the tenants': then its own page counts only.
    let settings = ["--public-url", "http://app.localhost:0", "--base-domain", "localhost"];
    let service = service.restart("garage", &settings);
    for (host, status) in [("acme.app.localhost", 401), ("app.localhost", 200)] {
        visitor.visit(&page(&service).replace("localhost", host)).await;
        let shown = visitor.show(&begin_sign_in(&service).await).await;
        assert_eq!(finish_sign_in(&service, &shown).await.status, status, "{host}");
    }
}

#[tokio::test]
async fn a_copy_that_falls_behind_is_noticed() {
    let Some(browser) = Browser::shared() else { return };
    let service = Service::shared();
    let ((caller, credentials), visitor) = (newcomer(service, "copied").await, browser.visitor(service).await);
    visitor.add_passkey(&caller, "Key", None).await;
    visitor.rewind(40).await;
    for _ in 0..2 {
        proof(service, &visitor, &credentials).await;
    }
    visitor.rewind(7).await;
    let shown = visitor.show(&begin_assert(service, &credentials).await).await;
    is_refused(&finish_assert(service, &shown).await, 401, "unauthenticated");
    let shown = visitor.show(&begin_sign_in(service).await).await;
    is_refused(&finish_sign_in(service, &shown).await, 401, "unauthenticated");
    while events(service, "passkey_copied", "copied@example.com") != "2" {
        service.anonymous().get("/api/health").await;
    }
    visitor.rewind(80).await;
    proof(service, &visitor, &credentials).await;
}

#[tokio::test]
async fn a_passkey_stands_wherever_a_code_is_asked_for() {
    let Some(browser) = Browser::shared() else { return };
    let service = Service::shared();
    let ((caller, credentials), visitor) = (newcomer(service, "everywhere").await, browser.visitor(service).await);
    let first = visitor.add_passkey(&caller, "First", None).await.text("/data/passkey/id");
    let begin = async |code: Value| caller.post("/api/auth/passkeys/register/begin", &json!({ "code": code })).await;
    is_refused(&begin(Value::Null).await, 403, "mfa_required");
    is_refused(&begin(json!("000000")).await, 401, "unauthenticated");
    let again = begin(json!(proof_within(service, &visitor, &caller).await)).await;
    assert_eq!(visitor.answer("create", &again).await, Err("InvalidStateError".to_owned()), "it has one already");
    // Stepping up, in a session that is old.
    let email = "everywhere@example.com";
    let age = format!(
        "update control.sessions set proved_at = now() - interval '2 hours'
         where user_id = (select id from control.users where email = '{email}')"
    );
    service.sql("rowhouse_control", &age);
    is_refused(&begin(Value::Null).await, 403, "step_up_required");
    is_refused(&caller.post("/api/auth/step-up", &json!({ "current_password": PASSWORD })).await, 403, "mfa_required");
    let code = proof_within(service, &visitor, &caller).await;
    assert_eq!(caller.post("/api/auth/step-up", &json!({ "totp": code })).await.status, 200);
    // A second one, on another device.
    let elsewhere = browser.visitor(service).await;
    let code = proof_within(service, &visitor, &caller).await;
    let second = elsewhere.add_passkey(&caller, "Second", Some(&code)).await;
    assert_eq!(second.body["data"]["recovery_codes"], json!([]), "the ones from before stay good");
    // A link that signs in.
    service
        .anonymous()
        .post("/api/auth/verify-email", &json!({ "token": service.mailed("verify_email", email, 1).await }))
        .await;
    service.anonymous().post("/api/auth/magic-link", &json!({ "email": email })).await;
    let token = service.mailed("magic_link", email, 1).await;
    let begun = begin_assert(service, &json!({ "token": token })).await;
    let code = finish_assert(service, &elsewhere.show(&begun).await).await.text("/data/code");
    let redeemed = json!({ "token": token, "totp": code });
    assert_eq!(service.anonymous().post("/api/auth/magic-link/redeem", &redeemed).await.status, 200);
    // New recovery codes, another name, and the end of one and the other.
    let code = proof_within(service, &visitor, &caller).await;
    let renewed = caller.post("/api/auth/mfa/recovery-codes", &json!({ "code": code })).await;
    assert_eq!(renewed.body["data"]["recovery_codes"].as_array().unwrap().len(), 10);
    let path = |id: &str| format!("/api/auth/passkeys/{id}");
    assert_eq!(caller.patch(&path(&first), &json!({ "name": "Old" })).await.text("/data/name"), "Old");
    assert_eq!(caller.patch(&path(&first), &json!({ "name": " " })).await.status, 422);
    let remove =
        async |id: &str, code: &str| caller.post(&format!("{}/remove", path(id)), &json!({ "code": code })).await;
    is_refused(&remove(&first, "000000").await, 401, "unauthenticated");
    let code = proof_within(service, &elsewhere, &caller).await;
    let begun = begin_assert(service, &credentials).await;
    assert_eq!(remove(&first, &code).await.status, 200);
    let removed = visitor.show(&begun).await;
    is_refused(&finish_assert(service, &removed).await, 401, "unauthenticated");
    let shown = visitor.show(&begin_sign_in(service).await).await;
    is_refused(&finish_sign_in(service, &shown).await, 401, "unauthenticated");
    is_refused(&sign_in(service, &credentials, None).await, 403, "mfa_required");
    let code = proof_within(service, &elsewhere, &caller).await;
    assert_eq!(remove(&second.text("/data/passkey/id"), &code).await.status, 200);
    assert_eq!(caller.get("/api/auth/mfa").await.body["data"]["enabled"], false);
    assert_eq!(sign_in(service, &credentials, None).await.status, 200, "with the last one the second factor ends");
}

#[tokio::test]
async fn an_app_beside_a_passkey_takes_both_to_be_added() {
    let Some(browser) = Browser::shared() else { return };
    let service = Service::shared();
    let ((caller, credentials), visitor) = (newcomer(service, "both").await, browser.visitor(service).await);
    visitor.add_passkey(&caller, "Key", None).await;
    let enrolled = caller.post("/api/auth/mfa/enrol", &json!({})).await;
    let code = crate::mfa::code(&enrolled);
    is_refused(&caller.post("/api/auth/mfa/confirm", &json!({ "code": code })).await, 403, "mfa_required");
    let wrong = json!({ "code": code, "shown": "000000" });
    is_refused(&caller.post("/api/auth/mfa/confirm", &wrong).await, 401, "unauthenticated");
    let shown = proof_within(service, &visitor, &caller).await;
    let confirmed = caller.post("/api/auth/mfa/confirm", &json!({ "code": code, "shown": shown })).await;
    assert_eq!(confirmed.body["data"]["recovery_codes"], json!([]), "{}", confirmed.body);
    let kinds = sign_in(service, &credentials, None).await;
    assert_eq!(kinds.body["error"]["details"].as_array().unwrap().len(), 3, "{}", kinds.body);
    let shown = proof_within(service, &visitor, &caller).await;
    assert_eq!(caller.post("/api/auth/mfa/disable", &json!({ "code": shown })).await.status, 200);
    let state = caller.get("/api/auth/mfa").await;
    assert_eq!((&state.body["data"]["enabled"], &state.body["data"]["totp"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn an_operator_has_passkeys_as_well_but_signs_in_with_the_password_first() {
    let Some(browser) = Browser::shared() else { return };
    let service = Service::start("garage").restart_in_production("garage");
    let email = "olga@operators.example";
    let made = service.command(&["operator", "create", email]);
    let credentials = json!({ "email": email, "password": made["data"]["password"] });
    let sign_in = async |body: &Value| service.anonymous().post("/api/operators/sign-in", body).await;
    let operator = service.anonymous().with_token(&sign_in(&credentials).await.text("/data/access_token"));
    is_refused(&operator.get("/api/admin/tenants").await, 403, "mfa_required");
    let visitor = browser.visitor(&service).await;
    let begun = operator.post("/api/operators/passkeys/register/begin", &json!({})).await;
    let mut body = visitor.answer("create", &begun).await.unwrap();
    body["name"] = json!("Key");
    assert_eq!(operator.post("/api/operators/passkeys/register/finish", &body).await.status, 201);
    assert_eq!(operator.get("/api/admin/tenants").await.status, 200, "it was shown in this session");
    is_refused(&sign_in(&credentials).await, 403, "mfa_required");
    let begun = service.anonymous().post("/api/operators/passkeys/assert/begin", &credentials).await;
    let shown = visitor.show(&begun).await;
    let proved = service.anonymous().post("/api/operators/passkeys/assert/finish", &shown).await;
    let mut with_proof = credentials.clone();
    with_proof["totp"] = json!(proved.text("/data/code"));
    let second = sign_in(&with_proof).await;
    assert_eq!(second.body["data"]["mfa_setup_required"], false, "{}", second.body);
    let shown = visitor.show(&begin_sign_in(&service).await).await;
    is_refused(&finish_sign_in(&service, &shown).await, 401, "unauthenticated");
    assert_eq!(service.command(&["operator", "reset-mfa", email])["data"]["reset"], true);
    assert_eq!(sign_in(&credentials).await.body["data"]["mfa_setup_required"], true);
}

#[tokio::test]
async fn what_begins_at_one_process_ends_at_another() {
    let Some(browser) = Browser::shared() else { return };
    let service = Service::start("garage");
    let password = std::fs::read_to_string(service.data_dir.join("postgres/superuser.password")).unwrap();
    let socket = service.data_dir.join("postgres/run");
    let database = format!("postgresql://postgres:{}@/postgres?host={}", password.trim(), socket.display());
    let key = service.data_dir.join("master.key");
    let public_url = service.url.replace("127.0.0.1", "localhost");
    let settings =
        ["--database-url", &database, "--master-key-file", key.to_str().unwrap(), "--public-url", &public_url];
    let beside = Service::start_with("garage", &settings);
    let visitor = browser.visitor(&service).await;
    let ((caller, credentials), other) = (newcomer(&service, "two-processes").await, beside.anonymous());
    let elsewhere = other.with_token(caller.token.as_deref().unwrap());
    let begun = caller.post("/api/auth/passkeys/register/begin", &json!({})).await;
    let mut body = visitor.answer("create", &begun).await.unwrap();
    body["name"] = json!("Key");
    let added = elsewhere.post("/api/auth/passkeys/register/finish", &body).await;
    assert_eq!(added.status, 201, "{}", added.body);
    let shown = visitor.show(&begin_assert(&service, &credentials).await).await;
    let code = finish_assert(&beside, &shown).await.text("/data/code");
    is_refused(&finish_assert(&service, &shown).await, 401, "unauthenticated");
    assert_eq!(sign_in(&service, &credentials, Some(&code)).await.status, 200);
    let shown = visitor.show(&begin_sign_in(&beside).await).await;
    assert_eq!(finish_sign_in(&service, &shown).await.status, 200);
}

#[tokio::test]
async fn an_organisations_policy_is_met_by_a_passkey() {
    let Some(browser) = Browser::shared() else { return };
    let service = Service::start("solar").restart_in_production("solar");
    let owner = service.owner(&ACME).await;
    let path = format!("/api/tenants/{}/mfa-policy", ACME.slug);
    owner.patch(&path, &json!({ "demanded_of": "everybody", "grace_days": 0 })).await;
    is_refused(&owner.get("/api/leads").await, 403, "mfa_required");
    let visitor = browser.visitor(&service).await;
    let id = visitor.add_passkey(&owner, "Key", None).await.text("/data/passkey/id");
    assert_eq!(owner.get("/api/leads").await.status, 200, "in the same session, at once");
    let code = proof_within(&service, &visitor, &owner).await;
    assert_eq!(owner.post(&format!("/api/auth/passkeys/{id}/remove"), &json!({ "code": code })).await.status, 200);
    is_refused(&owner.get("/api/leads").await, 403, "mfa_required");
}

#[tokio::test]
async fn strangers_learn_nothing_and_nonsense_is_refused() {
    let service = Service::shared();
    let anonymous = service.anonymous();
    let begin = async |email: &str| {
        let body = json!({ "email": email, "password": "not the password" });
        anonymous.post("/api/auth/passkeys/assert/begin", &body).await.comparable()
    };
    assert_eq!(begin(ACME.email).await, begin("nobody-at-all@example.com").await);
    assert_eq!(begin(ACME.email).await.0, 401);
    let missing = anonymous.post("/api/auth/passkeys/assert/begin", &json!({})).await;
    assert_eq!((missing.status.as_u16(), missing.body["error"]["details"].as_array().unwrap().len()), (422, 2));
    let nonsense = anonymous.post("/api/auth/passkeys/assert/begin", &json!({ "token": "rh_link_x" })).await;
    is_refused(&nonsense, 404, "not_found");
    let begun = begin_sign_in(service).await;
    for ceremony in ["", "rh_pk_", "rh_pk_AAAA", begun.text("/data/ceremony").as_str()] {
        let body = json!({ "ceremony": ceremony, "credential": { "id": "x" } });
        is_refused(&finish_sign_in(service, &body).await, 401, "unauthenticated");
        is_refused(&finish_assert(service, &body).await, 401, "unauthenticated");
    }
}
