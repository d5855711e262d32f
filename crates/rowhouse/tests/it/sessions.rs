//! A person's own sessions: which there are, and ending them.

use serde_json::{Value, json};

use crate::service::{ACME, Caller, PASSWORD, Service};

/// Somebody new, so that ending their sessions disturbs no other test. Gives their address.
async fn sign_up(service: &Service, name: &str) -> (Caller, String) {
    let email = format!("{name}@example.com");
    let body = json!({ "email": email, "password": PASSWORD, "company_name": format!("Company {name}") });
    let caller = service.anonymous().with("User-Agent", "first/1");
    let answer = caller.post("/api/auth/sign-up", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    (caller.with_token(&answer.text("/data/access_token")), email)
}

/// The same person on another device, with its refresh token.
async fn second_device(service: &Service, email: &str) -> (Caller, String) {
    let caller = service.anonymous().with("User-Agent", "second/2");
    let body = json!({ "email": email, "password": PASSWORD });
    let answer = caller.post("/api/auth/sign-in", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    (caller.with_token(&answer.text("/data/access_token")), answer.text("/data/refresh_token"))
}

#[tokio::test]
async fn a_person_sees_their_devices_and_which_one_asks() {
    let service = Service::shared();
    let (first, email) = sign_up(service, "devices").await;
    let (second, _) = second_device(service, &email).await;
    let shown = |answer: &[Value]| -> Vec<(String, bool)> {
        let one = |session: &Value| (session["user_agent"].as_str().unwrap().to_owned(), session["current"] == true);
        answer.iter().map(one).collect()
    };
    let listed = first.get("/api/auth/sessions").await;
    assert_eq!(shown(listed.data()), [("second/2".to_owned(), false), ("first/1".to_owned(), true)]);
    assert_eq!(listed.text("/data/0/ip"), "127.0.0.1");
    for time in ["created_at", "last_used_at", "expires_at"] {
        assert!(listed.data()[0][time].is_string(), "{time}: {}", listed.body);
    }
    assert_eq!(shown(second.get("/api/auth/sessions?limit=1").await.data()), [("second/2".to_owned(), true)]);
    let cursor = second.get("/api/auth/sessions?limit=1").await.text("/pagination/cursor");
    let rest = second.get(&format!("/api/auth/sessions?limit=1&cursor={cursor}")).await;
    assert_eq!(shown(rest.data()), [("first/1".to_owned(), false)]);
}

#[tokio::test]
async fn a_revoked_session_loses_its_tokens_at_once() {
    let service = Service::shared();
    let (first, email) = sign_up(service, "revoker").await;
    let (second, refresh_token) = second_device(service, &email).await;
    assert_eq!(second.get("/api/leads").await.status, 200);
    let id = second.get("/api/auth/sessions?limit=1").await.text("/data/0/id");
    let path = format!("/api/auth/sessions/{id}");
    let (stranger, _) = sign_up(service, "stranger-to-sessions").await;
    assert_eq!(stranger.delete(&path).await.status, 404);
    assert_eq!(second.get("/api/leads").await.status, 200);
    let revoked = first.with("X-Request-Id", "revoke-one").delete(&path).await;
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    assert_eq!(second.get("/api/leads").await.status, 401);
    let refreshed = service.anonymous().post("/api/auth/refresh", &json!({ "refresh_token": refresh_token })).await;
    assert_eq!(refreshed.status, 401, "{}", refreshed.body);
    assert_eq!(first.delete(&path).await.status, 404, "it has ended already");
    assert_eq!(first.delete("/api/auth/sessions/nonsense").await.status, 404);
    assert_eq!(first.get("/api/auth/sessions").await.data().len(), 1);
    let told =
        "select actor_kind || ' ' || action || ' ' || target from control.audit_log where request_id = 'revoke-one'";
    let told = service.sql_as("rowhouse_owner", "rowhouse_control", told).unwrap();
    assert_eq!(told, format!("user revoke_session session:{id}"));
}

#[tokio::test]
async fn ending_all_others_leaves_the_one_that_asks() {
    let service = Service::shared();
    let (first, email) = sign_up(service, "only-one").await;
    let (second, _) = second_device(service, &email).await;
    let (third, _) = second_device(service, &email).await;
    let revoked = third.delete("/api/auth/sessions").await;
    assert_eq!((revoked.status.as_u16(), &revoked.body["data"]), (200, &json!({ "revoked": 2 })));
    for (caller, status) in [(&first, 401), (&second, 401), (&third, 200)] {
        assert_eq!(caller.get("/api/auth/me").await.status, status);
    }
    assert_eq!(third.delete("/api/auth/sessions").await.body["data"], json!({ "revoked": 0 }));
}

#[tokio::test]
async fn a_person_may_end_the_session_that_asks() {
    let service = Service::shared();
    let (caller, _) = sign_up(service, "self-ender").await;
    let id = caller.get("/api/auth/sessions").await.text("/data/0/id");
    assert_eq!(caller.delete(&format!("/api/auth/sessions/{id}")).await.status, 200);
    assert_eq!(caller.get("/api/auth/me").await.status, 401);
}

#[tokio::test]
async fn a_session_that_is_open_for_long_shows_once_more_who_it_is_before_what_is_dangerous() {
    let service = Service::start("solar");
    let owner = service.owner(&ACME).await;
    let long_ago =
        || service.sql("rowhouse_control", "update control.sessions set proved_at = now() - interval '61 min'");
    let dangerous = [
        ("POST", "/api/tenants/acme/api-keys", json!({ "name": "X", "role": "viewer" })),
        ("PATCH", "/api/tenants/acme/mfa-policy", json!({ "grace_days": 8 })),
        ("PATCH", "/api/tenants/acme/session-policy", json!({ "idle_minutes": 60 })),
        ("POST", "/api/auth/mfa/enrol", json!({})),
        ("POST", "/api/tenants/acme/domains", json!({ "domain": "dangerous.example" })),
        ("POST", "/api/tenants/acme/transfer", json!({ "user_id": "nobody" })),
    ];
    let try_all = async || {
        let mut statuses = Vec::new();
        for (method, path, body) in &dangerous {
            let answer = owner.send(method.parse().unwrap(), path, Some(body)).await;
            statuses.push((answer.status.as_u16(), answer.body["error"]["code"].clone()));
        }
        statuses
    };
    long_ago();
    assert_eq!(try_all().await, vec![(403, json!("step_up_required")); 6]);
    assert_eq!(owner.get("/api/leads").await.status, 200, "nothing else asks for it");
    let wrong = owner.post("/api/auth/step-up", &json!({ "current_password": "not the password" })).await;
    assert_eq!((wrong.status.as_u16(), wrong.text("/error/details/0/field").as_str()), (422, "current_password"));
    assert_eq!(try_all().await, vec![(403, json!("step_up_required")); 6]);
    let right = owner.post("/api/auth/step-up", &json!({ "current_password": PASSWORD })).await;
    assert_eq!(right.status, 200, "{}", right.body);
    let statuses: Vec<u16> = try_all().await.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [201, 200, 200, 200, 201, 404]);
}
