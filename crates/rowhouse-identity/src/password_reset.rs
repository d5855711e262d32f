//! Choosing a new password by a link in a mail.

use rowhouse_audit::{Actor, SecurityEventKind};
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{EmailAddress, SessionId, UserId};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::limit::LimitedRoute;
use crate::link_token::{LinkPurpose, LinkToken};
use crate::mail_link::{link_follow, link_owner, links_forget};
use crate::own_words::own_words;
use crate::password::check_password_length;
use crate::second_factor;
use crate::session::{Device, sessions_end};

impl Identity {
    /// Sends a link for a new password to an address, if it has an account. Takes as long, and
    /// gives nothing, either way.
    ///
    /// # Errors
    /// [`IdentityError::TooManyAttempts`].
    pub async fn forgot_password(&self, email: &EmailAddress, device: Device) -> Result<(), IdentityError> {
        const ROUTE: LimitedRoute = LimitedRoute::FORGOT_PASSWORD;
        let event = SecurityEventKind::PasswordResetRequested;
        self.mail_link(ROUTE, LinkPurpose::ResetPassword, event, email, &device).await
    }

    /// Gives the person of a link a new password, and ends all their sessions. `by` is told in the
    /// audit log as this person.
    ///
    /// # Errors
    /// [`IdentityError::InvalidLink`]; [`IdentityError::Password`] if the password cannot be taken,
    /// and the link stays good; [`IdentityError::TooManyAttempts`].
    pub async fn reset_password(
        &self,
        token: &SecretString,
        password: SecretString,
        by: &Actor,
        device: Device,
    ) -> Result<(), IdentityError> {
        check_password_length(password.expose_secret())?;
        self.count_attempt(LimitedRoute::RESET_PASSWORD, None, &device).await?;
        let outcome = self.reset_by_link(token, password, by, &device).await;
        match &outcome {
            Ok(user) => self.record(SecurityEventKind::PasswordReset, Some(*user), None, None, &device),
            Err(IdentityError::InvalidLink) => self.record(SecurityEventKind::LinkRefused, None, None, None, &device),
            Err(_) => {}
        }
        outcome.map(drop)
    }

    async fn reset_by_link(
        &self,
        token: &SecretString,
        password: SecretString,
        by: &Actor,
        device: &Device,
    ) -> Result<UserId, IdentityError> {
        let token = self.read_link(token, &[LinkPurpose::ResetPassword])?;
        // What costs a core's time is not done for a link that was used before.
        let words = {
            let connection = self.control("choose a new password").await?;
            let owner = link_owner(&connection, &token).await?.ok_or(IdentityError::InvalidLink)?;
            own_words(&connection, owner).await?
        };
        let hash = self.passwords.hash_new(password, words).await?;
        let mut connection = self.control("choose a new password").await?;
        connection.begin().await?;
        let Reset { user, email, ended } = put_password(&connection, &token, &hash).await?;
        // Who was locked out by failing passwords has proved who they are.
        let sign_in = self.attempt_at(LimitedRoute::SIGN_IN, email.as_str(), device);
        Self::attempt_succeeded(&connection, &sign_in).await?;
        self.tell_password_changed(&connection, user, device).await?;
        by.clone().become_user(user).did("reset_password").on("user", user).write(&connection).await?;
        connection.commit().await?;
        self.nudge_mails();
        self.forget_sessions(&ended).await;
        Ok(user)
    }
}

/// A password that was put in place.
struct Reset {
    user: UserId,
    email: EmailAddress,
    ended: Vec<SessionId>,
}

/// Puts the password in place of the old one, and ends whatever else could open the account.
async fn put_password(connection: &SystemConnection, token: &LinkToken, hash: &str) -> Result<Reset, IdentityError> {
    // Whoever reads the address's mails has proved it. If nobody had, a second factor is of whoever
    // made the account, maybe with an address that is not theirs.
    const PUT: &str = "
        with before as (select email_verified_at from control.users where id = $1 for update)
        update control.users set password_hash = $2, email_verified_at = coalesce(before.email_verified_at, now())
        from before where id = $1 returning before.email_verified_at is not null";
    let followed = link_follow(connection, token).await?;
    let row = connection.query_opt(PUT, params![followed.user, hash]).await?;
    if !row.is_some_and(|row| row.get(0)) {
        second_factor::remove(connection, followed.user).await?;
    }
    links_forget(connection, followed.user, LinkPurpose::ALL).await?;
    let ended = sessions_end(connection, followed.user, None).await?;
    Ok(Reset { user: followed.user, email: followed.email, ended })
}
