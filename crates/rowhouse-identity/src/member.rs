//! Memberships: which person works in which tenant, and as what.

use chrono::{DateTime, Utc};
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{RoleKey, TenantId, UserId};
use serde::Serialize;

use crate::error::IdentityError;

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
#[derive(Debug, Clone, Serialize)]
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
    let membership = |row: &rowhouse_postgres::Row| MembershipOut {
        id: TenantId::from_uuid(row.get(0)),
        name: row.get(1),
        slug: row.get(2),
        status: row.get(3),
        role: row.get(4),
    };
    Ok(rows.iter().map(membership).collect())
}
