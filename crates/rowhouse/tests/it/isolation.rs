//! The isolation suite. It reads the list of routes and the app's entities from the service
//! itself: a route, a path parameter or an entity that it does not know how to attack fails it.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};

use crate::service::{ACME, Caller, DEMOS, Demo, GLOBEX, INITECH, NEIGHBOUR, Service};

/// Reference data that every tenant reads: declared shared by the app.
const SHARED: &str = "panel_models";
/// The app's roles beside the owner's: one that may do everything, one with scopes, one that mostly
/// reads. Every tenant's members of each attack every other tenant.
const ROLES: [&str; 3] = ["system_administrator", "sales_rep", "installer"];
const SPOILS_ROLE: &str = "spoils";
const ABSENT_ROLE: &str = "nobodys";
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
    /// A session of its owner's.
    session: String,
    /// An API key of the tenant's.
    api_key: String,
    /// An open invitation of the tenant's.
    invitation: String,
    /// A role of the tenant's own.
    role: &'static str,
    /// Its owner.
    member: String,
    /// A mail domain of the tenant's.
    domain: String,
    /// A passkey of somebody's in the tenant.
    passkey: String,
    /// A device that stands for their second factor.
    device: String,
    /// An OpenID client that its owner has consented to.
    client: String,
}

impl Spoils {
    fn nothing(tenant: &str) -> Self {
        let absent = || ABSENT.to_owned();
        let (session, api_key, invitation) = (absent(), absent(), absent());
        let (member, domain, passkey, device, client) = (absent(), absent(), absent(), absent(), absent());
        Self {
            tenant: tenant.into(),
            slug: "",
            records: Vec::new(),
            session,
            api_key,
            invitation,
            role: ABSENT_ROLE,
            member,
            domain,
            passkey,
            device,
            client,
        }
    }
}

/// A passkey and a trusted device of somebody in a tenant, as if a browser had made them. Gives their ids.
fn keyed(service: &Service, slug: &str) -> (String, String) {
    let make = format!(
        "insert into control.users (id, email) values (rowhouse.new_id(), 'keyed@{slug}.example')
         on conflict do nothing;
         insert into control.second_factors (holder, user_id, confirmed_at)
         select id, id, now() from control.users where email = 'keyed@{slug}.example' on conflict do nothing;
         insert into control.passkeys (id, holder, credential_id, credential, name)
         select rowhouse.new_id(), id, 'keyed@{slug}', '{{}}', 'Key' from control.users
         where email = 'keyed@{slug}.example' on conflict do nothing;
         insert into control.trusted_devices (id, user_id, token_hash, expires_at)
         select rowhouse.new_id(), id, 'keyed@{slug}', now() + interval '1 day' from control.users
         where email = 'keyed@{slug}.example' on conflict do nothing;
         select p.id, d.id from control.passkeys p join control.trusted_devices d on d.user_id = p.holder
         join control.users u on u.id = p.holder where u.email = 'keyed@{slug}.example'"
    );
    let found = service.sql_as("rowhouse_owner", "rowhouse_control", &make).unwrap();
    let (passkey, device) = found.split_once('|').unwrap();
    (passkey.to_owned(), device.to_owned())
}

async fn spoils(service: &Service, demo: &Demo, entities: &[String]) -> Spoils {
    let victim = service.owner(demo).await;
    let me = victim.get("/api/auth/me").await;
    let mut records = Vec::new();
    for entity in entities {
        records.push((entity.clone(), victim.some_id(entity).await));
    }
    let session = victim.get("/api/auth/sessions?limit=1").await.text("/data/0/id");
    let made = victim.make_key(demo.slug, &json!({ "name": "Spoils", "role": "viewer" })).await;
    let invite = json!({ "email": format!("spoils@{}.example", demo.slug), "role": "viewer" });
    let invited = victim.post(&format!("/api/tenants/{}/invitations", demo.slug), &invite).await;
    // It may be there from an attack before.
    let role = json!({ "key": SPOILS_ROLE, "permissions": ["leads:view"] });
    victim.post(&format!("/api/tenants/{}/roles", demo.slug), &role).await;
    let domains = format!("/api/tenants/{}/domains", demo.slug);
    victim.post(&domains, &json!({ "domain": "spoils.example" })).await;
    let domain = victim.get(&domains).await.text("/data/0/id");
    let (tenant, slug, api_key) = (me.text("/data/tenant/id"), demo.slug, made.text("/data/id"));
    let (invitation, member) = (invited.text("/data/id"), me.text("/data/user/id"));
    let (passkey, device) = keyed(service, demo.slug);
    let client = service.sql_as("rowhouse_owner", "rowhouse_control", &consented(&member)).unwrap();
    let role = SPOILS_ROLE;
    Spoils { tenant, slug, records, session, api_key, invitation, role, member, domain, passkey, device, client }
}

