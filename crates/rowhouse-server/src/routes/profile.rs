//! What a person tells of themselves.

use axum::extract::State;
use axum::http::Method;
use rowhouse_identity::{ProfilePatch, UserOut};
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::members::project;
use crate::body::JsonBody;
use crate::envelope::{Answer, Failure};
use crate::gate::Person;
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let change = RouteDoc::new(Method::PATCH, "/api/auth/me", "change_me", Access::Person)
        .summary("Change the caller's names, picture, telephone or metadata; null takes picture and telephone away.")
        .body(schema_for!(ProfileIn).to_value())
        .refuses(&[400, 413, 415, 422]);
    routes.add(change, change_me);
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProfileIn {
    first_name: Option<String>,
    last_name: Option<String>,
    /// An https URL.
    #[serde(deserialize_with = "nullable")]
    #[schemars(with = "Option<String>")]
    avatar_url: Option<Option<String>>,
    #[serde(deserialize_with = "nullable")]
    #[schemars(with = "Option<String>")]
    phone: Option<Option<String>>,
    /// In the place of what was kept before.
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    metadata: Option<Value>,
}

/// Tells null from what is not there.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl From<ProfileIn> for ProfilePatch {
    fn from(body: ProfileIn) -> Self {
        let ProfileIn { first_name, last_name, avatar_url, phone, metadata } = body;
        Self { first_name, last_name, avatar_url, phone, metadata }
    }
}

async fn change_me(
    State(state): State<ServerState>,
    person: Person,
    JsonBody(body): JsonBody<ProfileIn>,
) -> Result<Answer<UserOut>, Failure> {
    let (changed, tenants) = state.identity.change_profile(&person.actor(), person.claims.user, body.into()).await?;
    project(&state, &tenants).await;
    Ok(Answer::ok(changed))
}
