//! Inviting people to a tenant, by its own people: one or many at once, again, and not any more.
//!
//! Must never give a role that allows more than whoever invites may do.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use rowhouse_audit::{Actor, entries_write};
use rowhouse_mail::Mail;
use rowhouse_postgres::{Row, SystemConnection, TenantContext, params};
use rowhouse_types::{EmailAddress, InvitationId, PER_PAGE_DEFAULT, PER_PAGE_MAX, RoleKey, TenantId, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::invitation::{Offer, VALID_DAYS};
use crate::limit::LimitedRoute;
use crate::member::Manager;
use crate::organisation_error::OrganisationError;
use crate::session::Device;

/// Invitations that a tenant may have open at a time: each is a mail to somebody who may not want it.
const OPEN_MAX: i64 = 1000;

/// Somebody to be invited.
#[derive(Debug, Clone)]
pub struct Invite {
    /// Whose address; the invitation is for it only.
    pub email: EmailAddress,
    /// As what.
    pub role: RoleKey,
}

/// Where an invitation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InvitationStatus {
    /// It can be accepted.
    Open,
    /// Nobody has accepted it in time; it can be sent again.
    Expired,
    /// Somebody has joined by it.
    Accepted,
}

impl InvitationStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Open, Self::Expired, Self::Accepted];

    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Expired => "expired",
            Self::Accepted => "accepted",
        }
    }
}

/// An invitation as those who invite see it: the link goes by mail only.
#[derive(Debug, Clone, Serialize)]
pub struct InvitationOut {
    /// Its id, which it keeps when it is sent again.
    pub id: InvitationId,
    /// Whose address.
    pub email: EmailAddress,
    /// As what.
    pub role: RoleKey,
    /// Where it stands.
    pub status: InvitationStatus,
    /// Who sent it last, if it was a member.
    pub invited_by: Option<UserId>,
    /// When the address was invited first.
    pub created_at: DateTime<Utc>,
    /// How long it can be accepted.
    pub expires_at: DateTime<Utc>,
    /// When it was accepted.
    pub accepted_at: Option<DateTime<Utc>>,
}

impl InvitationOut {
    /// None for an address that we would not take any more.
    fn from_row(row: &Row) -> Option<Self> {
        let (expires_at, accepted_at): (DateTime<Utc>, Option<DateTime<Utc>>) = (row.get(5), row.get(6));
        let status = match accepted_at {
            Some(_) => InvitationStatus::Accepted,
            None if row.get(7) => InvitationStatus::Open,
            None => InvitationStatus::Expired,
        };
        Some(Self {
            id: InvitationId::from_uuid(row.get(0)),
            email: row.get::<_, String>(1).parse().ok()?,
            role: RoleKey::new(row.get::<_, String>(2)),
            status,
            invited_by: row.get::<_, Option<Uuid>>(3).map(UserId::from_uuid),
            created_at: row.get(4),
            expires_at,
            accepted_at,
        })
    }
}

/// Which invitations to list: the newest 50 of any status unless said otherwise.
#[derive(Debug, Clone, Default)]
pub struct InvitationPage {
    /// Only those that stand here.
    pub status: Option<InvitationStatus>,
    /// Those older than this one: the last of the page before.
    pub before: Option<InvitationId>,
    /// How many at most; bounded by 201: one more than a page tells whether another follows.
    pub limit: Option<u32>,
}

/// What was found before anybody is invited.
struct Found {
    tenant_name: String,
    inviter_name: Option<String>,
    /// Addresses of members.
    members: HashSet<String>,
    /// How many others are open.
    open: i64,
}

impl Identity {
    /// The invitations of a tenant, the newest first, page by page, under its policies.
    pub async fn invitations(
        &self,
        context: &TenantContext,
        page: &InvitationPage,
    ) -> Result<Vec<InvitationOut>, IdentityError> {
        const LIST: &str = "
            select id, email, role, invited_by, created_at, expires_at, accepted_at, expires_at > now()
            from control.invitations
            where tenant_id = $1 and ($2::uuid is null or id < $2)
              and ($3::text is null or $3 = case when accepted_at is not null then 'accepted'
                                                 when expires_at > now() then 'open' else 'expired' end)
            order by id desc limit $4";
        let limit = i64::from(page.limit.unwrap_or(PER_PAGE_DEFAULT).clamp(1, PER_PAGE_MAX + 1));
        let values = params![context.tenant(), page.before, page.status.map(InvitationStatus::as_str), limit];
        let connection = self.databases.tenant_control(context).await?;
        Ok(connection.run(LIST, values).await?.iter().filter_map(InvitationOut::from_row).collect())
    }

