//! Health and metrics.

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rowhouse_types::ApiError;
use serde_json::json;

use crate::envelope::{Answer, Failure};
use crate::gate::{Operator, PathParty};
use crate::metrics;
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// How long the database may take to answer a health check.
const PATIENCE: Duration = Duration::from_secs(2);

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let health = RouteDoc::new(Method::GET, "/api/health", "get_health", Access::Public)
        .summary("Whether the service and its databases answer.");
    routes.add(health, get_health);
    let tenant = RouteDoc::new(Method::GET, "/api/health/{tenant}", "get_tenant_health", Access::PathTenant)
        .summary("Whether the database of one tenant answers.")
        .for_keys();
    routes.add(tenant, get_tenant_health);
    let figures = RouteDoc::new(Method::GET, "/metrics", "get_metrics", Access::Operator)
        .summary("Figures in Prometheus' text format.")
        .answers(200, json!({ "type": "string" }))
        .bare("text/plain");
    routes.add(figures, get_metrics);
}

async fn get_health(State(state): State<ServerState>) -> Result<Response, Failure> {
    let started = Instant::now();
    let scope = state.system_authority.scope("health");
    let ping = async {
        let control = state.databases.control(&scope).await?;
        control.query("select 1", &[]).await?;
        let shared = state.databases.system(&scope, &state.databases.pool_location()).await?;
        shared.query("select 1", &[]).await
    };
    // Nothing internal here: the answer is public.
    match tokio::time::timeout(PATIENCE, ping).await {
        Ok(Ok(_)) => {
            let data = json!({
                "status": "pass",
                "version": state.settings.version,
                "database": { "status": "pass", "duration_ms": started.elapsed().as_millis() },
            });
            Ok(Answer::ok(data).into_response())
        }
        Ok(Err(error)) => Err(Failure(ApiError::unavailable(error))),
        Err(_) => Err(Failure(ApiError::unavailable("the database did not answer the health check in time"))),
    }
}

async fn get_tenant_health(
    State(state): State<ServerState>,
    PathParty(party): PathParty,
) -> Result<Answer<serde_json::Value>, Failure> {
    let started = Instant::now();
    let connection = state.databases.tenant(&party.context).await?;
    connection.run("select 1", &[]).await?;
    let data = json!({
        "status": "pass",
        "tenant": { "id": party.tenant.id, "slug": party.tenant.slug, "status": party.tenant.status },
        "database": { "status": "pass", "duration_ms": started.elapsed().as_millis() },
    });
    Ok(Answer::ok(data).of(party.tenant.id))
}

async fn get_metrics(State(state): State<ServerState>, _: Operator) -> Response {
    text(&state)
}

/// The figures as text; also served on the metrics listener.
pub(crate) fn text(state: &ServerState) -> Response {
    let mut response = (StatusCode::OK, metrics::render(&state.databases)).into_response();
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
