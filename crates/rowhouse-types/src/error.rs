//! The one error that reaches a client: a closed set of codes, each with one HTTP status.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What went wrong, in a word that never changes. The list is complete: a new kind of refusal
/// gets a new code here and a section in `docs/reference/errors.md` (a test compares them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 400: the request is malformed, or names something unknown.
    InvalidRequest,
    /// 401: no valid credentials.
    Unauthenticated,
    /// 402: the tenant's plan does not allow more.
    PlanLimitReached,
    /// 403: the caller's role does not allow it.
    PermissionDenied,
    /// 403: the request names tenants that disagree, or one the caller has no part in.
    TenantMismatch,
    /// 403: the tenant is suspended.
    TenantSuspended,
    /// 403: an unsafe request by cookie without its CSRF token.
    CsrfFailed,
    /// 403: a second factor is needed first.
    MfaRequired,
    /// 403: who the caller is has to be shown once more first.
    StepUpRequired,
    /// 404: no such thing, or not for this caller.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 409: it exists already, or is being changed.
    Conflict,
    /// 412: the record has changed since it was read.
    PreconditionFailed,
    /// 413: the body is larger than allowed.
    PayloadTooLarge,
    /// 414: the URL is longer than can be read.
    UriTooLong,
    /// 415: the body is of a type that is not understood.
    UnsupportedMediaType,
    /// 422: well-formed, but some values are not allowed.
    ValidationFailed,
    /// 429: too many requests.
    RateLimited,
    /// 431: the headers are more than can be read.
    HeadersTooLarge,
    /// 500: a fault of Rowhouse, never of the request.
    Internal,
    /// 503: the database, or something else needed, cannot be reached now.
    Unavailable,
    /// 504: the statement took longer than allowed.
    Timeout,
}

impl ErrorCode {
    /// Every code, for documentation and tests.
    pub const ALL: [Self; 22] = [
        Self::InvalidRequest,
        Self::Unauthenticated,
        Self::PlanLimitReached,
        Self::PermissionDenied,
        Self::TenantMismatch,
        Self::TenantSuspended,
        Self::CsrfFailed,
        Self::MfaRequired,
        Self::StepUpRequired,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::PreconditionFailed,
        Self::PayloadTooLarge,
        Self::UriTooLong,
        Self::UnsupportedMediaType,
        Self::ValidationFailed,
        Self::RateLimited,
        Self::HeadersTooLarge,
        Self::Internal,
        Self::Unavailable,
        Self::Timeout,
    ];

    /// The HTTP status that goes with the code.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Unauthenticated => 401,
            Self::PlanLimitReached => 402,
            Self::PermissionDenied
            | Self::TenantMismatch
            | Self::TenantSuspended
            | Self::CsrfFailed
            | Self::MfaRequired
            | Self::StepUpRequired => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::PreconditionFailed => 412,
            Self::PayloadTooLarge => 413,
            Self::UriTooLong => 414,
            Self::UnsupportedMediaType => 415,
            Self::ValidationFailed => 422,
            Self::RateLimited => 429,
            Self::HeadersTooLarge => 431,
            Self::Internal => 500,
            Self::Unavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// The code as it stands in a response.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Unauthenticated => "unauthenticated",
            Self::PlanLimitReached => "plan_limit_reached",
            Self::PermissionDenied => "permission_denied",
            Self::TenantMismatch => "tenant_mismatch",
            Self::TenantSuspended => "tenant_suspended",
            Self::CsrfFailed => "csrf_failed",
            Self::MfaRequired => "mfa_required",
            Self::StepUpRequired => "step_up_required",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::PreconditionFailed => "precondition_failed",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::ValidationFailed => "validation_failed",
            Self::RateLimited => "rate_limited",
            Self::HeadersTooLarge => "headers_too_large",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One field's fault, for forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// The field as the client named it; dotted for nested values.
    pub field: String,
    /// A stable word: `required`, `unknown_field`, `invalid`, `too_long`, `not_allowed`, …
    pub code: Cow<'static, str>,
    /// A sentence for people.
    pub message: String,
}

impl FieldError {
    /// A fault of one field.
    pub fn new(field: impl Into<String>, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { field: field.into(), code: code.into(), message: message.into() }
    }
}

/// An error as a client may see it. `message` and `details` are public; `source` is for the
/// log only, and must never be copied into either (it can hold another tenant's values).
#[derive(Debug)]
pub struct ApiError {
    /// The stable code; it decides the HTTP status.
    pub code: ErrorCode,
    /// A sentence for people: what was wrong and what to do.
    pub message: Cow<'static, str>,
    /// All fields' faults at once.
    pub details: Vec<FieldError>,
    /// Seconds after which a retry may succeed (429 and 503).
    pub retry_after_seconds: Option<u32>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What a fallible operation for a client gives.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    /// An error with a code and a sentence for people.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        let retry_after_seconds = matches!(code, ErrorCode::Unavailable | ErrorCode::RateLimited).then_some(1);
        Self { code, message: message.into(), details: Vec::new(), retry_after_seconds, source: None }
    }

    /// 400 with a sentence.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// The 404 that is the same for a thing that is absent and one that is another's.
    pub fn not_found() -> Self {
        Self::new(ErrorCode::NotFound, "There is no such resource, or you may not see it.")
    }

    /// 403: the caller's role does not allow it.
    pub fn permission_denied(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::PermissionDenied, message)
    }

    /// 401.
    pub fn unauthenticated(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Unauthenticated, message)
    }

    /// 409 with a sentence.
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Conflict, message)
    }

    /// 422 with every field's fault.
    pub fn validation(details: Vec<FieldError>) -> Self {
        let message = match details.as_slice() {
            [one] => format!("{}: {}", one.field, one.message).into(),
            _ => Cow::Borrowed("Some fields are not valid; see details."),
        };
        Self::new(ErrorCode::ValidationFailed, message).with_details(details)
    }

    /// 503: something needed cannot be reached now.
    pub fn unavailable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorCode::Unavailable, "The service cannot be reached right now. Try again shortly.")
            .with_source(source)
    }

    /// 500: a fault of ours. The cause goes to the log, never to the client.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorCode::Internal, "Something went wrong on our side. Quote the request id when you report it.")
            .with_source(source)
    }

    /// Adds the fields' faults.
    #[must_use]
    pub fn with_details(mut self, details: Vec<FieldError>) -> Self {
        self.details = details;
        self
    }

    /// Adds the cause, for the log only.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says after how many seconds a retry may succeed.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl StdError for ApiError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_name_and_a_status_of_its_class() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!((400..600).contains(&code.status()), "{code}");
        }
    }

    #[test]
    fn every_code_has_a_section_in_the_docs() {
        let docs = include_str!("../../../docs/reference/errors.md");
        for code in ErrorCode::ALL {
            let (_, section) = docs.split_once(&format!("\n## {code}\n")).unwrap_or_else(|| panic!("{code}"));
            assert!(section.trim_start().starts_with(&format!("Status {}.", code.status())), "{code}");
        }
    }

    #[test]
    fn the_cause_is_not_part_of_the_text() {
        let error = ApiError::internal("secret of another tenant");
        assert!(!error.to_string().contains("secret"));
    }
}
