//! Inviting somebody to a tenant: Clerk writes to them, and tells when they have joined.

use rowhouse_audit::Actor;
use rowhouse_identity::IdentityError;
use rowhouse_postgres::params;
use rowhouse_types::{EmailAddress, Grants, RoleKey, TenantId, UserId};
use serde::Serialize;

use crate::backend::BackendError;
use crate::clerk_id::{OrganizationId, PersonId};
use crate::error::ClerkError;
use crate::service::Clerk;

/// An invitation as those who invite see it.
#[derive(Debug, Clone, Serialize)]
pub struct InvitedOut {
    /// Its id at Clerk.
    pub id: String,
    /// Whose address.
    pub email: EmailAddress,
    /// As what.
    pub role: RoleKey,
}

impl Clerk {
    /// Invites somebody by Clerk. That the inviter may manage people is for the caller to check; what
    /// they hold is given to it.
    ///
    /// # Errors
    /// [`ClerkError::NoBackend`] without a secret key; [`IdentityError::Role`] for a role that nobody
    /// knows or that allows more than the inviter may; a refusal of Clerk's.
    pub async fn invite(
        &self,
        by: &Actor,
        tenant: TenantId,
        inviter: UserId,
        held: &Grants,
        email: EmailAddress,
        role: RoleKey,
    ) -> Result<InvitedOut, ClerkError> {
        const FIND: &str = "
            select t.clerk_id, u.clerk_id from control.clerk_tenants t, control.clerk_users u
            where t.tenant_id = $1 and starts_with(t.clerk_id, 'org_') and u.user_id = $2
            order by t.clerk_id limit 1";
        let backend = self.backend.as_ref().ok_or(ClerkError::NoBackend)?;
        let may_give = self.identity.role_grants(&role).is_some_and(|given| held.covers_all(&given));
        if !may_give {
            return Err(IdentityError::Role.into());
        }
        let row = self.control("find an organisation").await?.query_opt(FIND, params![tenant, inviter]).await?;
        let found = row.and_then(|row| Some((OrganizationId::parse(row.get(0))?, PersonId::parse(row.get(1))?)));
        let Some((organization, person)) = found else { return Err(ClerkError::NoOrganization) };
        let at_clerk = self.role_at_clerk(&role);
        let id = match backend.invite(&organization, email.as_str(), at_clerk, &person).await {
            Ok(id) => id,
            Err(error @ BackendError::Refused { status, .. }) if status.is_client_error() && status != 429 => {
                return Err(ClerkError::Refused(error));
            }
            Err(error) => return Err(error.into()),
        };
        let control = self.control("note an invitation").await?;
        by.did("invite").on("invitation", &id).on_tenant(tenant).write(&control).await?;
        Ok(InvitedOut { id: id.to_string(), email, role })
    }

    /// Clerk's name of a role.
    fn role_at_clerk<'a>(&'a self, role: &'a RoleKey) -> &'a str {
        let other = self.roles.iter().find(|(_, here)| *here == role.as_str());
        other.map_or(role.as_str(), |(at_clerk, _)| at_clerk)
    }
}
