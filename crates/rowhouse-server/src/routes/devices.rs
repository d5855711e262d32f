//! The devices of a person's that stand for their second factor.

use axum::extract::{Path, State};
use axum::http::Method;
use rowhouse_identity::TrustedDeviceOut;
use rowhouse_types::ApiError;
use serde_json::{Value, json};

use crate::envelope::{Answer, Failure};
use crate::gate::Person;
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let person = |method, path, operation| RouteDoc::new(method, path, operation, Access::Person);
    routes.add(
        person(Method::GET, "/api/auth/devices", "list_devices")
            .summary("The devices on which the caller's password alone signs in, newest first.")
            .answers(200, json!({ "type": "array", "items": { "type": "object" } })),
        list_devices,
    );
    routes.add(
        person(Method::DELETE, "/api/auth/devices", "revoke_devices").summary("Trust none of them any more."),
        revoke_devices,
    );
    routes.add(
        person(Method::DELETE, "/api/auth/devices/{id}", "revoke_device")
            .summary("Trust one of them no more.")
            .refuses(&[404]),
        revoke_device,
    );
}

async fn list_devices(
    State(state): State<ServerState>,
    person: Person,
) -> Result<Answer<Vec<TrustedDeviceOut>>, Failure> {
    Ok(Answer::ok(state.identity.trusted_devices(&person.claims).await?))
}

async fn revoke_devices(State(state): State<ServerState>, person: Person) -> Result<Answer<Value>, Failure> {
    let revoked = state.identity.revoke_devices(&person.actor(), &person.claims).await?;
    Ok(Answer::ok(json!({ "revoked": revoked })))
}

async fn revoke_device(
    State(state): State<ServerState>,
    person: Person,
    Path(id): Path<String>,
) -> Result<Answer<Value>, Failure> {
    let id = id.parse().map_err(|_| ApiError::not_found())?;
    state.identity.revoke_device(&person.actor(), &person.claims, id).await?;
    Ok(Answer::ok(json!({ "id": id })))
}
