//! The mail domains of an organisation, and joining one by a proved address.

use axum::extract::{Path, State};
use axum::http::Method;
use axum::http::request::Parts;
use rowhouse_identity::{DomainOut, JoinableOut, domain_name};
use rowhouse_types::{Action, ApiError, FieldError, RoleKey};
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::members::project;
use crate::body::JsonBody;
use crate::browser::SessionOut;
use crate::client::device;
use crate::envelope::{Answer, Failure};
use crate::gate::{Member, PathMember, Person, ProvedPathMember};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let route = |method, path, operation| RouteDoc::new(method, path, operation, Access::PathTenant);
    let list = || json!({ "type": "array", "items": { "type": "object" } });
    routes.add(
        route(Method::GET, "/api/tenants/{tenant}/domains", "list_domains")
            .summary("The organisation's mail domains, with the record that proves each.")
            .answers(200, list()),
        list_domains,
    );
    routes.add(
        route(Method::POST, "/api/tenants/{tenant}/domains", "add_domain")
            .summary("Add a mail domain; make its record in the DNS, then have it verified.")
            .body(schema_for!(AddDomainIn).to_value())
            .answers(201, json!({ "type": "object" }))
            .refuses(&[409, 413, 415, 422]),
        add_domain,
    );
    routes.add(
        route(Method::POST, "/api/tenants/{tenant}/domains/{id}/verify", "verify_domain")
            .summary("Look for the domain's record in the DNS.")
            .refuses(&[409]),
        verify_domain,
    );
    routes.add(
        route(Method::PATCH, "/api/tenants/{tenant}/domains/{id}", "change_domain")
            .summary("Choose as what people with an address of the domain join; null lets nobody join by it.")
            .body(schema_for!(ChangeDomainIn).to_value())
            .refuses(&[413, 415, 422]),
        change_domain,
    );
    routes.add(
        route(Method::DELETE, "/api/tenants/{tenant}/domains/{id}", "remove_domain")
            .summary("Remove a mail domain; whoever has joined by it stays."),
        remove_domain,
    );
    let person = |method, path, operation| RouteDoc::new(method, path, operation, Access::Person);
    routes.add(
        person(Method::GET, "/api/auth/joinable", "list_joinable")
            .summary("The organisations that the caller may join by their proved address.")
            .answers(200, list()),
        list_joinable,
    );
    routes.add(
        person(Method::POST, "/api/auth/join", "join_by_domain")
            .summary("Join an organisation by one's proved address, and go on in it.")
            .body(schema_for!(JoinIn).to_value())
            .answers(200, schema_for!(SessionOut).to_value())
            .refuses(&[400, 404, 413, 415, 422]),
        join_by_domain,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AddDomainIn {
    domain: String,
    /// As what people join; nobody does without one. Any but owner that allows no more than the caller's own.
    role: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangeDomainIn {
    role: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JoinIn {
    /// Id or slug.
    tenant: String,
}

/// A domain, and whether it is proved, in a word.
#[derive(Debug, Serialize)]
struct DomainAnswer {
    #[serde(flatten)]
    domain: DomainOut,
    status: &'static str,
}

impl From<DomainOut> for DomainAnswer {
    fn from(domain: DomainOut) -> Self {
        let status = if domain.verified_at.is_some() { "verified" } else { "pending" };
        Self { domain, status }
    }
}

/// A domain lets people in whom nobody has chosen: it is the organisation that changes.
fn require_organizer(member: &Member) -> Result<(), Failure> {
    if member.grants.allows("organization", Action::Manage) {
        return Ok(());
    }
    let message = "Your role may not manage the organisation's domains. Ask one of its owners.";
    Err(ApiError::permission_denied(message).into())
}

/// An id that is none is of no domain.
fn domain_id(text: &str) -> Result<Uuid, Failure> {
    text.parse().map_err(|_| Failure(ApiError::not_found()))
}

async fn list_domains(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
) -> Result<Answer<Vec<DomainAnswer>>, Failure> {
    member.require_manager()?;
    let domains = state.identity.domains(&member.context).await?;
    Ok(Answer::ok(domains.into_iter().map(DomainAnswer::from).collect()).of(member.tenant.id))
}

async fn add_domain(
    State(state): State<ServerState>,
    ProvedPathMember(member): ProvedPathMember,
    JsonBody(body): JsonBody<AddDomainIn>,
) -> Result<Answer<DomainAnswer>, Failure> {
    require_organizer(&member)?;
    let fault = || FieldError::new("domain", "invalid", "must be a domain such as example.com");
    let domain = domain_name(&body.domain).ok_or_else(|| ApiError::validation(vec![fault()]))?;
    let role = body.role.map(RoleKey::new);
    let added = state.identity.add_domain(member.manager(&member.actor()), &domain, role).await?;
    Ok(Answer::created(added.into()).of(member.tenant.id))
}

async fn verify_domain(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    Path((_, id)): Path<(String, String)>,
    parts: Parts,
) -> Result<Answer<DomainAnswer>, Failure> {
    require_organizer(&member)?;
    let (by, id, device) = (member.actor(), domain_id(&id)?, device(&state, &parts));
    let verified = state.identity.verify_domain(member.manager(&by), id, &device).await?;
    Ok(Answer::ok(verified.into()).of(member.tenant.id))
}

async fn change_domain(
    State(state): State<ServerState>,
    ProvedPathMember(member): ProvedPathMember,
    Path((_, id)): Path<(String, String)>,
    JsonBody(body): JsonBody<ChangeDomainIn>,
) -> Result<Answer<DomainAnswer>, Failure> {
    require_organizer(&member)?;
    let role = body.role.map(RoleKey::new);
    let changed = state.identity.change_domain(member.manager(&member.actor()), domain_id(&id)?, role).await?;
    Ok(Answer::ok(changed.into()).of(member.tenant.id))
}

async fn remove_domain(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    Path((_, id)): Path<(String, String)>,
) -> Result<Answer<Value>, Failure> {
    require_organizer(&member)?;
    let id = domain_id(&id)?;
    state.identity.remove_domain(&member.actor(), member.tenant.id, id).await?;
    Ok(Answer::ok(json!({ "id": id })).of(member.tenant.id))
}

async fn list_joinable(State(state): State<ServerState>, person: Person) -> Result<Answer<Vec<JoinableOut>>, Failure> {
    Ok(Answer::ok(state.identity.joinable(&person.claims).await?))
}

async fn join_by_domain(
    State(state): State<ServerState>,
    person: Person,
    parts: Parts,
    JsonBody(body): JsonBody<JoinIn>,
) -> Result<Answer<SessionOut>, Failure> {
    let (by, device) = (person.actor(), device(&state, &parts));
    let (tenant, tokens) = state.identity.join_by_domain(&person.claims, &body.tenant, &by, device).await?;
    project(&state, &[tenant]).await;
    Ok(Answer::ok(person.give(&state, tokens).await))
}
