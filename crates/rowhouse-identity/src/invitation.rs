//! Invitations: an address, a tenant, a role, and a signed token that is good once.
//!
//! The token is made from the invitation's id and the number of its link, and kept nowhere: a saga
//! that is repeated gives the same link, and the database gives none away. Only the newest link is
//! good. The one that is mailed proves the address as well; the one that is shown to whoever invites
//! does not. Must never let anybody in but whoever proves to be the invited address's account, or
//! makes it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rowhouse_audit::SecurityEventKind;
use rowhouse_mail::{Brand, Mail, Message};
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{EmailAddress, InvitationId, RoleKey, TenantId, UserId};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::keys::Claims;
use crate::limit::{LimitedRoute, Target};
use crate::member::{members_changed, membership_join};
use crate::second_factor::Factor;
use crate::session::{Device, Opening, Tokens};
use crate::user::{NewUser, user_create};

pub(crate) const VALID_DAYS: i32 = 7;
const PREFIX: &str = "rh_inv_";
/// Last byte of a token that was mailed.
const MAILED: u8 = 1;

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
    /// A code of the second factor of a person who has one.
    pub code: Option<SecretString>,
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
/// a saga that is repeated gives the same link. Gives when it ends.
pub async fn invitation_create(
    connection: &SystemConnection,
    id: InvitationId,
    tenant: TenantId,
    email: &EmailAddress,
    role: &RoleKey,
    invited_by: Option<UserId>,
) -> Result<DateTime<Utc>, IdentityError> {
    const INSERT: &str = "
        insert into control.invitations as i (tenant_id, id, email, role, invited_by, expires_at)
        values ($1, $2, $3, $4, $5, now() + make_interval(days => $6))
        on conflict (tenant_id, id) do update set expires_at = i.expires_at returning i.expires_at";
    let values = params![tenant, id, email.as_str(), role.as_str(), invited_by, VALID_DAYS];
    let row = connection.query_opt(INSERT, values).await?.ok_or(IdentityError::InvalidInvitation)?;
    Ok(row.get(0))
}

/// What a token of an invitation says.
pub(crate) struct Offer {
    pub(crate) tenant: TenantId,
    pub(crate) id: InvitationId,
    /// Which of the invitation's links it is, from 1.
    pub(crate) link_number: i32,
    /// It is the one of the mail: whoever has it gets the mails of the invited address.
    pub(crate) is_mailed: bool,
}

/// An invitation that can still be accepted, and the account of its address.
struct Open {
    offer: Offer,
    email: EmailAddress,
    role: RoleKey,
    tenant_name: String,
    account: Option<Account>,
}

struct Account {
    user: UserId,
    password_hash: Option<String>,
    active: bool,
    factor: Option<Factor>,
}

impl Identity {
    /// The token of a new invitation, to be shown to whoever invites.
    pub fn invitation_token(&self, tenant: TenantId, id: InvitationId) -> InvitationToken {
        self.sign_offer(&Offer { tenant, id, link_number: 1, is_mailed: false })
    }

    /// Queues the mail of an invitation that can be accepted, in the caller's transaction. Its token
    /// is another than the one that is shown: it proves the address, too.
    pub async fn mail_invitation(
        &self,
        connection: &SystemConnection,
        tenant: TenantId,
        id: InvitationId,
    ) -> Result<(), IdentityError> {
        const FIND: &str = "
            select i.email, t.name, nullif(trim(u.first_name || ' ' || u.last_name), ''), i.link_number
            from control.invitations i join control.tenants t on t.id = i.tenant_id
            left join control.users u on u.id = i.invited_by
            where i.tenant_id = $1 and i.id = $2 and i.accepted_at is null and i.expires_at > now()";
        if self.mailer.is_none() {
            return Ok(());
        }
        let Some(row) = connection.query_opt(FIND, params![tenant, id]).await? else { return Ok(()) };
        let Ok(to) = row.get::<_, String>(0).parse() else { return Ok(()) };
        let offer = Offer { tenant, id, link_number: row.get(3), is_mailed: true };
        let mail = self.invitation_mail(to, row.get(1), row.get(2), &offer);
        self.enqueue(connection, &mail, true).await
    }

