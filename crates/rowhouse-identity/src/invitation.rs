//! Invitations: an address, a tenant, a role, and a signed token that is good once.

use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{EmailAddress, InvitationId, RoleKey, TenantId, UserId};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::member::membership_create;
use crate::password::{hash_password, verify_password};
use crate::session::{Device, Tokens};
use crate::user::{NewUser, user_create};

const VALID_DAYS: i32 = 7;
const PREFIX: &str = "rh_inv_";

/// The secret of an invitation, shown once.
#[derive(Debug, Clone)]
pub struct InvitationToken(SecretString);

impl InvitationToken {
    /// The text, for the link.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Somebody accepts an invitation.
#[derive(Debug)]
pub struct AcceptInvitation {
    /// The token of the link.
    pub token: SecretString,
    /// A new person's password; the existing one of a person who has an account.
    pub password: SecretString,
    /// A new person's first name.
    pub first_name: String,
    /// A new person's last name.
    pub last_name: String,
    /// Where from.
    pub device: Device,
}

/// The outcome.
pub struct Accepted {
    /// The tenant joined.
    pub tenant: TenantId,
    /// The person.
    pub user: UserId,
    /// A session in it.
    pub tokens: Tokens,
}

/// Makes an invitation. Its token is made by [`Identity::invitation_token`] from the id, so that
/// a saga that is repeated gives the same link.
pub async fn invitation_create(
    connection: &SystemConnection,
    id: InvitationId,
    tenant: TenantId,
    email: &EmailAddress,
    role: &RoleKey,
    invited_by: Option<UserId>,
) -> Result<(), IdentityError> {
    const INSERT: &str = "
        insert into control.invitations (tenant_id, id, email, role, invited_by, expires_at)
        values ($1, $2, $3, $4, $5, now() + make_interval(days => $6)) on conflict do nothing";
    connection.query(INSERT, params![tenant, id, email.as_str(), role.as_str(), invited_by, VALID_DAYS]).await?;
    Ok(())
}

impl Identity {
    /// The token of an invitation.
    pub fn invitation_token(&self, tenant: TenantId, id: InvitationId) -> InvitationToken {
        let payload = [tenant.uuid().as_bytes().as_slice(), id.uuid().as_bytes()].concat();
        InvitationToken(format!("{PREFIX}{}", self.invitation_signer.sign(&payload)).into())
    }

    /// Accepts an invitation: makes the person if the address has no account, else checks the
    /// password of the account, and makes the membership.
    ///
    /// # Errors
    /// [`IdentityError::InvalidInvitation`] if it is unknown, used or expired.
    pub async fn accept_invitation(&self, accept: AcceptInvitation) -> Result<Accepted, IdentityError> {
        const FIND: &str = "
            select i.email, i.role, u.id, u.password_hash
            from control.invitations i left join control.users u on u.email = i.email
            where i.tenant_id = $1 and i.id = $2 and i.accepted_at is null and i.expires_at > now()";
        let (tenant, id) = self.read_token(accept.token.expose_secret()).ok_or(IdentityError::InvalidInvitation)?;
        let row = {
            let connection = self.control("accept an invitation").await?;
            connection.query_opt(FIND, params![tenant, id]).await?.ok_or(IdentityError::InvalidInvitation)?
        };
        let (email, role): (String, String) = (row.get(0), row.get(1));
        let email: EmailAddress = email.parse().map_err(|_| IdentityError::InvalidInvitation)?;
        let existing: Option<Uuid> = row.get(2);
        let hash = match existing {
            None => Some(hash_password(accept.password).await?),
            Some(_) => {
                if !verify_password(accept.password, row.get(3)).await {
                    return Err(IdentityError::WrongCredentials);
                }
                None
            }
        };
        let new = NewUser {
            email: email.clone(),
            password_hash: hash,
            first_name: accept.first_name,
            last_name: accept.last_name,
        };
        let user = self.join(tenant, id, existing.map(UserId::from_uuid), &new, &RoleKey::new(role)).await?;
        self.forget_access(user, tenant).await;
        let tokens = self.open_session(user, email.as_str(), Some(&tenant.to_string()), &accept.device).await?;
        Ok(Accepted { tenant, user, tokens })
    }

    /// One transaction: the invitation is used, the person and the membership exist.
    async fn join(
        &self,
        tenant: TenantId,
        id: InvitationId,
        existing: Option<UserId>,
        new: &NewUser,
        role: &RoleKey,
    ) -> Result<UserId, IdentityError> {
        const USE: &str = "
            update control.invitations set accepted_at = now()
            where tenant_id = $1 and id = $2 and accepted_at is null returning id";
        let mut connection = self.control("accept an invitation").await?;
        connection.begin().await?;
        if connection.query_opt(USE, params![tenant, id]).await?.is_none() {
            return Err(IdentityError::InvalidInvitation);
        }
        let user = match existing {
            Some(user) => user,
            None => user_create(&connection, new).await?,
        };
        membership_create(&connection, tenant, user, role).await?;
        connection.commit().await?;
        Ok(user)
    }

    fn read_token(&self, token: &str) -> Option<(TenantId, InvitationId)> {
        let payload = self.invitation_signer.verify(token.strip_prefix(PREFIX)?)?;
        let (tenant, id) = payload.split_at_checked(16)?;
        Some((TenantId::from_uuid(Uuid::from_slice(tenant).ok()?), InvitationId::from_uuid(Uuid::from_slice(id).ok()?)))
    }
}
