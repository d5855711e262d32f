//! Changing one's address: proved by a mail to the new one, told to the old one.

use rowhouse_audit::{Actor, SecurityEventKind};
use rowhouse_mail::{Deed, Mail, Message};
use rowhouse_postgres::{ConstraintKind, DatabaseError, SystemConnection, params};
use rowhouse_types::EmailAddress;
use secrecy::SecretString;

use crate::email_proof::EmailProved;
use crate::error::IdentityError;
use crate::identity::Identity;
use crate::keys::Claims;
use crate::link_token::LinkPurpose;
use crate::mail_link::{Asking, Followed, links_forget};
use crate::member::members_changed_of;
use crate::session::Device;

impl Identity {
    /// Sends a mail to the address that the caller wants to have; following its link changes it
    /// ([`Identity::verify_email`]). If the address has an account nothing is sent, and nothing
    /// tells so.
    ///
    /// # Errors
    /// [`IdentityError::WrongPassword`]; [`IdentityError::TooManyAttempts`].
    pub async fn ask_to_change_email(
        &self,
        claims: &Claims,
        new: &EmailAddress,
        current: SecretString,
        by: &Actor,
        device: Device,
    ) -> Result<(), IdentityError> {
        self.check_password_again(claims.user, current, &device).await?;
        let mut connection = self.control("change an address").await?;
        connection.begin().await?;
        self.ask_for_link(&connection, LinkPurpose::ChangeEmail, new, Asking::Person(claims.user)).await?;
        by.did("ask_to_change_email").on("user", claims.user).write(&connection).await?;
        connection.commit().await?;
        self.nudge_mails();
        self.record(SecurityEventKind::EmailChangeRequested, Some(claims.user), None, None, &device);
        Ok(())
    }

    /// Puts the address in the place of the old one, which is told.
    pub(crate) async fn change_to(
        &self,
        connection: &SystemConnection,
        followed: Followed,
        device: &Device,
    ) -> Result<EmailProved, IdentityError> {
        const PUT: &str = "update control.users set email = $2, email_verified_at = now() where id = $1";
        let Followed { user, email, current_email } = followed;
        match connection.query(PUT, params![user, email.as_str()]).await {
            Ok(_) => {}
            Err(DatabaseError::Constraint(violated)) if violated.kind == ConstraintKind::Unique => {
                return Err(IdentityError::EmailTaken);
            }
            Err(error) => return Err(error.into()),
        }
        // Links to the old address are nobody's any more.
        links_forget(connection, user, LinkPurpose::ALL).await?;
        let deed = Deed { at: chrono::Utc::now(), device: device.user_agent.clone(), ip: device.ip };
        let message = Message::EmailChanged { new_address: email, deed };
        let mail = Mail { to: current_email, user: Some(user), brand: None, language: None, message };
        self.enqueue(connection, &mail, true).await?;
        let tenants_to_tell = members_changed_of(connection, user).await?;
        Ok(EmailProved { user, tenants_to_tell })
    }
}
