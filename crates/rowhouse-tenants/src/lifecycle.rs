//! Listing, suspending and reactivating tenants.

use std::sync::Arc;

use rowhouse_postgres::{DatabaseResult, params};
use rowhouse_types::{ApiError, PER_PAGE_DEFAULT, TenantId};

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

    /// Refuses a tenant's requests from now on.
    ///
    /// # Errors
    /// A conflict unless it is active or suspended already.
    pub async fn suspend(&self, id: TenantId) -> Result<Arc<Tenant>, ApiError> {
        self.change_status(id, TenantStatus::Active, TenantStatus::Suspended).await
    }

    /// Serves a suspended tenant again.
    ///
    /// # Errors
    /// A conflict unless it is suspended or active already.
    pub async fn reactivate(&self, id: TenantId) -> Result<Arc<Tenant>, ApiError> {
        self.change_status(id, TenantStatus::Suspended, TenantStatus::Active).await
    }

    async fn change_status(&self, id: TenantId, from: TenantStatus, to: TenantStatus) -> Result<Arc<Tenant>, ApiError> {
        const CHANGE: &str =
            "update control.tenants set status = $3, updated_at = now() where id = $1 and status = $2 returning slug";
        let changed = {
            let control = self.control("change a tenant's status").await?;
            control.query_opt(CHANGE, params![id, from.as_str(), to.as_str()]).await?
        };
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
