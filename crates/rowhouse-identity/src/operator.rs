//! Operators: the people who run the service, apart from tenants' people.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rowhouse_audit::{Actor, SecurityEventKind};
use rowhouse_postgres::{ConstraintKind, DatabaseError, params};
use rowhouse_types::{EmailAddress, SessionId, UserId};
use secrecy::SecretString;
use serde::Serialize;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::limit::{Attempt, LimitedRoute, Target};
use crate::password_again::Hashed;
use crate::session::{Account, Device, Shown};

/// Seconds an operator's token, and with it the session, is good for.
pub(crate) const OPERATOR_TOKEN_SECONDS: i64 = 60 * 60;

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorRole {
    /// Reads and writes.
    Admin,
    /// Reads.
    Support,
}

impl OperatorRole {
    /// The role of a word in the database; a word that nobody knows allows the least.
    fn from_word(word: &str) -> Self {
        if word == "admin" { Self::Admin } else { Self::Support }
    }
}

/// An operator as other operators see them.
#[derive(Clone, Serialize)]
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

/// Without the address: debug output ends up in logs.
impl fmt::Debug for OperatorOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, email: _, role, active, created_at } = self;
        let mut shown = f.debug_struct("OperatorOut");
        shown.field("id", id).field("role", role).field("active", active).field("created_at", created_at);
        shown.finish_non_exhaustive()
    }
}

/// An operator whose token was verified and whose session is alive.
#[derive(Clone)]
pub struct OperatorClaims {
    /// The operator.
    pub operator: UserId,
    /// Their address.
    pub email: String,
    /// The session.
    pub session: SessionId,
    /// What they may do now.
    pub role: OperatorRole,
    /// They may do nothing but set up a second factor: they must have one, and have not shown it
    /// in this session.
    pub mfa_missing: bool,
}

/// Without the address: debug output ends up in logs.
impl fmt::Debug for OperatorClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operator, email: _, session, role, mfa_missing } = self;
        let mut shown = f.debug_struct("OperatorClaims");
        shown.field("operator", operator).field("session", session).field("role", role);
        shown.field("mfa_missing", mfa_missing).finish_non_exhaustive()
    }
}

/// What an operator's sign-in gives.
pub struct OperatorTokens {
    /// A token with audience `operator`.
    pub access_token: String,
    /// Seconds it is good for.
    pub expires_in: i64,
    /// It is good for nothing but setting up a second factor, and then for everything.
    pub mfa_missing: bool,
}

/// Without the secret: debug output ends up in logs.
impl fmt::Debug for OperatorTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorTokens").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

