//! The API keys of a tenant, which its people manage. A key manages none: one that is stolen could
//! make others that outlive it.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{Method, Uri};
use rowhouse_app::AppModel;
use rowhouse_identity::{ApiKeyMaker, ApiKeyPage, KeyRights, MadeApiKey, NewApiKey};
use rowhouse_types::{Action, ApiError, FieldError, KeyId, RoleKey};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::envelope::{Answer, Failure};
use crate::gate::{Member, PathMember, ProvedPathMember};
use crate::paging::{CURSOR, LIMIT, PageQuery};
use crate::permissions::read_permissions;
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

const NAME_LENGTH_MAX: usize = 100;
const LIFETIME_DAYS_DEFAULT: i32 = 90;
const LIFETIME_DAYS_MAX: i32 = 3650;
const REQUESTS_PER_MINUTE_MAX: i32 = 1_000_000;
const OVERLAP_SECONDS_DEFAULT: u32 = 24 * 3600;
const OVERLAP_SECONDS_MAX: u32 = 30 * 24 * 3600;

const KEYS_QUERY: &[(&str, &str)] =
    &[("tenant_id", "The organisation once more; must agree with the path."), LIMIT, CURSOR];

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let route = |method, path, operation| RouteDoc::new(method, path, operation, Access::PathTenant);
    routes.add(
        route(Method::GET, "/api/tenants/{tenant}/api-keys", "list_api_keys")
            .summary("The organisation's API keys, newest first, without their texts.")
            .query(KEYS_QUERY)
            .answers(200, json!({ "type": "array", "items": { "type": "object" } })),
        list_api_keys,
    );
    routes.add(
        route(Method::POST, "/api/tenants/{tenant}/api-keys", "create_api_key")
            .summary("Make an API key; its text is in this answer and never again.")
            .body(schema_for!(CreateApiKeyIn).to_value())
            .answers(201, json!({ "type": "object" }))
            .refuses(&[409, 413, 415, 422]),
        create_api_key,
    );
    routes.add(
        route(Method::POST, "/api/tenants/{tenant}/api-keys/{id}/rotate", "rotate_api_key")
            .summary("Give an API key a new text and a new life; the old text is good for a while more.")
            .body(schema_for!(RotateApiKeyIn).to_value())
            .refuses(&[413, 415, 422]),
        rotate_api_key,
    );
    routes.add(
        route(Method::DELETE, "/api/tenants/{tenant}/api-keys/{id}", "revoke_api_key")
            .summary("Revoke an API key; it opens nothing at once."),
        revoke_api_key,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateApiKeyIn {
    /// What it is for.
    name: String,
    /// A role of the app; the key holds what the role holds at the time of each request.
    role: Option<String>,
    /// Or permissions, as `entity:action` or `entity:action:scope`.
    permissions: Option<Vec<String>>,
    /// From 1 to 3650; 90 by default.
    expires_in_days: Option<i32>,
    /// For a key without an end.
    #[serde(default)]
    never_expires: bool,
    /// How many requests it may make in a minute, from 1 to 1000000; as many as it will by default.
    requests_per_minute: Option<i32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RotateApiKeyIn {
    /// How long the old text is good too: a day by default, 30 at most, 0 for not at all.
    overlap_seconds: Option<u32>,
}

/// Whoever manages people manages keys, which act like people.
fn require_manager(member: &Member) -> Result<(), Failure> {
    if member.grants.allows("users", Action::Manage) {
        return Ok(());
    }
    Err(Failure(ApiError::permission_denied(
        "Your role may not manage API keys. Ask an owner or admin of the organisation.",
    )))
}

/// An id that is none is of no key.
fn key_id(text: &str) -> Result<KeyId, Failure> {
    text.parse().map_err(|_| Failure(ApiError::not_found()))
}

fn with_text(made: &MadeApiKey) -> Result<Value, Failure> {
    let mut data = serde_json::to_value(&made.key).map_err(ApiError::internal)?;
    data["key"] = json!(made.secret.expose());
    Ok(data)
}

/// What the body asks for, with all faults at once.
fn judge(model: &AppModel, body: CreateApiKeyIn) -> Result<NewApiKey, Failure> {
    let mut faults = Vec::new();
    let invalid = |field: &str, message: &str| FieldError::new(field, "invalid", message);
    let name = body.name.trim().to_owned();
    if !(1..=NAME_LENGTH_MAX).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        faults.push(invalid("name", "must have 1 to 100 characters, and no control characters"));
    }
    let lifetime_days = match (body.expires_in_days, body.never_expires) {
        (None, true) => None,
        (None, false) => Some(LIFETIME_DAYS_DEFAULT),
        (Some(days), false) if (1..=LIFETIME_DAYS_MAX).contains(&days) => Some(days),
        (Some(_), false) => {
            faults.push(invalid("expires_in_days", "must be from 1 to 3650"));
            None
        }
        (Some(_), true) => {
            faults.push(invalid("expires_in_days", "cannot go together with never_expires"));
            None
        }
    };
    if body.requests_per_minute.is_some_and(|most| !(1..=REQUESTS_PER_MINUTE_MAX).contains(&most)) {
        faults.push(invalid("requests_per_minute", &format!("must be from 1 to {REQUESTS_PER_MINUTE_MAX}")));
    }
    let rights = match (body.role, body.permissions) {
        (Some(role), None) => KeyRights::Role(RoleKey::new(role)),
        (None, Some(texts)) => KeyRights::Permissions(read_permissions(model, &texts, &mut faults)),
        (Some(_), Some(_)) | (None, None) => {
            faults.push(invalid("role", "give either a role or permissions"));
            KeyRights::Permissions(Vec::new())
        }
    };
    if faults.is_empty() {
        Ok(NewApiKey { name, rights, lifetime_days, requests_per_minute: body.requests_per_minute })
    } else {
        Err(ApiError::validation(faults).into())
    }
}

async fn list_api_keys(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    uri: Uri,
) -> Result<Answer<Value>, Failure> {
    require_manager(&member)?;
    // The gate has read tenant_id.
    let page = PageQuery::read(&uri, KEYS_QUERY, |_, _| Ok(()))?;
    let asked = ApiKeyPage { before: page.cursor, limit: Some(page.to_read()) };
    let keys = state.identity.api_keys(&member.context, &asked).await?;
    Ok(page.answer(keys, |key| key.id.to_string()).of(member.tenant.id))
}

async fn create_api_key(
    State(state): State<ServerState>,
    ProvedPathMember(member): ProvedPathMember,
    JsonBody(body): JsonBody<CreateApiKeyIn>,
) -> Result<Answer<Value>, Failure> {
    require_manager(&member)?;
    let new = judge(&state.tenants.model(), body)?;
    let maker = ApiKeyMaker { user: member.user, actor: &member.actor(), grants: &member.grants };
    let made = state.identity.create_api_key(maker, member.tenant.id, new).await?;
    Ok(Answer::created(with_text(&made)?).of(member.tenant.id))
}

async fn rotate_api_key(
    State(state): State<ServerState>,
    ProvedPathMember(member): ProvedPathMember,
    Path((_, id)): Path<(String, String)>,
    JsonBody(body): JsonBody<RotateApiKeyIn>,
) -> Result<Answer<Value>, Failure> {
    require_manager(&member)?;
    let seconds = body.overlap_seconds.unwrap_or(OVERLAP_SECONDS_DEFAULT);
    if seconds > OVERLAP_SECONDS_MAX {
        let message = format!("must be at most {OVERLAP_SECONDS_MAX}");
        return Err(ApiError::validation(vec![FieldError::new("overlap_seconds", "invalid", message)]).into());
    }
    let maker = ApiKeyMaker { user: member.user, actor: &member.actor(), grants: &member.grants };
    let overlap = Duration::from_secs(seconds.into());
    let made = state.identity.rotate_api_key(maker, member.tenant.id, key_id(&id)?, overlap).await?;
    Ok(Answer::ok(with_text(&made)?).of(member.tenant.id))
}

async fn revoke_api_key(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    Path((_, id)): Path<(String, String)>,
) -> Result<Answer<Value>, Failure> {
    require_manager(&member)?;
    member.require_own_session()?;
    let id = key_id(&id)?;
    state.identity.revoke_api_key(&member.actor(), member.tenant.id, id).await?;
    Ok(Answer::ok(json!({ "id": id })).of(member.tenant.id))
}
