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

use crate::error::IdentityError;
use crate::identity::Identity;

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
    /// When they joined.
    pub joined_at: DateTime<Utc>,
}

/// Without address and name: debug output ends up in logs.
impl fmt::Debug for MemberOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("MemberOut");
        shown.field("user_id", &self.user_id).field("role", &self.role).finish_non_exhaustive()
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

/// Which members to list: the first 50 by name unless said otherwise.
#[derive(Debug, Clone, Default)]
pub struct MemberPage {
    /// Those that follow this one: the last of the page before.
    pub after: Option<UserId>,
    /// How many at most; bounded by 201: one more than a page tells whether another follows.
    pub limit: Option<u32>,
}

impl Identity {
    /// The people of a tenant, by name, page by page.
    pub async fn members(&self, context: &TenantContext, page: &MemberPage) -> Result<Vec<MemberOut>, IdentityError> {
        const LIST: &str = "
            select user_id, role, email, display_name, joined_at from rowhouse.members
            where tenant_id = $1 and active
              and ($2::uuid is null or (display_name, user_id) >
                   (select a.display_name, a.user_id from rowhouse.members a where a.tenant_id = $1 and a.user_id = $2))
            order by display_name, user_id limit $3";
        let limit = i64::from(page.limit.unwrap_or(PER_PAGE_DEFAULT).clamp(1, PER_PAGE_MAX + 1));
        let connection = self.databases.tenant(context).await?;
        let rows = connection.run(LIST, params![context.tenant(), page.after, limit]).await?;
        let member = |row: &Row| MemberOut {
            user_id: UserId::from_uuid(row.get(0)),
            role: row.get(1),
            email: row.get(2),
            name: row.get(3),
            joined_at: row.get(4),
        };
        Ok(rows.iter().map(member).collect())
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
        insert into control.memberships (tenant_id, user_id, role) values ($1, $2, $3)
        on conflict (tenant_id, user_id) do update set role = excluded.role, active = true";
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
        on conflict (tenant_id, user_id) do update set role = excluded.role, active = true, joined_at = now()
        where not m.active";
    connection.query(INSERT, params![tenant, user, role.as_str()]).await?;
    Ok(())
}

/// A person's tenants, by name.
pub(crate) async fn memberships_of(
    connection: &SystemConnection,
    user: UserId,
) -> Result<Vec<MembershipOut>, IdentityError> {
    const LIST: &str = "
        select t.id, t.name, t.slug, t.status, m.role
        from control.memberships m join control.tenants t on t.id = m.tenant_id
        where m.user_id = $1 and m.active and t.status in ('active', 'suspended', 'provisioning')
        order by t.name, t.id limit 1000";
    let rows = connection.query(LIST, params![user]).await?;
    let membership = |row: &Row| MembershipOut {
        id: TenantId::from_uuid(row.get(0)),
        name: row.get(1),
        slug: row.get(2),
        status: row.get(3),
        role: row.get(4),
    };
    Ok(rows.iter().map(membership).collect())
}
