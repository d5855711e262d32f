//! Proving that an address is one's own.

use rowhouse_audit::{Actor, SecurityEventKind};
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{EmailAddress, TenantId, UserId};
use secrecy::SecretString;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::keys::Claims;
use crate::limit::LimitedRoute;
use crate::link_token::{LinkPurpose, LinkToken};
use crate::mail_link::{Asking, link_follow, links_forget};
use crate::session::Device;

/// An address that was proved.
#[derive(Debug)]
pub struct EmailProved {
    /// Whose it is.
    pub user: UserId,
    /// Where the person is known by another address until their tenants are told
    /// (`Tenants::project_members`); none unless it was changed.
    pub tenants_to_tell: Vec<TenantId>,
}

impl Identity {
    /// Queues a mail by which a person proves their address, in the caller's transaction; nothing
    /// if it is proved. Tell the worker once it is committed ([`Identity::nudge_mails`]).
    pub async fn ask_to_verify(&self, connection: &SystemConnection, user: UserId) -> Result<(), IdentityError> {
        const UNPROVED: &str = "
            select email from control.users where id = $1 and active and email_verified_at is null";
        if self.mailer.is_none() {
            return Ok(());
        }
        let Some(row) = connection.query_opt(UNPROVED, params![user]).await? else { return Ok(()) };
        // Made before addresses were judged as they are now: nobody can be written to.
        let Ok(email) = row.get::<_, String>(0).parse::<EmailAddress>() else { return Ok(()) };
        self.ask_for_link(connection, LinkPurpose::VerifyEmail, &email, Asking::Person(user)).await?;
        Ok(())
    }

    /// Sends the mail of [`Identity::ask_to_verify`] once more.
    ///
    /// # Errors
    /// [`IdentityError::TooManyAttempts`].
    pub async fn resend_verification(&self, claims: &Claims, device: &Device) -> Result<(), IdentityError> {
        let mut connection = self.control("prove an address").await?;
        let user = claims.user.to_string();
        self.count(&connection, &self.attempt_by(LimitedRoute::RESEND_VERIFICATION, &user, device)).await?;
        connection.begin().await?;
        self.ask_to_verify(&connection, claims.user).await?;
        connection.commit().await?;
        self.nudge_mails();
        Ok(())
    }

    /// Takes the token of a mail as the proof of its address: the one that the person has, or the
    /// one that they asked to have. `by` is told in the audit log as this person.
    ///
    /// # Errors
    /// [`IdentityError::InvalidLink`]; [`IdentityError::EmailTaken`] if the new address has got an
    /// account meanwhile; [`IdentityError::TooManyAttempts`].
    pub async fn verify_email(
        &self,
        token: &SecretString,
        by: &Actor,
        device: Device,
    ) -> Result<EmailProved, IdentityError> {
        self.count_attempt(LimitedRoute::VERIFY_EMAIL, None, &device).await?;
        let outcome = self.prove(token, by, &device).await;
        let (kind, user) = match &outcome {
            Ok((LinkPurpose::ChangeEmail, proved)) => (SecurityEventKind::EmailChanged, Some(proved.user)),
            Ok((_, proved)) => (SecurityEventKind::EmailVerified, Some(proved.user)),
            Err(IdentityError::InvalidLink) => (SecurityEventKind::LinkRefused, None),
            Err(_) => return outcome.map(|(_, proved)| proved),
        };
        self.record(kind, user, None, None, &device);
        outcome.map(|(_, proved)| proved)
    }

    async fn prove(
        &self,
        token: &SecretString,
        by: &Actor,
        device: &Device,
    ) -> Result<(LinkPurpose, EmailProved), IdentityError> {
        let token = self.read_link(token, &[LinkPurpose::VerifyEmail, LinkPurpose::ChangeEmail])?;
        let mut connection = self.control("prove an address").await?;
        connection.begin().await?;
        let (action, proved) = self.prove_by(&connection, &token, device).await?;
        by.clone().become_user(proved.user).did(action).on("user", proved.user).write(&connection).await?;
        connection.commit().await?;
        self.nudge_mails();
        Ok((token.purpose, proved))
    }

    async fn prove_by(
        &self,
        connection: &SystemConnection,
        token: &LinkToken,
        device: &Device,
    ) -> Result<(&'static str, EmailProved), IdentityError> {
        const PROVED: &str = "update control.users set email_verified_at = now() where id = $1";
        let followed = link_follow(connection, token).await?;
        let user = followed.user;
        if token.purpose == LinkPurpose::ChangeEmail {
            return Ok(("change_email", self.change_to(connection, followed, device).await?));
        }
        connection.query(PROVED, params![user]).await?;
        links_forget(connection, user, &[LinkPurpose::VerifyEmail]).await?;
        Ok(("verify_email", EmailProved { user, tenants_to_tell: Vec::new() }))
    }
}
