//! Everything that changes something leaves its line in the audit log. The routes are read from
//! the service's own document: one that this suite does not know how to call fails it.

use reqwest::Method;
use serde_json::json;

use crate::service::{Answer, Caller, PASSWORD, Service};

/// What the changing routes of operators are told as, in the order in which they are called.
const DEEDS: [&str; 9] = [
    "create_oauth_client",
    "create_tenant audited",
    "reset_mfa",
    "change_oauth_client",
    "rotate_oauth_client_secret",
    "suspend_tenant audited",
    "reactivate_tenant audited",
    "delete_oauth_client",
    "delete_tenant audited",
];

/// Lines of the audit log that fulfil a condition, as text, the oldest first.
fn lines(service: &Service, condition: &str) -> Vec<String> {
    let select = format!(
        "select concat_ws(' ', a.actor_kind, coalesce(o.email, u.email), a.action, t.slug)
         from control.audit_log a left join control.operators o on o.id = a.actor_id
         left join control.users u on u.id = a.actor_id left join control.tenants t on t.id = a.tenant_id
         where {condition} order by a.id"
    );
    let found = service.sql_as("rowhouse_owner", "rowhouse_control", &select).unwrap();
    found.lines().map(str::to_owned).collect()
}

/// Somebody with a second factor; it is what they have, whatever was done with them before.
fn somebody_with_a_factor(service: &Service, slug: &str) -> String {
    let email = format!("lost@{slug}.example");
    let make = format!(
        "insert into control.users (id, email) values (rowhouse.new_id(), '{email}') on conflict do nothing;
         insert into control.second_factors (holder, user_id, confirmed_at)
         select id, id, now() from control.users where email = '{email}' on conflict do nothing;
         select id from control.users where email = '{email}'"
    );
    service.sql_as("rowhouse_owner", "rowhouse_control", &make).unwrap()
}

/// Calls a changing route of operators on the tenant of this slug.
async fn call(service: &Service, operator: &Caller, method: &Method, path: &str, slug: &str) -> Answer {
    let body = match (method.as_str(), path) {
        ("POST", "/api/admin/tenants") => {
            json!({ "name": slug, "slug": slug, "admin_email": format!("admin@{slug}.example") })
        }
        ("POST", "/api/admin/tenants/{tenant}/suspend" | "/api/admin/tenants/{tenant}/reactivate") => json!({}),
        ("POST", "/api/admin/users/{id}/reset-mfa") => json!(null),
        ("DELETE", "/api/admin/tenants/{tenant}" | "/api/admin/oauth-clients/{id}") => json!(null),
        ("POST", "/api/admin/oauth-clients") => {
            json!({ "name": slug, "redirect_uris": ["https://app.example.com/cb"] })
        }
        ("PATCH", "/api/admin/oauth-clients/{id}") | ("POST", "/api/admin/oauth-clients/{id}/secret") => json!({}),
        _ => panic!("the audit suite does not know {method} {path}: what does it change, and where is it told?"),
    };
    let body = Some(&body).filter(|body| !body.is_null());
    let mut path = path.replace("{tenant}", slug);
    if path.contains("/users/{id}") {
        path = path.replace("{id}", &somebody_with_a_factor(service, slug));
    }
    if path.contains("{id}") {
        let clients = operator.get("/api/admin/oauth-clients?limit=200").await;
        let client = clients.data().iter().find(|client| client["name"] == slug).unwrap();
        path = path.replace("{id}", client["id"].as_str().unwrap());
    }
    operator.send(method.clone(), &path, body).await
}

/// The changing routes of operators, in an order in which each has something to change.
async fn changing_routes(service: &Service) -> Vec<(Method, String)> {
    let document = service.anonymous().get("/api/openapi.json").await.body;
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|method| *method != "get") {
            // Working in somebody's place takes somebody: it is told of in impersonation.rs.
            if path.starts_with("/api/admin/") && !path.contains("/impersonat") {
                routes.push((method.to_uppercase().parse().unwrap(), path.clone()));
            }
        }
    }
    let turn = |method: &Method, path: &str| match path.rsplit('/').next() {
        _ if *method == Method::DELETE => 3,
        Some("suspend" | "secret") => 1,
        _ if *method == Method::PATCH => 1,
        Some("reactivate") => 2,
        _ => 0,
    };
    routes.sort_by_key(|(method, path)| turn(method, path));
    assert!(routes.len() >= 4, "{routes:?}");
    routes
}

