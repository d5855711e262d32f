//! Forms, as OAuth sends its requests, and the answers in its words.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rowhouse_openid::{OAuthCode, OpenIdError};
use rowhouse_types::{ApiError, ErrorCode};
use serde_json::json;

use crate::envelope::{BareFailure, Failure};

/// A form as bytes, with its type checked.
pub(crate) struct FormBytes(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for FormBytes {
    type Rejection = OAuthFailure;

    async fn from_request(request: Request, state: &S) -> Result<Self, OAuthFailure> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(OAuthFailure(OpenIdError::Refused {
                code: OAuthCode::InvalidRequest,
                description: "send a form: Content-Type: application/x-www-form-urlencoded",
            }));
        }
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(_) => Err(OAuthFailure(OpenIdError::Refused {
                code: OAuthCode::InvalidRequest,
                description: "the form could not be read to its end, or is too large",
            })),
        }
    }
}

/// The `Authorization` header, if there is one.
pub(crate) fn authorization(headers: &HeaderMap) -> Option<&str> {
    // What is no text is no Basic header either, and is refused as one.
    headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default())
}

/// A refusal by the endpoints for clients: JSON as RFC 6749, section 5.2, has it. What is no refusal in its
/// words (limits, faults of ours) is told as everywhere else.
#[derive(Debug)]
pub(crate) struct OAuthFailure(pub(crate) OpenIdError);

impl From<OpenIdError> for OAuthFailure {
    fn from(error: OpenIdError) -> Self {
        Self(error)
    }
}

impl IntoResponse for OAuthFailure {
    fn into_response(self) -> Response {
        let OpenIdError::Refused { code, description } = self.0 else {
            return Failure(ApiError::from(self.0)).into_response();
        };
        let status = StatusCode::from_u16(code.status()).expect("codes map to valid statuses");
        let body = json!({ "error": code.as_str(), "error_description": description });
        let mut response = (status, Json(body)).into_response();
        let challenge = match code {
            OAuthCode::InvalidClient => Some("Basic realm=\"oauth\", charset=\"UTF-8\""),
            OAuthCode::InvalidToken => Some("Bearer error=\"invalid_token\""),
            OAuthCode::InsufficientScope => Some("Bearer error=\"insufficient_scope\", scope=\"openid\""),
            _ => None,
        };
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        let logged =
            if status == StatusCode::UNAUTHORIZED { ErrorCode::Unauthenticated } else { ErrorCode::InvalidRequest };
        response
            .extensions_mut()
            .insert(BareFailure { code: logged, cause: format!("{}: {description}", code.as_str()) });
        response
    }
}
