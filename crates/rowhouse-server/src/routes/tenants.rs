//! A person's tenants, as their members see them.

use axum::extract::State;
use axum::http::Method;
use rowhouse_tenants::{Placement, Provision, ProvisionOwner, Tenant};
use rowhouse_types::{Action, ApiError, FieldError, Slug, SlugError};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::envelope::{Answer, Failure};
use crate::gate::{PathMember, PathParty, Person};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let mine = RouteDoc::new(Method::GET, "/api/tenants", "list_my_tenants", Access::Person)
        .summary("The caller's organisations.")
        .answers(200, json!({ "type": "array", "items": { "type": "object" } }));
    routes.add(mine, list_my_tenants);
    let create = RouteDoc::new(Method::POST, "/api/tenants", "create_tenant", Access::Person)
        .summary("Found another organisation, which the caller owns; switch to it for its tokens.")
        .body(schema_for!(CreateTenantIn).to_value())
        .answers(201, json!({ "type": "object" }))
        .refuses(&[400, 409, 413, 415, 422]);
    routes.add(create, create_tenant);
    let one = |path, operation| RouteDoc::new(Method::GET, path, operation, Access::PathTenant).for_keys();
    routes.add(one("/api/tenants/{tenant}", "get_tenant").summary("One organisation of the caller."), get_tenant);
    let change = RouteDoc::new(Method::PATCH, "/api/tenants/{tenant}", "change_tenant", Access::PathTenant)
        .summary("Give the organisation another name.")
        .body(schema_for!(ChangeTenantIn).to_value())
        .refuses(&[413, 415, 422]);
    routes.add(change, change_tenant);
    routes.add(
        one("/api/tenants/{tenant}/stats", "get_tenant_stats")
            .summary("How many records of each entity the caller may see.")
            .refuses(&[503]),
        get_tenant_stats,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateTenantIn {
    name: String,
    /// Its name in URLs; made from the name if absent.
    slug: Option<String>,
    /// The app's default if absent.
    plan: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangeTenantIn {
    name: String,
}

/// A tenant as its own members may see it: nothing of where its rows live.
pub(crate) fn public(tenant: &Tenant) -> Value {
    json!({
        "id": tenant.id,
        "name": tenant.name,
        "slug": tenant.slug,
        "status": tenant.status,
        "plan": tenant.plan,
        "created_at": tenant.created_at,
    })
}

async fn list_my_tenants(State(state): State<ServerState>, person: Person) -> Result<Answer<Value>, Failure> {
    let me = state.identity.me(&person.claims).await?;
    Ok(Answer::ok(json!(me.memberships)))
}

async fn create_tenant(
    State(state): State<ServerState>,
    person: Person,
    JsonBody(body): JsonBody<CreateTenantIn>,
) -> Result<Answer<Value>, Failure> {
    let CreateTenantIn { name, slug, plan } = body;
    let refuse = |error: SlugError| ApiError::validation(vec![FieldError::new("slug", "invalid", error.to_string())]);
    let slug = slug.map(|text| text.parse::<Slug>()).transpose().map_err(refuse)?;
    state.identity.check_founder(person.claims.user).await?;
    let owner = ProvisionOwner::User(person.claims.user);
    let provision = Provision { name, slug, plan, placement: Placement::Pool, owner };
    let made = state.tenants.provision_by(&person.actor(), provision).await?;
    Ok(Answer::created(public(&made.tenant)).of(made.tenant.id))
}

async fn change_tenant(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    JsonBody(body): JsonBody<ChangeTenantIn>,
) -> Result<Answer<Value>, Failure> {
    if !member.grants.allows("organization", Action::Manage) {
        let message = "Your role may not change the organisation. Ask one of its owners.";
        return Err(ApiError::permission_denied(message).into());
    }
    let renamed = state.tenants.rename_by(&member.actor(), member.tenant.id, &body.name).await?;
    Ok(Answer::ok(public(&renamed)).of(renamed.id))
}

async fn get_tenant(PathParty(party): PathParty) -> Result<Answer<Value>, Failure> {
    let mut data = public(&party.tenant);
    data["role"] = json!(party.role);
    Ok(Answer::ok(data).of(party.tenant.id))
}

async fn get_tenant_stats(
    State(state): State<ServerState>,
    PathParty(party): PathParty,
) -> Result<Answer<Value>, Failure> {
    let model = state.tenants.model();
    let counts = state.records.counts(&model, &party.caller()).await?;
    Ok(Answer::ok(json!({ "records": counts })).of(party.tenant.id))
}
