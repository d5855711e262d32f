//! The people of an organisation: who they are, what they may do, and their coming and going.

use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use rowhouse_identity::{MemberOut, MemberPage, MemberPatch};
use rowhouse_types::{Action, ApiError, RoleKey, TenantId, UserId};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Value, json};

use super::profile::ProfileIn;
use crate::body::{JsonBody, Object};
use crate::client::device;
use crate::envelope::{Answer, Failure};
use crate::gate::{Member, Party, PathMember, PathParty, ProvedPathMember};
use crate::paging::{CURSOR, LIMIT, PageQuery};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

const MEMBERS_QUERY: &[(&str, &str)] = &[
    ("tenant_id", "The organisation once more; must agree with the path."),
    ("status", "Those who are active, as by default, or those who are inactive."),
    LIMIT,
    CURSOR,
];

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let route = |method, path, operation| RouteDoc::new(method, path, operation, Access::PathTenant);
    routes.add(
        route(Method::GET, "/api/tenants/{tenant}/members", "list_members")
            .for_keys()
            .summary("The people of the organisation, by name.")
            .query(MEMBERS_QUERY)
            .answers(200, json!({ "type": "array", "items": { "type": "object" } })),
        list_members,
    );
    routes.add(
        route(Method::GET, "/api/tenants/{tenant}/members/{id}", "get_member").for_keys().summary(
            "One of the people of the organisation; telephone, metadata and last seen for managers and oneself.",
        ),
        get_member,
    );
    routes.add(
        route(Method::PATCH, "/api/tenants/{tenant}/members/{id}", "change_member")
            .summary("Change a member's role, metadata, or whether they may work here; it acts at once.")
            .body(schema_for!(ChangeMemberIn).to_value())
            .refuses(&[409, 413, 415, 422]),
        change_member,
    );
    routes.add(
        route(Method::DELETE, "/api/tenants/{tenant}/members/{id}", "remove_member")
            .summary("End a membership; what the person has made stays the organisation's.")
            .refuses(&[409]),
        remove_member,
    );
    routes.add(
        route(Method::POST, "/api/tenants/{tenant}/leave", "leave_tenant")
            .summary("End one's own membership; the last owner cannot.")
            .refuses(&[409]),
        leave_tenant,
    );
    routes.add(
        route(Method::POST, "/api/tenants/{tenant}/transfer", "transfer_ownership")
            .summary("Hand the ownership on to another member; the caller becomes an admin, and both are told by mail.")
            .body(schema_for!(TransferIn).to_value())
            .refuses(&[409, 413, 415, 422]),
        transfer_ownership,
    );
    routes.add(
        route(Method::POST, "/api/tenants/{tenant}/users/onboarding", "onboard_member")
            .summary("The caller's first steps in the organisation: their profile, and their answers.")
            .body(schema_for!(OnboardIn).to_value())
            .refuses(&[413, 415, 422]),
        onboard_member,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangeMemberIn {
    /// A role of the organisation, which allows no more than the caller's own.
    role: Option<String>,
    /// False shuts them out, and keeps their place.
    active: Option<bool>,
    /// What the organisation keeps about them, in the place of what it kept before.
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    metadata: Option<Value>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TransferIn {
    /// Who is to be the owner, an active member.
    user_id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OnboardIn {
    #[serde(default)]
    #[schemars(with = "ProfileIn")]
    profile: Object<ProfileIn>,
    /// Answers to what the app asks; kept in the member's metadata as `onboarding`.
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    answers: Option<Value>,
}

impl Party {
    /// Whether they see all of a member: who manages people does, and the member.
    fn sees_all_of(&self, user: UserId) -> bool {
        self.grants.allows("users", Action::Manage) || self.caller().user == Some(user)
    }

    fn shown(&self, mut member: MemberOut) -> MemberOut {
        member.details = member.details.filter(|_| self.sees_all_of(member.user_id));
        member
    }
}

/// An id that is none is of nobody.
fn user_id(text: &str) -> Result<UserId, Failure> {
    text.parse().map_err(|_| Failure(ApiError::not_found()))
}

/// The change is made and recorded as one that is to be projected: where this fails it is tried again
/// in the background.
pub(crate) async fn project(state: &ServerState, tenants: &[TenantId]) {
    for tenant in tenants {
        if let Err(error) = state.tenants.project_members(*tenant).await {
            tracing::error!(tenant_id = %tenant, %error, "project members");
        }
    }
}

async fn answer(state: &ServerState, party: &Party, user: UserId) -> Result<Answer<MemberOut>, Failure> {
    let found = state.identity.member(&party.context, user).await?.ok_or_else(ApiError::not_found)?;
    Ok(Answer::ok(party.shown(found)).of(party.tenant.id))
}

async fn list_members(
    State(state): State<ServerState>,
    PathParty(party): PathParty,
    uri: Uri,
) -> Result<Answer<Value>, Failure> {
    let mut inactive = false;
    let page = PageQuery::read(&uri, MEMBERS_QUERY, |name, value| {
        match (name, value.as_str()) {
            ("status", "active") => inactive = false,
            ("status", "inactive") => inactive = true,
            ("status", _) => return Err(ApiError::invalid("status must be active or inactive.").into()),
            // The gate has read tenant_id.
            _ => {}
        }
        Ok(())
    })?;
    let asked = MemberPage { inactive, after: page.cursor, limit: Some(page.to_read()) };
    let members = state.identity.members(&party.context, &asked).await?;
    let members = members.into_iter().map(|member| party.shown(member)).collect();
    Ok(page.answer(members, |person: &MemberOut| person.user_id.to_string()).of(party.tenant.id))
}

async fn get_member(
    State(state): State<ServerState>,
    PathParty(party): PathParty,
    Path((_, id)): Path<(String, String)>,
) -> Result<Answer<MemberOut>, Failure> {
    answer(&state, &party, user_id(&id)?).await
}

async fn change_member(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    Path((_, id)): Path<(String, String)>,
    JsonBody(body): JsonBody<ChangeMemberIn>,
) -> Result<Answer<MemberOut>, Failure> {
    member.require_manager()?;
    let (user, ChangeMemberIn { role, active, metadata }) = (user_id(&id)?, body);
    let patch = MemberPatch { role: role.map(RoleKey::new), active, metadata };
    state.identity.change_member(member.manager(&member.actor()), user, patch).await?;
    project(&state, &[member.tenant.id]).await;
    answer(&state, &member, user).await
}

async fn remove_member(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    Path((_, id)): Path<(String, String)>,
) -> Result<Answer<Value>, Failure> {
    member.require_manager()?;
    let user = user_id(&id)?;
    state.identity.remove_member(member.manager(&member.actor()), user).await?;
    project(&state, &[member.tenant.id]).await;
    Ok(Answer::ok(json!({ "user_id": user })).of(member.tenant.id))
}

async fn leave_tenant(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
) -> Result<Answer<Value>, Failure> {
    member.require_own_session()?;
    state.identity.leave_tenant(&member.actor(), member.tenant.id, member.user).await?;
    project(&state, &[member.tenant.id]).await;
    Ok(Answer::ok(json!({})))
}

async fn transfer_ownership(
    State(state): State<ServerState>,
    ProvedPathMember(member): ProvedPathMember,
    parts: Parts,
    JsonBody(body): JsonBody<TransferIn>,
) -> Result<Answer<MemberOut>, Failure> {
    let to = user_id(&body.user_id)?;
    let by = member.actor();
    state.identity.transfer_ownership(member.manager(&by), to, &device(&state, &parts)).await?;
    project(&state, &[member.tenant.id]).await;
    answer(&state, &member, to).await
}

async fn onboard_member(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    JsonBody(body): JsonBody<OnboardIn>,
) -> Result<Answer<MemberOut>, Failure> {
    let Member { user, .. } = member;
    let (actor, tenant) = (member.actor(), member.tenant.id);
    let tenants = state.identity.onboard_member(&actor, tenant, user, body.profile.0.into(), body.answers).await?;
    project(&state, &tenants).await;
    answer(&state, &member, user).await
}
