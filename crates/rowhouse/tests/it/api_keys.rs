//! API keys over HTTP: who makes them, what they open, and their end.

use reqwest::Method;
use serde_json::{Value, json};

use crate::service::{ACME, Answer, Caller, GLOBEX, PASSWORD, Service};

const KEYS: &str = "/api/tenants/acme/api-keys";

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.code())
}

/// Waits until a key's line in the list is as wanted.
async fn listed_until(caller: &Caller, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..500 {
        let listed = caller.get(&format!("{KEYS}?limit=200")).await;
        let line = listed.data().iter().find(|key| key["id"] == id);
        if let Some(line) = line.filter(|line| wanted(line)) {
            return line.clone();
        }
        tokio::task::yield_now().await;
    }
    panic!("the key {id} is not listed as it should be")
}

#[tokio::test]
async fn a_key_is_shown_once_and_works_with_its_role() {
    let service = Service::shared();
    let owner = service.owner(&ACME).await;
    let made = owner.make_key("acme", &json!({ "name": " Website ", "role": "sales_rep" })).await;
    let text = made.text("/data/key");
    assert!(text.starts_with("rh_test_") && text.len() == 72, "{text}");
    assert!(text.starts_with(&made.text("/data/prefix")));
    let listed = owner.get(&format!("{KEYS}?limit=200")).await;
    assert!(!listed.body.to_string().contains(&text));
    let line = listed_until(&owner, &made.text("/data/id"), |_| true).await;
    assert_eq!((&line["name"], &line["role"], &line["key"]), (&json!("Website"), &json!("sales_rep"), &Value::Null));
    assert_eq!(line["last_used_at"], Value::Null);
    let program = service.anonymous().with_token(&text);
    let lead = program.post("/api/leads", &json!({ "full_name": "From the website" })).await;
    assert_eq!(lead.status, 201, "{}", lead.body);
    assert_eq!(lead.body["data"]["owner_id"], Value::Null, "a key owns no records");
    assert_eq!(program.get(&format!("/api/leads/{}", lead.text("/data/id"))).await.status, 404, "nor sees ones own");
    assert_eq!(refusal(&program.delete(&format!("/api/leads/{}", lead.text("/data/id"))).await).0, 403);
    let me = owner.get("/api/auth/me").await.text("/data/user/id");
    let given = program.post("/api/leads", &json!({ "full_name": "Given away", "owner_id": me })).await;
    assert_eq!(refusal(&given), (403, "permission_denied".to_owned()));
    let used = listed_until(&owner, &made.text("/data/id"), |key| !key["last_used_at"].is_null()).await;
    assert_eq!(used["last_used_ip"], "127.0.0.1");
    assert_eq!(program.get("/api/tenants/acme").await.text("/data/role"), "sales_rep");
}

#[tokio::test]
async fn a_key_with_permissions_of_its_own_holds_just_these() {
    let service = Service::shared();
    let owner = service.owner(&ACME).await;
    let body = json!({ "name": "Reader", "permissions": ["leads:view"], "never_expires": true });
    let made = owner.make_key("acme", &body).await;
    assert_eq!(made.body["data"]["expires_at"], Value::Null);
    let program = service.anonymous().with_token(&made.text("/data/key"));
    let (all, seen) = (owner.get("/api/leads").await, program.get("/api/leads").await);
    assert_eq!(seen.body["pagination"]["total"], all.body["pagination"]["total"]);
    assert_eq!(refusal(&program.get("/api/projects").await), (403, "permission_denied".to_owned()));
    assert_eq!(program.post("/api/leads", &json!({ "full_name": "No" })).await.status, 403);
    assert_eq!(program.get("/api/tenants/acme").await.body["data"]["role"], Value::Null);
}

