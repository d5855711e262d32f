//! Memberships: which person works in which tenant, and as what.
//!
//! Must never show a person the members of a tenant that is not theirs: lists of members run
//! under the tenant's own policies.

use std::fmt;

use chrono::{DateTime, Utc};
use rowhouse_audit::Actor;
use rowhouse_postgres::{Row, SystemConnection, TenantContext, params};
use rowhouse_types::{Grants, PER_PAGE_DEFAULT, PER_PAGE_MAX, RoleKey, TenantId, UserId};
use serde::Serialize;
use serde_json::Value;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::organisation_error::OrganisationError;

/// Tenants that a person may own when they found another.
const OWNED_MAX: i64 = 50;

/// A membership as its person sees it.
#[derive(Debug, Clone, Serialize)]
pub struct MembershipOut {
    /// The tenant's id.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// Its slug.
    pub slug: String,
    /// Its status.
    pub status: String,
    /// The person's role.
    pub role: String,
    /// When they must have a second factor there, if they have none and must.
    pub mfa_due_at: Option<DateTime<Utc>>,
}

/// A member as their colleagues see them.
#[derive(Clone, Serialize)]
pub struct MemberOut {
    /// The person's id.
    pub user_id: UserId,
    /// Their role.
    pub role: String,
    /// Their address.
    pub email: String,
    /// Their name.
    pub name: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Where their picture is.
    pub avatar_url: Option<String>,
    /// Whether they may work in the tenant.
    pub active: bool,
    /// When they joined.
    pub joined_at: DateTime<Utc>,
    /// What only they and those who manage people see.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub details: Option<MemberDetails>,
}

/// What a member and those who manage people see of the member.
#[derive(Clone, Serialize)]
pub struct MemberDetails {
    /// Their telephone.
    pub phone: Option<String>,
    /// What the tenant keeps about them.
    pub metadata: Value,
    /// When they worked in the tenant last, to some minutes.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// When they took their first steps.
    pub onboarded_at: Option<DateTime<Utc>>,
}

/// Without address and name: debug output ends up in logs.
impl fmt::Debug for MemberOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("MemberOut");
        shown.field("user_id", &self.user_id).field("role", &self.role).finish_non_exhaustive()
    }
}

impl MemberOut {
    fn from_row(row: &Row) -> Self {
        Self {
            user_id: UserId::from_uuid(row.get(0)),
            role: row.get(1),
            email: row.get(2),
            name: row.get(3),
            first_name: row.get(4),
            last_name: row.get(5),
            avatar_url: row.get(6),
            active: row.get(7),
            joined_at: row.get(8),
            details: Some(MemberDetails {
                phone: row.get(9),
                metadata: row.get(10),
                last_seen_at: row.get(11),
                onboarded_at: row.get(12),
            }),
        }
    }
}

/// A member who manages the people of their tenant. That they may is for the caller to check; what
/// they hold bounds what they can give and take.
#[derive(Debug, Clone, Copy)]
pub struct Manager<'a> {
    /// Where.
    pub tenant: TenantId,
    /// The person.
    pub user: UserId,
    /// The same, as the audit log names them.
    pub actor: &'a Actor,
    /// What they hold there.
    pub grants: &'a Grants,
}

/// Which members to list: the first 50 of the active ones by name unless said otherwise.
#[derive(Debug, Clone, Default)]
pub struct MemberPage {
    /// Those who are deactivated instead.
    pub inactive: bool,
    /// Those that follow this one: the last of the page before.
    pub after: Option<UserId>,
    /// How many at most; bounded by 201: one more than a page tells whether another follows.
    pub limit: Option<u32>,
}

impl Identity {
    /// The people of a tenant, by name, page by page.
    pub async fn members(&self, context: &TenantContext, page: &MemberPage) -> Result<Vec<MemberOut>, IdentityError> {
        const LIST: &str = "
            select user_id, role, email, display_name, first_name, last_name, avatar_url, active, joined_at, phone,
                   metadata, last_seen_at, onboarded_at
            from control.members
            where tenant_id = $1 and active = $4
              and ($2::uuid is null or (display_name, user_id) >
                   (select a.display_name, a.user_id from control.members a where a.tenant_id = $1 and a.user_id = $2))
            order by display_name, user_id limit $3";
        let limit = i64::from(page.limit.unwrap_or(PER_PAGE_DEFAULT).clamp(1, PER_PAGE_MAX + 1));
        let connection = self.databases.tenant_control(context).await?;
        let rows = connection.run(LIST, params![context.tenant(), page.after, limit, !page.inactive]).await?;
        Ok(rows.iter().map(MemberOut::from_row).collect())
    }

    /// One of the people of a tenant, active or not.
    pub async fn member(&self, context: &TenantContext, user: UserId) -> Result<Option<MemberOut>, IdentityError> {
        const GET: &str = "
            select user_id, role, email, display_name, first_name, last_name, avatar_url, active, joined_at, phone,
                   metadata, last_seen_at, onboarded_at
            from control.members where tenant_id = $1 and user_id = $2";
        let connection = self.databases.tenant_control(context).await?;
        let rows = connection.run(GET, params![context.tenant(), user]).await?;
        Ok(rows.first().map(MemberOut::from_row))
    }
}

