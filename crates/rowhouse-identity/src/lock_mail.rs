//! The mail to whose account is locked: at most one a day, so that nobody can fill a letter box by
//! failing.

use std::time::Duration;

use chrono::Utc;
use rowhouse_mail::{Deed, Mail, Message};
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{EmailAddress, UserId};

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::limit::{Attempt, LimitedRoute, Target};
use crate::session::Device;

impl Identity {
    /// Writes to whose account is locked. For nobody's the same is done, but for the mail.
    pub(crate) async fn tell_locked(
        &self,
        attempt: &Attempt,
        target: Target<'_>,
        device: &Device,
    ) -> Result<(), IdentityError> {
        // In the transaction of the mail: if it is not queued, the next failure tells.
        const TELL: &str = "
            update control.attempts set told_at = now()
            where subject = $1 and (told_at is null or told_at < now() - interval '1 day') returning 1";
        let mut connection = self.control("tell of a lock").await?;
        connection.begin().await?;
        let subject = attempt.account().or(attempt.guarded());
        let is_first = connection.query_opt(TELL, params![subject]).await?.is_some();
        let owner = if is_first { owner_of(&connection, target).await? } else { None };
        if let Some((to, holder)) = owner {
            let mail = Mail {
                to,
                // Mails know people only.
                user: holder.filter(|_| !attempt.route().is_for_operators()),
                brand: None,
                language: None,
                message: self.message(attempt.route(), device),
            };
            self.enqueue(&connection, &mail, holder.is_some()).await?;
        }
        connection.commit().await?;
        self.nudge_mails();
        Ok(())
    }

    fn message(&self, route: LimitedRoute, device: &Device) -> Message {
        let deed = Deed { at: Utc::now(), device: device.user_agent.clone(), ip: device.ip };
        let seconds = self.settings.limits.lock_seconds;
        let locked_for = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        if route.is_for_codes() {
            Message::SecondFactorLocked { deed, locked_for }
        } else {
            Message::AccountLocked { deed, locked_for, link: None }
        }
    }
}

/// The address of an account, and whose it is, if anybody's.
async fn owner_of(
    connection: &SystemConnection,
    target: Target<'_>,
) -> Result<Option<(EmailAddress, Option<UserId>)>, IdentityError> {
    const ADDRESS: &str = "
        select email from control.users where id = $1 union all select email from control.operators where id = $1";
    let holder = match target {
        Target::Address(email, holder) => return Ok(Some((email.clone(), holder))),
        Target::Holder(holder) => holder,
    };
    let row = connection.query_opt(ADDRESS, params![holder]).await?;
    let address = row.and_then(|row| row.get::<_, String>(0).parse().ok());
    Ok(address.map(|address| (address, Some(holder))))
}
