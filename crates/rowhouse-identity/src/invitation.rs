//! Invitations: an address, a tenant, a role, and a signed token that is good once.
//!
//! The token is made from the invitation's id and kept nowhere: a saga that is repeated gives the
//! same link, and the database gives none away. Must never let anybody in but whoever proves to
//! be the invited address's account, or makes it.

use rowhouse_audit::SecurityEventKind;
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{EmailAddress, InvitationId, RoleKey, TenantId, UserId};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::keys::Claims;
use crate::member::membership_join;
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

/// Who joins.
enum Joining {
    New(NewUser),
    Member(UserId),
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
#[derive(Debug)]
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

/// An invitation that can still be accepted, and the account of its address.
struct Open {
    tenant: TenantId,
    id: InvitationId,
    email: EmailAddress,
    role: RoleKey,
    account: Option<Account>,
}

struct Account {
    user: UserId,
    password_hash: Option<String>,
    active: bool,
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
    /// [`IdentityError::InvalidInvitation`] if it is unknown, used or expired;
    /// [`IdentityError::WrongCredentials`] if the address has an account with another password.
    pub async fn accept_invitation(&self, accept: AcceptInvitation) -> Result<Accepted, IdentityError> {
        let AcceptInvitation { token, password, first_name, last_name, device } = accept;
        let open = self.open_invitation(&token).await?;
        let user = match &open.account {
            Some(account) => {
                let hash = account.password_hash.clone().filter(|_| account.active);
                if !verify_password(password, hash).await? {
                    self.record(SecurityEventKind::SignInFailed, Some(account.user), None, None, &device);
                    return Err(IdentityError::WrongCredentials);
                }
                self.join(&open, Joining::Member(account.user)).await?
            }
            None => {
                let password_hash = Some(hash_password(password).await?);
                let new = NewUser { email: open.email.clone(), password_hash, first_name, last_name };
                self.join(&open, Joining::New(new)).await?
            }
        };
        self.record(SecurityEventKind::InvitationAccepted, Some(user), Some(open.tenant), None, &device);
        let named = open.tenant.to_string();
        let tokens = self.open_session(user, open.email.as_str(), Some(&named), &device).await?;
        Ok(Accepted { tenant: open.tenant, user, tokens })
    }

    /// The same for somebody who is signed in with the invited address; they go on in the new
    /// tenant, in the same session.
    ///
    /// # Errors
    /// [`IdentityError::InvalidInvitation`] if it is unknown, used, expired or somebody else's.
    pub async fn accept_invitation_as(
        &self,
        claims: &Claims,
        token: &SecretString,
        device: Device,
    ) -> Result<Accepted, IdentityError> {
        let open = self.open_invitation(token).await?;
        let account = open.account.as_ref().filter(|account| account.active && account.user == claims.user);
        let user = account.ok_or(IdentityError::InvalidInvitation)?.user;
        self.join(&open, Joining::Member(user)).await?;
        self.record(SecurityEventKind::InvitationAccepted, Some(user), Some(open.tenant), None, &device);
        let tokens = self.switch(claims, &open.tenant.to_string(), device).await?;
        Ok(Accepted { tenant: open.tenant, user, tokens })
    }

    async fn open_invitation(&self, token: &SecretString) -> Result<Open, IdentityError> {
        const FIND: &str = "
            select i.email, i.role, u.id, u.password_hash, u.active
            from control.invitations i
            join control.tenants t on t.id = i.tenant_id and t.status in ('active', 'suspended', 'provisioning')
            left join control.users u on u.email = i.email
            where i.tenant_id = $1 and i.id = $2 and i.accepted_at is null and i.expires_at > now()";
        let (tenant, id) = self.read_token(token.expose_secret()).ok_or(IdentityError::InvalidInvitation)?;
        let connection = self.control("accept an invitation").await?;
        let row = connection.query_opt(FIND, params![tenant, id]).await?.ok_or(IdentityError::InvalidInvitation)?;
        let email: EmailAddress = row.get::<_, String>(0).parse().map_err(|_| IdentityError::InvalidInvitation)?;
        let account = row.get::<_, Option<Uuid>>(2).map(|user| Account {
            user: UserId::from_uuid(user),
            password_hash: row.get(3),
            active: row.get(4),
        });
        Ok(Open { tenant, id, email, role: RoleKey::new(row.get::<_, String>(1)), account })
    }

    /// One transaction: the invitation is used, the person and the membership exist.
    async fn join(&self, open: &Open, joining: Joining) -> Result<UserId, IdentityError> {
        const USE: &str = "
            update control.invitations set accepted_at = now()
            where tenant_id = $1 and id = $2 and accepted_at is null returning id";
        let mut connection = self.control("accept an invitation").await?;
        connection.begin().await?;
        if connection.query_opt(USE, params![open.tenant, open.id]).await?.is_none() {
            return Err(IdentityError::InvalidInvitation);
        }
        let user = match joining {
            Joining::Member(user) => user,
            Joining::New(new) => user_create(&connection, &new).await?,
        };
        membership_join(&connection, open.tenant, user, &open.role).await?;
        connection.commit().await?;
        self.forget_access(user, open.tenant).await;
        Ok(user)
    }

    fn read_token(&self, token: &str) -> Option<(TenantId, InvitationId)> {
        let payload = self.invitation_signer.verify(token.strip_prefix(PREFIX)?)?;
        let (tenant, id) = payload.split_at_checked(16)?;
        Some((TenantId::from_uuid(Uuid::from_slice(tenant).ok()?), InvitationId::from_uuid(Uuid::from_slice(id).ok()?)))
    }
}
