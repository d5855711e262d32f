//! Limits on the sensitive routes, as clients meet them.

use serde_json::{Value, json};

use crate::service::{ACME, Answer, Caller, PASSWORD, Service};

/// A request of a client behind the test's declared proxy.
fn from(service: &Service, address: &str) -> Caller {
    service.anonymous().with("X-Forwarded-For", address)
}

fn wrong(email: &str) -> Value {
    json!({ "email": email, "password": "not the password" })
}

fn right(email: &str) -> Value {
    json!({ "email": email, "password": PASSWORD })
}

fn is_told_to_wait(answer: &Answer, seconds_max: u32) {
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (429, "rate_limited"), "{}", answer.body);
    let seconds: u32 = answer.retry_after.as_deref().unwrap().parse().unwrap();
    assert!((1..=seconds_max).contains(&seconds), "{seconds}");
}

/// Lets the time pass for all that is counted.
fn wait(service: &Service, how_long: &str) {
    let sql = format!(
        "update control.attempts set window_ends_at = window_ends_at - interval '{how_long}',
                failed_at = failed_at - interval '{how_long}', blocked_until = blocked_until - interval '{how_long}'"
    );
    service.sql("rowhouse_control", &sql);
}

#[tokio::test]
async fn an_address_that_tries_too_often_waits_for_the_end_of_its_window_and_no_other_does() {
    let settings = ["--auth-attempts", "6", "--trusted-proxies", "127.0.0.0/8"];
    let service = Service::start_with("solar", &settings);
    let (one, other) = (from(&service, "192.0.2.1"), from(&service, "192.0.2.2"));
    for (path, body) in [
        ("/api/auth/sign-in", json!({ "email": "{}@example.com", "password": "not the password" })),
        ("/api/operators/sign-in", json!({ "email": "{}@example.com", "password": "not the password" })),
        (
            "/api/auth/sign-up",
            json!({ "email": "{}@example.com", "password": PASSWORD, "company_name": "Acme", "slug": "acme" }),
        ),
        ("/api/auth/refresh", json!({ "refresh_token": "rh_rt_{}" })),
    ] {
        // Each at another account: only the address is the same.
        let body = |number: u32| serde_json::from_str(&body.to_string().replace("{}", &number.to_string())).unwrap();
        for number in 0..6 {
            let answer = one.post(path, &body(number)).await;
            assert!(matches!(answer.status.as_u16(), 401 | 409), "{path}: {}", answer.body);
        }
        is_told_to_wait(&one.post(path, &body(6)).await, 900);
        is_told_to_wait(&one.post(path, &body(7)).await, 900);
        let answer = other.post(path, &body(8)).await;
        assert!(matches!(answer.status.as_u16(), 401 | 409), "{path}: {}", answer.body);
    }
    is_told_to_wait(&one.post("/api/auth/sign-in", &right(ACME.email)).await, 900);
    wait(&service, "15 minutes");
    assert_eq!(one.post("/api/auth/sign-in", &right(ACME.email)).await.status, 200);
}

#[tokio::test]
async fn what_a_client_says_of_its_own_address_is_believed_of_declared_proxies_only() {
    let service = Service::start_with("solar", &["--auth-attempts", "3"]);
    for number in 0..3 {
        let caller = from(&service, &format!("192.0.2.{number}"));
        assert_eq!(caller.post("/api/auth/sign-in", &wrong("a@example.com")).await.status, 401);
    }
    is_told_to_wait(&from(&service, "192.0.2.9").post("/api/auth/sign-in", &wrong("b@example.com")).await, 900);
}

/// Lets the wait after the next failure begin further away, so that the test may take its time.
const FURTHER: &str = "-10 minutes";

