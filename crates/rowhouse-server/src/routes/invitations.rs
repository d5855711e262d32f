//! Inviting people to an organisation.

use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use rowhouse_identity::{InvitationOut, InvitationPage, InvitationStatus, Invite, LimitedRoute};
use rowhouse_types::{ApiError, EmailAddress, EmailError, FieldError, InvitationId, RoleKey};
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::auth::email;
use crate::body::{JsonBody, Object};
use crate::client::device;
use crate::envelope::{Answer, Failure};
use crate::gate::PathMember;
use crate::paging::{CURSOR, LIMIT, PageQuery};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// Addresses of one request.
const MANY_MAX: usize = 100;

const INVITATIONS_QUERY: &[(&str, &str)] = &[
    ("tenant_id", "The organisation once more; must agree with the path."),
    ("status", "Only those that are open, expired or accepted."),
    LIMIT,
    CURSOR,
];

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let route = |method, path, operation| RouteDoc::new(method, path, operation, Access::PathTenant);
    routes.add(
        route(Method::GET, "/api/tenants/{tenant}/invitations", "list_invitations")
            .summary("The organisation's invitations, newest first, without their links.")
            .query(INVITATIONS_QUERY)
            .answers(200, json!({ "type": "array", "items": { "type": "object" } })),
        list_invitations,
    );
    routes.add(
        route(Method::POST, "/api/tenants/{tenant}/invitations", "invite_member")
            .summary("Invite somebody by mail; the link is good for seven days, once, and for this address only.")
            .body(schema_for!(InviteIn).to_value())
            .answers(201, json!({ "type": "object" }))
            .refuses(&[409, 413, 415, 422]),
        invite_member,
    );
    routes.add(
        route(Method::POST, "/api/tenants/{tenant}/invitations/bulk", "invite_members")
            .summary("Invite up to 100 people by mail, with an answer for each address.")
            .body(schema_for!(InviteManyIn).to_value())
            .answers(200, json!({ "type": "array", "items": { "type": "object" } }))
            .refuses(&[409, 413, 415, 422]),
        invite_members,
    );
    routes.add(
        route(Method::POST, "/api/tenants/{tenant}/invitations/{id}/resend", "resend_invitation")
            .summary("Send an invitation again, for another seven days; the link from before is good no longer.")
            .refuses(&[409, 422]),
        resend_invitation,
    );
    routes.add(
        route(Method::DELETE, "/api/tenants/{tenant}/invitations/{id}", "revoke_invitation")
            .summary("Take an invitation back; its link is good no longer."),
        revoke_invitation,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InviteIn {
    email: String,
    /// A role of the organisation, which allows no more than the caller's own.
    role: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InviteManyIn {
    /// From 1 to 100.
    #[schemars(with = "Vec<InviteIn>", length(min = 1, max = 100))]
    invitations: Vec<Object<InviteIn>>,
}

/// An invitation, by whoever writes to them.
#[derive(Serialize)]
#[serde(untagged)]
enum MadeOut {
    ByMail(InvitationOut),
    ByClerk(rowhouse_clerk::InvitedOut),
}

/// What became of one address of many: an invitation, or why there is none.
#[derive(Debug, Serialize)]
struct InvitedOut {
    email: String,
    invitation: Option<InvitationOut>,
    errors: Vec<FieldError>,
}

/// An id that is none is of no invitation.
fn invitation_id(text: &str) -> Result<InvitationId, Failure> {
    text.parse().map_err(|_| Failure(ApiError::not_found()))
}

async fn list_invitations(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    uri: Uri,
) -> Result<Answer<Value>, Failure> {
    member.require_manager()?;
    let mut status = None;
    let page = PageQuery::read(&uri, INVITATIONS_QUERY, |name, value| {
        if name == "status" {
            let named = InvitationStatus::ALL.into_iter().find(|status| status.as_str() == value);
            let unknown = || ApiError::invalid("status must be open, expired or accepted.");
            status = Some(named.ok_or_else(unknown)?);
        }
        // The gate has read tenant_id.
        Ok(())
    })?;
    let asked = InvitationPage { status, before: page.cursor, limit: Some(page.to_read()) };
    let invitations = state.identity.invitations(&member.context, &asked).await?;
    Ok(page.answer(invitations, |invitation| invitation.id.to_string()).of(member.tenant.id))
}

async fn invite_member(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    parts: Parts,
    JsonBody(body): JsonBody<InviteIn>,
) -> Result<Answer<MadeOut>, Failure> {
    member.require_manager()?;
    let mut faults = Vec::new();
    let Some(email) = email(&body.email, &mut faults) else {
        return Err(Failure(ApiError::validation(faults)));
    };
    let (role, by, device) = (RoleKey::new(body.role), member.actor(), device(&state, &parts));
    let invited = match &state.clerk {
        Some(clerk) => {
            state.identity.count_attempt(LimitedRoute::INVITE, Some(&member.user.to_string()), &device).await?;
            let invited = clerk.invite(&by, member.tenant.id, member.user, &member.grants, email, role).await;
            MadeOut::ByClerk(invited.map_err(ApiError::from)?)
        }
        None => MadeOut::ByMail(state.identity.invite(member.manager(&by), Invite { email, role }, &device).await?),
    };
    Ok(Answer::created(invited).of(member.tenant.id))
}

async fn invite_members(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    parts: Parts,
    JsonBody(body): JsonBody<InviteManyIn>,
) -> Result<Answer<Vec<InvitedOut>>, Failure> {
    member.require_manager()?;
    if !(1..=MANY_MAX).contains(&body.invitations.len()) {
        let message = format!("must be 1 to {MANY_MAX}");
        return Err(ApiError::validation(vec![FieldError::new("invitations", "invalid", message)]).into());
    }
    let read = |Object(one): &Object<InviteIn>| {
        let email = one.email.parse::<EmailAddress>();
        email.map(|email| Invite { email, role: RoleKey::new(one.role.as_str()) })
    };
    let judged: Vec<_> = body.invitations.iter().map(read).collect();
    let good: Vec<Invite> = judged.iter().flatten().cloned().collect();
    let (by, device) = (member.actor(), device(&state, &parts));
    let mut invited = state.identity.invite_many(member.manager(&by), &good, &device).await?.into_iter();
    let outcome = |(Object(one), judged): (Object<InviteIn>, Result<Invite, EmailError>)| {
        let (invitation, errors) = match judged.map(|_| invited.next()) {
            Ok(Some(Ok(invitation))) => (Some(invitation), Vec::new()),
            Ok(Some(Err(refusal))) => (None, ApiError::from(refusal).details),
            Ok(None) => (None, Vec::new()),
            Err(fault) => (None, vec![FieldError::new("email", "invalid", fault.to_string())]),
        };
        InvitedOut { email: one.email, invitation, errors }
    };
    let outcomes = body.invitations.into_iter().zip(judged).map(outcome).collect();
    Ok(Answer::ok(outcomes).of(member.tenant.id))
}

async fn resend_invitation(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    Path((_, id)): Path<(String, String)>,
    parts: Parts,
) -> Result<Answer<InvitationOut>, Failure> {
    member.require_manager()?;
    let id = invitation_id(&id)?;
    let device = device(&state, &parts);
    let sent = state.identity.resend_invitation(member.manager(&member.actor()), id, &device).await?;
    Ok(Answer::ok(sent).of(member.tenant.id))
}

async fn revoke_invitation(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    Path((_, id)): Path<(String, String)>,
) -> Result<Answer<Value>, Failure> {
    member.require_manager()?;
    let id = invitation_id(&id)?;
    state.identity.revoke_invitation(&member.actor(), member.tenant.id, id).await?;
    Ok(Answer::ok(json!({ "id": id })).of(member.tenant.id))
}