    /// The mail of an invitation.
    pub(crate) fn invitation_mail(
        &self,
        to: EmailAddress,
        tenant_name: String,
        invited_by: Option<String>,
        offer: &Offer,
    ) -> Mail {
        let message = Message::Invitation {
            link: self.page("invite", self.sign_offer(offer).expose()),
            valid_for: Duration::from_secs(u64::from(VALID_DAYS.unsigned_abs()) * 24 * 60 * 60),
            invited_by,
        };
        let brand = Some(Brand { tenant: offer.tenant, name: tenant_name, colour: None });
        Mail { to, user: None, brand, language: None, message }
    }

    /// Accepts an invitation: makes the person if the address has no account, else checks the
    /// password of the account, and makes the membership.
    ///
    /// # Errors
    /// [`IdentityError::InvalidInvitation`] if it is unknown, used or expired;
    /// [`IdentityError::WrongCredentials`] if the address has an account with another password;
    /// [`IdentityError::MfaRequired`] and [`IdentityError::WrongCode`] as at a sign-in;
    /// [`IdentityError::TooManyAttempts`].
    pub async fn accept_invitation(&self, accept: AcceptInvitation) -> Result<Accepted, IdentityError> {
        let AcceptInvitation { token, password, code, first_name, last_name, device } = accept;
        let open = self.open_invitation(&token).await;
        if matches!(open, Err(IdentityError::InvalidInvitation)) {
            self.count_attempt(LimitedRoute::ACCEPT_INVITATION, None, &device).await?;
        }
        let open = open?;
        let attempt = self.attempt_at(LimitedRoute::ACCEPT_INVITATION, open.email.as_str(), &device);
        self.count(&self.control("accept an invitation").await?, &attempt).await?;
        let (user, password_hash) = match &open.account {
            Some(account) => {
                let hash = account.password_hash.clone().filter(|_| account.active);
                if !self.passwords.verify(password, hash.clone()).await? {
                    self.record(SecurityEventKind::SignInFailed, Some(account.user), None, None, &device);
                    self.attempt_failed(&attempt, Target::Address(&open.email, Some(account.user)), &device).await?;
                    return Err(IdentityError::WrongCredentials);
                }
                if let Some(factor) = &account.factor {
                    self.demand_code(LimitedRoute::MFA, account.user, factor, code.as_ref(), &device).await?;
                }
                (self.join(&open, Joining::Member(account.user)).await?, hash)
            }
            None => {
                let words = [open.email.as_str(), &first_name, &last_name, &open.tenant_name].map(str::to_owned);
                let password_hash = Some(self.passwords.hash_new(password, words.to_vec()).await?);
                let (email, email_verified) = (open.email.clone(), open.offer.is_mailed);
                let new =
                    NewUser { email, password_hash: password_hash.clone(), first_name, last_name, email_verified };
                (self.join(&open, Joining::New(new)).await?, password_hash)
            }
        };
        self.record(SecurityEventKind::InvitationAccepted, Some(user), Some(open.offer.tenant), None, &device);
        let named = open.offer.tenant.to_string();
        let opening = Opening {
            user,
            email: open.email.as_str(),
            tenant: Some(&named),
            password_hash: password_hash.as_deref(),
            attempt: &attempt,
            device: &device,
        };
        let tokens = self.open_session(&opening).await?;
        Ok(Accepted { tenant: open.offer.tenant, user, tokens })
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
        self.record(SecurityEventKind::InvitationAccepted, Some(user), Some(open.offer.tenant), None, &device);
        let tokens = self.switch(claims, &open.offer.tenant.to_string(), device).await?;
        Ok(Accepted { tenant: open.offer.tenant, user, tokens })
    }

    async fn open_invitation(&self, token: &SecretString) -> Result<Open, IdentityError> {
        const FIND: &str = "
            select i.email, i.role, u.id, u.password_hash, u.active, t.name, f.holder is not null, f.sealed_secret
            from control.invitations i
            join control.tenants t on t.id = i.tenant_id and t.status in ('active', 'suspended', 'provisioning')
            left join control.users u on u.email = i.email
            left join control.second_factors f on f.holder = u.id and f.confirmed_at is not null
            where i.tenant_id = $1 and i.id = $2 and i.link_number = $3 and i.accepted_at is null
              and i.expires_at > now()";
        let offer = self.read_token(token.expose_secret()).ok_or(IdentityError::InvalidInvitation)?;
        let connection = self.control("accept an invitation").await?;
        let found = connection.query_opt(FIND, params![offer.tenant, offer.id, offer.link_number]).await?;
        let row = found.ok_or(IdentityError::InvalidInvitation)?;
        let email: EmailAddress = row.get::<_, String>(0).parse().map_err(|_| IdentityError::InvalidInvitation)?;
        let account = row.get::<_, Option<Uuid>>(2).map(|user| Account {
            user: UserId::from_uuid(user),
            password_hash: row.get(3),
            active: row.get(4),
            factor: Factor::of_columns(&row, 6),
        });
        let (role, tenant_name) = (RoleKey::new(row.get::<_, String>(1)), row.get(5));
        Ok(Open { offer, email, role, tenant_name, account })
    }

