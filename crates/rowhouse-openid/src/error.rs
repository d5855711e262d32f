//! What can go wrong, in the words of the standards.

use rowhouse_identity::IdentityError;
use rowhouse_postgres::DatabaseError;
use rowhouse_types::{ApiError, ErrorCode};

/// A code of RFC 6749, RFC 6750, RFC 7009 or OpenID Connect Core 1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OAuthCode {
    /// A parameter is missing, repeated or malformed.
    InvalidRequest,
    /// The client is not known, or has not shown who it is.
    InvalidClient,
    /// The code or refresh token is not good, or not this client's.
    InvalidGrant,
    /// The client may not do this.
    UnauthorizedClient,
    /// Another way to a token than those that are offered.
    UnsupportedGrantType,
    /// Another answer than a code.
    UnsupportedResponseType,
    /// The client may not ask for this.
    InvalidScope,
    /// The person, or we, said no.
    AccessDenied,
    /// Nobody is signed in, and the client did not want them to be asked.
    LoginRequired,
    /// The person has not consented, and the client did not want them to be asked.
    ConsentRequired,
    /// `request` is not taken.
    RequestNotSupported,
    /// `request_uri` is not taken.
    RequestUriNotSupported,
    /// `registration` is not taken.
    RegistrationNotSupported,
    /// An access token that is not good.
    InvalidToken,
    /// An access token that does not open this.
    InsufficientScope,
}

impl OAuthCode {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::AccessDenied => "access_denied",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }

    /// The status of an answer that is not a redirect.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidClient | Self::InvalidToken => 401,
            Self::InsufficientScope => 403,
            _ => 400,
        }
    }
}

/// A request to the provider was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum OpenIdError {
    /// In the words of the standards.
    #[error("{}: {description}", code.as_str())]
    Refused {
        /// The code.
        code: OAuthCode,
        /// For the client's developers.
        description: &'static str,
    },
    /// A client cannot be so.
    #[error("the {field} cannot be taken: {message}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What it must be.
        message: &'static str,
    },
    /// There is no such thing, or it is somebody else's.
    #[error("there is no such thing")]
    NotFound,
    /// There are as many clients as there may be.
    #[error("there are {0} clients already")]
    TooManyClients(i64),
    /// Identity refused or failed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl OpenIdError {
    pub(crate) const fn refused(code: OAuthCode, description: &'static str) -> Self {
        Self::Refused { code, description }
    }

    pub(crate) const fn invalid_request(description: &'static str) -> Self {
        Self::refused(OAuthCode::InvalidRequest, description)
    }

    pub(crate) const fn invalid_grant(description: &'static str) -> Self {
        Self::refused(OAuthCode::InvalidGrant, description)
    }
}

/// As our own routes, and pages in a browser, tell it.
impl From<OpenIdError> for ApiError {
    fn from(error: OpenIdError) -> Self {
        match error {
            OpenIdError::Refused { code, description } => match code.status() {
                401 => ApiError::unauthenticated(description),
                403 => ApiError::permission_denied(description),
                _ => ApiError::new(ErrorCode::InvalidRequest, format!("{}: {description}", code.as_str())),
            },
            OpenIdError::Field { field, message } => {
                ApiError::validation(vec![rowhouse_types::FieldError::new(field, "invalid", message)])
            }
            OpenIdError::NotFound => ApiError::not_found(),
            OpenIdError::TooManyClients(most) => {
                ApiError::conflict(format!("There are at most {most} clients. Delete one first."))
            }
            OpenIdError::Identity(source) => source.into(),
            OpenIdError::Database(source) => source.into(),
        }
    }
}
