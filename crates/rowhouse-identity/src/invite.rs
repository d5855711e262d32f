//! Inviting somebody to a tenant, by its own people.

use chrono::{DateTime, Utc};
use rowhouse_audit::Actor;
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{EmailAddress, Grants, InvitationId, RoleKey, TenantId, UserId};
use serde::Serialize;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::invitation::invitation_create;
use crate::limit::LimitedRoute;
use crate::session::Device;

/// Somebody to be invited.
#[derive(Debug)]
pub struct Invite {
    /// To where.
    pub tenant: TenantId,
    /// Whose address; the invitation is for it only.
    pub email: EmailAddress,
    /// As what.
    pub role: RoleKey,
}

/// An invitation as those who invite see it: the link goes by mail only.
#[derive(Debug, Clone, Serialize)]
pub struct InvitationOut {
    /// Its id.
    pub id: InvitationId,
    /// Whose address.
    pub email: EmailAddress,
    /// As what.
    pub role: RoleKey,
    /// How long it can be accepted.
    pub expires_at: DateTime<Utc>,
}

impl Identity {
    /// Invites somebody by mail. An invitation of the same address that is open ends. That the
    /// inviter may manage people is for the caller to check; what they hold is given to it.
    ///
    /// # Errors
    /// [`IdentityError::Role`] for one that nobody knows or that allows more than the inviter may;
    /// [`IdentityError::Unproved`] if the inviter's own address is not proved;
    /// [`IdentityError::AlreadyMember`]; [`IdentityError::TooManyAttempts`].
    pub async fn invite(
        &self,
        invite: Invite,
        inviter: UserId,
        held: &Grants,
        by: &Actor,
        device: &Device,
    ) -> Result<InvitationOut, IdentityError> {
        const END: &str = "
            delete from control.invitations where tenant_id = $1 and email = $2 and accepted_at is null";
        let Invite { tenant, email, role } = invite;
        let given = self.role_grants(&role).filter(|given| held.covers_all(given));
        given.ok_or(IdentityError::Role)?;
        let id = InvitationId::generate();
        let mut connection = self.control("invite somebody").await?;
        self.count(&connection, &self.attempt_by(LimitedRoute::INVITE, &inviter.to_string(), device)).await?;
        connection.begin().await?;
        check_invite(&connection, tenant, inviter, &email).await?;
        connection.query(END, params![tenant, email.as_str()]).await?;
        let expires_at = invitation_create(&connection, id, tenant, &email, &role, Some(inviter)).await?;
        self.mail_invitation(&connection, tenant, id).await?;
        by.did("invite").on("invitation", id).on_tenant(tenant).write(&connection).await?;
        connection.commit().await?;
        self.nudge_mails();
        Ok(InvitationOut { id, email, role, expires_at })
    }
}

/// Whether the inviter may, and the other is no member yet.
async fn check_invite(
    connection: &SystemConnection,
    tenant: TenantId,
    inviter: UserId,
    email: &EmailAddress,
) -> Result<(), IdentityError> {
    const CHECK: &str = "
        select exists (select 1 from control.users where id = $2 and active and email_verified_at is not null),
               exists (select 1 from control.memberships m join control.users u on u.id = m.user_id
                       where m.tenant_id = $1 and m.active and u.email = $3)";
    let row = connection.query_opt(CHECK, params![tenant, inviter, email.as_str()]).await?;
    let (proved, member) = row.map_or((false, false), |row| (row.get(0), row.get(1)));
    match (proved, member) {
        (false, _) => Err(IdentityError::Unproved),
        (true, true) => Err(IdentityError::AlreadyMember),
        (true, false) => Ok(()),
    }
}