    /// Invites somebody by mail. If the address was invited before, that link is good no longer.
    /// That the inviter may manage people is for the caller to check.
    ///
    /// # Errors
    /// [`IdentityError::Role`] for one that nobody knows or that allows more than the inviter may;
    /// [`IdentityError::Unproved`] if the inviter's own address is not proved;
    /// [`IdentityError::AlreadyMember`]; [`OrganisationError::TooManyInvitations`];
    /// [`IdentityError::TooManyAttempts`].
    pub async fn invite(
        &self,
        by: Manager<'_>,
        invite: Invite,
        device: &Device,
    ) -> Result<InvitationOut, IdentityError> {
        let mut connection = self.control("invite somebody").await?;
        self.count_invites(&connection, by, 1, device).await?;
        connection.begin().await?;
        let invited = self.invite_all(&connection, by, &[invite], "invite").await?.pop();
        let invited = invited.unwrap_or(Err(IdentityError::NotFound))?;
        connection.commit().await?;
        self.nudge_mails();
        Ok(invited)
    }

    /// Invites many at once: those who can be, with an answer for each, in the order of the
    /// addresses.
    ///
    /// # Errors
    /// Of all: [`IdentityError::Unproved`], [`OrganisationError::TooManyInvitations`],
    /// [`IdentityError::TooManyAttempts`]. Of one: as for [`Self::invite`], and
    /// [`OrganisationError::Twice`] for an address that stood there before.
    pub async fn invite_many(
        &self,
        by: Manager<'_>,
        invites: &[Invite],
        device: &Device,
    ) -> Result<Vec<Result<InvitationOut, IdentityError>>, IdentityError> {
        let mut connection = self.control("invite many").await?;
        self.count_invites(&connection, by, invites.len(), device).await?;
        connection.begin().await?;
        let invited = self.invite_all(&connection, by, invites, "invite").await?;
        connection.commit().await?;
        self.nudge_mails();
        Ok(invited)
    }

    /// Sends an invitation again, for another seven days: with a new link, and the one before is
    /// good no longer.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] if the tenant has no such invitation that is not accepted yet;
    /// else as for [`Self::invite`].
    pub async fn resend_invitation(
        &self,
        by: Manager<'_>,
        id: InvitationId,
        device: &Device,
    ) -> Result<InvitationOut, IdentityError> {
        const FIND: &str = "
            select email, role from control.invitations
            where tenant_id = $1 and id = $2 and accepted_at is null for update";
        let mut connection = self.control("send an invitation again").await?;
        self.count_invites(&connection, by, 1, device).await?;
        connection.begin().await?;
        let row = connection.query_opt(FIND, params![by.tenant, id]).await?.ok_or(IdentityError::NotFound)?;
        let email = row.get::<_, String>(0).parse().map_err(|_| IdentityError::NotFound)?;
        let invite = Invite { email, role: RoleKey::new(row.get::<_, String>(1)) };
        let invited = self.invite_all(&connection, by, &[invite], "resend_invitation").await?.pop();
        let invited = invited.unwrap_or(Err(IdentityError::NotFound))?;
        connection.commit().await?;
        self.nudge_mails();
        Ok(invited)
    }

    /// Takes an invitation back: its link is good no longer.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] if the tenant has no such invitation that is not accepted yet.
    pub async fn revoke_invitation(
        &self,
        actor: &Actor,
        tenant: TenantId,
        id: InvitationId,
    ) -> Result<(), IdentityError> {
        const DELETE: &str = "
            delete from control.invitations where tenant_id = $1 and id = $2 and accepted_at is null returning role";
        let mut connection = self.control("revoke an invitation").await?;
        connection.begin().await?;
        let row = connection.query_opt(DELETE, params![tenant, id]).await?.ok_or(IdentityError::NotFound)?;
        let entry = actor.did("revoke_invitation").on("invitation", id).on_tenant(tenant);
        entry.with_details(json!({ "role": row.get::<_, String>(0) })).write(&connection).await?;
        connection.commit().await?;
        Ok(())
    }

    /// Counts what may become mails, before anything is looked at.
    async fn count_invites(
        &self,
        connection: &SystemConnection,
        by: Manager<'_>,
        length: usize,
        device: &Device,
    ) -> Result<(), IdentityError> {
        let attempt = self.attempt_by(LimitedRoute::INVITE, &by.user.to_string(), device);
        self.count_list(connection, &attempt, length).await
    }

