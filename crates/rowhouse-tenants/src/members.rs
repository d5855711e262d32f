//! The projection of a tenant's memberships into the database where its rows live, so that
//! `(tenant_id, owner_id)` can be a foreign key there.

use rowhouse_postgres::params;
use rowhouse_types::{ApiError, TenantId};
use serde_json::Value;

use crate::service::Tenants;
use crate::tenant::TenantStatus;

/// Everybody who is a member, as one document.
const MEMBERS: &str = "
    select coalesce(jsonb_agg(jsonb_build_object(
        'user_id', m.user_id, 'role', m.role, 'display_name', trim(u.first_name || ' ' || u.last_name), 'email', u.email,
        'active', m.active and u.active, 'joined_at', m.joined_at)), '[]')
    from control.memberships m join control.users u on u.id = m.user_id where m.tenant_id = $1";

/// Two projections at a time must not write an older state over a newer one.
const ALONE: &str = "select pg_advisory_xact_lock(hashtextextended('rowhouse members ' || $1::uuid, 0))";

/// Whoever is no member any more stays as a former one: records point at them.
const PUT: &str = "
    with now_members as (
        select * from jsonb_to_recordset($2) as m (
            user_id uuid, role text, display_name text, email text, active boolean, joined_at timestamptz)),
    former as (
        update rowhouse.members set active = false
        where tenant_id = $1 and active and user_id not in (select user_id from now_members))
    insert into rowhouse.members as known (tenant_id, user_id, role, display_name, email, active, joined_at)
    select $1, user_id, role, display_name, email, active, joined_at from now_members
    on conflict (tenant_id, user_id) do update set
        role = excluded.role, display_name = excluded.display_name, email = excluded.email, active = excluded.active
    where (known.role, known.display_name, known.email, known.active)
       is distinct from (excluded.role, excluded.display_name, excluded.email, excluded.active)";

impl Tenants {
    /// Brings a tenant's members in its data database in step with its memberships. Idempotent;
    /// to be called after every change of a membership or of a member's name or address. A tenant
    /// that is gone, or about to be, has none to bring in step.
    pub async fn project_members(&self, tenant: TenantId) -> Result<(), ApiError> {
        let Some(found) = self.find(&tenant.to_string()).await? else { return Ok(()) };
        if matches!(found.status, TenantStatus::Deleting | TenantStatus::Archived) {
            return Ok(());
        }
        let transaction = self.databases.tenant(&found.context(&self.authority)).await?.begin().await?;
        transaction.query(ALONE, params![tenant]).await?;
        let members: Value = {
            let control = self.control("project members").await?;
            control.query_opt(MEMBERS, params![tenant]).await?.map_or(Value::Null, |row| row.get(0))
        };
        transaction.query(PUT, params![tenant, members]).await?;
        transaction.commit().await?;
        Ok(())
    }
}
