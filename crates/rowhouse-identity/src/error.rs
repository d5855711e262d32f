//! What can go wrong with identity.

use rowhouse_postgres::DatabaseError;
use rowhouse_types::{ApiError, ErrorCode, FieldError};

/// An identity operation was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// E-mail address and password do not go together, or the account may not sign in.
    #[error("the e-mail address or the password is wrong")]
    WrongCredentials,
    /// The token is absent, malformed, expired, revoked, forged or meant for somebody else.
    #[error("the token is not valid")]
    InvalidToken,
    /// The account has no part in the tenant it named, or there is no such tenant.
    #[error("no part in that tenant")]
    NotAMember,
    /// The address has an account already.
    #[error("the address has an account already")]
    EmailTaken,
    /// The invitation is unknown, used or expired.
    #[error("the invitation is not valid any more")]
    InvalidInvitation,
    /// A password is too weak.
    #[error(transparent)]
    Password(#[from] crate::password::PasswordError),
    /// The signing keys cannot be used.
    #[error("the signing keys cannot be used: {0}")]
    Keys(&'static str),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<IdentityError> for ApiError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::WrongCredentials => {
                ApiError::unauthenticated("The e-mail address or the password is wrong.")
            }
            IdentityError::InvalidToken => {
                ApiError::unauthenticated("The token is not valid or has expired. Refresh it, or sign in again.")
            }
            IdentityError::NotAMember => ApiError::new(
                ErrorCode::TenantMismatch,
                "You do not belong to that organisation, or it does not exist.",
            ),
            IdentityError::EmailTaken => {
                ApiError::conflict("This e-mail address has an account already. Sign in instead.")
                    .with_details(vec![FieldError::new("email", "taken", "has an account already")])
            }
            IdentityError::InvalidInvitation => {
                ApiError::new(ErrorCode::NotFound, "This invitation is not valid any more. Ask for a new one.")
            }
            IdentityError::Password(fault) => {
                ApiError::validation(vec![FieldError::new("password", "invalid", fault.to_string())])
            }
            IdentityError::Keys(_) => ApiError::internal(error),
            IdentityError::Database(source) => source.into(),
        }
    }
}
