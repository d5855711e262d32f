//! What operators do for people.

use axum::extract::{Path, State};
use axum::http::Method;
use rowhouse_types::{ApiError, UserId};
use serde_json::{Value, json};

use crate::envelope::{Answer, Failure};
use crate::gate::Operator;
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// Adds the route.
pub(crate) fn add(routes: &mut Routes) {
    routes.add(
        RouteDoc::new(Method::POST, "/api/admin/users/{id}/reset-mfa", "reset_user_mfa", Access::Operator)
            .summary("Take a person's second factor away and end their sessions: they have lost all of it.")
            .refuses(&[404]),
        reset_user_mfa,
    );
}

async fn reset_user_mfa(
    State(state): State<ServerState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Answer<Value>, Failure> {
    let id: UserId = id.parse().map_err(|_| ApiError::not_found())?;
    let reset = state.identity.reset_user_factor(&operator.actor, id).await?;
    Ok(Answer::ok(json!({ "id": id, "reset": reset })))
}