/// Makes a client that a person has consented to, and gives its id.
fn consented(person: &str) -> String {
    format!(
        "with made as (
             insert into control.openid_clients (id, name, redirect_uris, scopes)
             values (rowhouse.new_id(), 'Spoils', '{{https://app.example.com/cb}}', '{{openid}}') returning id)
         insert into control.openid_consents (user_id, client_id, scopes) select '{person}', id, '{{openid}}' from made
         returning client_id"
    )
}

/// Fills a path's parameters; panics for one that the suite has no attack for.
fn fill(path: &str, spoils: &Spoils, foreign: bool) -> String {
    let entity = path.split('/').nth(2).unwrap_or_default();
    let record = spoils.records.iter().find(|(name, _)| name == entity).map(|(_, id)| id.as_str());
    let mut filled = path.to_owned();
    while let (Some(start), Some(end)) = (filled.find('{'), filled.find('}')) {
        let value = match &filled[start..=end] {
            "{id}" if foreign && path.starts_with("/api/auth/sessions/") => spoils.session.clone(),
            "{id}" if foreign && path.contains("/passkeys/") => spoils.passkey.clone(),
            "{id}" if foreign && path.starts_with("/api/auth/devices/") => spoils.device.clone(),
            "{id}" if foreign && path.starts_with("/api/admin/users/") => spoils.member.clone(),
            "{id}" if foreign && path.contains("/api-keys/") => spoils.api_key.clone(),
            "{id}" if foreign && path.contains("/members/") => spoils.member.clone(),
            "{id}" if foreign && path.contains("/consents/") => spoils.client.clone(),
            "{id}" if foreign && path.contains("/oauth-clients/") => spoils.client.clone(),
            "{id}" if foreign && path.contains("/domains/") => spoils.domain.clone(),
            "{id}" if foreign && path.contains("/invitations/") => spoils.invitation.clone(),
            "{role}" if foreign => spoils.role.to_owned(),
            "{role}" => ABSENT_ROLE.to_owned(),
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
    let nothing = Spoils::nothing(ABSENT);
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

/// The owner, a member of every role, and an API key of each.
async fn everybody(service: &Service, demo: &Demo) -> Vec<Caller> {
    let owner = service.owner(demo).await;
    let page = service.owners_page(demo.slug, demo.email).await.with("Host", &format!("{}.localhost", demo.slug));
    let mut callers = vec![owner.clone(), owner.key(demo.slug, "owner").await, page];
    for role in ROLES {
        callers.push(service.member(demo, role).await);
        callers.push(owner.key(demo.slug, role).await);
    }
    callers
}

#[tokio::test]
async fn foreign_and_absent_ids_are_answered_alike_on_every_route_to_every_role_in_every_placement() {
    let service = Service::shared();
    for attacker in &DEMOS {
        for victim in DEMOS.iter().filter(|victim| victim.slug != attacker.slug) {
            attack_everything(service, attacker, victim).await;
        }
    }
}

/// Every role of one tenant tries every route on another tenant's ids.
pub(crate) async fn attack_everything(service: &Service, attacker: &Demo, victim: &Demo) {
    let document = service.anonymous().get("/api/openapi.json").await.body;
    let spoils = spoils(service, victim, &entities(&document)).await;
    let mut operations = operations(service).await;
    operations.retain(|operation| operation.path.contains('{') && !operation.path.contains(SHARED));
    for caller in everybody(service, attacker).await {
        for operation in &operations {
            attack(&caller, operation, &spoils).await;
        }
    }
}

/// Asks for what is another's and for what does not exist: the answers must not differ.
async fn attack(caller: &Caller, operation: &Operation, spoils: &Spoils) {
    let body = match operation.path.as_str() {
        "/api/auth/passkeys/{id}" => Some(json!({ "name": "Stolen" })),
        "/api/auth/passkeys/{id}/remove" => Some(json!({ "code": "000000" })),
        _ => body_for(&operation.method),
    };
    let foreign = fill(&operation.path, spoils, true);
    let absent = fill(&operation.path, spoils, false);
    let theirs = caller.send(operation.method.clone(), &foreign, body.as_ref()).await;
    let nobodys = caller.send(operation.method.clone(), &absent, body.as_ref()).await;
    assert!(theirs.status.is_client_error(), "{} {foreign}: {}", operation.method, theirs.body);
    assert_eq!(theirs.comparable(), nobodys.comparable(), "{} {foreign}", operation.method);
    let text = theirs.body.to_string();
    assert!(!text.contains(&spoils.tenant) && !text.contains(spoils.slug), "{text}");
}

/// A tenant that is one's own does not open keys that are another's.
#[tokio::test]
async fn foreign_keys_are_as_absent_as_none_in_ones_own_tenant() {
    let service = Service::shared();
    let caller = service.owner(&ACME).await;
    for victim in [&GLOBEX, &INITECH, &NEIGHBOUR] {
        let owner = service.owner(victim).await;
        let made = owner.make_key(victim.slug, &json!({ "name": "Wanted", "role": "viewer" })).await;
        let theirs = owner.with_token(&made.text("/data/key"));
        let path = |id: &str| format!("/api/tenants/{}/api-keys/{id}", ACME.slug);
        let (foreign, absent) = (path(&made.text("/data/id")), path(ABSENT));
        let body = json!({ "overlap_seconds": 0 });
        let answers = [
            (caller.delete(&foreign).await, caller.delete(&absent).await),
            (
                caller.post(&format!("{foreign}/rotate"), &body).await,
                caller.post(&format!("{absent}/rotate"), &body).await,
            ),
        ];
        for (foreign, absent) in answers {
            assert_eq!(foreign.status, 404, "{}", foreign.body);
            assert_eq!(foreign.comparable(), absent.comparable());
        }
        assert_eq!(theirs.get("/api/leads").await.status, 200);
        let listed = caller.get(&format!("/api/tenants/{}/api-keys?limit=200", ACME.slug)).await;
        assert!(!listed.body.to_string().contains(&made.text("/data/id")));
    }
}

#[tokio::test]
async fn naming_another_tenant_by_header_host_or_query_is_refused_like_an_absent_one() {
    let service = Service::shared();
    let owner = service.owner(&ACME).await;
    let key = owner.key(ACME.slug, "owner").await;
    for caller in [owner, key] {
        name_others(service, &caller).await;
    }
}

/// A browser sends a cookie to its own host only; whoever has stolen it sends it anywhere.
#[tokio::test]
async fn a_cookie_opens_its_own_host_and_tenant_only() {
    let service = Service::shared();
    let page = service.owners_page(ACME.slug, ACME.email).await;
    let own = Spoils::nothing(ACME.slug);
    for operation in operations(service).await.iter().filter(|operation| operation.access == "bearer") {
        let path = fill(&operation.path, &own, true);
        let body = body_for(&operation.method);
        for host in [
            "globex.localhost",
            "demo-0001.localhost",
            "no-such.localhost",
            "localhost",
            "127.0.0.1",
            "acme.evil.example",
        ] {
            let answer = page.with("Host", host).send(operation.method.clone(), &path, body.as_ref()).await;
            assert_eq!(answer.status, 401, "{} {path} on {host}: {}", operation.method, answer.body);
        }
    }
    let at_home = page.with("Host", "acme.localhost");
    assert_eq!(at_home.get("/api/leads").await.status, 200);
    name_others(service, &at_home).await;
    let me = at_home.get("/api/auth/me").await.text("/data/user/id");
    let reported = format!(
        "select count(*) > 0 from control.security_events
         where kind = 'cross_tenant_access_attempt' and user_id = '{me}' and attempted_tenant = 'demo-0001'"
    );
    // The writer works beside the requests.
    for _ in 0..2000 {
        if service.sql_as("rowhouse_owner", "rowhouse_control", &reported).unwrap() == "t" {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("a cookie on another tenant's host was not reported");
}

async fn name_others(service: &Service, caller: &Caller) {
    let victim = service.owner(&GLOBEX).await.get("/api/auth/me").await.text("/data/tenant/id");
    for operation in operations(service).await.iter().filter(|operation| operation.access == "bearer") {
        let own = Spoils::nothing(ACME.slug);
        let path = fill(&operation.path, &own, true);
        if operation.path.starts_with("/api/auth/")
            || operation.path.starts_with("/oauth/")
            || operation.path == "/api/tenants"
        {
            continue; // a person's own routes: no tenant takes part
        }
        let body = body_for(&operation.method);
        for named in [GLOBEX.slug, victim.as_str(), "no-such-tenant", ABSENT] {
            let host = format!("{named}.localhost");
            let separator = if path.contains('?') { '&' } else { '?' };
            let by_host = caller.token.is_some().then(|| (caller.with("Host", &host), path.clone()));
            for (caller, path) in [
                (caller.with("X-Tenant-ID", named), path.clone()),
                (caller.clone(), format!("{path}{separator}tenant_id={named}")),
            ]
            .into_iter()
            .chain(by_host)
            {
                let answer = caller.send(operation.method.clone(), &path, body.as_ref()).await;
                assert_eq!(answer.status, 403, "{} {path} naming {named}: {}", operation.method, answer.body);
                assert_eq!(answer.code(), "tenant_mismatch");
            }
        }
    }
}

#[tokio::test]
async fn lists_counts_searches_and_includes_hold_a_tenants_own_rows_and_all_of_them() {
    let service = Service::shared();
    for demo in &DEMOS {
        sees_its_own_rows_only(service, demo).await;
        let key = service.owner(demo).await.key(demo.slug, "owner").await;
        sees_its_own_rows_by(service, demo, &key).await;
    }
}

/// Compares everything that one tenant's owner can list with what is in the tables.
pub(crate) async fn sees_its_own_rows_only(service: &Service, demo: &Demo) {
    sees_its_own_rows_by(service, demo, &service.owner(demo).await).await;
}

async fn sees_its_own_rows_by(service: &Service, demo: &Demo, caller: &Caller) {
    let document = service.anonymous().get("/api/openapi.json").await.body;
    let place = service.place(demo);
    let names: Vec<String> = entities(&document).into_iter().filter(|entity| entity != SHARED).collect();
    let truth: BTreeMap<&str, BTreeSet<String>> =
        names.iter().map(|name| (name.as_str(), place.ids(service, name))).collect();
    let own: BTreeSet<&String> = truth.values().flatten().collect();
    assert!(truth["leads"].len() > 10 && own.len() > 100, "{} has too few rows to prove anything", demo.slug);
    for entity in &names {
        let all = &truth[entity.as_str()];
        let counted = caller.get(&format!("/api/{entity}?per_page=1&count=exact")).await;
        assert_eq!(counted.body["pagination"]["total"], all.len(), "{entity} of {}: {}", demo.slug, counted.body);
        let mut listed = BTreeSet::new();
        let mut next = Some(String::new());
        while let Some(cursor) = next {
            let page = caller.get(&format!("/api/{entity}?limit=200&fields=id{cursor}")).await;
            assert_eq!(page.status, 200, "{}", page.body);
            ids_within(&page.body["data"], &mut listed);
            next = page.body["pagination"]["cursor"].as_str().map(|cursor| format!("&cursor={cursor}"));
        }
        assert_eq!(&listed, all, "{entity} of {}", demo.slug);
        let related = words_of(&document, entity, "include").join(",");
        for (parameter, value) in [("include", related.as_str()), ("q", "e")] {
            if !parameters_of(&document, entity).any(|known| known["name"] == parameter) {
                continue;
            }
            let path = format!("/api/{entity}?per_page=200&{parameter}={value}");
            let page = caller.get(&path).await;
            assert_eq!(page.status, 200, "{path}: {}", page.body);
            let mut seen = BTreeSet::new();
            ids_within(&page.body["data"], &mut seen);
            let shared = place.shared_ids(service);
            let strange = seen.iter().find(|id| !own.contains(id) && !shared.contains(*id));
            assert_eq!(strange, None, "{path} shows {} a row that is not its own", demo.slug);
        }
    }
}

/// Every record's id in an answer, however deep.
fn ids_within(value: &Value, ids: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| ids_within(value, ids)),
        Value::Object(members) => {
            ids.extend(members.get("id").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|value| ids_within(value, ids));
        }
        _ => {}
    }
}

fn parameters_of<'a>(document: &'a Value, entity: &str) -> impl Iterator<Item = &'a Value> {
    document["paths"][format!("/api/{entity}")]["get"]["parameters"].as_array().unwrap().iter()
}

/// The words that a parameter of a list takes, as the document tells them.
fn words_of(document: &Value, entity: &str, parameter: &str) -> Vec<String> {
    let found = parameters_of(document, entity).find(|one| one["name"] == parameter);
    let words = found.and_then(|one| one["schema"]["items"]["enum"].as_array());
    words.into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn filters_that_name_foreign_ids_find_nothing() {
    let service = Service::shared();
    let caller = service.owner(&ACME).await;
    for victim in [&GLOBEX, &INITECH, &NEIGHBOUR] {
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
    for victim in [&GLOBEX, &INITECH, &NEIGHBOUR] {
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

/// SQL in every parameter of every list, and in every path: nothing breaks, nothing more is seen.
#[tokio::test]
async fn sql_in_parameters_is_only_text() {
    const EVIL: [&str; 6] =
        ["' or 1=1 --", "\"; drop table leads; --", "$1", "%", "\\", "' union select * from control.users --"];
    let service = Service::shared();
    let caller = service.owner(&ACME).await;
    let document = service.anonymous().get("/api/openapi.json").await.body;
    let own: BTreeSet<String> =
        entities(&document).iter().flat_map(|entity| service.place(&ACME).ids(service, entity)).collect();
    for entity in entities(&document) {
        let mut parameters = vec!["unknown".to_owned(), "tenant_id[eq]".to_owned()];
        for parameter in parameters_of(&document, &entity) {
            let name = parameter["name"].as_str().unwrap();
            parameters.push(name.to_owned());
            if let Some(column) = name.strip_suffix("[eq]") {
                let others = ["ne", "gt", "in", "contains", "starts_with", "is_null", "nonsense"];
                parameters.extend(others.map(|operator| format!("{column}[{operator}]")));
            }
        }
        for parameter in &parameters {
            for evil in EVIL {
                let path = format!("/api/{entity}?{}={}", form_urlencoded(parameter), form_urlencoded(evil));
                let answer = caller.get(&path).await;
                assert!(!answer.status.is_server_error(), "{path}: {}", answer.body);
                let mut seen = BTreeSet::new();
                ids_within(&answer.body["data"], &mut seen);
                assert!(entity == SHARED || seen.is_subset(&own), "{path} shows rows of others");
            }
        }
        for evil in EVIL {
            let text = form_urlencoded(evil);
            assert!(caller.get(&format!("/api/{text}")).await.status.is_client_error());
            assert_eq!(caller.get(&format!("/api/{entity}/{text}")).await.status, 404);
        }
    }
}

fn form_urlencoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[tokio::test]
async fn operators_routes_refuse_members() {
    let service = Service::shared();
    let owner = service.owner(&ACME).await;
    let key = owner.key(ACME.slug, "owner").await;
    let nothing = Spoils::nothing(ABSENT);
    for operation in operations(service).await.iter().filter(|operation| operation.access == "operator") {
        let path = fill(&operation.path, &nothing, false);
        for caller in [&owner, &key] {
            let answer = caller.send(operation.method.clone(), &path, body_for(&operation.method).as_ref()).await;
            assert_eq!(answer.status, 401, "{} {path}: {}", operation.method, answer.body);
        }
    }
}
