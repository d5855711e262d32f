//! The envelope around every answer: `{success, data, pagination, tenant_id}` or
//! `{success, error}`.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rowhouse_types::{ApiError, ErrorCode, FieldError, Pagination, TenantId};
use serde::Serialize;
use serde_json::json;

/// An answer whose data is already JSON text, as rows are written.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) status: StatusCode,
    pub(crate) data: Vec<u8>,
    pub(crate) pagination: Option<Pagination>,
    pub(crate) tenant: Option<TenantId>,
}

impl IntoResponse for RawAnswer {
    fn into_response(self) -> Response {
        let mut body = Vec::with_capacity(self.data.len() + 320);
        body.extend_from_slice(b"{\"success\":true,\"data\":");
        body.extend_from_slice(&self.data);
        if let Some(pagination) = &self.pagination {
            body.extend_from_slice(b",\"pagination\":");
            serde_json::to_writer(&mut body, pagination).expect("a pagination block is always JSON");
        }
        if let Some(tenant) = self.tenant {
            body.extend_from_slice(b",\"tenant_id\":\"");
            body.extend_from_slice(tenant.to_string().as_bytes());
            body.push(b'"');
        }
        body.push(b'}');
        json_response(self.status, body)
    }
}

/// An answer with data that is turned into JSON here.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    status: StatusCode,
    data: T,
    pagination: Option<Pagination>,
    tenant: Option<TenantId>,
    cookie: Option<HeaderValue>,
}

impl<T: Serialize> Answer<T> {
    /// 200 with data.
    pub(crate) fn ok(data: T) -> Self {
        Self { status: StatusCode::OK, data, pagination: None, tenant: None, cookie: None }
    }

    /// 201 with what was made.
    pub(crate) fn created(data: T) -> Self {
        Self { status: StatusCode::CREATED, ..Self::ok(data) }
    }

    /// 202: what was asked for goes on by mail, or not; the answer does not tell.
    pub(crate) fn accepted(data: T) -> Self {
        Self { status: StatusCode::ACCEPTED, ..Self::ok(data) }
    }

    /// Names the tenant the data belongs to.
    pub(crate) fn of(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Sets or clears a cookie, if one is given.
    pub(crate) fn with_cookie(mut self, cookie: Option<HeaderValue>) -> Self {
        self.cookie = cookie;
        self
    }

    /// Adds the pagination block.
    pub(crate) fn paged(mut self, pagination: Pagination) -> Self {
        self.pagination = Some(pagination);
        self
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let data = serde_json::to_vec(&self.data).expect("answers are made of plain values");
        let raw = RawAnswer { status: self.status, data, pagination: self.pagination, tenant: self.tenant };
        let mut response = raw.into_response();
        if let Some(cookie) = self.cookie {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }
}

fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An error on its way to the client. Its body is written at the very end, where the request
/// id is known ([`write_failure`]).
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) ApiError);

impl<E: Into<ApiError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// What of an error is public, carried in the response's extensions.
#[derive(Debug, Clone)]
pub(crate) struct FailureBody {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    pub(crate) details: Vec<FieldError>,
    pub(crate) retry_after_seconds: Option<u32>,
    /// The chain of causes, for the log only.
    pub(crate) cause: Option<String>,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status_of(self.0.code);
        if self.0.code == ErrorCode::MethodNotAllowed {
            // Ours is for what can only be read; the HTTP layer names the methods of all others.
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response.extensions_mut().insert(FailureBody {
            code: self.0.code,
            cause: cause_of(&self.0),
            message: self.0.message.into_owned(),
            details: self.0.details,
            retry_after_seconds: self.0.retry_after_seconds,
        });
        response
    }
}

/// A refusal in the form of a standard, whose body is written already. For the log only.
#[derive(Debug, Clone)]
pub(crate) struct BareFailure {
    pub(crate) code: ErrorCode,
    pub(crate) cause: String,
}

fn cause_of(error: &ApiError) -> Option<String> {
    use std::error::Error as _;
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    (!causes.is_empty()).then(|| causes.join(": "))
}

fn status_of(code: ErrorCode) -> StatusCode {
    StatusCode::from_u16(code.status()).expect("codes map to valid statuses")
}

/// The failure a response carries: our own, or one that the HTTP layer made (an unknown path,
/// a body too large, a panic), told in the same words.
pub(crate) fn failure_of(response: &mut Response) -> Option<FailureBody> {
    if let Some(failure) = response.extensions_mut().remove::<FailureBody>() {
        return Some(failure);
    }
    let (code, message) = match response.status() {
        StatusCode::NOT_FOUND => {
            (ErrorCode::NotFound, "There is no such path. The service's paths are listed in /api/openapi.json.")
        }
        StatusCode::METHOD_NOT_ALLOWED => (
            ErrorCode::MethodNotAllowed,
            "The path exists, but not with this method; the Allow header lists those it has.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => (ErrorCode::PayloadTooLarge, "The body is larger than this server allows."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            (ErrorCode::UnsupportedMediaType, "Send JSON with the header Content-Type: application/json.")
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => {
            (ErrorCode::Timeout, "The request took longer than allowed. Narrow it, or try again.")
        }
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => {
            (ErrorCode::InvalidRequest, "The request could not be read.")
        }
        status if status.is_client_error() => (ErrorCode::InvalidRequest, "The request could not be read."),
        status if status.is_server_error() => {
            (ErrorCode::Internal, "Something went wrong on our side. Quote the request id when you report it.")
        }
        _ => return None,
    };
    let retry_after_seconds = None;
    Some(FailureBody { code, message: message.into(), details: Vec::new(), retry_after_seconds, cause: None })
}

/// Writes the error's body and headers.
pub(crate) fn write_failure(response: Response, failure: &FailureBody, request_id: &str) -> Response {
    let body = json!({
        "success": false,
        "error": {
            "code": failure.code,
            "message": failure.message,
            "details": failure.details,
            "request_id": request_id,
        }
    });
    let (mut parts, _) = response.into_parts();
    parts.status = status_of(failure.code);
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = failure.retry_after_seconds {
        parts.headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if failure.code == ErrorCode::Unauthenticated {
        parts.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    Response::from_parts(parts, Body::from(body.to_string()))
}
