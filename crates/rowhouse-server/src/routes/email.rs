//! A person's address: proving it, and changing it.

use axum::extract::State;
use axum::http::Method;
use axum::http::request::Parts;
use rowhouse_types::ApiError;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::email;
use super::members::project;
use crate::body::JsonBody;
use crate::client::device;
use crate::envelope::{Answer, Failure};
use crate::gate::{Person, visitor};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let route = |path, operation, access| RouteDoc::new(Method::POST, path, operation, access);
    routes.add(
        route("/api/auth/verify-email", "verify_email", Access::Public)
            .summary("Prove an address by a link's token: one's own, or the one that one changes to.")
            .body(schema_for!(VerifyIn).to_value())
            .refuses(&[400, 404, 409, 413, 415, 422]),
        verify_email,
    );
    routes.add(
        route("/api/auth/verify-email/resend", "resend_verification", Access::Person)
            .summary("Send the mail to prove the caller's address once more, unless it is proved.")
            .answers(202, json!({ "type": "object" })),
        resend_verification,
    );
    routes.add(
        route("/api/auth/email/change", "change_email", Access::Person)
            .summary("Send a mail to a new address; its link makes it the caller's.")
            .body(schema_for!(ChangeIn).to_value())
            .answers(202, json!({ "type": "object" }))
            .refuses(&[400, 413, 415, 422]),
        change_email,
    );
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct VerifyIn {
    /// The token of the link in the mail.
    token: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangeIn {
    /// The new address.
    email: String,
    current_password: String,
}

async fn verify_email(
    State(state): State<ServerState>,
    parts: Parts,
    JsonBody(body): JsonBody<VerifyIn>,
) -> Result<Answer<Value>, Failure> {
    let proved = state.identity.verify_email(&body.token.into(), &visitor(&parts), device(&state, &parts)).await?;
    project(&state, &proved.tenants_to_tell).await;
    Ok(Answer::ok(json!({})))
}

async fn resend_verification(
    State(state): State<ServerState>,
    person: Person,
    parts: Parts,
) -> Result<Answer<Value>, Failure> {
    state.identity.resend_verification(&person.claims, &device(&state, &parts)).await?;
    Ok(Answer::accepted(json!({})))
}

async fn change_email(
    State(state): State<ServerState>,
    person: Person,
    parts: Parts,
    JsonBody(body): JsonBody<ChangeIn>,
) -> Result<Answer<Value>, Failure> {
    let mut faults = Vec::new();
    let Some(email) = email(&body.email, &mut faults) else {
        return Err(Failure(ApiError::validation(faults)));
    };
    let (current, by) = (body.current_password.into(), person.actor());
    state.identity.ask_to_change_email(&person.claims, &email, current, &by, device(&state, &parts)).await?;
    Ok(Answer::accepted(json!({})))
}
