//! Signing people in for other programs, in their browser: requests, their decision, signing out.

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use rowhouse_openid::{Authorized, Decision, LoggedOut, OpenId, OpenIdError};
use rowhouse_types::ApiError;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::client::device;
use crate::envelope::{Answer, Failure};
use crate::form::{FormBytes, OAuthFailure};
use crate::gate::{Person, query_pairs};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

const AUTHORIZE_QUERY: &[(&str, &str)] = &[
    ("client_id", "The client."),
    ("redirect_uri", "Where the answer goes: one that the client has registered, letter for letter."),
    ("response_type", "code."),
    ("scope", "Some of openid, profile, email, org, offline_access and api, with spaces between."),
    ("state", "Comes back with the answer."),
    ("nonce", "Stands in the ID token."),
    ("code_challenge", "PKCE: needed by clients without a secret."),
    ("code_challenge_method", "S256."),
    ("prompt", "none, login, consent."),
    ("max_age", "Seconds since the person has last shown who they are."),
    ("login_hint", "The address that the person may sign in with."),
    ("id_token_hint", "An ID token of whom the client expects to be signed in."),
    ("org", "Id or slug of the organisation; that of the session by default."),
];

const LOGOUT_QUERY: &[(&str, &str)] = &[
    ("id_token_hint", "An ID token of who is to be signed out."),
    ("client_id", "The client."),
    ("post_logout_redirect_uri", "Where the person goes then: one that the client has registered for it."),
    ("state", "Comes back with them."),
];

const PENDING_QUERY: &[(&str, &str)] = &[("request", "The id of the request, as the page for it was called with.")];

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let public = |path, operation| RouteDoc::new(Method::GET, path, operation, Access::Public);
    let person = |method, operation| RouteDoc::new(method, "/oauth/authorize/decision", operation, Access::Person);
    routes.add(
        public("/oauth/authorize", "authorize")
            .summary("Sign a person in for a client: on to the client with a code, or to sign in, or to be asked.")
            .query(AUTHORIZE_QUERY)
            .answers(303, Value::Null)
            .refuses(&[400, 404]),
        authorize,
    );
    routes.add(
        RouteDoc::new(Method::POST, "/oauth/authorize", "submit_authorization_request", Access::Public)
            .summary("The same by a form, which goes on as a query.")
            .body(json!({ "type": "object", "properties": { "client_id": { "type": "string" } } }))
            .answers(303, Value::Null)
            .oauth()
            .refuses(&[400]),
        submit_authorization_request,
    );
    routes.add(
        person(Method::GET, "get_authorization_request")
            .summary("What a client wants of the caller, for the page that asks them.")
            .query(PENDING_QUERY)
            .refuses(&[400, 404]),
        get_authorization_request,
    );
    routes.add(
        person(Method::POST, "decide_authorization_request")
            .summary("Let a client do what it wants, or not; redirect_to is where the browser goes next.")
            .body(schema_for!(DecisionIn).to_value())
            .refuses(&[400, 404, 413, 415, 422]),
        decide_authorization_request,
    );
    routes.add(
        public("/oauth/logout", "oauth_logout")
            .summary("Sign a person out at a client's wish.")
            .query(LOGOUT_QUERY)
            .answers(303, Value::Null)
            .refuses(&[400, 404]),
        oauth_logout,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DecisionIn {
    /// The id of the request.
    request: String,
    /// allow or deny.
    #[schemars(with = "String", regex(pattern = r"^(allow|deny)$"))]
    decision: Decision,
}

/// The provider; none where people have their accounts elsewhere.
pub(crate) fn provider(state: &ServerState) -> Result<&OpenId, Failure> {
    state.openid.as_deref().ok_or_else(|| Failure(ApiError::not_found()))
}

fn query(uri: &Uri) -> &[u8] {
    uri.query().unwrap_or_default().as_bytes()
}

/// Sends a browser on.
fn see_other(to: &str) -> Result<Response, Failure> {
    let location = HeaderValue::from_str(to).map_err(ApiError::internal)?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response())
}

/// One of the pages of the service, with parameters.
fn page(state: &ServerState, path: &str, parameters: &[(&str, &str)]) -> String {
    let base = state.settings.public_url.trim_end_matches('/');
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    if query.is_empty() { format!("{base}{path}") } else { format!("{base}{path}?{query}") }
}

async fn authorize(
    State(state): State<ServerState>,
    person: Option<Person>,
    uri: Uri,
    parts: Parts,
) -> Result<Response, Failure> {
    let claims = person.as_ref().map(|person| &*person.claims);
    match provider(&state)?.authorize(query(&uri), claims, &device(&state, &parts)).await? {
        Authorized::Client(to) => see_other(&to),
        Authorized::SignIn { return_to, login_hint } => {
            let mut parameters = vec![("return_to", return_to.as_str())];
            parameters.extend(login_hint.as_deref().map(|hint| ("login_hint", hint)));
            see_other(&page(&state, "/sign-in", &parameters))
        }
        Authorized::Consent { request } => see_other(&page(&state, "/consent", &[("request", &request)])),
    }
}

/// Judged, and then asked again by the browser itself: a form of another site comes without the person's
/// cookie, and who follows a redirect brings it.
async fn submit_authorization_request(
    State(state): State<ServerState>,
    parts: Parts,
    FormBytes(form): FormBytes,
) -> Result<Response, OAuthFailure> {
    let openid = state.openid.as_deref().ok_or(OAuthFailure(OpenIdError::NotFound))?;
    openid.authorize(&form, None, &device(&state, &parts)).await?;
    let pairs = form_urlencoded::parse(&form);
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    Ok(see_other(&format!("/oauth/authorize?{query}")).unwrap_or_else(Failure::into_response))
}

async fn get_authorization_request(
    State(state): State<ServerState>,
    person: Person,
    uri: Uri,
) -> Result<Answer<Value>, Failure> {
    let mut pairs = query_pairs(uri.query()).into_iter();
    let (Some((name, id)), None) = (pairs.next(), pairs.next()) else {
        return Err(Failure(ApiError::invalid("Name the request: ?request=<id>.")));
    };
    if name != "request" {
        return Err(Failure(ApiError::invalid(format!("Unknown parameter {name:?}."))));
    }
    Ok(Answer::ok(json!(provider(&state)?.pending(&person.claims, &id).await?)))
}

async fn decide_authorization_request(
    State(state): State<ServerState>,
    person: Person,
    parts: Parts,
    JsonBody(body): JsonBody<DecisionIn>,
) -> Result<Answer<Value>, Failure> {
    let (actor, device) = (person.actor(), device(&state, &parts));
    let openid = provider(&state)?;
    let to = openid.decide(&actor, &person.claims, &body.request, body.decision, &device).await?;
    Ok(Answer::ok(json!({ "redirect_to": to })))
}

async fn oauth_logout(State(state): State<ServerState>, person: Option<Person>, uri: Uri) -> Result<Response, Failure> {
    let claims = person.as_ref().map(|person| &*person.claims);
    match provider(&state)?.logout(query(&uri), claims).await? {
        LoggedOut::Client(to) => see_other(&to),
        LoggedOut::Done => see_other(&page(&state, "/signed-out", &[])),
        LoggedOut::Ask(to) => {
            let parameters: Vec<_> = to.iter().map(|to| ("return_to", to.as_str())).collect();
            see_other(&page(&state, "/sign-out", &parameters))
        }
    }
}
