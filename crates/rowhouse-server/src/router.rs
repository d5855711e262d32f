//! Every route of the service, in one flat list by domain, and the layers around them.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::middleware;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::TimeoutLayer;

use crate::kept_mails::kept_mails_router;
use crate::route::{RouteDoc, Routes};
use crate::routes;
use crate::state::ServerState;
use crate::trace;

fn all() -> Routes {
    let mut list = Routes::default();
    routes::health::add(&mut list);
    routes::documents::add(&mut list);
    routes::auth::add(&mut list);
    routes::password::add(&mut list);
    routes::email::add(&mut list);
    routes::magic_link::add(&mut list);
    routes::hand_off::add(&mut list);
    routes::sessions::add(&mut list);
    routes::step_up::add(&mut list);
    routes::mfa::add(&mut list);
    routes::passkeys::add(&mut list);
    routes::devices::add(&mut list);
    routes::profile::add(&mut list);
    routes::clerk::add(&mut list);
    routes::tenants::add(&mut list);
    routes::members::add(&mut list);
    routes::invitations::add(&mut list);
    routes::domains::add(&mut list);
    routes::roles::add(&mut list);
    routes::mfa_policy::add(&mut list);
    routes::session_policy::add(&mut list);
    routes::api_keys::add(&mut list);
    routes::oauth::add(&mut list);
    routes::oauth_token::add(&mut list);
    routes::consents::add(&mut list);
    routes::oauth_clients::add(&mut list);
    routes::admin::add(&mut list);
    routes::users::add(&mut list);
    routes::impersonation::add(&mut list);
    routes::records::add(&mut list);
    list
}

/// The list of routes: what the OpenAPI document and the isolation suite read.
pub fn route_docs() -> Vec<RouteDoc> {
    all().into_parts().1
}

/// The service.
pub fn router(state: ServerState) -> Router {
    let (mut router, _) = all().into_parts();
    if state.clerk.is_some() {
        router = router.layer(middleware::from_fn(routes::clerk::refuse_built_in));
    }
    router = router.layer(middleware::from_fn(routes::oauth_token::allow_any_origin));
    let settings = state.settings.clone();
    let is_https = settings.is_https();
    let mut router = router.with_state(state);
    if let Some(folder) = &settings.kept_mails {
        router = router.merge(kept_mails_router(folder.clone()));
    }
    // One layer made of all, the outermost first: each layer of a router is boxed by itself, and
    // cloned for every request.
    let around = ServiceBuilder::new()
        .map_response(move |response| with_fixed_headers(response, is_https))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(trace::surround))
        .layer(CatchPanicLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, settings.request_timeout))
        .layer(DefaultBodyLimit::max(settings.body_bytes_max));
    router.layer(around)
}

/// Headers of every answer that does not set its own.
const FIXED_HEADERS: [(HeaderName, HeaderValue); 6] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// A year, for the host that answers: other names of the domain may serve something else.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

fn with_fixed_headers<B>(mut response: Response<B>, is_https: bool) -> Response<B> {
    for (name, value) in FIXED_HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    if is_https {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HTTPS_ONLY);
    }
    response
}

/// The figures alone, for a listener that only the operators' network reaches.
pub fn metrics_router(state: ServerState) -> Router {
    async fn figures(axum::extract::State(state): axum::extract::State<ServerState>) -> axum::response::Response {
        routes::health::text(&state)
    }
    Router::new().route("/metrics", axum::routing::get(figures)).with_state(state)
}
