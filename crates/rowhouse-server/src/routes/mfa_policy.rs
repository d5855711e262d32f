//! Of whom an organisation demands a second factor.

use axum::extract::State;
use axum::http::Method;
use rowhouse_identity::{DemandedOf, GRACE_DAYS_MAX, MfaPolicy, MfaPolicyPatch};
use rowhouse_types::{ApiError, FieldError};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use crate::body::JsonBody;
use crate::envelope::{Answer, Failure};
use crate::gate::{PathMember, ProvedPathMember};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

const PATH: &str = "/api/tenants/{tenant}/mfa-policy";

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    routes.add(
        RouteDoc::new(Method::GET, PATH, "get_mfa_policy", Access::PathTenant)
            .summary("Of whom the organisation demands a second factor, and after how many days."),
        get_mfa_policy,
    );
    routes.add(
        RouteDoc::new(Method::PATCH, PATH, "change_mfa_policy", Access::PathTenant)
            .summary("Demand a second factor of nobody, of those who manage people, or of everybody.")
            .body(schema_for!(MfaPolicyIn).to_value())
            .refuses(&[413, 415, 422]),
        change_mfa_policy,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MfaPolicyIn {
    /// `nobody`, `managers` or `everybody`.
    demanded_of: Option<String>,
    /// Days until nobody of whom it is demanded can do without: from 0 to 90.
    grace_days: Option<i32>,
    /// Whether a device on which a second factor was shown may stand for it, for 30 days.
    trusted_devices: Option<bool>,
}

async fn get_mfa_policy(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
) -> Result<Answer<MfaPolicy>, Failure> {
    let policy = state.identity.mfa_policy(member.tenant.id).await?;
    Ok(Answer::ok(policy).of(member.tenant.id))
}

async fn change_mfa_policy(
    State(state): State<ServerState>,
    ProvedPathMember(member): ProvedPathMember,
    JsonBody(body): JsonBody<MfaPolicyIn>,
) -> Result<Answer<MfaPolicy>, Failure> {
    member.require_manager()?;
    let policy = state.identity.change_mfa_policy(member.tenant.id, judge(&body)?, &member.actor()).await?;
    Ok(Answer::ok(policy).of(member.tenant.id))
}

/// What the body changes, or all of its faults.
fn judge(body: &MfaPolicyIn) -> Result<MfaPolicyPatch, ApiError> {
    let mut faults = Vec::new();
    let demanded_of = body.demanded_of.as_deref().and_then(DemandedOf::named);
    if demanded_of.is_none() && body.demanded_of.is_some() {
        faults.push(FieldError::new("demanded_of", "invalid", "is nobody, managers or everybody"));
    }
    if body.grace_days.is_some_and(|days| !(0..=GRACE_DAYS_MAX).contains(&days)) {
        faults.push(FieldError::new("grace_days", "invalid", "is from 0 to 90"));
    }
    let MfaPolicyIn { grace_days, trusted_devices, .. } = *body;
    let patch = MfaPolicyPatch { demanded_of, grace_days, trusted_devices };
    if faults.is_empty() { Ok(patch) } else { Err(ApiError::validation(faults)) }
}
