//! Operators at work in a person's place: to see what they see, for a reason, for a while.
//!
//! Must never look like the person: the session, its token and every line that tells of it name the
//! operator. It is not refreshed, and ends with the operator's account.

use chrono::{DateTime, Utc};
use rowhouse_audit::{Actor, SecurityEvent, SecurityEventKind};
use rowhouse_postgres::{Row, params};
use rowhouse_types::{EmailAddress, PER_PAGE_DEFAULT, PER_PAGE_MAX, SessionId, TenantId, UserId};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::keys::{Act, Claims, Org};
use crate::session::Device;

/// What stands for the device in the person's list of sessions.
const SHOWN_AS: &str = "An operator of the service";

/// Whose place an operator takes.
#[derive(Debug)]
pub enum Impersonated {
    /// The person with this id.
    User(UserId),
    /// The person with this address.
    Email(EmailAddress),
}

/// An operator who takes somebody's place.
#[derive(Debug)]
pub struct Impersonate<'a> {
    /// Who it is.
    pub operator: Act,
    /// The tenant.
    pub tenant: TenantId,
    /// One of its members.
    pub user: Impersonated,
    /// What for.
    pub reason: &'a str,
    /// How long.
    pub minutes: i32,
    /// Where from.
    pub device: &'a Device,
}

/// A place that was taken.
pub struct Impersonation {
    /// What a token of it says.
    pub claims: Claims,
    /// A token; it is not refreshed.
    pub access_token: String,
    /// Seconds it is good for.
    pub expires_in: i64,
}

/// One as operators see it.
#[derive(Debug, Clone, Serialize)]
pub struct ImpersonationOut {
    /// Its session.
    pub id: SessionId,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The person.
    pub user_id: UserId,
    /// The operator.
    pub operator_id: UserId,
    /// Their address then.
    pub operator_email: String,
    /// What for.
    pub reason: String,
    /// From when on.
    pub created_at: DateTime<Utc>,
    /// Until when at most.
    pub ends_at: DateTime<Utc>,
    /// When it was ended before that.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Which to list: the newest 50 unless said otherwise.
#[derive(Debug, Clone, Default)]
pub struct ImpersonationPage {
    /// Only those that last.
    pub open: bool,
    /// Those older than this one: the last of the page before.
    pub before: Option<SessionId>,
    /// How many at most; bounded by 201: one more than a page tells whether another follows.
    pub limit: Option<u32>,
}

impl Identity {
    /// Lets an operator work in a member's place.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] if the tenant has no such active member.
    pub async fn impersonate(&self, asked: Impersonate<'_>, by: &Actor) -> Result<Impersonation, IdentityError> {
        const FIND: &str = "
            select u.id, u.email, m.role, t.slug
            from control.memberships m join control.users u on u.id = m.user_id and u.active
            join control.tenants t on t.id = m.tenant_id and t.status in ('active', 'suspended', 'provisioning')
            where m.tenant_id = $1 and m.active and (u.id = $2::uuid or u.email = $3::text)";
        const OPEN: &str = "
            with opened as (
                insert into control.sessions (id, user_id, tenant_id, ip, user_agent, expires_at, has_fixed_end)
                values ($1, $2, $3, $4::text, $5::text, now() + make_interval(mins => $6::int4), true)
                returning id, user_id, tenant_id, expires_at
            )
            insert into control.impersonations
                (session_id, tenant_id, user_id, operator_id, operator_email, reason, ends_at)
            select id, tenant_id, user_id, $7::uuid, $8::text, $9::text, expires_at from opened returning ends_at";
        let Impersonate { operator, tenant, user, reason, minutes, device } = asked;
        let (id, email) = match &user {
            Impersonated::User(id) => (Some(*id), None),
            Impersonated::Email(email) => (None, Some(email.as_str())),
        };
        let mut connection = self.control("take a person's place").await?;
        let found = connection.query_opt(FIND, params![tenant, id, email]).await?;
        let row = found.ok_or(IdentityError::NotFound)?;
        let (user, email): (_, String) = (UserId::from_uuid(row.get(0)), row.get(1));
        let org = Org { id: tenant, role: row.get(2), slug: row.get(3) };
        let (session, ip) = (SessionId::generate(), device.ip.map(|ip| ip.to_string()));
        let (ip, address) = (ip.as_deref(), operator.email.as_str());
        connection.begin().await?;
        let values = params![session, user, tenant, ip, SHOWN_AS, minutes, operator.sub, address, reason];
        let opened = connection.query_opt(OPEN, values).await?.ok_or(IdentityError::NotFound)?;
        let entry = by.did("impersonate").on("user", user).on_tenant(tenant);
        entry
            .with_details(json!({ "reason": reason, "minutes": minutes, "session": session }))
            .write(&connection)
            .await?;
        connection.commit().await?;
        self.record_impersonation(SecurityEventKind::ImpersonationStarted, &operator, (user, tenant), session, device);
        let ends_at: DateTime<Utc> = opened.get(0);
        let claims =
            Claims { user, email, session, org: Some(org), expires_at: ends_at.timestamp(), act: Some(operator) };
        let expires_in = (ends_at - Utc::now()).num_seconds().max(1);
        let ring = self.keys.ring.on(&connection).await?;
        let access_token = self.keys.sign_claims(&ring, &claims, expires_in)?;
        Ok(Impersonation { claims, access_token, expires_in })
    }