impl Identity {
    /// Whether a person may found another tenant.
    ///
    /// # Errors
    /// [`IdentityError::Unproved`] if their address is not proved; [`OrganisationError::TooManyTenants`].
    pub async fn check_founder(&self, user: UserId) -> Result<(), IdentityError> {
        const CHECK: &str = "
            select email_verified_at is not null,
                   (select count(*) from control.memberships where user_id = $1 and role = 'owner' and active)
            from control.users where id = $1 and active";
        let row = self.control("found a tenant").await?.query_opt(CHECK, params![user]).await?;
        let (is_proved, owned): (bool, i64) = row.map_or((false, 0), |row| (row.get(0), row.get(1)));
        if !is_proved {
            return Err(IdentityError::Unproved);
        }
        if owned >= OWNED_MAX { Err(OrganisationError::TooManyTenants(OWNED_MAX).into()) } else { Ok(()) }
    }

    /// A person's tenants, by name.
    pub(crate) async fn memberships_of(
        &self,
        connection: &SystemConnection,
        user: UserId,
    ) -> Result<Vec<MembershipOut>, IdentityError> {
        const LIST: &str = "
            select t.id, t.name, t.slug, t.status, m.role,
                   r.permissions, f.holder is not null, p.demanded_of, p.grace_days,
                   greatest(m.mfa_asked_at, p.changed_at)
            from control.memberships m join control.tenants t on t.id = m.tenant_id
            left join control.roles r on r.tenant_id = m.tenant_id and r.key = m.role
            left join control.second_factors f on f.holder = m.user_id and f.confirmed_at is not null
            left join control.mfa_policies p on p.tenant_id = m.tenant_id
            where m.user_id = $1 and m.active and t.status in ('active', 'suspended', 'provisioning')
            order by t.name, t.id limit 1000";
        let rows = connection.query(LIST, params![user]).await?;
        let roles = self.roles.load();
        let membership = |row: &Row| {
            let (role, own): (String, Option<Vec<String>>) = (row.get(4), row.get(5));
            let grants = roles.grants_in_tenant(&RoleKey::new(role.as_str()), own.as_deref()).unwrap_or_default();
            MembershipOut {
                id: TenantId::from_uuid(row.get(0)),
                name: row.get(1),
                slug: row.get(2),
                status: row.get(3),
                role,
                mfa_due_at: self.mfa_due_at(row, 6, &grants),
            }
        };
        Ok(rows.iter().map(membership).collect())
    }
}

/// Makes a membership, or gives an existing one this role.
pub async fn membership_create(
    connection: &SystemConnection,
    tenant: TenantId,
    user: UserId,
    role: &RoleKey,
) -> Result<(), IdentityError> {
    const INSERT: &str = "
        insert into control.memberships as m (tenant_id, user_id, role) values ($1, $2, $3)
        on conflict (tenant_id, user_id) do update set role = excluded.role, active = true,
            mfa_asked_at = case when m.role = excluded.role then m.mfa_asked_at else now() end";
    connection.query(INSERT, params![tenant, user, role.as_str()]).await?;
    Ok(())
}

/// Makes a membership for somebody who joins. Who is a member already keeps their role: an
/// invitation as a viewer must not take an owner's place away.
pub(crate) async fn membership_join(
    connection: &SystemConnection,
    tenant: TenantId,
    user: UserId,
    role: &RoleKey,
) -> Result<(), IdentityError> {
    const INSERT: &str = "
        insert into control.memberships as m (tenant_id, user_id, role) values ($1, $2, $3)
        on conflict (tenant_id, user_id) do update set role = excluded.role, active = true, joined_at = now(),
            mfa_asked_at = now()
        where not m.active";
    connection.query(INSERT, params![tenant, user, role.as_str()]).await?;
    Ok(())
}

/// Lets changes of a tenant's people and roles come one after the other, until the caller's
/// transaction ends. What is read in later statements is what those before have left.
///
/// # Errors
/// [`IdentityError::NotFound`] if the tenant is gone.
pub(crate) async fn tenant_lock(connection: &SystemConnection, tenant: TenantId) -> Result<(), IdentityError> {
    const LOCK: &str = "select 1 from control.tenants where id = $1 for no key update";
    connection.query_opt(LOCK, params![tenant]).await?.map(drop).ok_or(IdentityError::NotFound)
}

/// Writes in the caller's transaction that a tenant's members beside its rows are not in step with its
/// memberships: `Tenants::project_members` brings them, and a process that dies before it is followed
/// by another.
pub(crate) async fn members_changed(connection: &SystemConnection, tenant: TenantId) -> Result<(), IdentityError> {
    const CHANGED: &str = "
        insert into control.member_changes (tenant_id, change) values ($1, gen_random_uuid())
        on conflict (tenant_id) do update set change = excluded.change, changed_at = now()";
    connection.query(CHANGED, params![tenant]).await?;
    Ok(())
}

/// The same for all tenants of a person who has another name or address. Gives the tenants.
pub(crate) async fn members_changed_of(
    connection: &SystemConnection,
    user: UserId,
) -> Result<Vec<TenantId>, IdentityError> {
    const CHANGED: &str = "
        insert into control.member_changes (tenant_id, change)
        select tenant_id, gen_random_uuid() from control.memberships where user_id = $1 order by tenant_id
        on conflict (tenant_id) do update set change = excluded.change, changed_at = now() returning tenant_id";
    let rows = connection.query(CHANGED, params![user]).await?;
    Ok(rows.iter().map(|row| TenantId::from_uuid(row.get(0))).collect())
}
