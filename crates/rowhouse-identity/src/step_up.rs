//! Showing once more who one is, in a session that is open for long: what a stolen session must not do
//! asks for it.

use rowhouse_audit::SecurityEventKind;
use rowhouse_postgres::params;
use rowhouse_types::SessionId;
use secrecy::SecretString;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::keys::Claims;
use crate::limit::LimitedRoute;
use crate::second_factor::Factor;
use crate::session::Device;

/// What somebody who is signed in shows once more.
#[derive(Debug)]
pub struct StepUp {
    /// The password; of a person without a second factor.
    pub password: Option<SecretString>,
    /// A code of the second factor, or a recovery code; of a person who has one.
    pub code: Option<SecretString>,
    /// Where from.
    pub device: Device,
}

impl Identity {
    /// Shows once more who the caller is; good for an hour in this session.
    ///
    /// # Errors
    /// [`IdentityError::MfaRequired`] and [`IdentityError::WrongCode`] of who has a second factor;
    /// [`IdentityError::WrongPassword`] of all others; [`IdentityError::TooManyAttempts`].
    pub async fn step_up(&self, claims: &Claims, step_up: StepUp) -> Result<(), IdentityError> {
        const FIND: &str = "
            select true, f.sealed_secret from control.second_factors f where f.holder = $1 and f.confirmed_at is not null";
        const PROVE: &str = "
            update control.sessions set proved_at = now()
            where id = $1 and revoked_at is null and expires_at > now() returning 1";
        let StepUp { password, code, device } = step_up;
        let factor = self.control("step up").await?.query_opt(FIND, params![claims.user]).await?;
        match factor.and_then(|row| Factor::of_columns(&row, 0)) {
            Some(factor) => {
                self.demand_code(LimitedRoute::MFA, claims.user, &factor, code.as_ref(), &device).await?;
            }
            None => {
                let password = password.ok_or(IdentityError::WrongPassword)?;
                self.check_password_again(claims.user, password, &device).await?;
            }
        }
        let proved = self.control("step up").await?.query_opt(PROVE, params![claims.session]).await?;
        proved.ok_or(IdentityError::InvalidToken)?;
        let tenant = claims.org.as_ref().map(|org| org.id);
        self.record(SecurityEventKind::SteppedUp, Some(claims.user), tenant, None, &device);
        Ok(())
    }

    /// Whether the session's person has shown who they are within the last hour. Not asked of people
    /// who sign in elsewhere: of them nobody here knows.
    ///
    /// # Errors
    /// [`IdentityError::StepUpRequired`] if not.
    pub async fn require_recent_proof(&self, session: SessionId) -> Result<(), IdentityError> {
        // Asked every time: it is asked for rarely.
        const RECENT: &str = "
            select 1 from control.sessions where id = $1 and proved_at > now() - interval '1 hour'";
        if self.settings.accounts_elsewhere {
            return Ok(());
        }
        let recent = self.control("look for a recent proof").await?.query_opt(RECENT, params![session]).await?;
        recent.map(drop).ok_or(IdentityError::StepUpRequired)
    }
}
