//! When an organisation's sessions end.

use axum::extract::State;
use axum::http::Method;
use rowhouse_identity::{ABSOLUTE_HOURS_MIN, IDLE_MINUTES_MIN, SessionPolicy, SessionPolicyPatch};
use rowhouse_types::{ApiError, FieldError};
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};

use crate::body::JsonBody;
use crate::envelope::{Answer, Failure};
use crate::gate::{PathMember, ProvedPathMember};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

const PATH: &str = "/api/tenants/{tenant}/session-policy";

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    routes.add(
        RouteDoc::new(Method::GET, PATH, "get_session_policy", Access::PathTenant)
            .summary("After how many minutes without use, and after how many hours at the latest, sessions end."),
        get_session_policy,
    );
    routes.add(
        RouteDoc::new(Method::PATCH, PATH, "change_session_policy", Access::PathTenant)
            .summary(
                "Let the organisation's sessions end sooner or later, within the operator's bounds; open ones too.",
            )
            .body(schema_for!(SessionPolicyIn).to_value())
            .refuses(&[413, 415, 422]),
        change_session_policy,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SessionPolicyIn {
    /// Minutes after which an unused session ends: from 15 on.
    idle_minutes: Option<i32>,
    /// Hours after which any session ends: from 1 on.
    absolute_hours: Option<i32>,
}

#[derive(Debug, Serialize)]
struct SessionPolicyOut {
    #[serde(flatten)]
    policy: SessionPolicy,
    /// The most that the operator lets it be, which is also what holds where nothing was chosen.
    most: SessionPolicy,
}

async fn get_session_policy(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
) -> Result<Answer<SessionPolicyOut>, Failure> {
    let policy = state.identity.session_policy(member.tenant.id).await?;
    Ok(Answer::ok(SessionPolicyOut { policy, most: state.identity.session_bounds() }).of(member.tenant.id))
}

async fn change_session_policy(
    State(state): State<ServerState>,
    ProvedPathMember(member): ProvedPathMember,
    JsonBody(body): JsonBody<SessionPolicyIn>,
) -> Result<Answer<SessionPolicyOut>, Failure> {
    member.require_manager()?;
    let most = state.identity.session_bounds();
    let patch = judge(&body, most)?;
    let policy = state.identity.change_session_policy(member.tenant.id, patch, &member.actor()).await?;
    Ok(Answer::ok(SessionPolicyOut { policy, most }).of(member.tenant.id))
}

/// What the body changes, or all of its faults.
fn judge(body: &SessionPolicyIn, most: SessionPolicy) -> Result<SessionPolicyPatch, ApiError> {
    let mut faults = Vec::new();
    let mut judge_one = |field, chosen: Option<i32>, low: i32, high: i32| {
        if chosen.is_some_and(|chosen| !(low..=high).contains(&chosen)) {
            faults.push(FieldError::new(field, "invalid", format!("is from {low} to {high}")));
        }
    };
    judge_one("idle_minutes", body.idle_minutes, IDLE_MINUTES_MIN, most.idle_minutes);
    judge_one("absolute_hours", body.absolute_hours, ABSOLUTE_HOURS_MIN, most.absolute_hours);
    let patch = SessionPolicyPatch { idle_minutes: body.idle_minutes, absolute_hours: body.absolute_hours };
    if faults.is_empty() { Ok(patch) } else { Err(ApiError::validation(faults)) }
}
