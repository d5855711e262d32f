//! People.

use std::fmt;

use chrono::{DateTime, Utc};
use rowhouse_postgres::{ConstraintKind, DatabaseError, SystemConnection, params};
use rowhouse_types::{EmailAddress, UserId};
use serde::Serialize;

use crate::error::IdentityError;

/// Longest first or last name, in characters.
const NAME_LENGTH_MAX: usize = 100;

/// A person to be made.
#[derive(Clone)]
pub struct NewUser {
    /// Their address.
    pub email: EmailAddress,
    /// Hash of their password; none for a person who signs in elsewhere.
    pub password_hash: Option<String>,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Whether the address is known to be theirs.
    pub email_verified: bool,
}

/// Without the hash, and with the address masked: debug output ends up in logs.
impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser").field("email", &self.email).finish_non_exhaustive()
    }
}

/// A person as they see themselves.
#[derive(Clone, Serialize)]
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
    /// Since when.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// Where their picture is.
    pub avatar_url: Option<String>,
    /// Their telephone.
    pub phone: Option<String>,
    /// What the app keeps about them.
    pub metadata: serde_json::Value,
    /// Whether signing in takes a second factor.
    pub mfa_enabled: bool,
    /// Since when they have an account.
    pub created_at: DateTime<Utc>,
}

/// The id only: debug output ends up in logs.
impl fmt::Debug for UserOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserOut").field("id", &self.id).finish_non_exhaustive()
    }
}

pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), IdentityError> {
    let fits = name.chars().count() <= NAME_LENGTH_MAX && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(IdentityError::Name { field }) }
}

/// Makes a person.
///
/// # Errors
/// [`IdentityError::EmailTaken`] if the address has an account; [`IdentityError::Name`] for a name
/// that is too long or holds control characters.
pub async fn user_create(connection: &SystemConnection, user: &NewUser) -> Result<UserId, IdentityError> {
    const INSERT: &str = "
        insert into control.users (id, email, password_hash, first_name, last_name, email_verified_at)
        values ($1, $2, $3, $4, $5, case when $6 then now() end)";
    check_name("first_name", &user.first_name)?;
    check_name("last_name", &user.last_name)?;
    let id = UserId::generate();
    let hash = user.password_hash.as_deref().filter(|hash| !hash.is_empty());
    let NewUser { email, password_hash: _, first_name, last_name, email_verified } = user;
    let values = params![id, email.as_str(), hash, first_name.as_str(), last_name.as_str(), *email_verified];
    match connection.query(INSERT, values).await {
        Ok(_) => Ok(id),
        Err(DatabaseError::Constraint(violated)) if violated.kind == ConstraintKind::Unique => {
            Err(IdentityError::EmailTaken)
        }
        Err(error) => Err(error.into()),
    }
}

/// A person who was looked for by address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundUser {
    /// Their id.
    pub id: UserId,
    /// Whether they may sign in: a person who was deactivated keeps their address.
    pub active: bool,
}

/// The person with this address.
pub async fn user_find_by_email(
    connection: &SystemConnection,
    email: &EmailAddress,
) -> Result<Option<FoundUser>, IdentityError> {
    const FIND: &str = "select id, active from control.users where email = $1";
    let row = connection.query_opt(FIND, params![email.as_str()]).await?;
    Ok(row.map(|row| FoundUser { id: UserId::from_uuid(row.get(0)), active: row.get(1) }))
}

pub(crate) async fn user_get(connection: &SystemConnection, id: UserId) -> Result<Option<UserOut>, IdentityError> {
    const GET: &str = "
        select id, email, first_name, last_name, email_verified_at, avatar_url, phone, metadata, created_at,
               exists (select 1 from control.second_factors f where f.holder = u.id and f.confirmed_at is not null)
        from control.users u where id = $1 and active";
    let row = connection.query_opt(GET, params![id]).await?;
    Ok(row.map(|row| UserOut {
        id: UserId::from_uuid(row.get(0)),
        email: row.get(1),
        first_name: row.get(2),
        last_name: row.get(3),
        email_verified: row.get::<_, Option<DateTime<Utc>>>(4).is_some(),
        email_verified_at: row.get(4),
        avatar_url: row.get(5),
        phone: row.get(6),
        metadata: row.get(7),
        created_at: row.get(8),
        mfa_enabled: row.get(9),
    }))
}
