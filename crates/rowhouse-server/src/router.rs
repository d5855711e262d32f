//! Every route of the service, in one flat list by domain, and the layers around them.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use crate::route::{RouteDoc, Routes};
use crate::routes;
use crate::state::ServerState;
use crate::trace;

fn all() -> Routes {
    let mut list = Routes::default();
    routes::health::add(&mut list);
    routes::documents::add(&mut list);
    routes::auth::add(&mut list);
    routes::tenants::add(&mut list);
    routes::admin::add(&mut list);
    routes::records::add(&mut list);
    list
}

/// The list of routes: what the OpenAPI document and the isolation suite read.
pub fn route_docs() -> Vec<RouteDoc> {
    all().into_parts().1
}

/// The service.
pub fn router(state: ServerState) -> Router {
    let (router, _) = all().into_parts();
    let settings = state.settings.clone();
    let fixed = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    router
        .with_state(state)
        .layer(DefaultBodyLimit::max(settings.body_bytes_max))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, settings.request_timeout))
        .layer(CatchPanicLayer::new())
        .layer(middleware::from_fn(trace::surround))
        .layer(middleware::from_fn(trace::carry_through))
        .layer(CompressionLayer::new())
        .layer(fixed(header::CACHE_CONTROL, "private, no-store"))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::X_FRAME_OPTIONS, "DENY"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
        .layer(fixed(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
}

/// The figures alone, for a listener that only the operators' network reaches.
pub fn metrics_router(state: ServerState) -> Router {
    async fn figures(axum::extract::State(state): axum::extract::State<ServerState>) -> axum::response::Response {
        routes::health::text(&state)
    }
    Router::new().route("/metrics", axum::routing::get(figures)).with_state(state)
}