impl Identity {
    /// Makes an operator, with the line that tells of it in the audit log.
    ///
    /// # Errors
    /// [`IdentityError::EmailTaken`] if there is one with this address.
    pub async fn create_operator(&self, email: &EmailAddress, password: SecretString) -> Result<UserId, IdentityError> {
        const INSERT: &str = "insert into control.operators (id, email, password_hash) values ($1, $2, $3)";
        let hash = self.passwords.hash_new(password, vec![email.as_str().to_owned()]).await?;
        let id = UserId::generate();
        let mut connection = self.control("make an operator").await?;
        connection.begin().await?;
        match connection.query(INSERT, params![id, email.as_str(), hash]).await {
            Ok(_) => {}
            Err(DatabaseError::Constraint(violated)) if violated.kind == ConstraintKind::Unique => {
                return Err(IdentityError::EmailTaken);
            }
            Err(error) => return Err(error.into()),
        }
        Actor::system().did("create_operator").on("operator", id).write(&connection).await?;
        connection.commit().await?;
        Ok(id)
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
    /// [`IdentityError::WrongCredentials`], whatever is wrong, after the same time;
    /// [`IdentityError::MfaRequired`] and [`IdentityError::WrongCode`] only to who has given the
    /// right password; [`IdentityError::TooManyAttempts`].
    pub async fn sign_in_operator(
        &self,
        email: &EmailAddress,
        password: &SecretString,
        code: Option<&SecretString>,
        device: Device,
    ) -> Result<OperatorTokens, IdentityError> {
        const INSERT: &str = "
            with operator as (select id from control.operators where id = $2 and active for share)
            insert into control.operator_sessions (id, operator_id, ip, user_agent, expires_at, mfa_at)
            select $1, id, $3::text, $4::text, now() + make_interval(secs => $5::bigint::float8),
                   case when $6 then now() end
            from operator returning 1";
        let attempt = self.attempt_at(LimitedRoute::OPERATOR_SIGN_IN, email.as_str(), &device);
        let Shown { user: id, hash, factor } = self.check_operator(email, password, &attempt, &device).await?;
        if let Some(factor) = &factor {
            self.demand_code(LimitedRoute::OPERATOR_MFA, id, factor, code, &device).await?;
        }
        let session = SessionId::generate();
        let ip = device.ip.map(|ip| ip.to_string());
        let values =
            params![session, id, ip.as_deref(), device.user_agent.as_deref(), OPERATOR_TOKEN_SECONDS, factor.is_some()];
        let connection = self.control("sign in an operator").await?;
        connection.query_opt(INSERT, values).await?.ok_or(IdentityError::WrongCredentials)?;
        Self::attempt_succeeded(&connection, &attempt).await?;
        let ring = self.keys.ring.on(&connection).await?;
        drop(connection);
        self.hash_again(Hashed::Operator(id), password.clone(), hash.as_deref()).await;
        self.record(SecurityEventKind::OperatorSignIn, Some(id), None, None, &device);
        let access_token = self.keys.sign_operator(&ring, id, email.as_str(), session, OPERATOR_TOKEN_SECONDS)?;
        let mfa_missing = factor.is_none() && self.settings.mfa_demanded;
        Ok(OperatorTokens { access_token, expires_in: OPERATOR_TOKEN_SECONDS, mfa_missing })
    }

    /// Whose address and password these are, of operators.
    ///
    /// # Errors
    /// [`IdentityError::WrongCredentials`], whatever is wrong, after the same time;
    /// [`IdentityError::TooManyAttempts`].
    pub(crate) async fn check_operator(
        &self,
        email: &EmailAddress,
        password: &SecretString,
        attempt: &Attempt,
        device: &Device,
    ) -> Result<Shown, IdentityError> {
        const FIND: &str = "
            with attempt as materialized (select control.attempt($2, $3, $4, $5, $6) as wait_seconds)
            select attempt.wait_seconds, o.id, o.password_hash, f.holder is not null, f.sealed_secret
            from attempt left join control.operators o on o.email = $1 and o.active
            left join control.second_factors f on f.holder = o.id and f.confirmed_at is not null";
        let Account { id, hash, factor } = self.find_account(FIND, email, attempt).await?;
        let fits = self.passwords.verify(password.clone(), hash.clone()).await?;
        let Some(id) = id.filter(|_| fits) else {
            self.record(SecurityEventKind::OperatorSignInFailed, id, None, None, device);
            self.attempt_failed(attempt, Target::Address(email, id), device).await?;
            return Err(IdentityError::WrongCredentials);
        };
        Ok(Shown { user: id, hash, factor })
    }

    /// Verifies an operator's token, that its session is alive and that the operator is active.
    ///
    /// # Errors
    /// [`IdentityError::InvalidToken`], whatever is wrong with it.
    pub async fn verify_operator_token(&self, token: &str) -> Result<Arc<OperatorClaims>, IdentityError> {
        // Asked every time: operators are few, and what they may do is much.
        const ALIVE: &str = "
            select o.role, s.mfa_at is not null, f.holder is not null
            from control.operator_sessions s join control.operators o on o.id = s.operator_id
            left join control.second_factors f on f.holder = o.id and f.confirmed_at is not null
            where s.id = $1 and o.id = $2 and s.revoked_at is null and s.expires_at > now() and o.active";
        let verified = self.keys.verify_operator(&*self.key_ring().await?, token)?;
        let connection = self.control("check an operator").await?;
        let row = connection.query_opt(ALIVE, params![verified.session, verified.operator]).await?;
        let row = row.ok_or(IdentityError::InvalidToken)?;
        let (has_shown, has_factor): (bool, bool) = (row.get(1), row.get(2));
        Ok(Arc::new(OperatorClaims {
            operator: verified.operator,
            email: verified.email,
            session: verified.session,
            role: OperatorRole::from_word(row.get(0)),
            mfa_missing: !has_shown && (has_factor || self.settings.mfa_demanded),
        }))
    }

    /// Ends an operator's session.
    pub async fn sign_out_operator(&self, claims: &OperatorClaims) -> Result<(), IdentityError> {
        const REVOKE: &str = "
            update control.operator_sessions set revoked_at = now() where id = $1 and revoked_at is null";
        self.control("sign out an operator").await?.query(REVOKE, params![claims.session]).await?;
        Ok(())
    }
}
