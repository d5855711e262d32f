//! The roles of an organisation: those of every app, the app's, and those that its people make.

use axum::extract::{Path, State};
use axum::http::Method;
use rowhouse_app::AppModel;
use rowhouse_identity::{NewRole, RoleOut, RolePatch, RoleSource, is_role_key};
use rowhouse_types::{ApiError, FieldError, RoleKey};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::envelope::{Answer, Failure};
use crate::gate::PathMember;
use crate::permissions::read_permissions;
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

const NAME_LENGTH_MAX: usize = 100;
const DESCRIPTION_LENGTH_MAX: usize = 500;

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let route = |method, path, operation| RouteDoc::new(method, path, operation, Access::PathTenant);
    routes.add(
        route(Method::GET, "/api/tenants/{tenant}/roles", "list_roles")
            .summary("The roles of the organisation with what they may do: the built-in ones, the app's, its own.")
            .answers(200, json!({ "type": "array", "items": { "type": "object" } })),
        list_roles,
    );
    routes.add(
        route(Method::POST, "/api/tenants/{tenant}/roles", "create_role")
            .summary("Make a role from permissions, none of which exceeds the caller's own.")
            .body(schema_for!(CreateRoleIn).to_value())
            .answers(201, json!({ "type": "object" }))
            .refuses(&[409, 413, 415, 422]),
        create_role,
    );
    routes.add(
        route(Method::GET, "/api/tenants/{tenant}/roles/{role}", "get_role").summary("One role of the organisation."),
        get_role,
    );
    routes.add(
        route(Method::PATCH, "/api/tenants/{tenant}/roles/{role}", "change_role")
            .summary("Change a role of the organisation's own; it acts at once on everybody who has it.")
            .body(schema_for!(ChangeRoleIn).to_value())
            .refuses(&[413, 415, 422]),
        change_role,
    );
    routes.add(
        route(Method::DELETE, "/api/tenants/{tenant}/roles/{role}", "delete_role")
            .summary("Remove a role of the organisation's own that nobody has.")
            .refuses(&[409]),
        delete_role,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateRoleIn {
    /// What members and keys are given: up to 40 of a to z, 0 to 9 and _, beginning with a letter.
    key: String,
    /// Its name, for people; the key if absent.
    name: Option<String>,
    #[serde(default)]
    description: String,
    /// As `entity:action` or `entity:action:scope`; 1 to 200.
    permissions: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangeRoleIn {
    name: Option<String>,
    description: Option<String>,
    /// All that it may do from now on.
    permissions: Option<Vec<String>>,
}

/// A text of a form, or its fault added to the list.
fn text(
    field: &'static str,
    text: &str,
    lengths: std::ops::RangeInclusive<usize>,
    faults: &mut Vec<FieldError>,
) -> String {
    let text = text.trim().to_owned();
    if !lengths.contains(&text.chars().count()) || text.chars().any(char::is_control) {
        let (low, high) = (lengths.start(), lengths.end());
        let message = format!("must have {low} to {high} characters, and no control characters");
        faults.push(FieldError::new(field, "invalid", message));
    }
    text
}

fn refuse(faults: Vec<FieldError>) -> Result<(), Failure> {
    if faults.is_empty() { Ok(()) } else { Err(ApiError::validation(faults).into()) }
}

/// A role with the title that the manifest gives it.
fn titled(model: &AppModel, mut role: RoleOut) -> RoleOut {
    if role.source == RoleSource::App
        && let Some(section) = model.manifest.roles.get(role.key.as_str())
    {
        role.name.clone_from(&section.title);
    }
    role
}

/// What is no key of a role is as absent as one that nobody has made.
fn own_key(text: String) -> Result<RoleKey, Failure> {
    let key = RoleKey::new(text);
    if is_role_key(key.as_str()) { Ok(key) } else { Err(ApiError::not_found().into()) }
}

async fn list_roles(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
) -> Result<Answer<Vec<RoleOut>>, Failure> {
    let (model, roles) = (state.tenants.model(), state.identity.roles(&member.context).await?);
    Ok(Answer::ok(roles.into_iter().map(|role| titled(&model, role)).collect()).of(member.tenant.id))
}

async fn get_role(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    Path((_, key)): Path<(String, String)>,
) -> Result<Answer<RoleOut>, Failure> {
    let (model, roles) = (state.tenants.model(), state.identity.roles(&member.context).await?);
    let found = roles.into_iter().find(|role| role.key.as_str() == key).ok_or_else(ApiError::not_found)?;
    Ok(Answer::ok(titled(&model, found)).of(member.tenant.id))
}

async fn create_role(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    JsonBody(body): JsonBody<CreateRoleIn>,
) -> Result<Answer<RoleOut>, Failure> {
    member.require_manager()?;
    let mut faults = Vec::new();
    if !is_role_key(&body.key) {
        let message = "must be 1 to 40 of a to z, 0 to 9 and _, beginning with a letter";
        faults.push(FieldError::new("key", "invalid", message));
    }
    let name = text("name", body.name.as_deref().unwrap_or(&body.key), 1..=NAME_LENGTH_MAX, &mut faults);
    let description = text("description", &body.description, 0..=DESCRIPTION_LENGTH_MAX, &mut faults);
    let permissions = read_permissions(&state.tenants.model(), &body.permissions, &mut faults);
    refuse(faults)?;
    let new = NewRole { key: RoleKey::new(body.key), name, description, permissions };
    let made = state.identity.create_role(member.manager(&member.actor()), new).await?;
    Ok(Answer::created(made).of(member.tenant.id))
}

async fn change_role(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    Path((_, key)): Path<(String, String)>,
    JsonBody(body): JsonBody<ChangeRoleIn>,
) -> Result<Answer<RoleOut>, Failure> {
    member.require_manager()?;
    let key = own_key(key)?;
    let mut faults = Vec::new();
    let model = state.tenants.model();
    let name = body.name.map(|name| text("name", &name, 1..=NAME_LENGTH_MAX, &mut faults));
    let description =
        body.description.map(|words| text("description", &words, 0..=DESCRIPTION_LENGTH_MAX, &mut faults));
    let permissions = body.permissions.map(|texts| read_permissions(&model, &texts, &mut faults));
    refuse(faults)?;
    let patch = RolePatch { name, description, permissions };
    let changed = state.identity.change_role(member.manager(&member.actor()), &key, patch).await?;
    Ok(Answer::ok(changed).of(member.tenant.id))
}

async fn delete_role(
    State(state): State<ServerState>,
    PathMember(member): PathMember,
    Path((_, key)): Path<(String, String)>,
) -> Result<Answer<Value>, Failure> {
    member.require_manager()?;
    let key = own_key(key)?;
    state.identity.delete_role(member.manager(&member.actor()), &key).await?;
    Ok(Answer::ok(json!({ "key": key })).of(member.tenant.id))
}
