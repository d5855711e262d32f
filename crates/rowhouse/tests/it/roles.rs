//! The roles of an organisation over HTTP: made by its people, and what they open.

use reqwest::Method;
use serde_json::{Value, json};

use crate::service::{ACME, Answer, Service};

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.code())
}

fn find<'a>(answer: &'a Answer, key: &str) -> &'a Value {
    answer.data().iter().find(|role| role["key"] == key).unwrap_or_else(|| panic!("no {key} in {}", answer.body))
}

#[tokio::test]
async fn a_role_is_made_given_changed_and_removed_and_each_acts_on_sessions_and_keys_at_once() {
    let service = Service::shared();
    let owner = service.founder("rolling").await.with("X-Request-Id", "roles-told");
    let roles = "/api/tenants/rolling/roles";
    let body = json!({ "key": "front_desk", "name": " Front desk ", "permissions": ["leads:view", "leads:create"] });
    let made = owner.post(roles, &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!((made.text("/data/name").as_str(), made.text("/data/source").as_str()), ("Front desk", "tenant"));
    assert_eq!(refusal(&owner.post(roles, &body).await), (409, "conflict".into()));
    let desk = service.joins(&owner, "rolling", "desk@rolling.example", "front_desk").await;
    let key = owner.key("rolling", "front_desk").await;
    for caller in [&desk, &key] {
        assert_eq!(caller.post("/api/leads", &json!({ "full_name": "Walked in" })).await.status, 201);
        assert_eq!(caller.get("/api/projects").await.status, 403);
    }
    let listed = desk.get(roles).await;
    let own = find(&listed, "front_desk");
    assert_eq!((&own["members"], &own["permissions"]), (&json!(1), &json!(["leads:view", "leads:create"])));
    assert_eq!(find(&listed, "owner")["members"], 1);
    assert_eq!(find(&listed, "sales_rep")["name"], "Sales Representative");
    let role = format!("{roles}/front_desk");
    let changed = owner.patch(&role, &json!({ "permissions": ["projects:view"], "description": "At the door" })).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    for caller in [&desk, &key] {
        assert_eq!(caller.post("/api/leads", &json!({ "full_name": "Walked in" })).await.status, 403);
        assert_eq!(caller.get("/api/projects").await.status, 200);
    }
    assert_eq!(desk.get(&role).await.text("/data/description"), "At the door");
    let in_use = owner.delete(&role).await;
    assert_eq!(refusal(&in_use), (409, "conflict".into()));
    assert!(
        in_use.text("/error/message").contains("1 members, 0 invitations, 1 API keys and 0 domains"),
        "{}",
        in_use.body
    );
    let unused = owner.post(roles, &json!({ "key": "unused", "permissions": ["leads:view"] })).await;
    assert_eq!(unused.text("/data/name"), "unused");
    assert_eq!(owner.delete(&format!("{roles}/unused")).await.status, 200);
    assert_eq!(owner.get(&format!("{roles}/unused")).await.status, 404);
    let told = service.told("roles-told");
    let deeds = ["create_role", "invite", "create_api_key", "change_role", "create_role", "delete_role"];
    assert_eq!(told, deeds.map(|deed| format!("user rolling@example.com {deed}")).join("\n"));
}

#[tokio::test]
async fn every_fault_of_a_role_is_told() {
    let service = Service::shared();
    let owner = service.owner(&ACME).await;
    let long = "x".repeat(501);
    let faults = |key: &str, name: &str, description: &str, permissions: Value| json!({ "key": key, "name": name, "description": description, "permissions": permissions });
    let good = || json!(["leads:view"]);
    for (body, field) in [
        (faults("Front Desk", "Desk", "", good()), "key"),
        (faults("desk", " ", "", good()), "name"),
        (faults("desk", "a\u{0}b", "", good()), "name"),
        (faults("desk", "Desk", &long, good()), "description"),
        (faults("desk", "Desk", "", json!([])), "permissions"),
        (faults("desk", "Desk", "", json!(["leads:read"])), "permissions"),
        (faults("desk", "Desk", "", json!(["laeds:view"])), "permissions"),
        (faults("desk", "Desk", "", json!(vec!["leads:view"; 201])), "permissions"),
    ] {
        let answer = owner.post("/api/tenants/acme/roles", &body).await;
        assert_eq!(refusal(&answer), (422, "validation_failed".into()), "{body}");
        assert_eq!(answer.text("/error/details/0/field"), field, "{}", answer.body);
    }
    for built_in in ["owner", "sales_rep"] {
        let answer = owner.post("/api/tenants/acme/roles", &faults(built_in, "Mine", "", good())).await;
        assert_eq!(refusal(&answer), (409, "conflict".into()), "{built_in}");
        let path = format!("/api/tenants/acme/roles/{built_in}");
        assert_eq!(owner.patch(&path, &json!({ "permissions": ["*:delete"] })).await.status, 404);
        assert_eq!(owner.delete(&path).await.status, 404);
    }
    assert_eq!(owner.delete("/api/tenants/acme/roles/No%20Key").await.status, 404);
}

#[tokio::test]
async fn nobody_makes_changes_or_removes_a_role_beyond_their_own() {
    let service = Service::shared();
    let (owner, admin) = (service.owner(&ACME).await, service.member(&ACME, "admin").await);
    let roles = "/api/tenants/acme/roles";
    let strong = json!({ "key": "strong", "permissions": ["organization:manage", "leads:view"] });
    assert_eq!(refusal(&admin.post(roles, &strong).await), (403, "permission_denied".into()));
    assert_eq!(owner.post(roles, &strong).await.status, 201);
    let weaker = json!({ "permissions": ["leads:view"] });
    assert_eq!(refusal(&admin.patch(&format!("{roles}/strong"), &weaker).await), (403, "permission_denied".into()));
    assert_eq!(refusal(&admin.delete(&format!("{roles}/strong")).await), (403, "permission_denied".into()));
    assert_eq!(admin.post(roles, &json!({ "key": "weak", "permissions": ["leads:view:own"] })).await.status, 201);
    let stronger = json!({ "permissions": ["leads:view", "organization:manage"] });
    assert_eq!(refusal(&admin.patch(&format!("{roles}/weak"), &stronger).await), (403, "permission_denied".into()));
    let key = owner.key("acme", "owner").await;
    let body = json!({ "key": "mine", "permissions": ["leads:view"] });
    for (caller, status) in [(service.member(&ACME, "sales_rep").await, 200), (key, 403)] {
        assert_eq!(caller.get(roles).await.status, status);
        for (method, path, body) in [
            (Method::POST, roles.to_owned(), Some(&body)),
            (Method::PATCH, format!("{roles}/weak"), Some(&weaker)),
            (Method::DELETE, format!("{roles}/weak"), None),
        ] {
            let answer = caller.send(method.clone(), &path, body).await;
            assert_eq!(refusal(&answer), (403, "permission_denied".into()), "{method} {path}");
        }
    }
    for role in ["strong", "weak"] {
        assert_eq!(owner.delete(&format!("{roles}/{role}")).await.status, 200);
    }
}
