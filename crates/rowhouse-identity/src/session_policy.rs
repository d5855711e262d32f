//! When a tenant's sessions end: without use, and however much they are used.
//!
//! Must never let a session last longer than the operator does. What a session ends at is written down
//! at its sign-in and each of its uses, and by each change of the policy, so that no request has to
//! look the policy up.

use rowhouse_audit::Actor;
use rowhouse_postgres::{Row, params};
use rowhouse_types::TenantId;
use serde::Serialize;
use serde_json::json;

use crate::error::IdentityError;
use crate::identity::Identity;

/// Fewest minutes without use: an access token in use is refreshed after as many.
pub const IDLE_MINUTES_MIN: i32 = 15;
/// Fewest hours from the sign-in on.
pub const ABSOLUTE_HOURS_MIN: i32 = 1;

/// When sessions end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SessionPolicy {
    /// Minutes after which an unused session ends.
    pub idle_minutes: i32,
    /// Hours after which any session ends.
    pub absolute_hours: i32,
}

/// What of a policy is to change.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionPolicyPatch {
    /// From [`IDLE_MINUTES_MIN`] to the operator's.
    pub idle_minutes: Option<i32>,
    /// From [`ABSOLUTE_HOURS_MIN`] to the operator's.
    pub absolute_hours: Option<i32>,
}

impl Identity {
    /// What the operator lets every tenant have, and what one has that says nothing.
    pub fn session_bounds(&self) -> SessionPolicy {
        SessionPolicy {
            idle_minutes: self.settings.session_days.saturating_mul(24 * 60),
            absolute_hours: self.settings.session_days_max.saturating_mul(24),
        }
    }

    /// The policy of two columns, null where the tenant says nothing.
    fn session_policy_of(&self, row: Option<&Row>) -> SessionPolicy {
        let bounds = self.session_bounds();
        let within = |column, bound: i32| {
            let chosen = row.and_then(|row| row.get::<_, Option<i32>>(column));
            chosen.map_or(bound, |chosen| chosen.min(bound))
        };
        SessionPolicy { idle_minutes: within(0, bounds.idle_minutes), absolute_hours: within(1, bounds.absolute_hours) }
    }

    /// When a tenant's sessions end.
    pub async fn session_policy(&self, tenant: TenantId) -> Result<SessionPolicy, IdentityError> {
        const GET: &str = "select idle_minutes, absolute_hours from control.session_policies where tenant_id = $1";
        let row = self.control("look at a policy").await?.query_opt(GET, params![tenant]).await?;
        Ok(self.session_policy_of(row.as_ref()))
    }

    /// Changes what of a tenant's policy is named, also for the sessions that are open: those that are
    /// over by it end. That the caller may, and the bounds, are for them to check.
    pub async fn change_session_policy(
        &self,
        tenant: TenantId,
        patch: SessionPolicyPatch,
        by: &Actor,
    ) -> Result<SessionPolicy, IdentityError> {
        const PUT: &str = "
            insert into control.session_policies as p (tenant_id, idle_minutes, absolute_hours)
            values ($1, $2::int4, $3::int4)
            on conflict (tenant_id) do update
            set idle_minutes = coalesce($2::int4, p.idle_minutes),
                absolute_hours = coalesce($3::int4, p.absolute_hours), changed_at = now()
            returning idle_minutes, absolute_hours";
        // Of a session that only cookies hold each cookie has an end of its own.
        const SHORTEN: &str = "
            update control.sessions
            set expires_at = least(expires_at, control.session_end(tenant_id, created_at, $2, $3))
            where tenant_id = $1 and token_hash is not null and revoked_at is null and expires_at > now()";
        const SHORTEN_COOKIES: &str = "
            update control.web_sessions w
            set expires_at = least(w.expires_at, control.session_end($1, s.created_at, $2, $3))
            from control.sessions s
            where s.id = w.session_id and w.expires_at > now()
              and (w.tenant_id = $1 or (w.tenant_id is null and s.tenant_id = $1))";
        let mut connection = self.control("change a policy").await?;
        connection.begin().await?;
        let row = connection.query_opt(PUT, params![tenant, patch.idle_minutes, patch.absolute_hours]).await?;
        let policy = self.session_policy_of(row.as_ref());
        let (idle, most) = (self.settings.session_days, self.settings.session_days_max);
        connection.query(SHORTEN, params![tenant, idle, most]).await?;
        connection.query(SHORTEN_COOKIES, params![tenant, idle, most]).await?;
        let entry = by.did("change_session_policy").on("tenant", tenant).on_tenant(tenant);
        entry.with_details(json!(policy)).write(&connection).await?;
        connection.commit().await?;
        self.caches.sessions.forget_all();
        self.web_sessions.forget_all();
        Ok(policy)
    }
}
