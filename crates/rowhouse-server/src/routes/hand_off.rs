//! Browsers' sessions: the token against forged requests, and going on from the sign-in host to a
//! tenant's.

use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use rowhouse_identity::{HAND_OFF_SECONDS, HandOff, ReturnTo};
use rowhouse_types::{ApiError, ErrorCode, FieldError};
use schemars::{JsonSchema, schema_for};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::browser::web_host;
use crate::client::device;
use crate::cookie;
use crate::csrf::require_sent_by_sign_in_host;
use crate::envelope::{Answer, Failure};
use crate::gate::{Person, SignedIn, query_pairs};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

const REDEEM: &str = "/api/auth/hand-off/redeem";
const REDEEM_QUERY: &[(&str, &str)] = &[("code", "The code.")];
/// Where the console lets somebody choose an organisation.
const SELECTION: &str = "/organisations";

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    routes.add(
        RouteDoc::new(Method::GET, "/api/auth/csrf", "get_csrf_token", Access::Person)
            .summary("What unsafe requests by cookie send as X-CSRF-Token; for nobody with a token of their own.")
            .refuses(&[400]),
        get_csrf_token,
    );
    routes.add(
        RouteDoc::new(Method::POST, "/api/auth/hand-off", "hand_off", Access::Person)
            .summary("A link by which the session goes on, on the host of one of the caller's organisations; good once, for 30 seconds.")
            .body(schema_for!(HandOffIn).to_value())
            .answers(200, schema_for!(HandOffOut).to_value())
            .refuses(&[400, 413, 415, 422]),
        hand_off,
    );
    routes.add(
        RouteDoc::new(Method::GET, REDEEM, "redeem_hand_off", Access::Public)
            .summary("Where such a link leads: sets the host's cookie and goes on to the path that was asked for.")
            .query(REDEEM_QUERY)
            .answers(303, Value::Null)
            .refuses(&[400, 403, 404]),
        redeem_hand_off,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HandOffIn {
    /// Id or slug of the organisation.
    tenant: String,
    /// The path on its host to go on to, with its query; `/` if absent.
    return_to: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct HandOffOut {
    /// Where to send the browser.
    url: String,
    /// Seconds the link is good for.
    expires_in: i64,
}

async fn get_csrf_token(State(state): State<ServerState>, person: SignedIn) -> Result<Answer<Value>, Failure> {
    let Some(web) = &person.web else {
        return Err(Failure(ApiError::invalid(
            "A session by token needs no CSRF token: it is for sessions by cookie.",
        )));
    };
    Ok(Answer::ok(json!({ "csrf_token": state.identity.csrf_token(web) })))
}

async fn hand_off(
    State(state): State<ServerState>,
    person: Person,
    parts: Parts,
    JsonBody(body): JsonBody<HandOffIn>,
) -> Result<Answer<HandOffOut>, Failure> {
    let return_to = match &body.return_to {
        Some(path) => ReturnTo::read(path).ok_or_else(|| {
            let message = "is a path of the organisation's host: it begins with one slash, and is written as in a URL";
            ApiError::validation(vec![FieldError::new("return_to", "invalid", message)])
        })?,
        None => ReturnTo::default(),
    };
    let (base_domain, device) = (state.settings.base_domain.as_str(), device(&state, &parts));
    let to = HandOff { tenant: &body.tenant, base_domain, return_to: &return_to, device: &device };
    let made = state.identity.hand_off(&person.claims, &to).await?;
    let url = link_to(&state, &made.host, made.code.expose_secret());
    Ok(Answer::ok(HandOffOut { url, expires_in: HAND_OFF_SECONDS }).of(made.tenant))
}

/// The link that takes a code on its host.
pub(crate) fn link_to(state: &ServerState, host: &str, code: &str) -> String {
    format!("{}{REDEEM}?code={code}", state.settings.origin_of(host))
}

/// Pages are led to the selection with what is refused; programs are told.
async fn redeem_hand_off(State(state): State<ServerState>, parts: Parts) -> Response {
    match redeem(&state, &parts).await {
        Ok(response) => response,
        Err(Failure(error)) if wants_page(&parts) && error.code != ErrorCode::RateLimited => {
            go_on(&format!("{}{SELECTION}?refused=hand_off", state.settings.public_origin()), None)
        }
        Err(failure) => failure.into_response(),
    }
}

async fn redeem(state: &ServerState, parts: &Parts) -> Result<Response, Failure> {
    require_sent_by_sign_in_host(parts, &state.settings)?;
    let mut codes = Vec::new();
    for (name, value) in query_pairs(parts.uri.query()) {
        match name.as_str() {
            "code" => codes.push(value),
            other => return Err(Failure(ApiError::invalid(format!("Unknown parameter {other:?}. Known: code.")))),
        }
    }
    let [code] = codes.try_into().map_err(|_| ApiError::invalid("Send one code."))?;
    let host = web_host(parts, &state.settings);
    let taken = state.identity.take_hand_off(&SecretString::from(code), host, &device(state, parts)).await?;
    let cookie = cookie::set(&taken.web.secret, taken.web.ends_at, &state.settings);
    Ok(go_on(taken.return_to.as_str(), cookie))
}

/// Whether a browser shows the answer to somebody.
fn wants_page(parts: &Parts) -> bool {
    let accepted = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

fn go_on(to: &str, cookie: Option<HeaderValue>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(location) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
