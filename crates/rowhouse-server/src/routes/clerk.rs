//! Clerk in place of the built-in identity: its webhook, and the routes that it replaces.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use rowhouse_clerk::{Received, SignedHeaders};
use rowhouse_types::ApiError;
use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde_json::json;

use crate::body::JsonBytes;
use crate::client::device;
use crate::envelope::{Answer, Failure};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// Adds the route.
pub(crate) fn add(routes: &mut Routes) {
    routes.add(
        RouteDoc::new(Method::POST, "/api/webhooks/clerk", "receive_clerk_event", Access::Public)
            .summary("What Clerk tells, signed as Svix signs it; only where people sign in with Clerk.")
            .body(json!({ "type": "object", "description": "An event as Clerk sends it." }))
            .answers(200, schema_for!(ReceivedOut).to_value())
            .refuses(&[400, 401, 404, 409, 413, 415, 422, 503]),
        receive_clerk_event,
    );
}

#[derive(Debug, Serialize, JsonSchema)]
struct ReceivedOut {
    /// Whether it had been dealt with before.
    repeated: bool,
}

async fn receive_clerk_event(
    State(state): State<ServerState>,
    parts: Parts,
    JsonBytes(body): JsonBytes,
) -> Result<Answer<ReceivedOut>, Failure> {
    let Some(clerk) = &state.clerk else { return Err(Failure(ApiError::not_found())) };
    let headers = SignedHeaders {
        id: text(&parts.headers, "svix-id"),
        timestamp: text(&parts.headers, "svix-timestamp"),
        signature: text(&parts.headers, "svix-signature"),
    };
    let received = clerk.receive(headers, &body, &device(&state, &parts)).await.map_err(ApiError::from)?;
    Ok(Answer::ok(ReceivedOut { repeated: received == Received::Repeated }))
}

/// Empty, which no signature fits, if it is not there.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Refuses what only people with an account of the built-in identity do: with Clerk nobody has one.
pub(crate) async fn refuse_built_in(request: Request, next: Next) -> Response {
    let (path, is_change) = (request.uri().path(), !request.method().is_safe());
    let account = path.starts_with("/api/auth/") && (is_change || path != "/api/auth/me");
    let founding = path == "/api/tenants" && is_change;
    let mut below = path.strip_prefix("/api/tenants/").into_iter().flat_map(|rest| rest.split('/').skip(1));
    let people = match (below.next(), below.next()) {
        // Inviting is passed on to Clerk; what is built in would be a link that opens nothing here.
        (Some("invitations"), Some(_)) | (Some("domains" | "mfa-policy" | "session-policy"), _) => true,
        (Some("members" | "leave" | "transfer"), _) => is_change,
        _ => false,
    };
    if account || founding || people {
        let message = "People sign in with Clerk here: accounts, members and invitations are managed there.";
        return Failure(ApiError::permission_denied(message)).into_response();
    }
    next.run(request).await
}
