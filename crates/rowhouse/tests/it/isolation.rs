//! The isolation suite. It reads the list of routes and the app's entities from the service
//! itself: a route, a path parameter or an entity that it does not know how to attack fails it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::service::{ACME, Caller, DEMOS, Demo, GLOBEX, INITECH, Service};

/// Reference data that every tenant reads: declared shared by the app.
const SHARED: &str = "panel_models";
const ABSENT: &str = "01900000-0000-7000-8000-00000000dead";

/// An operation of the service, as its document tells it.
struct Operation {
    method: Method,
    path: String,
    access: String,
}

async fn operations(service: &Service) -> Vec<Operation> {
    let document = service.anonymous().get("/api/openapi.json").await.body;
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let scheme = operation["security"].get(0).and_then(|scheme| scheme.as_object()?.keys().next().cloned());
            let method = method.to_uppercase().parse().unwrap();
            operations.push(Operation {
                method,
                path: path.clone(),
                access: scheme.unwrap_or_else(|| "public".into()),
            });
        }
    }
    assert!(operations.len() > 50, "the document lists {} operations only", operations.len());
    operations
}

fn entities(document: &Value) -> Vec<String> {
    let platform = ["auth", "tenants", "admin", "operators", "health", "openapi.json"];
    let paths = document["paths"].as_object().unwrap().keys();
    let names = paths.filter_map(|path| path.strip_prefix("/api/")).filter(|name| !name.contains('/'));
    names.filter(|name| !platform.contains(name)).map(str::to_owned).collect()
}

/// Ids that one tenant may use in attacks on another.
struct Spoils {
    tenant: String,
    slug: &'static str,
    records: Vec<(String, String)>,
}

async fn spoils(service: &Service, demo: &Demo, entities: &[String]) -> Spoils {
    let victim = service.owner(demo).await;
    let me = victim.get("/api/auth/me").await;
    let mut records = Vec::new();
    for entity in entities {
        records.push((entity.clone(), victim.some_id(entity).await));
    }
    Spoils { tenant: me.text("/data/tenant/id"), slug: demo.slug, records }
}

/// Fills a path's parameters; panics for one that the suite has no attack for.
fn fill(path: &str, spoils: &Spoils, foreign: bool) -> String {
    let entity = path.split('/').nth(2).unwrap_or_default();
    let record = spoils.records.iter().find(|(name, _)| name == entity).map(|(_, id)| id.as_str());
    let mut filled = path.to_owned();
    while let (Some(start), Some(end)) = (filled.find('{'), filled.find('}')) {
        let value = match &filled[start..=end] {
            "{id}" if foreign => record.unwrap_or(ABSENT).to_owned(),
            "{tenant}" if foreign => spoils.tenant.clone(),
            "{id}" | "{tenant}" | "{operation}" => ABSENT.to_owned(),
            other => panic!("the isolation suite does not know how to attack the parameter {other} of {path}"),
        };
        filled.replace_range(start..=end, &value);
    }
    filled
}

fn body_for(method: &Method) -> Option<Value> {
    (*method == Method::POST || *method == Method::PATCH).then(|| json!({}))
}

#[tokio::test]
async fn nobody_reaches_a_route_that_is_not_public() {
    let service = Service::shared();
    let anonymous = service.anonymous();
    let nothing = Spoils { tenant: ABSENT.into(), slug: "", records: Vec::new() };
    for operation in operations(service).await {
        let path = fill(&operation.path, &nothing, false);
        let answer = anonymous.send(operation.method.clone(), &path, body_for(&operation.method).as_ref()).await;
        if operation.access == "public" {
            assert!(!answer.status.is_server_error(), "{} {path}: {}", operation.method, answer.body);
        } else {
            assert_eq!(answer.status, 401, "{} {path}: {}", operation.method, answer.body);
        }
    }
}

