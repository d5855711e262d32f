//! The mail domains of an organisation over HTTP.

use reqwest::Method;
use rowhouse_testkit::TestDns;
use serde_json::{Value, json};

use crate::service::{ACME, Answer, GLOBEX, Service};

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.code())
}

#[tokio::test]
async fn a_domain_is_added_proved_and_joined_by() {
    let dns = TestDns::start();
    let address = dns.address.to_string();
    let service = Service::start_with("solar", &["--dns-server", &address]);
    let owner = service.owner(&ACME).await;
    let path = "/api/tenants/acme/domains";
    let added = owner.post(path, &json!({ "domain": "Acme-Solar.Example", "role": "sales_rep" })).await;
    assert_eq!(added.status, 201, "{}", added.body);
    assert_eq!(
        (added.text("/data/domain").as_str(), added.text("/data/status").as_str()),
        ("acme-solar.example", "pending")
    );
    let one = format!("{path}/{}", added.text("/data/id"));
    let verify = format!("{one}/verify");
    assert_eq!(refusal(&owner.post(&verify, &json!({})).await), (409, "conflict".into()));
    let (name, value) = (added.text("/data/record/name"), added.text("/data/record/value"));
    dns.set(&name, &[&value]);
    assert_eq!(owner.post(&verify, &json!({})).await.text("/data/status"), "verified");
    let ann = service.founder("joining").await;
    let move_there =
        "update control.users set email = 'joining@acme-solar.example' where email = 'joining@example.com'";
    service.sql("rowhouse_control", move_there);
    assert_eq!(ann.get("/api/auth/joinable").await.text("/data/0/slug"), "acme");
    let joined = ann.post("/api/auth/join", &json!({ "tenant": "acme" })).await;
    assert_eq!(joined.status, 200, "{}", joined.body);
    let there = ann.with_token(&joined.text("/data/access_token"));
    assert_eq!(there.get("/api/tenants/acme").await.text("/data/role"), "sales_rep");
    let made = there.post("/api/leads", &json!({ "full_name": "Mine" })).await;
    assert_eq!(made.status, 201, "a member where the records live, too: {}", made.body);
    assert_eq!(refusal(&ann.post("/api/auth/join", &json!({ "tenant": "acme" })).await), (404, "not_found".into()));
    let changed = owner.patch(&one, &json!({ "role": null })).await;
    assert_eq!((changed.status.as_u16(), &changed.body["data"]["role"]), (200, &Value::Null));
    assert_eq!(owner.delete(&one).await.status, 200);
    assert_eq!(owner.get(path).await.data().len(), 0);
    assert_eq!(there.get("/api/leads").await.status, 200, "whoever has joined stays");
}

#[tokio::test]
async fn only_who_manages_the_organisation_manages_its_domains() {
    let service = Service::shared();
    let (owner, admin) = (service.owner(&ACME).await, service.member(&ACME, "admin").await);
    let path = "/api/tenants/acme/domains";
    let body = json!({ "domain": "guarded.example" });
    let added = owner.post(path, &body).await;
    let one = format!("{path}/{}", added.text("/data/id"));
    assert_eq!(admin.get(path).await.status, 200);
    assert_eq!(service.member(&ACME, "sales_rep").await.get(path).await.status, 403);
    let verify = format!("{one}/verify");
    for (method, path, body) in [
        (Method::POST, path, Some(&body)),
        (Method::POST, verify.as_str(), None),
        (Method::PATCH, one.as_str(), Some(&json!({}))),
        (Method::DELETE, one.as_str(), None),
    ] {
        let answer = admin.send(method.clone(), path, body).await;
        assert_eq!(refusal(&answer), (403, "permission_denied".into()), "{method} {path}");
    }
    for (domain, role) in [("nonsense", None), ("192.0.2.1", None), ("a.example", Some("owner"))] {
        let answer = owner.post(path, &json!({ "domain": domain, "role": role })).await;
        assert_eq!(refusal(&answer), (422, "validation_failed".into()), "{domain}");
    }
    assert_eq!(refusal(&owner.post(path, &body).await), (409, "conflict".into()));
    let theirs = service.owner(&GLOBEX).await.post("/api/tenants/globex/domains", &body).await;
    assert_eq!(theirs.status, 201, "a claim is no proof");
    let foreign = format!("{path}/{}", theirs.text("/data/id"));
    let absent = format!("{path}/01900000-0000-7000-8000-00000000dead");
    for method in [Method::DELETE, Method::PATCH] {
        let sent = Some(json!({})).filter(|_| method == Method::PATCH);
        let (foreign, absent) = (
            owner.send(method.clone(), &foreign, sent.as_ref()).await,
            owner.send(method, &absent, sent.as_ref()).await,
        );
        assert_eq!(foreign.status, 404);
        assert_eq!(foreign.comparable(), absent.comparable());
    }
    assert_eq!(owner.delete(&one).await.status, 200);
}
