//! Showing once more who one is.

use axum::extract::State;
use axum::http::Method;
use axum::http::request::Parts;
use rowhouse_identity::StepUp;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::client::device;
use crate::envelope::{Answer, Failure};
use crate::gate::SignedIn;
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// Adds the route.
pub(crate) fn add(routes: &mut Routes) {
    let doc = RouteDoc::new(Method::POST, "/api/auth/step-up", "step_up", Access::Person)
        .summary("Show once more who the caller is: for an hour this session may do what a stolen one must not.")
        .body(schema_for!(StepUpIn).to_value())
        .refuses(&[400, 413, 415, 422]);
    routes.add(doc, step_up);
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StepUpIn {
    /// Of somebody without a second factor.
    current_password: Option<String>,
    /// Six digits of the authenticator app, or a recovery code; of somebody with a second factor.
    #[serde(alias = "recovery_code")]
    totp: Option<String>,
}

async fn step_up(
    State(state): State<ServerState>,
    person: SignedIn,
    parts: Parts,
    JsonBody(body): JsonBody<StepUpIn>,
) -> Result<Answer<Value>, Failure> {
    person.require_own_session()?;
    let shown = StepUp {
        password: body.current_password.map(Into::into),
        code: body.totp.map(Into::into),
        device: device(&state, &parts),
    };
    state.identity.step_up(&person.claims, shown).await?;
    Ok(Answer::ok(json!({})))
}