#[tokio::test]
async fn every_fault_of_a_new_key_is_told() {
    let owner = Service::shared().owner(&ACME).await;
    for (body, field) in [
        (json!({ "name": " ", "role": "viewer" }), "name"),
        (json!({ "name": "x".repeat(101), "role": "viewer" }), "name"),
        (json!({ "name": "a\u{0}b", "role": "viewer" }), "name"),
        (json!({ "name": "Key" }), "role"),
        (json!({ "name": "Key", "role": "nobody" }), "role"),
        (json!({ "name": "Key", "role": "viewer", "permissions": ["leads:view"] }), "role"),
        (json!({ "name": "Key", "permissions": [] }), "permissions"),
        (json!({ "name": "Key", "permissions": ["leads:read"] }), "permissions"),
        (json!({ "name": "Key", "permissions": ["laeds:view"] }), "permissions"),
        (json!({ "name": "Key", "role": "viewer", "expires_in_days": 0 }), "expires_in_days"),
        (json!({ "name": "Key", "role": "viewer", "expires_in_days": 9999 }), "expires_in_days"),
        (json!({ "name": "Key", "role": "viewer", "expires_in_days": 1, "never_expires": true }), "expires_in_days"),
    ] {
        let answer = owner.post(KEYS, &body).await;
        assert_eq!(refusal(&answer), (422, "validation_failed".to_owned()), "{body}");
        assert_eq!(answer.text("/error/details/0/field"), field, "{}", answer.body);
    }
}

#[tokio::test]
async fn only_people_who_manage_people_manage_keys() {
    let service = Service::shared();
    let owner = service.owner(&ACME).await;
    let made = owner.make_key("acme", &json!({ "name": "Wanted", "role": "owner" })).await;
    let key = format!("{KEYS}/{}", made.text("/data/id"));
    let rotate = format!("{key}/rotate");
    let body = json!({ "name": "Mine", "role": "viewer" });
    // A key, too: one that is stolen would make others that outlive it.
    for caller in [service.member(&ACME, "sales_rep").await, owner.with_token(&made.text("/data/key"))] {
        for (method, path, body) in [
            (Method::GET, KEYS, None),
            (Method::POST, KEYS, Some(&body)),
            (Method::POST, rotate.as_str(), Some(&json!({}))),
            (Method::DELETE, key.as_str(), None),
        ] {
            let answer = caller.send(method.clone(), path, body).await;
            assert_eq!(refusal(&answer), (403, "permission_denied".to_owned()), "{method} {path}: {}", answer.body);
        }
    }
    assert_eq!(owner.delete(&key).await.status, 200);
}

#[tokio::test]
async fn nobody_makes_or_rotates_a_key_that_holds_more_than_they_do() {
    let service = Service::shared();
    let (owner, admin) = (service.owner(&ACME).await, service.member(&ACME, "admin").await);
    for body in [
        json!({ "name": "More", "role": "owner" }),
        json!({ "name": "More", "permissions": ["leads:view", "organization:manage"] }),
    ] {
        assert_eq!(refusal(&admin.post(KEYS, &body).await), (403, "permission_denied".to_owned()), "{body}");
    }
    let stronger = owner.make_key("acme", &json!({ "name": "Stronger", "role": "owner" })).await.text("/data/id");
    let rotated = admin.post(&format!("{KEYS}/{stronger}/rotate"), &json!({})).await;
    assert_eq!(refusal(&rotated), (403, "permission_denied".to_owned()));
    let own = admin.make_key("acme", &json!({ "name": "As much", "role": "admin" })).await.text("/data/id");
    assert_eq!(admin.post(&format!("{KEYS}/{own}/rotate"), &json!({})).await.status, 200);
    assert_eq!(admin.delete(&format!("{KEYS}/{stronger}")).await.status, 200, "but may revoke it");
}