#[tokio::test]
async fn foreign_and_absent_ids_are_answered_alike_on_every_route_in_every_placement() {
    let service = Service::shared();
    let document = service.anonymous().get("/api/openapi.json").await.body;
    let entities = entities(&document);
    let operations = operations(service).await;
    for attacker in &DEMOS {
        let caller = service.owner(attacker).await;
        for victim in DEMOS.iter().filter(|victim| victim.slug != attacker.slug) {
            let spoils = spoils(service, victim, &entities).await;
            for operation in
                operations.iter().filter(|operation| operation.path.contains('{') && !operation.path.contains(SHARED))
            {
                let body = body_for(&operation.method);
                let foreign = fill(&operation.path, &spoils, true);
                let absent = fill(&operation.path, &spoils, false);
                let theirs = caller.send(operation.method.clone(), &foreign, body.as_ref()).await;
                let nobodys = caller.send(operation.method.clone(), &absent, body.as_ref()).await;
                assert!(theirs.status.is_client_error(), "{} {foreign}: {}", operation.method, theirs.body);
                assert_eq!(theirs.comparable(), nobodys.comparable(), "{} {foreign}", operation.method);
                let text = theirs.body.to_string();
                assert!(!text.contains(&spoils.tenant) && !text.contains(spoils.slug), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn naming_another_tenant_by_header_host_or_query_is_refused_like_an_absent_one() {
    let service = Service::shared();
    let caller = service.owner(&ACME).await;
    let victim = service.owner(&GLOBEX).await.get("/api/auth/me").await.text("/data/tenant/id");
    for operation in operations(service).await.iter().filter(|operation| operation.access == "bearer") {
        let own = Spoils { tenant: ACME.slug.into(), slug: "", records: Vec::new() };
        let path = fill(&operation.path, &own, true);
        if operation.path.starts_with("/api/auth/") || operation.path == "/api/tenants" {
            continue; // a person's own routes: no tenant takes part
        }
        let body = body_for(&operation.method);
        for named in [GLOBEX.slug, victim.as_str(), "no-such-tenant", ABSENT] {
            let host = format!("{named}.localhost");
            let separator = if path.contains('?') { '&' } else { '?' };
            for (caller, path) in [
                (caller.with("X-Tenant-ID", named), path.clone()),
                (caller.with("Host", &host), path.clone()),
                (caller.clone(), format!("{path}{separator}tenant_id={named}")),
            ] {
                let answer = caller.send(operation.method.clone(), &path, body.as_ref()).await;
                assert_eq!(answer.status, 403, "{} {path} naming {named}: {}", operation.method, answer.body);
                assert_eq!(answer.code(), "tenant_mismatch");
            }
        }
    }
}

#[tokio::test]
async fn another_tenants_rows_are_in_no_list_count_search_or_include() {
    let service = Service::shared();
    let document = service.anonymous().get("/api/openapi.json").await.body;
    for entity in entities(&document) {
        let mut seen: Vec<(&str, Vec<String>)> = Vec::new();
        for demo in &DEMOS {
            let caller = service.owner(demo).await;
            let mut ids = Vec::new();
            let mut path = format!("/api/{entity}?limit=200&fields=id&count=exact");
            loop {
                let page = caller.get(&path).await;
                assert_eq!(page.status, 200, "{}", page.body);
                ids.extend(page.data().iter().map(|record| record["id"].as_str().unwrap().to_owned()));
                if page.body["pagination"]["total"] != json!(null) && path.ends_with("exact") {
                    assert!(page.body["pagination"]["total"].as_u64().unwrap() >= ids.len() as u64);
                }
                match page.body["pagination"]["cursor"].as_str() {
                    Some(cursor) => path = format!("/api/{entity}?limit=200&fields=id&cursor={cursor}"),
                    None => break,
                }
            }
            seen.push((demo.slug, ids));
        }
        if entity == SHARED {
            continue;
        }
        for (slug, ids) in &seen {
            for (other, others) in seen.iter().filter(|(other, _)| other != slug) {
                assert!(!ids.iter().any(|id| others.contains(id)), "{entity}: {slug} sees rows of {other}");
            }
        }
    }
}

#[tokio::test]
async fn filters_that_name_foreign_ids_find_nothing() {
    let service = Service::shared();
    let caller = service.owner(&ACME).await;
    for victim in [&GLOBEX, &INITECH] {
        let lead = service.owner(victim).await.some_id("leads").await;
        for path in [
            format!("/api/leads?id={lead}"),
            format!("/api/leads?id[in]={lead},{ABSENT}"),
            format!("/api/appointments?lead_id={lead}"),
            format!("/api/leads?q={lead}"),
        ] {
            let answer = caller.get(&path).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert_eq!(answer.data().len(), 0, "{path}");
            assert_eq!(answer.body["pagination"]["total"], 0, "{path}");
        }
    }
}

#[tokio::test]
async fn a_relation_to_a_foreign_record_is_refused_like_one_to_an_absent_record() {
    let service = Service::shared();
    let caller = service.owner(&ACME).await;
    for victim in [&GLOBEX, &INITECH] {
        let campaign = service.owner(victim).await.get("/api/campaigns?fields=id").await;
        let stranger = campaign.text("/data/0/id");
        let lead = caller.some_id("leads").await;
        let mut answers = Vec::new();
        for id in [stranger.as_str(), ABSENT] {
            let body = json!({ "full_name": "Probe", "campaign_id": id });
            let created = caller.post("/api/leads", &body).await;
            let changed = caller.patch(&format!("/api/leads/{lead}"), &json!({ "campaign_id": id })).await;
            assert_eq!((created.status.as_u16(), changed.status.as_u16()), (422, 422), "{}", created.body);
            answers.push((created.comparable(), changed.comparable()));
        }
        assert_eq!(answers[0], answers[1]);
    }
}

#[tokio::test]
async fn another_tenant_in_a_body_is_refused() {
    let service = Service::shared();
    let caller = service.owner(&ACME).await;
    let victim = service.owner(&GLOBEX).await.get("/api/auth/me").await.text("/data/tenant/id");
    for tenant in [victim.as_str(), ABSENT, "globex", ""] {
        let answer = caller.post("/api/leads", &json!({ "full_name": "Probe", "tenant_id": tenant })).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "tenant_mismatch"), "{}", answer.body);
    }
    let own = caller.get("/api/auth/me").await.text("/data/tenant/id");
    let answer = caller.post("/api/leads", &json!({ "full_name": "Probe", "tenant_id": own })).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
}

#[tokio::test]
async fn a_record_that_takes_a_foreign_id_makes_one_of_its_own() {
    let service = Service::shared();
    let (caller, victim) = (service.owner(&ACME).await, service.owner(&INITECH).await);
    let id = victim.some_id("leads").await;
    let before = victim.get(&format!("/api/leads/{id}")).await;
    // Ids are unique within a tenant: taking another's tells nothing and changes nothing there.
    let made = caller.post("/api/leads", &json!({ "id": id, "full_name": "Mine" })).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(victim.get(&format!("/api/leads/{id}")).await, before);
    assert_eq!(caller.delete(&format!("/api/leads/{id}")).await.status, 200);
    assert_eq!(victim.get(&format!("/api/leads/{id}")).await, before);
}

#[tokio::test]
async fn a_stolen_cursor_is_refused() {
    let service = Service::shared();
    let (caller, victim) = (service.owner(&ACME).await, service.owner(&GLOBEX).await);
    let cursor = victim.get("/api/leads?limit=1").await.text("/pagination/cursor");
    for path in [
        format!("/api/leads?limit=1&cursor={cursor}"),
        format!("/api/people?limit=1&cursor={cursor}"),
        "/api/leads?limit=1&cursor=AAAA".to_owned(),
    ] {
        assert_eq!(caller.get(&path).await.status, 400, "{path}");
    }
    for path in [
        format!("/api/leads?limit=1&sort=full_name&cursor={cursor}"),
        format!("/api/leads?limit=1&status=new&cursor={cursor}"),
    ] {
        assert_eq!(victim.get(&path).await.status, 400, "the victim's own list with other filters: {path}");
    }
}

/// SQL in every place that takes text: nothing breaks, nothing more is seen.
#[tokio::test]
async fn sql_in_parameters_is_only_text() {
    let service = Service::shared();
    let caller = service.owner(&ACME).await;
    let all = caller.get("/api/leads?count=exact&limit=1").await.body["pagination"]["total"].as_u64().unwrap();
    for evil in [
        "' or 1=1 --",
        "\"; drop table leads; --",
        "$1",
        "%",
        "_",
        "\\",
        "' union select * from control.users --",
        "{}",
        "}",
    ] {
        let text: String = form_urlencoded(evil);
        for place in [
            "q",
            "full_name",
            "full_name[contains]",
            "full_name[starts_with]",
            "full_name[in]",
            "tags[contains]",
            "sort",
            "fields",
            "include",
            "cursor",
            "id",
        ] {
            let entity = if place.starts_with("tags") { "people" } else { "leads" };
            let answer = caller.get(&format!("/api/{entity}?{place}={text}")).await;
            assert!(!answer.status.is_server_error(), "{place}={evil}: {}", answer.body);
            if answer.status == 200 && entity == "leads" {
                assert!(answer.body["pagination"]["total"].as_u64().unwrap() <= all);
            }
        }
        let answer = caller.get(&format!("/api/{text}")).await;
        assert!(answer.status.is_client_error(), "{}", answer.body);
        let answer = caller.get(&format!("/api/leads/{text}")).await;
        assert_eq!(answer.status, 404, "{}", answer.body);
    }
    assert!(caller.get("/api/leads?count=exact&limit=1").await.body["pagination"]["total"].as_u64().unwrap() >= all);
}

fn form_urlencoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[tokio::test]
async fn operators_routes_refuse_members() {
    let service = Service::shared();
    let caller: Caller = service.owner(&ACME).await;
    let nothing = Spoils { tenant: ABSENT.into(), slug: "", records: Vec::new() };
    for operation in operations(service).await.iter().filter(|operation| operation.access == "operator") {
        let path = fill(&operation.path, &nothing, false);
        let answer = caller.send(operation.method.clone(), &path, body_for(&operation.method).as_ref()).await;
        assert_eq!(answer.status, 401, "{} {path}: {}", operation.method, answer.body);
    }
}