    /// One transaction: the invitation is used, the person and the membership exist. It may have been
    /// sent anew, with another role, while the password was hashed.
    async fn join(&self, open: &Open, joining: Joining) -> Result<UserId, IdentityError> {
        const USE: &str = "
            update control.invitations set accepted_at = now()
            where tenant_id = $1 and id = $2 and link_number = $3 and accepted_at is null returning id";
        const PROVED: &str = "
            update control.users set email_verified_at = now() where id = $1 and email_verified_at is null";
        let mut connection = self.control("accept an invitation").await?;
        connection.begin().await?;
        let used = params![open.offer.tenant, open.offer.id, open.offer.link_number];
        if connection.query_opt(USE, used).await?.is_none() {
            return Err(IdentityError::InvalidInvitation);
        }
        let user = match joining {
            Joining::Member(user) => user,
            Joining::New(new) => {
                let user = user_create(&connection, &new).await?;
                self.ask_to_verify(&connection, user).await?;
                user
            }
        };
        if open.offer.is_mailed {
            connection.query(PROVED, params![user]).await?;
        }
        membership_join(&connection, open.offer.tenant, user, &open.role).await?;
        members_changed(&connection, open.offer.tenant).await?;
        connection.commit().await?;
        self.nudge_mails();
        self.forget_access(user, open.offer.tenant).await;
        Ok(user)
    }

    pub(crate) fn sign_offer(&self, offer: &Offer) -> InvitationToken {
        let payload = offer.payload();
        InvitationToken(format!("{PREFIX}{}", self.invitation_signer.sign(&payload)).into())
    }

    fn read_token(&self, token: &str) -> Option<Offer> {
        Offer::read(&self.invitation_signer.verify(token.strip_prefix(PREFIX)?)?)
    }
}

impl Offer {
    fn payload(&self) -> Vec<u8> {
        let Self { tenant, id, link_number, is_mailed } = self;
        let mark: &[u8] = if *is_mailed { &[MAILED] } else { &[] };
        let number = if *link_number > 1 { link_number.to_be_bytes().to_vec() } else { Vec::new() };
        [tenant.uuid().as_bytes().as_slice(), id.uuid().as_bytes(), &number, mark].concat()
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let (tenant, rest) = payload.split_at_checked(16)?;
        let (id, rest) = rest.split_at_checked(16)?;
        let (is_mailed, number) = match rest {
            [number @ .., MAILED] if rest.len() != 4 => (true, number),
            number => (false, number),
        };
        let link_number = match number {
            [] => 1,
            number => i32::from_be_bytes(number.try_into().ok()?),
        };
        let (tenant, id) = (Uuid::from_slice(tenant).ok()?, Uuid::from_slice(id).ok()?);
        Some(Self { tenant: TenantId::from_uuid(tenant), id: InvitationId::from_uuid(id), link_number, is_mailed })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_offer_survives_its_text(number in 1_i32.., is_mailed in any::<bool>()) {
            let offer = Offer { tenant: TenantId::generate(), id: InvitationId::generate(), link_number: number, is_mailed };
            let read = Offer::read(&offer.payload()).unwrap();
            prop_assert_eq!((read.tenant, read.id), (offer.tenant, offer.id));
            prop_assert_eq!((read.link_number, read.is_mailed), (number, is_mailed));
        }

        #[test]
        fn any_bytes_are_an_offer_or_none(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(offer) = Offer::read(&payload) {
                prop_assert!((32..=37).contains(&payload.len()), "{}", payload.len());
                prop_assert_eq!(offer.tenant.uuid().as_bytes()[..].to_vec(), payload[..16].to_vec());
            }
        }
    }
}