#[tokio::test]
async fn who_fails_at_an_account_waits_longer_each_time_and_is_shut_out_whether_it_exists_or_not() {
    let service = Service::start_with("solar", &["--trusted-proxies", "127.0.0.0/8"]);
    let caller = from(&service, "198.51.100.1");
    let mut answers = Vec::new();
    for email in [ACME.email, "nobody@example.com"] {
        let mut seen = Vec::new();
        for number in 1..=10 {
            let failed = caller.post("/api/auth/sign-in", &wrong(email)).await;
            assert_eq!(failed.status, 401, "failure {number}: {}", failed.body);
            seen.push(failed.comparable());
            // The first failures cost nothing.
            if number < 5 {
                continue;
            }
            wait(&service, FURTHER);
            let next = caller.post("/api/auth/sign-in", &right(email)).await;
            is_told_to_wait(&next, 600 + if number < 10 { 1 << (number - 5) } else { 900 });
            seen.push(next.comparable());
            wait(&service, if number < 10 { "10 minutes 20 seconds" } else { "10 minutes" });
        }
        answers.push(seen);
    }
    assert_eq!(answers[0], answers[1]);
    wait(&service, "10 minutes");
    is_told_to_wait(&caller.post("/api/auth/sign-in", &right(ACME.email)).await, 300);
    let elsewhere = from(&service, "203.0.113.1").post("/api/auth/sign-in", &right(ACME.email)).await;
    assert_eq!(elsewhere.status, 200, "others are not shut out by it: {}", elsewhere.body);
    wait(&service, "5 minutes");
    let signed_in = caller.post("/api/auth/sign-in", &right(ACME.email)).await;
    assert_eq!(signed_in.status, 200, "a lock has an end: {}", signed_in.body);
    assert_eq!(caller.post("/api/auth/sign-in", &wrong(ACME.email)).await.status, 401);
    let again = caller.post("/api/auth/sign-in", &right(ACME.email)).await;
    assert_eq!(again.status, 200, "a success makes all good again: {}", again.body);
    let operator = service.operator("watching").await;
    let locks = loop {
        // They are written beside the requests.
        let events = operator.get("/api/admin/security-events").await;
        let locks = events.data().iter().filter(|event| event["kind"] == "account_locked");
        let locks: Vec<Value> = locks.cloned().collect();
        if locks.len() == 2 {
            break locks;
        }
    };
    assert!(locks[0]["user_id"].is_null() && !locks[1]["user_id"].is_null(), "{locks:?}");
    let mails = "select recipient || ' ' || kind from control.mails where kind = 'account_locked'";
    let mails = service.sql_as("rowhouse_owner", "rowhouse_control", mails).unwrap();
    assert_eq!(mails, format!("{} account_locked", ACME.email));
}

#[tokio::test]
async fn an_account_that_is_tried_from_everywhere_lets_in_from_where_its_owner_has_signed_in() {
    let service = Service::start_with("solar", &["--trusted-proxies", "127.0.0.0/8"]);
    let home = from(&service, "203.0.113.1");
    assert_eq!(home.post("/api/auth/sign-in", &right(ACME.email)).await.status, 200);
    for number in 1..=20 {
        let caller = from(&service, &format!("198.51.100.{number}"));
        assert_eq!(caller.post("/api/auth/sign-in", &wrong(ACME.email)).await.status, 401);
    }
    wait(&service, FURTHER);
    is_told_to_wait(&from(&service, "192.0.2.1").post("/api/auth/sign-in", &right(ACME.email)).await, 601);
    assert_eq!(home.post("/api/auth/sign-in", &right(ACME.email)).await.status, 200);
}

#[tokio::test]
async fn what_goes_by_mail_or_takes_a_key_is_limited_as_well() {
    let settings = ["--auth-attempts", "6", "--trusted-proxies", "127.0.0.0/8"];
    let service = Service::start_with("solar", &settings);
    let (one, other) = (from(&service, "192.0.2.1"), from(&service, "192.0.2.2"));
    let signed_in = service.owner(&ACME).await;
    let as_owner = |caller: &Caller| caller.with_token(signed_in.token.as_deref().unwrap());
    for (path, body, signed_in, expected) in [
        ("/api/auth/password/forgot", json!({ "email": "{}@example.com" }), false, 202),
        ("/api/auth/password/reset", json!({ "token": "rh_link_{}", "password": PASSWORD }), false, 404),
        ("/api/auth/magic-link", json!({ "email": "{}@example.com" }), false, 202),
        ("/api/auth/magic-link/redeem", json!({ "token": "rh_link_{}" }), false, 404),
        ("/api/auth/verify-email", json!({ "token": "rh_link_{}" }), false, 404),
        ("/api/auth/invitations/accept", json!({ "token": "rh_inv_{}", "password": PASSWORD }), false, 404),
        ("/api/auth/verify-email/resend", json!({}), true, 202),
        ("/api/auth/email/change", json!({ "email": "{}@example.com", "current_password": PASSWORD }), true, 202),
        ("/api/tenants/acme/invitations", json!({ "email": "{}@example.com", "role": "installer" }), true, 201),
    ] {
        let callers = if signed_in { (as_owner(&one), as_owner(&other)) } else { (one.clone(), other.clone()) };
        let body = |number: u32| serde_json::from_str(&body.to_string().replace("{}", &number.to_string())).unwrap();
        for number in 0..6 {
            let answer = callers.0.post(path, &body(number)).await;
            assert_eq!(answer.status, expected, "{path}: {}", answer.body);
        }
        is_told_to_wait(&callers.0.post(path, &body(6)).await, 900);
        let answer = callers.1.post(path, &body(8)).await;
        // Who is signed in is counted wherever they are.
        let expected = if signed_in { 429 } else { expected };
        assert_eq!(answer.status, expected, "{path}: {}", answer.body);
    }
    let (bad_key, elsewhere) = (one.with_token("rh_test_nothing"), other.with_token("rh_test_nothing"));
    for _ in 0..6 {
        assert_eq!(bad_key.get("/api/leads").await.status, 401);
    }
    is_told_to_wait(&bad_key.get("/api/leads").await, 900);
    assert_eq!(elsewhere.get("/api/leads").await.status, 401);
    assert_eq!(as_owner(&one).get("/api/leads").await.status, 200);
}