    /// Invites in the caller's transaction; one statement looks, one writes, however many they are.
    async fn invite_all(
        &self,
        connection: &SystemConnection,
        by: Manager<'_>,
        invites: &[Invite],
        deed: &'static str,
    ) -> Result<Vec<Result<InvitationOut, IdentityError>>, IdentityError> {
        let found = look(connection, by, invites).await?;
        let roles = self.roles_hold(connection, by.tenant, invites.iter().map(|invite| &invite.role)).await?;
        let mut seen = HashSet::new();
        let refusals: Vec<Option<IdentityError>> = invites
            .iter()
            .map(|Invite { email, role }| {
                if !seen.insert(email.as_str()) {
                    Some(OrganisationError::Twice.into())
                } else if found.members.contains(email.as_str()) {
                    Some(IdentityError::AlreadyMember)
                } else {
                    let given = roles.get(role).filter(|given| by.grants.covers_all(given));
                    given.is_none().then_some(IdentityError::Role)
                }
            })
            .collect();
        let rows: Vec<Value> = invites
            .iter()
            .zip(&refusals)
            .filter(|(_, refusal)| refusal.is_none())
            .map(|(invite, _)| json!({ "id": InvitationId::generate(), "email": invite.email, "role": invite.role }))
            .collect();
        if found.open + i64::try_from(rows.len()).unwrap_or(i64::MAX) > OPEN_MAX {
            return Err(OrganisationError::TooManyInvitations(OPEN_MAX).into());
        }
        let mut made = put(connection, by, rows).await?;
        let mails = made.iter().map(|(invited, link_number)| {
            let offer = Offer { tenant: by.tenant, id: invited.id, link_number: *link_number, is_mailed: true };
            let (name, inviter) = (found.tenant_name.clone(), found.inviter_name.clone());
            self.invitation_mail(invited.email.clone(), name, inviter, &offer)
        });
        self.enqueue_all(connection, &mails.collect::<Vec<Mail>>()).await?;
        let entries = made.iter().map(|(invited, _)| {
            let entry = by.actor.did(deed).on("invitation", invited.id).on_tenant(by.tenant);
            entry.with_details(json!({ "role": invited.role }))
        });
        entries_write(connection, &entries.collect::<Vec<_>>()).await?;
        let mut outcome = |invite: &Invite, refusal| match refusal {
            Some(refusal) => Err(refusal),
            None => {
                let place = made.iter().position(|(invited, _)| invited.email == invite.email);
                place.map(|place| made.swap_remove(place).0).ok_or(IdentityError::NotFound)
            }
        };
        Ok(invites.iter().zip(refusals).map(|(invite, refusal)| outcome(invite, refusal)).collect())
    }
}

/// What has to be known of the inviter, the tenant and the addresses.
async fn look(connection: &SystemConnection, by: Manager<'_>, invites: &[Invite]) -> Result<Found, IdentityError> {
    const LOOK: &str = "
        select t.name, nullif(trim(u.first_name || ' ' || u.last_name), ''), u.email_verified_at is not null,
               array(select p.email from control.memberships m join control.users p on p.id = m.user_id
                     where m.tenant_id = $1 and m.active and p.email = any($3)),
               (select count(*) from control.invitations
                where tenant_id = $1 and accepted_at is null and expires_at > now() and email <> all($3))
        from control.tenants t join control.users u on u.id = $2 and u.active where t.id = $1";
    let addresses: Vec<String> = invites.iter().map(|invite| invite.email.as_str().to_owned()).collect();
    let row = connection.query_opt(LOOK, params![by.tenant, by.user, addresses]).await?;
    let row = row.filter(|row| row.get(2)).ok_or(IdentityError::Unproved)?;
    let members: Vec<String> = row.get(3);
    Ok(Found {
        tenant_name: row.get(0),
        inviter_name: row.get(1),
        members: members.into_iter().collect(),
        open: row.get(4),
    })
}

/// Makes the invitations, or gives those that are open their next link. Gives each with its number.
async fn put(
    connection: &SystemConnection,
    by: Manager<'_>,
    rows: Vec<Value>,
) -> Result<Vec<(InvitationOut, i32)>, IdentityError> {
    // In one order, so that two who invite the same people wait for each other once.
    const PUT: &str = "
        insert into control.invitations as i (tenant_id, id, email, role, invited_by, expires_at)
        select $1, e.id, e.email, e.role, $2, now() + make_interval(days => $4)
        from jsonb_to_recordset($3) as e (id uuid, email text, role text) order by e.email
        on conflict (tenant_id, email) where accepted_at is null do update set
            role = excluded.role, invited_by = excluded.invited_by, expires_at = excluded.expires_at,
            link_number = i.link_number + 1
        returning id, email, role, invited_by, created_at, expires_at, accepted_at, true, link_number";
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let made = connection.query(PUT, params![by.tenant, by.user, Value::Array(rows), VALID_DAYS]).await?;
    Ok(made.iter().filter_map(|row| Some((InvitationOut::from_row(row)?, row.get(8)))).collect())
}
