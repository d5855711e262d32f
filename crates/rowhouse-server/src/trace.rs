//! What surrounds every request: its id, its one log line, its figures, and the last form of
//! an error.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use rowhouse_types::{ErrorCode, KeyId, TenantId, UserId};

use crate::envelope::{BareFailure, failure_of, write_failure};
use crate::metrics::{UnderWay, record_request};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_LENGTH_MAX: usize = 64;

/// What becomes known of a request on its way, for its log line.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) request_id: String,
    pub(crate) tenant: OnceLock<TenantId>,
    pub(crate) user: OnceLock<UserId>,
    pub(crate) key: OnceLock<KeyId>,
    /// The operator who works in the person's place.
    pub(crate) operator: OnceLock<UserId>,
}

/// The facts of the running request, in its extensions.
pub(crate) type SharedFacts = Arc<Facts>;

/// The middleware around everything.
///
/// Carries a write to its end although its client has gone away: hyper drops a request whose
/// connection is closed, wherever it stands. A sign-up would stay half a tenant until its lease
/// has run out, and a tenant would be suspended without its entry in the audit log. A read that
/// nobody waits for may be dropped.
pub(crate) async fn surround(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return observe(request, next).await;
    }
    // Panics are caught inside, and nobody aborts the task.
    tokio::spawn(observe(request, next)).await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Names the request, answers it, counts it and writes its line.
async fn observe(mut request: Request, next: Next) -> Response {
    let (started, _under_way) = (Instant::now(), UnderWay::begin());
    let facts = Arc::new(Facts { request_id: request_id(request.headers()), ..Facts::default() });
    request.extensions_mut().insert(SharedFacts::clone(&facts));
    let method = request.method().clone();
    // The pattern, never the path: paths hold ids, and a label must not grow without bound.
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("(none)", MatchedPath::as_str);
    let mut response = next.run(request).await;
    let bare = response.extensions_mut().remove::<BareFailure>();
    let failure = if bare.is_none() { failure_of(&mut response) } else { None };
    if let Some(failure) = &failure {
        response = write_failure(response, failure, &facts.request_id);
    }
    if let Ok(value) = HeaderValue::from_str(&facts.request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    record_request(&method, route, status, started.elapsed());
    let line = Line { facts: &facts, method: &method, route, status, duration_ms: started.elapsed().as_millis() };
    match (&failure, &bare) {
        (Some(failure), _) => line.failed(failure.code, failure.cause.as_deref()),
        (None, Some(bare)) => line.failed(bare.code, Some(&bare.cause)),
        (None, None) => line.succeeded(),
    }
    response
}

/// The client's id, if it is short and plain; else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let plain = |id: &&str| {
        (1..=REQUEST_ID_LENGTH_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    given.filter(plain).map_or_else(new_request_id, str::to_owned)
}

/// An id of our own.
pub(crate) fn new_request_id() -> String {
    format!("req_{}", uuid::Uuid::now_v7().simple())
}

struct Line<'a> {
    facts: &'a Facts,
    method: &'a Method,
    route: &'a str,
    status: u16,
    duration_ms: u128,
}

impl Line<'_> {
    fn succeeded(&self) {
        tracing::info!(
            request_id = %self.facts.request_id,
            tenant_id = self.facts.tenant.get().map(tracing::field::display),
            user_id = self.facts.user.get().map(tracing::field::display),
            key_id = self.facts.key.get().map(tracing::field::display),
            operator_id = self.facts.operator.get().map(tracing::field::display),
            method = %self.method, route = self.route, status = self.status, duration_ms = self.duration_ms,
            "request"
        );
    }

    fn failed(&self, code: ErrorCode, cause: Option<&str>) {
        // A client's fault is information; ours wakes somebody.
        if code == ErrorCode::Internal {
            tracing::error!(
                request_id = %self.facts.request_id,
                tenant_id = self.facts.tenant.get().map(tracing::field::display),
                user_id = self.facts.user.get().map(tracing::field::display),
                key_id = self.facts.key.get().map(tracing::field::display),
                operator_id = self.facts.operator.get().map(tracing::field::display),
                method = %self.method, route = self.route, status = self.status, duration_ms = self.duration_ms,
                code = %code, cause, "request failed"
            );
        } else {
            tracing::info!(
                request_id = %self.facts.request_id,
                tenant_id = self.facts.tenant.get().map(tracing::field::display),
                user_id = self.facts.user.get().map(tracing::field::display),
                key_id = self.facts.key.get().map(tracing::field::display),
                operator_id = self.facts.operator.get().map(tracing::field::display),
                method = %self.method, route = self.route, status = self.status, duration_ms = self.duration_ms,
                code = %code, cause, "request refused"
            );
        }
    }
}
