//! OpenID clients, which operators register.

use axum::extract::{Path, State};
use axum::http::{Method, Uri};
use rowhouse_openid::{ClientPage, ClientPatch, NewClient};
use rowhouse_types::{ApiError, ClientId};
use schemars::{JsonSchema, schema_for};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::oauth::provider;
use crate::body::JsonBody;
use crate::envelope::{Answer, Failure};
use crate::gate::Operator;
use crate::paging::{CURSOR, LIMIT, PageQuery};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

const CLIENTS_QUERY: &[(&str, &str)] = &[LIMIT, CURSOR];

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let route = |method, path, operation| RouteDoc::new(method, path, operation, Access::Operator);
    routes.add(
        route(Method::GET, "/api/admin/oauth-clients", "list_oauth_clients")
            .summary("Programs that people sign in to with their account here, newest first.")
            .query(CLIENTS_QUERY)
            .answers(200, json!({ "type": "array", "items": { "type": "object" } }))
            .refuses(&[404]),
        list_oauth_clients,
    );
    routes.add(
        route(Method::POST, "/api/admin/oauth-clients", "create_oauth_client")
            .summary("Register a client; its secret is in this answer and never again.")
            .body(schema_for!(CreateClientIn).to_value())
            .answers(201, json!({ "type": "object" }))
            .refuses(&[404, 409, 413, 415, 422]),
        create_oauth_client,
    );
    routes.add(
        route(Method::PATCH, "/api/admin/oauth-clients/{id}", "update_oauth_client")
            .summary("Change a client; tokens for more than it may ask for now end at once.")
            .body(schema_for!(UpdateClientIn).to_value())
            .refuses(&[404, 413, 415, 422]),
        update_oauth_client,
    );
    routes.add(
        route(Method::DELETE, "/api/admin/oauth-clients/{id}", "delete_oauth_client")
            .summary("Remove a client, and all tokens that it has.")
            .refuses(&[404]),
        delete_oauth_client,
    );
    routes.add(
        route(Method::POST, "/api/admin/oauth-clients/{id}/secret", "rotate_oauth_client_secret")
            .summary("Give a client another secret; the one before is good for a while more.")
            .body(schema_for!(RotateSecretIn).to_value())
            .refuses(&[404, 413, 415, 422]),
        rotate_oauth_client_secret,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateClientIn {
    /// What people are told it is called.
    name: String,
    /// Whether it cannot keep a secret: a page in a browser, an app on a device.
    #[serde(default)]
    public: bool,
    /// Where people are sent back to: https, or http on the person's own machine (127.0.0.1, localhost), there on any port.
    redirect_uris: Vec<String>,
    /// Where they may be sent after signing out.
    #[serde(default)]
    post_logout_redirect_uris: Vec<String>,
    /// Some of openid, profile, email, org, offline_access, api; the first four by default.
    scopes: Option<Vec<String>>,
    /// ES256 by default; RS256 for programs that know nothing else.
    id_token_algorithm: Option<String>,
    /// Whether it is the service's own: then people are not asked.
    #[serde(default)]
    first_party: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UpdateClientIn {
    name: Option<String>,
    redirect_uris: Option<Vec<String>>,
    post_logout_redirect_uris: Option<Vec<String>>,
    scopes: Option<Vec<String>>,
    id_token_algorithm: Option<String>,
    first_party: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RotateSecretIn {
    /// How long the secret before is good too: not at all by default, a week at most.
    #[serde(default)]
    overlap_seconds: u32,
}

fn client_id(text: &str) -> Result<ClientId, Failure> {
    text.parse().map_err(|_| Failure(ApiError::not_found()))
}

async fn list_oauth_clients(State(state): State<ServerState>, _: Operator, uri: Uri) -> Result<Answer<Value>, Failure> {
    let page = PageQuery::read(&uri, CLIENTS_QUERY, |_, _| Ok(()))?;
    let asked = ClientPage { before: page.cursor, limit: Some(page.to_read()) };
    let clients = provider(&state)?.clients(&asked).await?;
    Ok(page.answer(clients, |client| client.id.to_string()))
}

async fn create_oauth_client(
    State(state): State<ServerState>,
    operator: Operator,
    JsonBody(body): JsonBody<CreateClientIn>,
) -> Result<Answer<Value>, Failure> {
    let CreateClientIn {
        name,
        public,
        redirect_uris,
        post_logout_redirect_uris,
        scopes,
        id_token_algorithm,
        first_party,
    } = body;
    let new =
        NewClient { name, public, redirect_uris, post_logout_redirect_uris, scopes, id_token_algorithm, first_party };
    let made = provider(&state)?.create_client(&operator.actor, &new).await?;
    let mut data = serde_json::to_value(&made.client).map_err(ApiError::internal)?;
    data["secret"] = json!(made.secret.as_ref().map(|secret| secret.expose_secret()));
    Ok(Answer::created(data))
}

async fn update_oauth_client(
    State(state): State<ServerState>,
    operator: Operator,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<UpdateClientIn>,
) -> Result<Answer<Value>, Failure> {
    let UpdateClientIn { name, redirect_uris, post_logout_redirect_uris, scopes, id_token_algorithm, first_party } =
        body;
    let patch = ClientPatch { name, redirect_uris, post_logout_redirect_uris, scopes, id_token_algorithm, first_party };
    let changed = provider(&state)?.change_client(&operator.actor, client_id(&id)?, &patch).await?;
    Ok(Answer::ok(json!(changed)))
}

async fn delete_oauth_client(
    State(state): State<ServerState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Answer<Value>, Failure> {
    let id = client_id(&id)?;
    provider(&state)?.delete_client(&operator.actor, id).await?;
    Ok(Answer::ok(json!({ "id": id })))
}

async fn rotate_oauth_client_secret(
    State(state): State<ServerState>,
    operator: Operator,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<RotateSecretIn>,
) -> Result<Answer<Value>, Failure> {
    let id = client_id(&id)?;
    let secret = provider(&state)?.rotate_client_secret(&operator.actor, id, body.overlap_seconds).await?;
    Ok(Answer::ok(json!({ "id": id, "secret": secret.expose_secret() })))
}
