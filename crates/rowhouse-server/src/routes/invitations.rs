//! Inviting people to an organisation.

use axum::extract::State;
use axum::http::Method;
use axum::http::request::Parts;
use rowhouse_identity::{InvitationOut, Invite};
use rowhouse_types::{Action, ApiError, RoleKey};
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::auth::email;
use crate::body::JsonBody;
use crate::client::device;
use crate::envelope::{Answer, Failure};
use crate::gate::PathMember;
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let invite = RouteDoc::new(Method::POST, "/api/tenants/{tenant}/invitations", "invite_member", Access::PathTenant)
        .summary("Invite somebody by mail; the link is good for seven days, once, and for this address only.")
        .body(schema_for!(InviteIn).to_value())
        .answers(201, json!({ "type": "object" }))
        .refuses(&[409, 413, 415, 422]);
    routes.add(invite, invite_member);
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InviteIn {
    email: String,
    /// A role of the organisation, which allows no more than the caller's own.
    role: String,
}

/// Whoever writes to them.
#[derive(Serialize)]
#[serde(untagged)]
enum InvitedOut {
    ByMail(InvitationOut),
    ByClerk(rowhouse_clerk::InvitedOut),
}

async fn invite_member(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    parts: Parts,
    JsonBody(body): JsonBody<InviteIn>,
) -> Result<Answer<InvitedOut>, Failure> {
    if !member.grants.allows("users", Action::Manage) {
        return Err(Failure(ApiError::permission_denied("Your role may not invite people.")));
    }
    let mut faults = Vec::new();
    let Some(email) = email(&body.email, &mut faults) else {
        return Err(Failure(ApiError::validation(faults)));
    };
    let (tenant, role, by) = (member.tenant.id, RoleKey::new(body.role), member.actor());
    let invited = match &state.clerk {
        Some(clerk) => {
            let invited = clerk.invite(&by, tenant, member.user, &member.grants, email, role).await;
            InvitedOut::ByClerk(invited.map_err(ApiError::from)?)
        }
        None => {
            let device = device(&state, &parts);
            let invite = Invite { tenant, email, role };
            InvitedOut::ByMail(state.identity.invite(invite, member.user, &member.grants, &by, &device).await?)
        }
    };
    Ok(Answer::created(invited).of(tenant))
}
