//! A person's tenants, as their members see them.

use axum::extract::State;
use axum::http::{Method, Uri};
use rowhouse_identity::MemberPage;
use rowhouse_tenants::Tenant;
use serde_json::{Value, json};

use crate::envelope::{Answer, Failure};
use crate::gate::{PathParty, Person};
use crate::paging::{CURSOR, LIMIT, PageQuery};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

const MEMBERS_QUERY: &[(&str, &str)] =
    &[("tenant_id", "The organisation once more; must agree with the path."), LIMIT, CURSOR];

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let mine = RouteDoc::new(Method::GET, "/api/tenants", "list_my_tenants", Access::Person)
        .summary("The caller's organisations.")
        .answers(200, json!({ "type": "array", "items": { "type": "object" } }));
    routes.add(mine, list_my_tenants);
    let one = |path, operation| RouteDoc::new(Method::GET, path, operation, Access::PathTenant).for_keys();
    routes.add(one("/api/tenants/{tenant}", "get_tenant").summary("One organisation of the caller."), get_tenant);
    routes.add(
        one("/api/tenants/{tenant}/stats", "get_tenant_stats")
            .summary("How many records of each entity the caller may see.")
            .refuses(&[503]),
        get_tenant_stats,
    );
    routes.add(
        one("/api/tenants/{tenant}/members", "list_members")
            .summary("The people of the organisation, by name.")
            .query(MEMBERS_QUERY)
            .answers(200, json!({ "type": "array", "items": { "type": "object" } })),
        list_members,
    );
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

async fn list_members(
    State(state): State<ServerState>,
    PathParty(party): PathParty,
    uri: Uri,
) -> Result<Answer<Value>, Failure> {
    // The gate has read tenant_id.
    let page = PageQuery::read(&uri, MEMBERS_QUERY, |_, _| Ok(()))?;
    let asked = MemberPage { after: page.cursor, limit: Some(page.to_read()) };
    let members = state.identity.members(&party.context, &asked).await?;
    Ok(page.answer(members, |person| person.user_id.to_string()).of(party.tenant.id))
}
