//! People.

use rowhouse_postgres::{ConstraintKind, DatabaseError, SystemConnection, params};
use rowhouse_types::{EmailAddress, UserId};
use serde::Serialize;

use crate::error::IdentityError;

/// A person to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Their address.
    pub email: EmailAddress,
    /// Hash of their password; none for a person who signs in elsewhere.
    pub password_hash: Option<String>,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
}

/// A person as they and their colleagues see them.
#[derive(Debug, Clone, Serialize)]
pub struct UserOut {
    /// Their id.
    pub id: UserId,
    /// Their address.
    pub email: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Whether the address is proved.
    pub email_verified: bool,
}

/// Makes a person.
///
/// # Errors
/// [`IdentityError::EmailTaken`] if the address has an account.
pub async fn user_create(connection: &SystemConnection, user: &NewUser) -> Result<UserId, IdentityError> {
    const INSERT: &str = "
        insert into control.users (id, email, password_hash, first_name, last_name) values ($1, $2, $3, $4, $5)";
    let id = UserId::generate();
    let hash = user.password_hash.as_deref();
    let values = params![id, user.email.as_str(), hash, user.first_name.as_str(), user.last_name.as_str()];
    match connection.query(INSERT, values).await {
        Ok(_) => Ok(id),
        Err(DatabaseError::Constraint(violated)) if violated.kind == ConstraintKind::Unique => {
            Err(IdentityError::EmailTaken)
        }
        Err(error) => Err(error.into()),
    }
}

/// The person with this address.
pub async fn user_find_by_email(
    connection: &SystemConnection,
    email: &EmailAddress,
) -> Result<Option<UserId>, IdentityError> {
    const FIND: &str = "select id from control.users where email = $1";
    let row = connection.query_opt(FIND, params![email.as_str()]).await?;
    Ok(row.map(|row| UserId::from_uuid(row.get(0))))
}

pub(crate) async fn user_get(connection: &SystemConnection, id: UserId) -> Result<Option<UserOut>, IdentityError> {
    const GET: &str = "
        select id, email, first_name, last_name, email_verified_at is not null from control.users where id = $1 and active";
    let row = connection.query_opt(GET, params![id]).await?;
    Ok(row.map(|row| UserOut {
        id: UserId::from_uuid(row.get(0)),
        email: row.get(1),
        first_name: row.get(2),
        last_name: row.get(3),
        email_verified: row.get(4),
    }))
}