#[tokio::test]
async fn a_rotated_key_is_good_under_both_texts_until_the_overlap_ends() {
    let service = Service::shared();
    let owner = service.owner(&ACME).await;
    let made = owner.make_key("acme", &json!({ "name": "Turning", "role": "viewer" })).await;
    let path = format!("{KEYS}/{}/rotate", made.text("/data/id"));
    let first = owner.with_token(&made.text("/data/key"));
    assert_eq!(first.get("/api/leads").await.status, 200);
    let rotated = owner.post(&path, &json!({ "overlap_seconds": 3600 })).await;
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    assert_eq!(rotated.text("/data/id"), made.text("/data/id"));
    assert!(rotated.body["data"]["previous_until"].is_string());
    let second = owner.with_token(&rotated.text("/data/key"));
    for caller in [&first, &second] {
        assert_eq!(caller.get("/api/leads").await.status, 200);
    }
    let again = owner.post(&path, &json!({ "overlap_seconds": 0 })).await;
    let third = owner.with_token(&again.text("/data/key"));
    for (caller, status) in [(&first, 401), (&second, 401), (&third, 200)] {
        assert_eq!(caller.get("/api/leads").await.status, status);
    }
    assert_eq!(owner.post(&path, &json!({ "overlap_seconds": 2_592_001 })).await.status, 422);
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_at_once_and_the_deeds_are_told() {
    let service = Service::shared();
    let owner = service.owner(&ACME).await.with("X-Request-Id", "a-keys-life");
    let made = owner.make_key("acme", &json!({ "name": "Short-lived", "role": "viewer" })).await;
    let (id, text) = (made.text("/data/id"), made.text("/data/key"));
    let program = service.anonymous().with_token(&text);
    assert_eq!(program.get("/api/leads").await.status, 200);
    assert_eq!(owner.post(&format!("{KEYS}/{id}/rotate"), &json!({})).await.status, 200);
    assert_eq!(program.get("/api/leads").await.status, 200);
    assert_eq!(owner.delete(&format!("{KEYS}/{id}")).await.status, 200);
    assert_eq!(refusal(&program.get("/api/leads").await), (401, "unauthenticated".to_owned()));
    assert_eq!(owner.delete(&format!("{KEYS}/{id}")).await.status, 404);
    let told = format!(
        "select string_agg(a.actor_kind || ' ' || a.action || ' ' || t.slug, ', ' order by a.id)
         from control.audit_log a join control.tenants t on t.id = a.tenant_id
         where a.request_id = 'a-keys-life' and a.target = 'api_key:{id}'"
    );
    let told = service.sql_as("rowhouse_owner", "rowhouse_control", &told).unwrap();
    assert_eq!(told, "user create_api_key acme, user rotate_api_key acme, user revoke_api_key acme");
    let kept = service.sql_as("rowhouse_owner", "rowhouse_control", "select details from control.audit_log").unwrap();
    assert!(!kept.contains(&text[14..]) && !service.log().contains(&text[14..]), "the text is kept nowhere");
}

#[tokio::test]
async fn what_is_no_key_is_refused_everywhere() {
    let service = Service::shared();
    let owner = service.owner(&ACME).await;
    let text = owner.make_key("acme", &json!({ "name": "Forged", "role": "owner" })).await.text("/data/key");
    let ended = owner.make_key("acme", &json!({ "name": "Ended", "role": "owner" })).await;
    let end = format!("update control.api_keys set expires_at = now() where id = '{}'", ended.text("/data/id"));
    service.sql("rowhouse_control", &end);
    let other = text.replace("rh_test_", "rh_live_");
    let last = if text.ends_with('0') { "1" } else { "0" };
    let changed = format!("{}{last}", &text[..71]);
    let capitals = text.to_uppercase().replace("RH_TEST_", "rh_test_");
    let spaced = format!("{text} {text}");
    for forged in [&other, &changed, &capitals, &spaced, &text[..71], "rh_test_", "rh_live_", &ended.text("/data/key")]
    {
        for path in ["/api/leads", "/api/tenants/acme", KEYS, "/api/auth/me", "/api/admin/tenants"] {
            let answer = owner.with_token(forged).get(path).await;
            assert_eq!(answer.status, 401, "{forged} on {path}: {}", answer.body);
        }
    }
    assert_eq!(owner.with_token(&text).get("/api/leads").await.status, 200);
}

/// The routes that the document opens to keys, and no other.
#[tokio::test]
async fn a_key_opens_exactly_the_routes_that_say_so() {
    let service = Service::shared();
    let key = service.owner(&ACME).await.key("acme", "owner").await;
    let document = service.anonymous().get("/api/openapi.json").await.body;
    let mut opened = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let schemes = operation["security"].as_array().unwrap();
            if schemes.is_empty() {
                continue;
            }
            let method: Method = method.to_uppercase().parse().unwrap();
            let own = path.replace("{tenant}", "acme");
            // Of what does not exist, so that nothing is changed.
            let own = own.replace("{id}", "01900000-0000-7000-8000-00000000dead").replace("{role}", "nobodys");
            let body = json!({ "no_such_field": true });
            let body = Some(&body).filter(|_| method == Method::POST || method == Method::PATCH);
            let answer = key.send(method.clone(), &own, body).await;
            let is_open = schemes.iter().any(|scheme| scheme.get("api_key").is_some());
            let turned_away = answer.status == 401 || answer.status == 403;
            assert_eq!(turned_away, !is_open, "{method} {own}: {}", answer.body);
            opened += usize::from(is_open);
        }
    }
    assert!(opened > 20, "{opened}");
}

