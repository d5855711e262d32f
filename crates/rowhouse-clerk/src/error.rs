//! What can go wrong with Clerk.

use rowhouse_identity::IdentityError;
use rowhouse_postgres::DatabaseError;
use rowhouse_types::ApiError;

use crate::backend::BackendError;
use crate::event::EventError;
use crate::jwks::JwksError;
use crate::signature::SignatureError;
use crate::token::TokenError;

/// A token or a message was refused, or could not be dealt with.
#[derive(Debug, thiserror::Error)]
pub enum ClerkError {
    /// A session token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The session has ended, or its person is shut out.
    #[error("the session is over")]
    Ended,
    /// A message that Clerk did not send, or not now.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A message that cannot be read.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The tenant that it is about is being made: it is to come again.
    #[error("the tenant is being made")]
    Busy,
    /// A tenant could not be made or changed.
    #[error(transparent)]
    Tenant(#[from] ApiError),
    /// A person or a membership could not be made or changed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Nothing can be made at Clerk: no secret key is set.
    #[error("no secret key of Clerk's Backend API is set")]
    NoBackend,
    /// The tenant has no organisation at Clerk, or the person is not known there.
    #[error("there is no such organisation at Clerk")]
    NoOrganization,
    /// Clerk refuses what somebody asked for.
    #[error("Clerk refuses it")]
    Refused(#[source] BackendError),
    /// Clerk could not be told of something.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<ClerkError> for ApiError {
    fn from(error: ClerkError) -> Self {
        match error {
            ClerkError::Token(TokenError::Keys(source @ JwksError::Pausing)) => {
                ApiError::unavailable(source).retry_after(5)
            }
            ClerkError::Token(TokenError::Keys(source)) => ApiError::unavailable(source),
            ClerkError::Token(_) | ClerkError::Ended => {
                ApiError::unauthenticated("The session token is not valid or has expired. Get a new one from Clerk.")
            }
            ClerkError::Signature(_) => {
                ApiError::unauthenticated("The message is not signed with the secret of this endpoint, or not now.")
            }
            ClerkError::Event(source) => ApiError::invalid(source.to_string()),
            ClerkError::Busy => ApiError::unavailable("the tenant is being made").retry_after(1),
            ClerkError::NoBackend => ApiError::permission_denied(
                "People are invited in Clerk here. To invite them by this API, the operator sets --clerk-secret-key.",
            ),
            ClerkError::NoOrganization => ApiError::conflict("This tenant has no organisation at Clerk."),
            ClerkError::Refused(source) => {
                ApiError::conflict("Clerk refuses this invitation: the person may be invited or a member already.")
                    .with_source(source)
            }
            ClerkError::Backend(source) => ApiError::unavailable(source),
            ClerkError::Tenant(error) => error,
            ClerkError::Identity(error) => error.into(),
            ClerkError::Database(error) => error.into(),
        }
    }
}
