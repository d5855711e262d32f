//! Signing in by a link in a mail, without a password.

use rowhouse_audit::{Actor, SecurityEventKind};
use rowhouse_postgres::params;
use rowhouse_types::{EmailAddress, UserId};
use secrecy::SecretString;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::link_token::LinkPurpose;
use crate::mail_link::{Asking, link_follow, links_forget};
use crate::session::{Device, Tokens, sessions_end};

impl Identity {
    /// Sends a link that signs in to an address, if it has an account. Takes as long, and gives
    /// nothing, either way.
    pub async fn ask_for_magic_link(&self, email: &EmailAddress, device: Device) -> Result<(), IdentityError> {
        let mut connection = self.control("ask for a magic link").await?;
        connection.begin().await?;
        let user = self.ask_for_link(&connection, LinkPurpose::SignIn, email, Asking::Whoever).await?;
        connection.commit().await?;
        self.nudge_mails();
        self.record(SecurityEventKind::MagicLinkRequested, user, None, None, &device);
        Ok(())
    }

    /// Signs the person of a link in, to the named tenant or else as [`Identity::sign_in`] does.
    /// If nobody had proved the address before, this does: then the account is theirs alone, so
    /// that password and sessions of whoever made it with their address end. `by` is told in the
    /// audit log for that.
    ///
    /// # Errors
    /// [`IdentityError::InvalidLink`]; [`IdentityError::NotAMember`], which uses the link up.
    pub async fn sign_in_by_link(
        &self,
        token: &SecretString,
        tenant: Option<&str>,
        by: &Actor,
        device: Device,
    ) -> Result<Tokens, IdentityError> {
        let followed = self.follow_magic_link(token, by).await;
        if matches!(followed, Err(IdentityError::InvalidLink)) {
            self.record(SecurityEventKind::LinkRefused, None, None, None, &device);
        }
        let (user, email) = followed?;
        self.open_session(user, email.as_str(), tenant, &device).await
    }

    async fn follow_magic_link(
        &self,
        token: &SecretString,
        by: &Actor,
    ) -> Result<(UserId, EmailAddress), IdentityError> {
        const PROVED: &str = "
            update control.users set email_verified_at = now(), password_hash = null
            where id = $1 and email_verified_at is null returning 1";
        let token = self.read_link(token, &[LinkPurpose::SignIn])?;
        let mut connection = self.control("sign in by a link").await?;
        connection.begin().await?;
        let followed = link_follow(&connection, &token).await?;
        links_forget(&connection, followed.user, &[LinkPurpose::SignIn]).await?;
        let mut ended = Vec::new();
        if connection.query_opt(PROVED, params![followed.user]).await?.is_some() {
            ended = sessions_end(&connection, followed.user, None).await?;
            let person = by.clone().become_user(followed.user);
            person.did("verify_email").on("user", followed.user).write(&connection).await?;
        }
        connection.commit().await?;
        self.forget_sessions(&ended).await;
        Ok((followed.user, followed.email))
    }
}
