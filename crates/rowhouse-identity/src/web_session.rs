//! Browsers' sessions: a cookie for each host, which stands for a session.
//!
//! Must never take a cookie on another host than the one it was made for: tenants may run scripts of
//! their own on theirs, and what those can use must open nothing elsewhere.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use moka::sync::Cache;
use rowhouse_audit::{SecurityEvent, SecurityEventKind};
use rowhouse_postgres::{DatabaseResult, params};
use rowhouse_types::{MasterKey, SessionId, Signer, TenantId, UserId};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::keys::{Act, Claims, Org};
use crate::remembered::Remembered;
use crate::session::Device;

const PREFIX: &str = "rh_ws_";
/// How long a process does not write again that a cookie is in use.
const USE_NOTED: Duration = Duration::from_secs(60);
const USED_MAX: u64 = 100_000;

/// A host as a request names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebHost<'a> {
    /// Its name, without a port.
    pub name: &'a str,
    /// The slug of the tenant whose it is; none for the sign-in host.
    pub tenant: Option<&'a str>,
}

/// What a cookie stands for.
pub struct WebSession {
    id: Uuid,
    /// Of what it is remembered by.
    digest: [u8; 32],
    host: String,
    of_tenant: bool,
    /// Who it is, in which session. The tenant is the host's, or on the sign-in host the session's.
    pub claims: Arc<Claims>,
}

impl WebSession {
    /// Whether it is on a tenant's host, where scripts may run that are not ours.
    pub fn is_on_tenants_host(&self) -> bool {
        self.of_tenant
    }

    /// Whether it was made for this host. A tenant that has taken over the name of another is another.
    fn fits(&self, host: WebHost<'_>) -> bool {
        let slug = self.claims.org.as_ref().map(|org| org.slug.as_str()).filter(|_| self.of_tenant);
        let is_same_owner = match (slug, host.tenant) {
            (Some(slug), Some(named)) => slug.eq_ignore_ascii_case(named),
            (None, None) => !self.of_tenant,
            _ => false,
        };
        is_same_owner && self.host.eq_ignore_ascii_case(host.name)
    }
}

/// A cookie that was made. Handed to the browser, kept nowhere.
pub struct NewWebSession {
    /// What the cookie holds.
    pub secret: SecretString,
    /// What unsafe requests must bring beside it.
    pub csrf_token: String,
    /// When it ends, however much it is used.
    pub ends_at: DateTime<Utc>,
}

/// What is remembered of cookies.
pub(crate) struct WebSessions {
    remembered: Remembered<[u8; 32], Option<Arc<WebSession>>>,
    /// Which were noted to be in use.
    used: Cache<Uuid, ()>,
    csrf_signer: Signer,
}

impl WebSessions {
    pub(crate) fn new(master: &MasterKey) -> Self {
        let used = Cache::builder().max_capacity(USED_MAX).time_to_live(USE_NOTED).build();
        Self { remembered: Remembered::new(), used, csrf_signer: master.signer("csrf") }
    }

    /// After many have changed.
    pub(crate) fn forget_all(&self) {
        self.remembered.forget_all();
    }
}

/// A cookie's secret: 256 random bits.
pub(crate) struct WebSecret(SecretString);

impl WebSecret {
    pub(crate) fn generate() -> Self {
        let random: [u8; 32] = rand::random();
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)).into())
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> Vec<u8> {
        digest_of(self.0.expose_secret()).to_vec()
    }
}

