//! What can go wrong with identity.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use rowhouse_postgres::DatabaseError;
use rowhouse_types::{ApiError, ErrorCode, FieldError, KeyId, Permission};

use crate::organisation_error::OrganisationError;
use crate::password::PasswordError;
use crate::second_factor::FactorKinds;

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
    /// The invitation is unknown, used, expired, or meant for somebody else.
    #[error("the invitation is not valid any more")]
    InvalidInvitation,
    /// The role is not known, or allows more than whoever gives it may.
    #[error("the role cannot be given")]
    Role,
    /// The person has not proved their own address.
    #[error("the address is not proved")]
    Unproved,
    /// The person is a member of the tenant already.
    #[error("a member already")]
    AlreadyMember,
    /// The link of a mail was made up, used before, is over, or is for something else.
    #[error("the link is not valid any more")]
    InvalidLink,
    /// The password that somebody who is signed in gave once more is wrong.
    #[error("the current password is wrong")]
    WrongPassword,
    /// The API key is unknown, expired, revoked or of the other mode.
    #[error("the API key is not valid")]
    InvalidKey,
    /// Somebody would hand on what they do not hold.
    #[error("{0} is not held")]
    NotHeld(Permission),
    /// A role that nobody knows.
    #[error("there is no such role")]
    UnknownRole,
    /// The tenant has as many API keys as it may have.
    #[error("the tenant has {0} API keys already")]
    TooManyKeys(i64),
    /// The people of a tenant, or what they may do, cannot become so.
    #[error(transparent)]
    Organisation(#[from] OrganisationError),
    /// There is no such thing, or it is somebody else's.
    #[error("there is no such thing")]
    NotFound,
    /// The address, or the account, was tried too often.
    #[error("too many attempts; wait {retry_after_seconds} seconds")]
    TooManyAttempts {
        /// When it may be tried again.
        retry_after_seconds: u32,
    },
    /// The API key has made as many requests as it may.
    #[error("more than {limit} requests in a minute")]
    TooManyRequests {
        /// In a minute.
        limit: i32,
        /// When it may make others.
        retry_after_seconds: u32,
    },
    /// The account has a second factor of these kinds, and none was shown.
    #[error("a second factor is needed")]
    MfaRequired(FactorKinds),
    /// The browser's answer proves no passkey of this account, or its challenge is over.
    #[error("the passkey is not accepted")]
    InvalidPasskey,
    /// The account has no passkey.
    #[error("there is no passkey")]
    NoPasskey,
    /// The account has as many passkeys as it may have.
    #[error("there are {0} passkeys already")]
    TooManyPasskeys(i64),
    /// The service has no host name that passkeys could be bound to.
    #[error("passkeys need a public URL with a host name")]
    NoRelyingParty,
    /// The session is open for long: who one is has to be shown once more.
    #[error("no recent proof")]
    StepUpRequired,
    /// The tenant asks for a newer sign-in than the session's.
    #[error("the sign-in is too old")]
    SignInTooOld,
    /// The code of the second factor is wrong, too old, or was used before.
    #[error("the code is wrong or was used before")]
    WrongCode,
    /// There is a second factor already.
    #[error("there is a second factor already")]
    FactorExists,
    /// There is no operator with this address.
    #[error("there is no operator with this address")]
    UnknownOperator,
    /// A name of a person cannot be taken.
    #[error("the {field} cannot be taken")]
    Name {
        /// `first_name` or `last_name`.
        field: &'static str,
    },
    /// What a person or a member is to be known by cannot be taken.
    #[error("the {field} cannot be taken")]
    Field {
        /// Which.
        field: &'static str,
        /// What it must be.
        message: &'static str,
    },
    /// A password cannot be taken, or not now.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The DNS does not answer.
    #[error("the DNS does not answer: {0}")]
    Dns(String),
    /// A new signing key waits already.
    #[error("the key {id} is published and signs from {}; rotate again after that", .signs_from.to_rfc3339())]
    KeyWaiting {
        /// Which.
        id: KeyId,
        /// When it signs.
        signs_from: DateTime<Utc>,
    },
    /// The signing keys cannot be used.
    #[error("the signing keys cannot be used: {0}")]
    Keys(&'static str),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

const PROVE_FIRST: &str =
    "Prove your own e-mail address first: POST /api/auth/verify-email/resend sends the mail again.";
const INVALID_KEY: &str = "The API key is not valid: it is unknown, revoked or expired. Make a new one, or rotate it.";
const SIGN_IN_AGAIN: &str = "This organisation asks for a newer sign-in. Sign in again.";
const SEND_A_CODE: &str =
    "Send a second factor, too: the code of your authenticator app, a recovery code, or the proof of a passkey.";

fn gone(message: &'static str) -> ApiError {
    ApiError::new(ErrorCode::NotFound, message)
}

/// What somebody can show as their second factor, for programs: the codes of the details.
fn told(kinds: FactorKinds) -> Vec<FieldError> {
    let FactorKinds { totp, passkey, recovery_code } = kinds;
    let all = [
        (totp, "totp", "takes the code that the authenticator app shows"),
        (passkey, "passkey", "takes the proof that /api/auth/passkeys/assert/finish gives"),
        (recovery_code, "recovery_code", "takes a recovery code"),
    ];
    let has = all.into_iter().filter(|(has, ..)| *has);
    has.map(|(_, kind, message)| FieldError::new("totp", kind, message)).collect()
}

/// What is refused about second factors.
fn of_factors(error: IdentityError) -> ApiError {
    match error {
        IdentityError::MfaRequired(kinds) => {
            ApiError::new(ErrorCode::MfaRequired, SEND_A_CODE).with_details(told(kinds))
        }
        IdentityError::InvalidPasskey => {
            ApiError::unauthenticated("The passkey was not accepted, or its challenge is over. Begin again.")
        }
        IdentityError::NoPasskey => gone("There is no passkey on this account. Use a code."),
        IdentityError::TooManyPasskeys(most) => {
            ApiError::conflict(format!("An account has at most {most} passkeys. Remove one first."))
        }
        IdentityError::NoRelyingParty => {
            ApiError::conflict("Passkeys need a service under a host name: its public URL has an address.")
        }
        IdentityError::StepUpRequired => ApiError::new(
            ErrorCode::StepUpRequired,
            "Show once more who you are: POST /api/auth/step-up takes your password, or a code if you have a second factor.",
        ),
        IdentityError::WrongCode => {
            ApiError::unauthenticated("The code is wrong, too old, or was used before. Wait for the next one.")
        }
        IdentityError::FactorExists => ApiError::conflict("There is a second factor already. Disable it first."),
        other => ApiError::internal(other),
    }
}

fn wait(message: impl Into<Cow<'static, str>>, retry_after_seconds: u32) -> ApiError {
    ApiError::new(ErrorCode::RateLimited, message).retry_after(retry_after_seconds)
}

/// One field that cannot be taken.
fn invalid(field: &'static str, code: &'static str, message: &str) -> ApiError {
    ApiError::validation(vec![FieldError::new(field, code, message)])
}

fn of_password(fault: PasswordError) -> ApiError {
    match fault {
        PasswordError::Length => invalid("password", "invalid", &fault.to_string()),
        PasswordError::Weak { .. } => invalid("password", "weak", &fault.to_string()),
        PasswordError::Busy => ApiError::unavailable(fault),
        PasswordError::Hash => ApiError::internal(fault),
    }
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
            IdentityError::InvalidInvitation => gone("This invitation is not valid any more. Ask for a new one."),
            IdentityError::Role => {
                invalid("role", "not_allowed", "is no role of this organisation that allows no more than your own")
            }
            IdentityError::Unproved => ApiError::permission_denied(PROVE_FIRST),
            IdentityError::AlreadyMember => ApiError::conflict("Somebody with this address is a member already.")
                .with_details(vec![FieldError::new("email", "taken", "is a member's")]),
            IdentityError::InvalidLink => gone("This link is not valid any more. Ask for a new one."),
            IdentityError::WrongPassword => invalid("current_password", "wrong", "is wrong"),
            IdentityError::Organisation(refusal) => refusal.into(),
            IdentityError::NotFound => ApiError::not_found(),
            IdentityError::InvalidKey => ApiError::unauthenticated(INVALID_KEY),
            IdentityError::NotHeld(permission) => {
                ApiError::permission_denied(format!("You cannot hand on what you do not hold: {permission}."))
            }
            IdentityError::UnknownRole => invalid("role", "not_allowed", "is no role of this app"),
            IdentityError::TooManyKeys(most) => {
                ApiError::conflict(format!("An organisation has at most {most} API keys. Revoke one first."))
            }
            IdentityError::TooManyAttempts { retry_after_seconds } => {
                wait("Too many attempts. Wait as long as Retry-After says, then try again.", retry_after_seconds)
            }
            IdentityError::TooManyRequests { limit, retry_after_seconds } => {
                let message = format!("This API key may make {limit} requests in a minute. Wait, or ask for another.");
                wait(message, retry_after_seconds)
            }
            IdentityError::MfaRequired(_)
            | IdentityError::InvalidPasskey
            | IdentityError::NoPasskey
            | IdentityError::TooManyPasskeys(_)
            | IdentityError::NoRelyingParty
            | IdentityError::StepUpRequired
            | IdentityError::WrongCode
            | IdentityError::FactorExists => of_factors(error),
            IdentityError::SignInTooOld => ApiError::unauthenticated(SIGN_IN_AGAIN),
            IdentityError::UnknownOperator => gone("There is no operator with this address."),
            IdentityError::Name { field } => {
                let message = "must have at most 100 characters, and no line breaks or other control characters";
                invalid(field, "invalid", message)
            }
            IdentityError::Field { field, message } => {
                ApiError::validation(vec![FieldError::new(field, "invalid", message)])
            }
            IdentityError::Password(fault) => of_password(fault),
            IdentityError::Dns(_) => ApiError::unavailable(error),
            IdentityError::KeyWaiting { .. } => ApiError::conflict(error.to_string()),
            IdentityError::Keys(_) => ApiError::internal(error),
            IdentityError::Database(source) => source.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_the_status_that_the_interfaces_name() {
        for (error, status) in [
            (IdentityError::WrongCredentials, 401),
            (IdentityError::InvalidToken, 401),
            (IdentityError::NotAMember, 403),
            (IdentityError::EmailTaken, 409),
            (IdentityError::InvalidInvitation, 404),
            (IdentityError::Role, 422),
            (IdentityError::Unproved, 403),
            (IdentityError::AlreadyMember, 409),
            (IdentityError::InvalidLink, 404),
            (IdentityError::WrongPassword, 422),
            (IdentityError::InvalidKey, 401),
            (IdentityError::NotHeld("users:manage".parse().unwrap()), 403),
            (IdentityError::UnknownRole, 422),
            (IdentityError::TooManyKeys(100), 409),
            (IdentityError::NotFound, 404),
            (IdentityError::TooManyAttempts { retry_after_seconds: 7 }, 429),
            (IdentityError::TooManyRequests { limit: 60, retry_after_seconds: 7 }, 429),
            (IdentityError::MfaRequired(FactorKinds::default()), 403),
            (IdentityError::InvalidPasskey, 401),
            (IdentityError::NoPasskey, 404),
            (IdentityError::TooManyPasskeys(20), 409),
            (IdentityError::NoRelyingParty, 409),
            (IdentityError::StepUpRequired, 403),
            (IdentityError::SignInTooOld, 401),
            (IdentityError::WrongCode, 401),
            (IdentityError::FactorExists, 409),
            (IdentityError::UnknownOperator, 404),
            (IdentityError::Name { field: "first_name" }, 422),
            (IdentityError::Field { field: "phone", message: "" }, 422),
            (PasswordError::Length.into(), 422),
            (PasswordError::Weak { advice: String::new() }.into(), 422),
            (PasswordError::Busy.into(), 503),
            (PasswordError::Hash.into(), 500),
            (IdentityError::Dns("late".into()), 503),
            (IdentityError::KeyWaiting { id: KeyId::generate(), signs_from: Utc::now() }, 409),
            (IdentityError::Keys("there is none"), 500),
            (DatabaseError::Unavailable("gone".into()).into(), 503),
        ] {
            let text = error.to_string();
            let shown = ApiError::from(error);
            assert_eq!(shown.code.status(), status, "{text}");
            assert_eq!(shown.retry_after_seconds.is_some(), matches!(status, 429 | 503), "{text}");
        }
    }
}
