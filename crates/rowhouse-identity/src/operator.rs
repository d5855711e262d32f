//! Operators: the people who run the service, apart from tenants' people.

use chrono::{DateTime, Utc};
use rowhouse_postgres::{ConstraintKind, DatabaseError, params};
use rowhouse_types::{EmailAddress, UserId};
use secrecy::SecretString;
use serde::Serialize;
use uuid::Uuid;

use rowhouse_audit::{SecurityEvent, SecurityEventKind};

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::password::{hash_password, verify_password};
use crate::session::Device;

/// Seconds an operator's token is good for.
const TOKEN_SECONDS: i64 = 60 * 60;

/// An operator as other operators see them.
#[derive(Debug, Clone, Serialize)]
pub struct OperatorOut {
    /// Their id.
    pub id: UserId,
    /// Their address.
    pub email: String,
    /// `admin` writes, `support` reads.
    pub role: String,
    /// Whether they may sign in.
    pub active: bool,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// What an operator's sign-in gives.
pub struct OperatorTokens {
    /// A token with audience `operator`.
    pub access_token: String,
    /// Seconds it is good for.
    pub expires_in: i64,
}

impl Identity {
    /// Makes an operator.
    ///
    /// # Errors
    /// [`IdentityError::EmailTaken`] if there is one with this address.
    pub async fn create_operator(&self, email: &EmailAddress, password: SecretString) -> Result<UserId, IdentityError> {
        const INSERT: &str = "insert into control.operators (id, email, password_hash) values ($1, $2, $3)";
        let hash = hash_password(password).await?;
        let id = UserId::generate();
        let connection = self.control("make an operator").await?;
        match connection.query(INSERT, params![id, email.as_str(), hash]).await {
            Ok(_) => Ok(id),
            Err(DatabaseError::Constraint(violated)) if violated.kind == ConstraintKind::Unique => {
                Err(IdentityError::EmailTaken)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// All operators, by address.
    pub async fn operators(&self) -> Result<Vec<OperatorOut>, IdentityError> {
        const LIST: &str =
            "select id, email, role, active, created_at from control.operators order by email limit 1000";
        let rows = self.control("list operators").await?.query(LIST, &[]).await?;
        let operator = |row: &rowhouse_postgres::Row| OperatorOut {
            id: UserId::from_uuid(row.get(0)),
            email: row.get(1),
            role: row.get(2),
            active: row.get(3),
            created_at: row.get(4),
        };
        Ok(rows.iter().map(operator).collect())
    }

    /// Signs an operator in.
    ///
    /// # Errors
    /// [`IdentityError::WrongCredentials`], whatever is wrong.
    pub async fn sign_in_operator(
        &self,
        email: &EmailAddress,
        password: &SecretString,
        device: Device,
    ) -> Result<OperatorTokens, IdentityError> {
        const FIND: &str = "select id, password_hash from control.operators where email = $1 and active";
        let row = self.control("sign in an operator").await?.query_opt(FIND, params![email.as_str()]).await?;
        let (id, hash) =
            row.map_or((None, None), |row| (Some(UserId::from_uuid(row.get::<_, Uuid>(0))), Some(row.get(1))));
        let fits = verify_password(password.clone(), hash).await;
        let kind = if fits { SecurityEventKind::SignIn } else { SecurityEventKind::SignInFailed };
        let resource = Some("operator".to_owned());
        self.audit.record(SecurityEvent {
            kind,
            user: id,
            resource,
            ip: device.ip,
            user_agent: device.user_agent,
            ..SecurityEvent::default()
        });
        let Some(id) = id.filter(|_| fits) else { return Err(IdentityError::WrongCredentials) };
        let access_token = self.keys.sign_operator(id, email.as_str(), TOKEN_SECONDS)?;
        Ok(OperatorTokens { access_token, expires_in: TOKEN_SECONDS })
    }
}
