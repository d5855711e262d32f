//! New passwords: by a link in a mail, or with the old one.

use axum::extract::State;
use axum::http::Method;
use axum::http::request::Parts;
use rowhouse_identity::{IdentityError, PasswordError};
use rowhouse_types::{ApiError, FieldError};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::email;
use crate::body::JsonBody;
use crate::client::device;
use crate::envelope::{Answer, Failure};
use crate::gate::{Person, visitor};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let route = |path, operation, access| RouteDoc::new(Method::POST, path, operation, access);
    let nothing = || json!({ "type": "object" });
    routes.add(
        route("/api/auth/password/forgot", "forgot_password", Access::Public)
            .summary("Send a link for a new password, if the address has an account; the answer is the same if not.")
            .body(schema_for!(ForgotIn).to_value())
            .answers(202, nothing())
            .refuses(&[400, 413, 415, 422]),
        forgot_password,
    );
    routes.add(
        route("/api/auth/password/reset", "reset_password", Access::Public)
            .summary("Choose a new password by a link's token, and end all sessions.")
            .body(schema_for!(ResetIn).to_value())
            .refuses(&[400, 404, 413, 415, 422]),
        reset_password,
    );
    routes.add(
        route("/api/auth/password/change", "change_password", Access::Person)
            .summary("Choose a new password, and end all sessions but this one.")
            .body(schema_for!(ChangeIn).to_value())
            .refuses(&[400, 413, 415, 422]),
        change_password,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ForgotIn {
    email: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ResetIn {
    /// The token of the link in the mail.
    token: String,
    /// The new password.
    password: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangeIn {
    current_password: String,
    new_password: String,
}

async fn forgot_password(
    State(state): State<ServerState>,
    parts: Parts,
    JsonBody(body): JsonBody<ForgotIn>,
) -> Result<Answer<Value>, Failure> {
    let mut faults = Vec::new();
    let Some(email) = email(&body.email, &mut faults) else {
        return Err(Failure(ApiError::validation(faults)));
    };
    state.identity.forgot_password(&email, device(&state, &parts)).await?;
    Ok(Answer::accepted(json!({})))
}

async fn reset_password(
    State(state): State<ServerState>,
    parts: Parts,
    JsonBody(body): JsonBody<ResetIn>,
) -> Result<Answer<Value>, Failure> {
    let (token, password) = (body.token.into(), body.password.into());
    state.identity.reset_password(&token, password, &visitor(&parts), device(&state, &parts)).await?;
    Ok(Answer::ok(json!({})))
}

async fn change_password(
    State(state): State<ServerState>,
    person: Person,
    parts: Parts,
    JsonBody(body): JsonBody<ChangeIn>,
) -> Result<Answer<Value>, Failure> {
    if let Err(error) = rowhouse_identity::check_password_length(&body.new_password) {
        let fault = FieldError::new("new_password", "invalid", error.to_string());
        return Err(Failure(ApiError::validation(vec![fault])));
    }
    let (current, new) = (body.current_password.into(), body.new_password.into());
    let by = person.actor();
    let changed = state.identity.change_password(&person.claims, current, new, &by, device(&state, &parts)).await;
    if let Err(IdentityError::Password(fault @ PasswordError::Weak { .. })) = &changed {
        let fault = FieldError::new("new_password", "weak", fault.to_string());
        return Err(Failure(ApiError::validation(vec![fault])));
    }
    changed?;
    Ok(Answer::ok(json!({})))
}
