//! The projection of a tenant's memberships into the database where its rows live, so that
//! `(tenant_id, owner_id)` can be a foreign key there.

use std::sync::Arc;
use std::time::Duration;

use rowhouse_postgres::{DatabaseResult, params};
use rowhouse_types::{ApiError, TenantId};
use serde_json::Value;
use uuid::Uuid;

use crate::service::Tenants;
use crate::tenant::{Tenant, TenantStatus};

/// How often a process looks for tenants that another, which has died, left out of step.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Everybody who is a member, as one document, and the change that it is the newest state of.
const MEMBERS: &str = "
    select coalesce(jsonb_agg(jsonb_build_object(
        'user_id', m.user_id, 'role', m.role, 'display_name', trim(u.first_name || ' ' || u.last_name), 'email', u.email,
        'active', m.active and u.active, 'joined_at', m.joined_at)), '[]'),
        (select change from control.member_changes where tenant_id = $1)
    from control.memberships m join control.users u on u.id = m.user_id where m.tenant_id = $1";

/// Two projections at a time must not write an older state over a newer one.
const ALONE: &str = "select pg_advisory_xact_lock(hashtextextended('rowhouse members ' || $1::uuid, 0))";

/// Unless there is a newer change.
const IN_STEP: &str = "delete from control.member_changes where tenant_id = $1 and change = $2";

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
    /// to be called after every change of a membership or of a member's name or address. Where that
    /// fails, or the process dies, the change is found and projected later. A tenant that is gone, or
    /// about to be, has none to bring in step.
    pub async fn project_members(&self, tenant: TenantId) -> Result<(), ApiError> {
        const GONE: &str = "delete from control.member_changes where tenant_id = $1";
        let found = self.find(&tenant.to_string()).await?;
        let is_gone = |found: &Arc<Tenant>| matches!(found.status, TenantStatus::Deleting | TenantStatus::Archived);
        let Some(found) = found.filter(|found| !is_gone(found)) else {
            self.control("project members").await?.query(GONE, params![tenant]).await?;
            return Ok(());
        };
        let transaction = self.databases.tenant(&found.context(&self.authority)).await?.begin().await?;
        transaction.query(ALONE, params![tenant]).await?;
        let (members, change): (Value, Option<Uuid>) = {
            let control = self.control("project members").await?;
            let row = control.query_opt(MEMBERS, params![tenant]).await?;
            row.map_or((Value::Null, None), |row| (row.get(0), row.get(1)))
        };
        transaction.query(PUT, params![tenant, members]).await?;
        transaction.commit().await?;
        if change.is_some() {
            self.control("project members").await?.query(IN_STEP, params![tenant, change]).await?;
        }
        Ok(())
    }

    /// Brings tenants in step whose change was made by a process that died, or did not reach their
    /// database, until dropped.
    pub(crate) async fn keep_members(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Err(error) = self.project_left_members().await {
                tracing::warn!(%error, "look for members to project");
            }
        }
    }

    /// One such look; gives how many tenants were brought in step.
    pub async fn project_left_members(&self) -> DatabaseResult<usize> {
        // What was changed a moment ago is being projected by whoever changed it. One that fails waits
        // behind the others.
        const LEFT: &str = "
            update control.member_changes set changed_at = now() where tenant_id in (
                select tenant_id from control.member_changes where changed_at < now() - interval '5 seconds'
                order by changed_at limit 100 for update skip locked)
            returning tenant_id";
        let left = self.control("project members").await?.query(LEFT, &[]).await?;
        let mut in_step = 0;
        for tenant in left.iter().map(|row| TenantId::from_uuid(row.get(0))) {
            match self.project_members(tenant).await {
                Ok(()) => in_step += 1,
                Err(error) => tracing::warn!(tenant_id = %tenant, %error, "project members"),
            }
        }
        Ok(in_step)
    }
}
