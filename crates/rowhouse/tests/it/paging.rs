//! The platform's own lists, page by page.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::service::{Caller, DEMOS, Service};

/// Reads a list to its end in pages of so many; gives the ids in their order.
async fn walk(caller: &Caller, path: &str, key: &str, limit: usize) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let after = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = caller.get(&format!("{path}?limit={limit}{after}")).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        let pagination = &page.body["pagination"];
        assert_eq!(pagination["per_page"], limit, "{path}");
        assert_eq!(pagination["has_prev"], cursor.is_some(), "{path}");
        let ids: Vec<String> = page.data().iter().map(|item| item[key].as_str().unwrap().to_owned()).collect();
        seen.extend(ids.iter().cloned());
        cursor = pagination["cursor"].as_str().map(str::to_owned);
        assert_eq!(pagination["has_next"], cursor.is_some(), "{path}");
        if cursor.is_none() {
            return seen;
        }
        assert_eq!(ids.len(), limit, "{path}: only the last page may have fewer");
    }
}

#[tokio::test]
async fn every_list_is_walked_by_cursor_without_gaps_or_repeats() {
    let service = Service::start("solar");
    let operator = service.operator("pager").await;
    for number in 0..5 {
        let body = json!({ "name": format!("Page {number}"), "slug": format!("page-{number}"), "admin_email": "ada@page.example" });
        assert_eq!(operator.post("/api/admin/tenants", &body).await.status, 201);
    }
    let owner = service.owner(&DEMOS[0]).await;
    for role in ["admin", "member", "viewer"] {
        service.member(&DEMOS[0], role).await;
    }
    for number in 0..4 {
        owner.make_key(DEMOS[0].slug, &json!({ "name": format!("Key {number}"), "role": "viewer" })).await;
        service.sign_in(DEMOS[0].email).await;
    }
    for _ in 0..7 {
        assert_eq!(owner.with("X-Tenant-ID", "page-1").get("/api/leads").await.status, 403);
    }
    // The writer works beside the requests: wait for its state, not for a time.
    while operator.get("/api/admin/security-events?limit=200").await.data().len() < 7 {
        tokio::task::yield_now().await;
    }
    let members = format!("/api/tenants/{}/members", DEMOS[0].slug);
    let keys = format!("/api/tenants/{}/api-keys", DEMOS[0].slug);
    for (caller, path, key, least) in [
        (&owner, members.as_str(), "user_id", 4),
        (&owner, keys.as_str(), "id", 4),
        (&owner, "/api/auth/sessions", "id", 5),
        (&operator, "/api/admin/tenants", "slug", 8),
        (&operator, "/api/admin/operations", "id", 8),
        (&operator, "/api/admin/security-events", "id", 7),
        (&operator, "/api/admin/alerts", "id", 1),
    ] {
        let whole = walk(caller, path, key, 200).await;
        assert!(whole.len() >= least, "{path}: {whole:?}");
        assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), whole.len(), "{path}: {whole:?}");
        for limit in [1, 2, 3] {
            assert_eq!(walk(caller, path, key, limit).await, whole, "{path} by {limit}");
        }
    }
}

#[tokio::test]
async fn lists_are_narrowed_and_refuse_what_they_do_not_know() {
    let service = Service::shared();
    let operator = service.operator("narrower").await;
    let ended = operator.get("/api/admin/operations?status=succeeded&limit=200").await;
    assert!(
        !ended.data().is_empty() && ended.data().iter().all(|operation| operation["status"] == "succeeded"),
        "{}",
        ended.body
    );
    let tenant = ended.data()[0]["tenant_id"].as_str().unwrap().to_owned();
    let its = operator.get(&format!("/api/admin/operations?tenant={tenant}")).await;
    assert!(!its.data().is_empty() && its.data().iter().all(|operation| operation["tenant_id"] == tenant.as_str()));
    let open = operator.get("/api/admin/alerts?open=true").await;
    assert!(open.data().iter().all(|alert| alert["acknowledged_at"] == Value::Null), "{}", open.body);
    let owner = service.owner(&DEMOS[0]).await;
    let members = format!("/api/tenants/{}/members", DEMOS[0].slug);
    for (caller, path, query, word) in [
        (&operator, "/api/admin/operations", "statsu=done", "status"),
        (&operator, "/api/admin/operations", "status=finished", "finished"),
        (&operator, "/api/admin/operations", "cursor=elsewhere", "cursor"),
        (&operator, "/api/admin/alerts", "open=perhaps", "perhaps"),
        (&operator, "/api/admin/security-events", "tenant=acme", "acme"),
        (&operator, "/api/admin/security-events", "limit=0", "limit"),
        (&owner, members.as_str(), "limit=201", "limit"),
        (&owner, members.as_str(), "role=admin", "role"),
    ] {
        let refused = caller.get(&format!("{path}?{query}")).await;
        assert_eq!(refused.status, 400, "{path}?{query}: {}", refused.body);
        assert!(refused.text("/error/message").contains(word), "{path}?{query}: {}", refused.body);
    }
}
