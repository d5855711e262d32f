//! Documents: OpenAPI.

use axum::extract::State;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};

use crate::openapi;
use crate::route::{Access, RouteDoc, Routes};
use crate::router::route_docs;
use crate::state::ServerState;

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let document = RouteDoc::new(Method::GET, "/api/openapi.json", "get_openapi", Access::Public)
        .summary("This document: every route, and the app's entities.")
        .bare("application/json");
    routes.add(document, get_openapi);
}

async fn get_openapi(State(state): State<ServerState>) -> Response {
    let model = state.tenants.model();
    let title = model.manifest.app.title.clone();
    let document = openapi::document(&model, &route_docs(), &title, state.settings.version, &state.settings.public_url);
    let mut response = document.to_string().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
