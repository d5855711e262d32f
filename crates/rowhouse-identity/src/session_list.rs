//! A person's own sessions: on which devices they are signed in, and ending those they do not know.
//!
//! Must never tell or end a session of somebody else: every statement names the person.

use chrono::{DateTime, Utc};
use rowhouse_audit::{Actor, SecurityEventKind};
use rowhouse_postgres::{Row, params};
use rowhouse_types::{PER_PAGE_DEFAULT, PER_PAGE_MAX, SessionId, TenantId};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::keys::Claims;
use crate::session::Device;
use crate::trusted_device::devices_forget;

/// A session as its person sees it.
#[derive(Debug, Clone, Serialize)]
pub struct SessionOut {
    /// Its id.
    pub id: SessionId,
    /// Whether it is the one that asks.
    pub current: bool,
    /// The tenant worked in last.
    pub tenant_id: Option<TenantId>,
    /// The address it was opened from.
    pub ip: Option<String>,
    /// The program it was opened with.
    pub user_agent: Option<String>,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// When it was last refreshed; an access token in use is refreshed before it ends.
    pub last_used_at: DateTime<Utc>,
    /// When it ends if it is not used.
    pub expires_at: DateTime<Utc>,
}

/// Which sessions to list: the newest 50 unless said otherwise.
#[derive(Debug, Clone, Default)]
pub struct SessionPage {
    /// Those older than this one: the last of the page before.
    pub before: Option<SessionId>,
    /// How many at most; bounded by 201: one more than a page tells whether another follows.
    pub limit: Option<u32>,
}

impl Identity {
    /// The caller's sessions that are alive, the newest first, page by page.
    pub async fn sessions(&self, claims: &Claims, page: &SessionPage) -> Result<Vec<SessionOut>, IdentityError> {
        const LIST: &str = "
            select id, tenant_id, ip, user_agent, created_at, last_used_at, expires_at from control.sessions
            where user_id = $1 and revoked_at is null and expires_at > now() and ($2::uuid is null or id < $2)
            order by id desc limit $3";
        let limit = i64::from(page.limit.unwrap_or(PER_PAGE_DEFAULT).clamp(1, PER_PAGE_MAX + 1));
        let connection = self.control("list a person's sessions").await?;
        let rows = connection.query(LIST, params![claims.user, page.before, limit]).await?;
        let session = |row: &Row| {
            let id = SessionId::from_uuid(row.get(0));
            SessionOut {
                id,
                current: id == claims.session,
                tenant_id: row.get::<_, Option<Uuid>>(1).map(TenantId::from_uuid),
                ip: row.get(2),
                user_agent: row.get(3),
                created_at: row.get(4),
                last_used_at: row.get(5),
                expires_at: row.get(6),
            }
        };
        Ok(rows.iter().map(session).collect())
    }

    /// Ends a session of the caller, also the one that asks. Its tokens are refused at once here,
    /// and within a second by other processes.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] if there is none that is alive, or it is somebody else's.
    pub async fn revoke_session(
        &self,
        actor: &Actor,
        claims: &Claims,
        session: SessionId,
        device: &Device,
    ) -> Result<(), IdentityError> {
        const REVOKE: &str = "
            update control.sessions set revoked_at = now()
            where id = $1 and user_id = $2 and revoked_at is null and expires_at > now() returning tenant_id";
        let mut connection = self.control("revoke a session").await?;
        connection.begin().await?;
        let Some(row) = connection.query_opt(REVOKE, params![session, claims.user]).await? else {
            connection.rollback().await?;
            return Err(IdentityError::NotFound);
        };
        actor.did("revoke_session").on("session", session).write(&connection).await?;
        connection.commit().await?;
        self.caches.sessions.forget(&session).await;
        let tenant = row.get::<_, Option<Uuid>>(0).map(TenantId::from_uuid);
        self.record(SecurityEventKind::SessionRevoked, Some(claims.user), tenant, None, device);
        Ok(())
    }

    /// Ends all sessions of the caller but the one that asks, and trusts no device any more. Gives how
    /// many sessions were alive.
    pub async fn revoke_other_sessions(
        &self,
        actor: &Actor,
        claims: &Claims,
        device: &Device,
    ) -> Result<usize, IdentityError> {
        const REVOKE: &str = "
            update control.sessions set revoked_at = now()
            where user_id = $1 and id <> $2 and revoked_at is null and expires_at > now() returning id";
        let mut connection = self.control("revoke a person's other sessions").await?;
        connection.begin().await?;
        let rows = connection.query(REVOKE, params![claims.user, claims.session]).await?;
        let devices = devices_forget(&connection, claims.user).await?;
        if rows.is_empty() && devices == 0 {
            connection.rollback().await?;
            return Ok(0);
        }
        let entry = actor.did("revoke_other_sessions").on("user", claims.user);
        entry.with_details(json!({ "sessions": rows.len() })).write(&connection).await?;
        connection.commit().await?;
        for row in &rows {
            self.caches.sessions.forget(&SessionId::from_uuid(row.get(0))).await;
        }
        let tenant = claims.org.as_ref().map(|org| org.id);
        self.record(SecurityEventKind::SessionRevoked, Some(claims.user), tenant, None, device);
        Ok(rows.len())
    }
}
