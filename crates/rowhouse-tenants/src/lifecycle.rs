//! Listing, suspending and reactivating tenants.

use std::sync::Arc;

use rowhouse_audit::{Actor, AuditEntry};
use rowhouse_postgres::{DatabaseResult, params};
use rowhouse_types::{ApiError, PER_PAGE_DEFAULT, TenantId};
use serde_json::json;

use crate::provision::tenant_name;
use crate::service::Tenants;
use crate::tenant::{Placement, TENANT_COLUMNS, Tenant, TenantStatus};

/// Which tenants to list, by slug.
#[derive(Debug, Clone)]
pub struct ListTenants {
    /// Name or slug contains this.
    pub search: Option<String>,
    /// Of this status; if absent, all but those that are gone.
    pub status: Option<TenantStatus>,
    /// Of this placement.
    pub placement: Option<Placement>,
    /// After this slug.
    pub after: Option<String>,
    /// At most so many.
    pub limit: u32,
}

impl Default for ListTenants {
    fn default() -> Self {
        Self { search: None, status: None, placement: None, after: None, limit: PER_PAGE_DEFAULT }
    }
}

/// A page of tenants.
#[derive(Debug)]
pub struct TenantPage {
    /// The tenants.
    pub tenants: Vec<Tenant>,
    /// Read on after this slug, if there are more.
    pub next: Option<String>,
}

impl Tenants {
    /// Lists tenants by slug.
    pub async fn list(&self, list: &ListTenants) -> DatabaseResult<TenantPage> {
        let sql = format!(
            "select {TENANT_COLUMNS} from control.tenants
             where ($1::text is null or strpos(lower(name), lower($1)) > 0 or strpos(slug, lower($1)) > 0)
               and case when $2::text is null then status <> 'archived' else status = $2 end
               and ($3::text is null or placement = $3) and ($4::text is null or slug > $4)
             order by slug limit $5"
        );
        let values = params![
            list.search.as_deref(),
            list.status.map(TenantStatus::as_str),
            list.placement.map(Placement::as_str),
            list.after.as_deref(),
            i64::from(list.limit) + 1
        ];
        let rows = self.control("list tenants").await?.query(&sql, values).await?;
        let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        let tenants: Vec<Tenant> = rows.iter().take(limit).filter_map(Tenant::from_row).collect();
        let next = more.then(|| tenants.last().map(|tenant| tenant.slug.to_string())).flatten();
        Ok(TenantPage { tenants, next })
    }

    /// [`Self::suspend_by`] the system itself, for no reason that is told.
    pub async fn suspend(&self, id: TenantId) -> Result<Arc<Tenant>, ApiError> {
        self.suspend_by(&Actor::system(), id, "").await
    }

    /// Refuses a tenant's requests from now on. The reason is kept with the tenant and in the
    /// audit log.
    ///
    /// # Errors
    /// A conflict unless it is active or suspended already.
    pub async fn suspend_by(&self, actor: &Actor, id: TenantId, reason: &str) -> Result<Arc<Tenant>, ApiError> {
        let details = if reason.is_empty() { json!({}) } else { json!({ "reason": reason }) };
        let entry = actor.did("suspend_tenant").with_details(details);
        self.change_status(id, TenantStatus::Active, TenantStatus::Suspended, reason, entry).await
    }

    /// [`Self::reactivate_by`] the system itself.
    pub async fn reactivate(&self, id: TenantId) -> Result<Arc<Tenant>, ApiError> {
        self.reactivate_by(&Actor::system(), id).await
    }

    /// Serves a suspended tenant again.
    ///
    /// # Errors
    /// A conflict unless it is suspended or active already.
    pub async fn reactivate_by(&self, actor: &Actor, id: TenantId) -> Result<Arc<Tenant>, ApiError> {
        let entry = actor.did("reactivate_tenant");
        self.change_status(id, TenantStatus::Suspended, TenantStatus::Active, "", entry).await
    }

    /// Gives a tenant another name, for people; its slug stays.
    ///
    /// # Errors
    /// A name that cannot be taken; not found.
    pub async fn rename_by(&self, actor: &Actor, id: TenantId, name: &str) -> Result<Arc<Tenant>, ApiError> {
        const RENAME: &str = "
            update control.tenants set name = $2, updated_at = now()
            where id = $1 and status in ('active', 'suspended') returning slug";
        let name = tenant_name(name).map_err(|fault| ApiError::validation(vec![fault]))?;
        let mut control = self.control("rename a tenant").await?;
        control.begin().await?;
        let renamed = control.query_opt(RENAME, params![id, name.as_str()]).await?.ok_or_else(ApiError::not_found)?;
        actor.did("rename_tenant").on_tenant(id).with_details(json!({ "name": name })).write(&control).await?;
        control.commit().await?;
        drop(control);
        self.registry.forget(id, renamed.get(0)).await;
        self.find(&id.to_string()).await?.ok_or_else(ApiError::not_found)
    }

    async fn change_status(
        &self,
        id: TenantId,
        from: TenantStatus,
        to: TenantStatus,
        reason: &str,
        entry: AuditEntry,
    ) -> Result<Arc<Tenant>, ApiError> {
        const CHANGE: &str = "
            update control.tenants set status = $3, status_reason = $4, updated_at = now()
            where id = $1 and status = $2 returning slug";
        let mut control = self.control("change a tenant's status").await?;
        control.begin().await?;
        let changed = control.query_opt(CHANGE, params![id, from.as_str(), to.as_str(), reason]).await?;
        if changed.is_some() {
            entry.on_tenant(id).write(&control).await?;
        }
        control.commit().await?;
        drop(control);
        // Also if nothing changed: whoever was refused should see why, not what was remembered.
        let slug = changed.as_ref().map_or("", |row| row.get(0));
        self.registry.forget(id, slug).await;
        let tenant = self.find(&id.to_string()).await?.ok_or_else(ApiError::not_found)?;
        if tenant.status == to {
            return Ok(tenant);
        }
        if tenant.status == TenantStatus::Archived {
            return Err(ApiError::not_found());
        }
        Err(ApiError::conflict(format!("The tenant is {}, so it cannot become {to}.", tenant.status)))
    }
}