    /// Ends one before its time; its token is refused at once here, and within a second by other
    /// processes.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] if there is none that lasts.
    pub async fn end_impersonation(
        &self,
        session: SessionId,
        by: &Actor,
        device: &Device,
    ) -> Result<(), IdentityError> {
        const END: &str = "
            with ended as (
                update control.impersonations i set ended_at = now()
                from control.sessions s
                where i.session_id = $1 and s.id = i.session_id and i.ended_at is null and s.revoked_at is null
                  and s.expires_at > now()
                returning i.session_id, i.tenant_id, i.user_id, i.operator_id, i.operator_email
            ), closed as (
                update control.sessions s set revoked_at = now() from ended where s.id = ended.session_id
            )
            select tenant_id, user_id, operator_id, operator_email from ended";
        let mut connection = self.control("give a person's place back").await?;
        connection.begin().await?;
        let Some(row) = connection.query_opt(END, params![session]).await? else {
            connection.rollback().await?;
            return Err(IdentityError::NotFound);
        };
        let (tenant, user) = (TenantId::from_uuid(row.get(0)), UserId::from_uuid(row.get(1)));
        by.did("end_impersonation").on("user", user).on_tenant(tenant).write(&connection).await?;
        connection.commit().await?;
        self.caches.sessions.forget(&session).await;
        let operator = Act { sub: UserId::from_uuid(row.get(2)), email: row.get(3) };
        self.record_impersonation(SecurityEventKind::ImpersonationEnded, &operator, (user, tenant), session, device);
        Ok(())
    }

    /// Who works, or has worked, in whose place, the newest first, page by page.
    pub async fn impersonations(&self, page: &ImpersonationPage) -> Result<Vec<ImpersonationOut>, IdentityError> {
        const LIST: &str = "
            select i.session_id, i.tenant_id, i.user_id, i.operator_id, i.operator_email, i.reason, i.created_at,
                   i.ends_at, coalesce(i.ended_at, s.revoked_at)
            from control.impersonations i join control.sessions s on s.id = i.session_id
            where ($1::uuid is null or i.session_id < $1)
              and (not $2::bool or (s.revoked_at is null and s.expires_at > now()))
            order by i.session_id desc limit $3";
        let limit = i64::from(page.limit.unwrap_or(PER_PAGE_DEFAULT).clamp(1, PER_PAGE_MAX + 1));
        let connection = self.control("list impersonations").await?;
        let rows = connection.query(LIST, params![page.before, page.open, limit]).await?;
        let one = |row: &Row| ImpersonationOut {
            id: SessionId::from_uuid(row.get(0)),
            tenant_id: TenantId::from_uuid(row.get(1)),
            user_id: UserId::from_uuid(row.get::<_, Uuid>(2)),
            operator_id: UserId::from_uuid(row.get(3)),
            operator_email: row.get(4),
            reason: row.get(5),
            created_at: row.get(6),
            ends_at: row.get(7),
            ended_at: row.get(8),
        };
        Ok(rows.iter().map(one).collect())
    }

    /// The event's user is the person: whoever looks at what happened to an account finds it there.
    fn record_impersonation(
        &self,
        kind: SecurityEventKind,
        operator: &Act,
        (user, tenant): (UserId, TenantId),
        session: SessionId,
        device: &Device,
    ) {
        self.audit.record(SecurityEvent {
            kind,
            user: Some(user),
            tenant: Some(tenant),
            ip: device.ip,
            user_agent: device.user_agent.clone(),
            details: json!({ "operator": operator.sub, "session": session }),
            ..SecurityEvent::default()
        });
    }
}