#[tokio::test]
async fn the_status_of_its_tenant_holds_for_a_key() {
    let service = Service::shared();
    let body = json!({ "email": "key-holder@example.com", "password": PASSWORD, "company_name": "Key Holder" });
    let signed_up = service.anonymous().post("/api/auth/sign-up", &body).await;
    let slug = signed_up.text("/data/tenant/slug");
    let key = service.anonymous().with_token(&signed_up.text("/data/access_token")).key(&slug, "owner").await;
    let operator = service.operator("key-suspender").await;
    assert_eq!(key.get("/api/leads").await.status, 200);
    assert_eq!(operator.post(&format!("/api/admin/tenants/{slug}/suspend"), &json!({})).await.status, 200);
    assert_eq!(refusal(&key.get("/api/leads").await), (403, "tenant_suspended".to_owned()));
    assert_eq!(operator.post(&format!("/api/admin/tenants/{slug}/reactivate"), &json!({})).await.status, 200);
    assert_eq!(key.get("/api/leads").await.status, 200);
    assert_eq!(operator.delete(&format!("/api/admin/tenants/{slug}")).await.status, 200);
    assert!(key.get("/api/leads").await.status.is_client_error());
    let left = "select count(*) from control.api_keys k join control.tenants t on t.id = k.tenant_id where t.slug = 'key-holder'";
    assert_eq!(service.sql_as("rowhouse_owner", "rowhouse_control", left).unwrap(), "0");
}

#[tokio::test]
async fn an_attempt_of_a_key_on_another_tenant_is_recorded_with_the_key() {
    let service = Service::shared();
    let owner = service.owner(&ACME).await;
    let made = owner.make_key("acme", &json!({ "name": "Prober", "role": "viewer" })).await;
    let prober = owner.with_token(&made.text("/data/key")).with("X-Tenant-ID", GLOBEX.slug);
    assert_eq!(refusal(&prober.get("/api/leads").await), (403, "tenant_mismatch".to_owned()));
    let operator = service.operator("key-watcher").await;
    for _ in 0..500 {
        let events = operator.get("/api/admin/security-events?limit=200").await;
        let of_key = |event: &&Value| event["details"]["api_key"] == made.text("/data/id").as_str();
        if let Some(event) = events.data().iter().find(of_key) {
            assert_eq!(event["kind"], "cross_tenant_access_attempt");
            assert_eq!((&event["user_id"], &event["attempted_tenant"]), (&Value::Null, &json!("globex")));
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the attempt was not recorded");
}

#[tokio::test]
async fn a_key_with_a_limit_is_told_to_wait() {
    let service = Service::shared();
    let owner = service.owner(&ACME).await;
    for wrong in [0, 1_000_001] {
        let refused = owner.post(KEYS, &json!({ "name": "X", "role": "viewer", "requests_per_minute": wrong })).await;
        assert_eq!(refused.status, 422);
        assert_eq!(refused.text("/error/details/0/field"), "requests_per_minute");
    }
    let made = owner.make_key("acme", &json!({ "name": "Busy", "role": "viewer", "requests_per_minute": 3 })).await;
    assert_eq!(made.body["data"]["requests_per_minute"], 3);
    let program = service.anonymous().with_token(&made.text("/data/key"));
    let mut answered = 0;
    let refused = loop {
        let answer = program.get("/api/leads?per_page=1").await;
        if answer.status != 200 {
            break answer;
        }
        answered += 1;
    };
    assert!(answered >= 3, "{answered}");
    assert_eq!(refusal(&refused), (429, "rate_limited".to_owned()), "{}", refused.body);
    let seconds: u32 = refused.retry_after.as_deref().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(owner.get("/api/leads?per_page=1").await.status, 200);
}