#[tokio::test]
async fn every_changing_route_of_operators_tells_who_did_what_in_which_request() {
    let service = Service::shared();
    let operator = service.operator("auditor").await;
    let mut told = Vec::new();
    for (number, (method, path)) in changing_routes(service).await.iter().enumerate() {
        let request = format!("audited-{number}");
        let answer = call(service, &operator.with("X-Request-Id", &request), method, path, "audited").await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.body);
        let found = lines(service, &format!("a.request_id = '{request}'"));
        let [line] = found.as_slice() else { panic!("{method} {path}: {found:?}") };
        told.push(line.clone());
    }
    assert_eq!(told, DEEDS.map(|deed| format!("operator auditor@operators.example {deed}")));
}

#[tokio::test]
async fn a_deed_that_cannot_be_told_is_not_done_and_the_next_one_is() {
    let service = Service::start("solar");
    let operator = service.operator("auditor").await;
    let control = |sql: &str| service.sql("rowhouse_control", sql);
    for (method, path) in changing_routes(&service).await {
        control("alter table control.audit_log add constraint shut check (false) not valid");
        let refused = call(&service, &operator, &method, &path, "audited").await;
        assert!(refused.status.is_server_error(), "{method} {path}: {}", refused.body);
        control("alter table control.audit_log drop constraint shut");
        // Each has its own before it: had this one been done, it could not be done again.
        let done = call(&service, &operator, &method, &path, "audited").await;
        assert!(done.status.is_success(), "{method} {path}: {}", done.body);
    }
    let told = lines(&service, "a.actor_kind = 'operator'");
    assert_eq!(told, DEEDS.map(|deed| format!("operator auditor@operators.example {deed}")));
}

#[tokio::test]
async fn who_signs_up_is_told_as_the_person_they_became() {
    let service = Service::shared();
    let body = json!({ "email": "told@example.com", "password": PASSWORD, "company_name": "Told", "slug": "told" });
    let made = service.anonymous().with("X-Request-Id", "sign-up-told").post("/api/auth/sign-up", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(lines(service, "a.request_id = 'sign-up-told'"), ["user told@example.com create_tenant told"]);
}

#[tokio::test]
async fn every_changing_verb_of_the_command_line_is_told() {
    let service = Service::start("solar");
    let last = || {
        let last = "select coalesce(max(id::text), '') from control.audit_log";
        service.sql_as("rowhouse_owner", "rowhouse_control", last).unwrap()
    };
    for (arguments, told) in [
        (
            "tenant create --name Cli --slug cli --owner ann@cli.example --placement schema",
            vec!["system create_tenant cli"],
        ),
        ("tenant suspend cli --reason unpaid", vec!["system suspend_tenant cli"]),
        ("tenant suspend cli", vec![]),
        ("tenant reactivate cli", vec!["system reactivate_tenant cli"]),
        ("tenant delete cli --confirm cli", vec!["system delete_tenant cli"]),
        ("operator create cli@operators.example", vec!["system create_operator"]),
        ("token --tenant acme", vec!["system create_developer_token acme"]),
        ("seed demo --tenants 1 --rows 10", vec!["system create_tenant demo-0001", "system seed_tenant demo-0001"]),
        ("migrate up", vec![]),
        ("migrate up --target control", vec![]),
        ("keys rotate", vec!["system rotate_signing_key", "system rotate_signing_key"]),
        (
            "oauth-client create --name Cli --redirect-uri https://app.example.com/cb",
            vec!["system create_oauth_client"],
        ),
        // What only looks is not told.
        ("keys list", vec![]),
        ("oauth-client list", vec![]),
        ("tenant list", vec![]),
        ("tenant show acme", vec![]),
        ("operator list", vec![]),
        // Nothing was there to be taken away.
        ("operator reset-mfa cli@operators.example", vec![]),
        ("mail list", vec![]),
        ("migrate status", vec![]),
        ("migrate plan", vec![]),
        ("doctor", vec![]),
    ] {
        let before = last();
        let words: Vec<&str> = arguments.split(' ').collect();
        let ran = service.command(&words);
        assert_eq!(ran["success"], true, "{arguments}: {ran}");
        assert_eq!(lines(&service, &format!("a.id::text > '{before}'")), told, "{arguments}");
    }
}
