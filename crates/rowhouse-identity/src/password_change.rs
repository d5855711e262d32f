//! Choosing a new password with the old one at hand.

use rowhouse_audit::{Actor, SecurityEventKind};
use rowhouse_postgres::params;
use rowhouse_types::UserId;
use secrecy::SecretString;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::keys::Claims;
use crate::limit::{LimitedRoute, Target};
use crate::link_token::LinkPurpose;
use crate::mail_link::links_forget;
use crate::own_words::own_words;
use crate::session::{Device, sessions_end};

impl Identity {
    /// Gives the caller a new password, and ends all their sessions but this one.
    ///
    /// # Errors
    /// [`IdentityError::WrongPassword`] if the old one is wrong, or there is none: then one is
    /// chosen by [`Identity::forgot_password`]; [`IdentityError::TooManyAttempts`].
    pub async fn change_password(
        &self,
        claims: &Claims,
        current: SecretString,
        new: SecretString,
        by: &Actor,
        device: Device,
    ) -> Result<(), IdentityError> {
        // Only in the place of the one that was checked: a reset that came between has ended this session.
        const PUT: &str = "
            update control.users set password_hash = $3 where id = $1 and password_hash = $2 and active returning 1";
        let old = self.check_password_again(claims.user, current, &device).await?;
        let words = own_words(&self.control("change a password").await?, claims.user).await?;
        let hash = self.passwords.hash_new(new, words).await?;
        let mut connection = self.control("change a password").await?;
        connection.begin().await?;
        if connection.query_opt(PUT, params![claims.user, old, hash]).await?.is_none() {
            return Err(IdentityError::WrongPassword);
        }
        let links = [LinkPurpose::ResetPassword, LinkPurpose::SignIn, LinkPurpose::ChangeEmail];
        links_forget(&connection, claims.user, &links).await?;
        let ended = sessions_end(&connection, claims.user, Some(claims.session)).await?;
        self.tell_password_changed(&connection, claims.user, &device).await?;
        by.did("change_password").on("user", claims.user).write(&connection).await?;
        connection.commit().await?;
        self.nudge_mails();
        self.forget_sessions(&ended).await;
        self.record(SecurityEventKind::PasswordChanged, Some(claims.user), None, None, &device);
        Ok(())
    }

    /// Checks the password of somebody who is signed in. Gives its hash.
    pub(crate) async fn check_password_again(
        &self,
        user: UserId,
        password: SecretString,
        device: &Device,
    ) -> Result<String, IdentityError> {
        const FIND: &str = "select password_hash from control.users where id = $1 and active";
        let attempt = self.attempt_by(LimitedRoute::PASSWORD_CHECK, &user.to_string(), device);
        let hash: Option<String> = {
            let connection = self.control("check a password").await?;
            self.count(&connection, &attempt).await?;
            connection.query_opt(FIND, params![user]).await?.and_then(|row| row.get(0))
        };
        let fits = self.passwords.verify(password, hash.clone()).await?;
        let Some(hash) = hash.filter(|_| fits) else {
            self.record(SecurityEventKind::PasswordCheckFailed, Some(user), None, None, device);
            self.attempt_failed(&attempt, Target::Holder(user), device).await?;
            return Err(IdentityError::WrongPassword);
        };
        Self::attempt_succeeded(&self.control("check a password").await?, &attempt).await?;
        Ok(hash)
    }
}
