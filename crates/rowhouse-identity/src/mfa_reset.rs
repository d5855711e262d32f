//! Taking a second factor away from somebody who has lost all of it: an operator's deed, after they
//! have made sure by other means who asks.

use rowhouse_audit::{Actor, SecurityEventKind};
use rowhouse_mail::{Deed, Mail, Message};
use rowhouse_postgres::{Row, SystemConnection, params};
use rowhouse_types::{EmailAddress, UserId};
use serde_json::json;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::second_factor::remove;
use crate::session::{Device, sessions_end};

impl Identity {
    /// Takes a person's second factor away (app, passkeys, recovery codes, trusted devices) and ends their
    /// sessions. They are told by mail, and the audit log by whom. Gives whether they had one.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] if there is no such person.
    pub async fn reset_user_factor(&self, by: &Actor, user: UserId) -> Result<bool, IdentityError> {
        const FIND: &str = "select id, email from control.users where id = $1 for update";
        let mut connection = self.control("reset a person's second factor").await?;
        connection.begin().await?;
        let row = connection.query_opt(FIND, params![user]).await?.ok_or(IdentityError::NotFound)?;
        self.reset_found(connection, by, &row).await
    }

    /// The same by the address.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] if nobody has it.
    pub async fn reset_user_factor_of(&self, by: &Actor, email: &EmailAddress) -> Result<bool, IdentityError> {
        const FIND: &str = "select id, email from control.users where email = $1 for update";
        let mut connection = self.control("reset a person's second factor").await?;
        connection.begin().await?;
        let row = connection.query_opt(FIND, params![email.as_str()]).await?.ok_or(IdentityError::NotFound)?;
        self.reset_found(connection, by, &row).await
    }

    async fn reset_found(
        &self,
        mut connection: SystemConnection,
        by: &Actor,
        row: &Row,
    ) -> Result<bool, IdentityError> {
        let user = UserId::from_uuid(row.get(0));
        if !remove(&connection, user).await? {
            connection.rollback().await?;
            return Ok(false);
        }
        let ended = sessions_end(&connection, user, None).await?;
        if let Ok(to) = row.get::<_, String>(1).parse() {
            let deed = Deed { at: chrono::Utc::now(), device: None, ip: None };
            let message = Message::SecondFactorReset { deed };
            self.enqueue(&connection, &Mail { to, user: Some(user), brand: None, language: None, message }, true)
                .await?;
        }
        by.did("reset_mfa").on("user", user).write(&connection).await?;
        connection.commit().await?;
        self.nudge_mails();
        self.forget_sessions(&ended).await;
        // Policies of tenants ask for it.
        self.caches.memberships.forget_all();
        let details = json!({ "holder": "user", "reset": true });
        self.record_factor(SecurityEventKind::MfaDisabled, user, details, &Device::default());
        Ok(true)
    }
}
