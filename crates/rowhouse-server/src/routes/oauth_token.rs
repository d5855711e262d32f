//! What programs ask of the OpenID provider: tokens, what they are worth, whom they are of, and what it offers.

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, extract::Request};
use rowhouse_openid::{OAuthCode, OpenId, OpenIdError};
use serde_json::{Value, json};

use super::oauth::provider;
use crate::client::device;
use crate::envelope::Failure;
use crate::form::{FormBytes, OAuthFailure, authorization};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// What pages of any origin may ask for. None of it looks at a cookie, so nobody's session can be used.
const FOR_ANY_ORIGIN: [&str; 6] = [
    "/oauth/token",
    "/oauth/userinfo",
    "/oauth/revoke",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/.well-known/jwks.json",
];

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let get = |path, operation| RouteDoc::new(Method::GET, path, operation, Access::Public).bare("application/json");
    let post =
        |path, operation| RouteDoc::new(Method::POST, path, operation, Access::Public).bare("application/json").oauth();
    routes.add(
        post("/oauth/token", "exchange_token")
            .summary("Exchange a code or a refresh token for tokens (RFC 6749).")
            .body(form(&["grant_type"], &["code", "redirect_uri", "code_verifier", "refresh_token", "scope"]))
            .answers(200, json!({ "type": "object" }))
            .refuses(&[400, 401]),
        exchange_token,
    );
    routes.add(
        post("/oauth/introspect", "introspect_token")
            .summary("What a token of the client's own is worth (RFC 7662).")
            .body(form(&["token"], &["token_type_hint"]))
            .answers(200, json!({ "type": "object" }))
            .refuses(&[400, 401]),
        introspect_token,
    );
    routes.add(
        post("/oauth/revoke", "revoke_token")
            .summary("End what a token stands for (RFC 7009).")
            .body(form(&["token"], &["token_type_hint"]))
            .answers(200, json!({ "type": "object" }))
            .refuses(&[400, 401]),
        revoke_token,
    );
    routes.add(
        get("/oauth/userinfo", "get_userinfo")
            .summary("Whom a client's access token is of.")
            .oauth()
            .refuses(&[401, 403]),
        userinfo,
    );
    routes.add(
        RouteDoc::new(Method::POST, "/oauth/userinfo", "post_userinfo", Access::Public)
            .bare("application/json")
            .summary("The same, by POST: the token stands in the Authorization header here too.")
            .oauth()
            .refuses(&[401, 403]),
        userinfo,
    );
    for (path, operation) in [
        ("/.well-known/openid-configuration", "get_openid_configuration"),
        ("/.well-known/oauth-authorization-server", "get_oauth_server_metadata"),
    ] {
        routes.add(
            get(path, operation).summary("What the OpenID provider offers, and where.").refuses(&[404]),
            get_configuration,
        );
    }
}

/// The schema of a form.
fn form(needed: &[&str], other: &[&str]) -> Value {
    let text = |name: &&str| ((*name).to_owned(), json!({ "type": "string" }));
    let client = ["client_id", "client_secret"];
    let properties: serde_json::Map<String, Value> = needed.iter().chain(other).chain(&client).map(text).collect();
    json!({ "type": "object", "required": needed, "properties": properties })
}

/// The provider, for handlers that refuse in the words of OAuth.
fn openid(state: &ServerState) -> Result<&OpenId, OAuthFailure> {
    state.openid.as_deref().ok_or(OAuthFailure(OpenIdError::NotFound))
}

async fn exchange_token(
    State(state): State<ServerState>,
    parts: Parts,
    FormBytes(form): FormBytes,
) -> Result<Json<Value>, OAuthFailure> {
    Ok(Json(openid(&state)?.token(authorization(&parts.headers), &form, &device(&state, &parts)).await?))
}

async fn introspect_token(
    State(state): State<ServerState>,
    parts: Parts,
    FormBytes(form): FormBytes,
) -> Result<Json<Value>, OAuthFailure> {
    Ok(Json(openid(&state)?.introspect(authorization(&parts.headers), &form, &device(&state, &parts)).await?))
}

async fn revoke_token(
    State(state): State<ServerState>,
    parts: Parts,
    FormBytes(form): FormBytes,
) -> Result<Json<Value>, OAuthFailure> {
    openid(&state)?.revoke(authorization(&parts.headers), &form, &device(&state, &parts)).await?;
    Ok(Json(json!({})))
}

async fn userinfo(State(state): State<ServerState>, headers: HeaderMap) -> Result<Json<Value>, OAuthFailure> {
    let provider = openid(&state)?;
    let missing = OpenIdError::Refused { code: OAuthCode::InvalidToken, description: "send an access token: Bearer" };
    let bearer = authorization(&headers).and_then(|header| header.split_once(' '));
    let (_, token) = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).ok_or(missing)?;
    Ok(Json(provider.userinfo(token.trim()).await?))
}

async fn get_configuration(State(state): State<ServerState>) -> Result<impl IntoResponse, Failure> {
    let configuration = provider(&state)?.configuration();
    Ok(([(header::CACHE_CONTROL, "public, max-age=300")], Json(configuration)))
}

/// Lets pages of other origins ask: a front end that is served elsewhere signs in from there. What they get is
/// by what they send in the request, never by a cookie, which browsers leave out for `*`.
pub(crate) async fn allow_any_origin(request: Request, next: Next) -> Response {
    if !FOR_ANY_ORIGIN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let is_question = *request.method() == Method::OPTIONS;
    let mut response = if is_question { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if is_question {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        let allowed = HeaderValue::from_static("authorization, content-type");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}
