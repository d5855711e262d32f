//! Of whom a tenant demands a second factor, and from when on.
//!
//! Must never let a member change the policy of another tenant, nor one who lacks a factor that is
//! overdue: the gate turns them away before.

use chrono::{DateTime, Duration, Utc};
use rowhouse_audit::Actor;
use rowhouse_postgres::{Row, params};
use rowhouse_types::{Action, Grants, TenantId};
use serde::{Deserialize, Serialize};

use crate::error::IdentityError;
use crate::identity::Identity;

/// Days that a tenant leaves its people unless it says otherwise.
const GRACE_DAYS: i32 = 7;
/// Most days that it may leave them.
pub const GRACE_DAYS_MAX: i32 = 90;

/// Who must have a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DemandedOf {
    /// Nobody.
    Nobody,
    /// Who may manage people.
    Managers,
    /// Everybody.
    Everybody,
}

impl DemandedOf {
    const ALL: [Self; 3] = [Self::Nobody, Self::Managers, Self::Everybody];

    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Managers => "managers",
            Self::Everybody => "everybody",
        }
    }

    /// That of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// Whether somebody with these rights must have one.
    fn includes(self, grants: &Grants) -> bool {
        match self {
            Self::Nobody => false,
            Self::Managers => grants.allows("users", Action::Manage),
            Self::Everybody => true,
        }
    }
}

/// A tenant's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MfaPolicy {
    /// Of whom a second factor is demanded.
    pub demanded_of: DemandedOf,
    /// Days from when it is demanded of somebody until they cannot do without.
    pub grace_days: i32,
    /// Whether a device on which it was shown may stand for it later.
    pub trusted_devices: bool,
}

/// What of a policy is to change.
#[derive(Debug, Clone, Copy, Default)]
pub struct MfaPolicyPatch {
    /// Of whom a second factor is demanded.
    pub demanded_of: Option<DemandedOf>,
    /// From 0 to [`GRACE_DAYS_MAX`].
    pub grace_days: Option<i32>,
    /// Whether a device on which it was shown may stand for it later.
    pub trusted_devices: Option<bool>,
}

impl Default for MfaPolicy {
    fn default() -> Self {
        Self { demanded_of: DemandedOf::Managers, grace_days: GRACE_DAYS, trusted_devices: true }
    }
}

impl MfaPolicy {
    /// As it stands in two columns, null where a tenant has none. A word that nobody knows demands
    /// the most.
    fn from_columns(demanded_of: Option<&str>, grace_days: Option<i32>) -> Self {
        let Some(word) = demanded_of else { return Self::default() };
        Self {
            demanded_of: DemandedOf::named(word).unwrap_or(DemandedOf::Everybody),
            grace_days: grace_days.unwrap_or(0),
            trusted_devices: true,
        }
    }

    /// As it stands in a line of its own.
    fn from_row(row: &Row) -> Self {
        Self { trusted_devices: row.get(2), ..Self::from_columns(row.get(0), row.get(1)) }
    }
}

impl Identity {
    /// When a member must have a second factor, if they have none and must: by the columns of whether
    /// they have one, `demanded_of`, `grace_days` and since when they are asked, from the first on.
    pub(crate) fn mfa_due_at(&self, row: &Row, first: usize, grants: &Grants) -> Option<DateTime<Utc>> {
        let has_one: bool = row.get(first);
        let policy = MfaPolicy::from_columns(row.get(first + 1), row.get(first + 2));
        let asked_at: DateTime<Utc> = row.get(first + 3);
        let is_asked = self.settings.mfa_demanded && !self.settings.accounts_elsewhere;
        let is_demanded = is_asked && !has_one && policy.demanded_of.includes(grants);
        is_demanded.then(|| asked_at + Duration::days(i64::from(policy.grace_days)))
    }

    /// Of whom a tenant demands a second factor.
    pub async fn mfa_policy(&self, tenant: TenantId) -> Result<MfaPolicy, IdentityError> {
        const GET: &str =
            "select demanded_of, grace_days, trusted_devices from control.mfa_policies where tenant_id = $1";
        let row = self.control("look at a policy").await?.query_opt(GET, params![tenant]).await?;
        Ok(row.map_or(MfaPolicy::default(), |row| MfaPolicy::from_row(&row)))
    }

    /// Changes what of a tenant's policy is named; the grace begins anew if others are asked than
    /// before. That the caller may is for them to check.
    pub async fn change_mfa_policy(
        &self,
        tenant: TenantId,
        patch: MfaPolicyPatch,
        by: &Actor,
    ) -> Result<MfaPolicy, IdentityError> {
        const PUT: &str = "
            insert into control.mfa_policies as p (tenant_id, demanded_of, grace_days, trusted_devices)
            values ($1, coalesce($2::text, $4::text), coalesce($3::int4, $5::int4), coalesce($6::bool, true))
            on conflict (tenant_id) do update
            set demanded_of = coalesce($2::text, p.demanded_of), grace_days = coalesce($3::int4, p.grace_days),
                trusted_devices = coalesce($6::bool, p.trusted_devices),
                changed_at = case when $2::text is distinct from p.demanded_of and $2::text is not null
                                  then now() else p.changed_at end
            returning demanded_of, grace_days, trusted_devices";
        let default = MfaPolicy::default();
        let demanded_of = patch.demanded_of.map(DemandedOf::as_str);
        let (word, days) = (default.demanded_of.as_str(), default.grace_days);
        let values = params![tenant, demanded_of, patch.grace_days, word, days, patch.trusted_devices];
        let mut connection = self.control("change a policy").await?;
        connection.begin().await?;
        let row = connection.query_opt(PUT, values).await?;
        let policy = row.map_or(default, |row| MfaPolicy::from_row(&row));
        by.did("change_mfa_policy").on("tenant", tenant).on_tenant(tenant).write(&connection).await?;
        connection.commit().await?;
        self.caches.memberships.forget_all();
        Ok(policy)
    }
}