fn digest_of(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

impl Identity {
    /// A cookie for a session that was opened for a browser on this host; what refreshes the session
    /// by a token ends. The cookie that the browser had before is good no more.
    ///
    /// # Errors
    /// [`IdentityError::NotAMember`] if the host is a tenant's that the session is not in: then the
    /// session has ended.
    pub async fn open_web_session(
        &self,
        session: SessionId,
        host: WebHost<'_>,
        replaced: Option<&SecretString>,
    ) -> Result<NewWebSession, IdentityError> {
        // Some of those that are over are removed each time, so the table stays small.
        const OPEN: &str = "
            with gone as (
                delete from control.web_sessions where secret_hash = $6 and session_id <> $1
            ), over as (
                delete from control.web_sessions where id in (
                    select id from control.web_sessions where ends_at < now() limit 10 for update skip locked)
            ), opened as (
                update control.sessions s
                set token_hash = null,
                    expires_at = case when has_fixed_end then expires_at
                                      else control.session_end(null, created_at, $8, $7) end
                where id = $1 and revoked_at is null and expires_at > now()
                returning id, tenant_id, created_at, least(created_at + make_interval(days => $7),
                                               case when has_fixed_end then expires_at end) as ends_at
            ), fit as (
                select s.id, t.id as tenant_id, s.ends_at,
                       control.session_end(s.tenant_id, s.created_at, $8, $7) as expires_at
                from opened s
                left join control.tenants t on t.id = s.tenant_id and t.slug = lower($5::text)
                where $5::text is null or t.id is not null
            )
            insert into control.web_sessions (id, secret_hash, session_id, tenant_id, host, expires_at, ends_at)
            select $2::uuid, $3::bytea, id, case when $5::text is not null then tenant_id end, lower($4::text),
                   least(expires_at, ends_at), ends_at
            from fit
            on conflict (session_id, host) do update
            set id = excluded.id, secret_hash = excluded.secret_hash, tenant_id = excluded.tenant_id,
                last_used_at = now(), expires_at = excluded.expires_at, ends_at = excluded.ends_at
            returning ends_at";
        const END: &str = "update control.sessions set revoked_at = now() where id = $1 and revoked_at is null";
        let (id, secret) = (Uuid::now_v7(), WebSecret::generate());
        let replaced = replaced.map_or_else(Vec::new, |secret| digest_of(secret.expose_secret()).to_vec());
        let (idle, most) = (self.settings.session_days, self.settings.session_days_max);
        let values = params![session, id, secret.hash(), host.name, host.tenant, replaced, most, idle];
        let connection = self.control("open a browser's session").await?;
        let Some(row) = connection.query_opt(OPEN, values).await? else {
            connection.query(END, params![session]).await?;
            self.caches.sessions.forget(&session).await;
            return Err(IdentityError::NotAMember);
        };
        Ok(self.new_web_session(id, secret, row.get(0)))
    }

    pub(crate) fn new_web_session(&self, id: Uuid, secret: WebSecret, ends_at: DateTime<Utc>) -> NewWebSession {
        NewWebSession { secret: secret.0, csrf_token: self.csrf_token_of(id), ends_at }
    }

    /// Verifies a browser's cookie on a host, and that its session is alive.
    ///
    /// # Errors
    /// [`IdentityError::InvalidToken`], whatever is wrong with it. One of another host is reported:
    /// no browser sends it by itself.
    pub async fn verify_cookie(
        &self,
        secret: &str,
        host: WebHost<'_>,
        device: impl FnOnce() -> Device,
    ) -> Result<Arc<WebSession>, IdentityError> {
        let digest = digest_of(secret);
        let found = self.web_sessions.remembered.get_or_read(digest, self.read_web_session(digest)).await?;
        let web = found.ok_or(IdentityError::InvalidToken)?;
        let is_over = web.claims.expires_at <= Utc::now().timestamp();
        if is_over || !self.session_is_alive(web.claims.session).await? {
            return Err(IdentityError::InvalidToken);
        }
        if !web.fits(host) {
            self.report_foreign_host(&web, host, device());
            return Err(IdentityError::InvalidToken);
        }
        self.note_use(&web);
        Ok(web)
    }

    async fn read_web_session(&self, digest: [u8; 32]) -> Result<Option<Arc<WebSession>>, IdentityError> {
        const READ: &str = "
            select w.id, w.host, w.tenant_id is not null, w.ends_at, s.id, u.id, u.email, t.id, m.role, t.slug,
                   i.operator_id, i.operator_email
            from control.web_sessions w join control.sessions s on s.id = w.session_id
            join control.users u on u.id = s.user_id and u.active
            left join control.impersonations i on i.session_id = s.id
            left join control.memberships m
              on m.user_id = u.id and m.active and m.tenant_id = coalesce(w.tenant_id, s.tenant_id)
            left join control.tenants t on t.id = m.tenant_id and t.status in ('active', 'suspended', 'provisioning')
            where w.secret_hash = $1 and w.expires_at > now()";
        let connection = self.control("check a browser's session").await?;
        let Some(row) = connection.query_opt(READ, params![digest.to_vec()]).await? else { return Ok(None) };
        let org = row.get::<_, Option<Uuid>>(7).map(|id| Org {
            id: TenantId::from_uuid(id),
            role: row.get(8),
            slug: row.get(9),
        });
        let act =
            row.get::<_, Option<Uuid>>(10).map(|operator| Act { sub: UserId::from_uuid(operator), email: row.get(11) });
        let claims = Claims {
            user: UserId::from_uuid(row.get(5)),
            email: row.get(6),
            session: SessionId::from_uuid(row.get(4)),
            org,
            expires_at: row.get::<_, DateTime<Utc>>(3).timestamp(),
            act,
        };
        let (id, host, of_tenant) = (row.get(0), row.get(1), row.get(2));
        Ok(Some(Arc::new(WebSession { id, digest, host, of_tenant, claims: Arc::new(claims) })))
    }

    /// Notes that a cookie is in use, at most once a minute, while the request goes on: the session
    /// ends that much later.
    fn note_use(&self, web: &WebSession) {
        const USED: &str = "
            with used as (
                update control.web_sessions w
                set last_used_at = now(),
                    expires_at = least(w.ends_at, control.session_end(
                        coalesce(w.tenant_id, s.tenant_id), s.created_at, $2, $3))
                from control.sessions s
                where w.id = $1 and s.id = w.session_id and w.last_used_at < now() - interval '50 seconds'
                  and w.expires_at > now()
                returning w.session_id
            ), live as (
                update control.sessions s
                set last_used_at = now(),
                    expires_at = case when s.has_fixed_end then s.expires_at
                                      else control.session_end(case when s.token_hash is not null then s.tenant_id end,
                                                               s.created_at, $2, $3) end
                from used where s.id = used.session_id and s.revoked_at is null and s.expires_at > now()
                returning s.user_id, s.has_fixed_end
            )
            update control.users u set last_seen_at = now() from live
            where u.id = live.user_id and not live.has_fixed_end";
        if !self.web_sessions.used.entry(web.id).or_insert(()).is_fresh() {
            return;
        }
        let (databases, scope) = (self.databases.clone(), self.authority.scope("note that a cookie is in use"));
        let (id, days, days_max) = (web.id, self.settings.session_days, self.settings.session_days_max);
        tokio::spawn(async move {
            let noted: DatabaseResult<()> = async {
                let connection = databases.control(&scope).await?;
                connection.query(USED, params![id, days, days_max]).await.map(drop)
            }
            .await;
            if let Err(error) = noted {
                tracing::warn!(%error, "note that a cookie is in use");
            }
        });
    }

    fn report_foreign_host(&self, web: &WebSession, host: WebHost<'_>, device: Device) {
        self.audit.record(SecurityEvent {
            kind: SecurityEventKind::CrossTenantAccessAttempt,
            user: Some(web.claims.user),
            tenant: web.claims.org.as_ref().map(|org| org.id),
            attempted_tenant: Some(host.tenant.unwrap_or(host.name).to_owned()),
            ip: device.ip,
            user_agent: device.user_agent,
            details: json!({ "cookie_of_host": web.host }),
            ..SecurityEvent::default()
        });
    }

    /// Forgets what is remembered of a cookie: after its session has gone on in another tenant.
    pub async fn forget_web_session(&self, web: &WebSession) {
        self.web_sessions.remembered.forget(&web.digest).await;
    }

    /// What unsafe requests must bring beside the cookie: pages of other hosts cannot read it.
    pub fn csrf_token(&self, web: &WebSession) -> String {
        self.csrf_token_of(web.id)
    }

    fn csrf_token_of(&self, id: Uuid) -> String {
        self.web_sessions.csrf_signer.sign(id.as_bytes())
    }

    /// Whether a token is that of the cookie.
    pub fn csrf_token_fits(&self, web: &WebSession, token: &str) -> bool {
        self.web_sessions.csrf_signer.verify(token).is_some_and(|id| id == web.id.as_bytes())
    }
}
