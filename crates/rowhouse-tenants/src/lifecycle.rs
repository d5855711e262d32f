//! Listing, suspending, reactivating and deleting tenants.

use std::sync::Arc;

use rowhouse_jobs::{Saga, StepError, StepOutcome};
use rowhouse_postgres::{DatabaseResult, Location, SystemConnection, params};
use rowhouse_types::{ApiError, PER_PAGE_DEFAULT, Slug, TenantId};
use serde::{Deserialize, Serialize};

use crate::place::{Shared, upgrade};
use crate::service::Tenants;
use crate::target::target_delete;
use crate::tenant::{Placement, TENANT_COLUMNS, Tenant, TenantStatus};

/// Which tenants to list, by slug.
#[derive(Debug, Clone)]
pub struct ListTenants {
    /// Name or slug contains this.
    pub search: Option<String>,
    /// Of this status.
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
               and ($2::text is null or status = $2) and ($3::text is null or placement = $3)
               and ($4::text is null or slug > $4) and status <> 'archived'
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
        let mut tenants: Vec<Tenant> = rows.iter().filter_map(Tenant::from_row).collect();
        let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
        let more = tenants.len() > limit;
        tenants.truncate(limit);
        let next = more.then(|| tenants.last().map(|tenant| tenant.slug.to_string())).flatten();
        Ok(TenantPage { tenants, next })
    }

    /// Refuses a tenant's requests from now on.
    ///
    /// # Errors
    /// A conflict unless it is active.
    pub async fn suspend(&self, id: TenantId) -> Result<Arc<Tenant>, ApiError> {
        self.change_status(id, TenantStatus::Active, TenantStatus::Suspended).await
    }

    /// Serves a suspended tenant again.
    ///
    /// # Errors
    /// A conflict unless it is suspended.
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
        if let Some(row) = &changed {
            self.registry.forget(id, row.get(0)).await;
        }
        let tenant = self.find(&id.to_string()).await?.ok_or_else(ApiError::not_found)?;
        if changed.is_none() && tenant.status != to {
            return Err(ApiError::conflict(format!("The tenant is {}, so it cannot become {to}.", tenant.status)));
        }
        Ok(tenant)
    }

    /// Deletes a tenant and everything of it. Its id and slug stay taken.
    pub async fn delete(self: &Arc<Self>, id: TenantId) -> Result<(), ApiError> {
        let tenant = self.find(&id.to_string()).await?.ok_or_else(ApiError::not_found)?;
        if tenant.status == TenantStatus::Archived {
            return Err(ApiError::not_found());
        }
        let Location { cluster, database, schema } = &tenant.location;
        let state = DeleteState {
            tenant: tenant.id,
            slug: tenant.slug.clone(),
            placement: tenant.placement,
            cluster: cluster.to_string(),
            database: database.to_string(),
            schema: schema.to_string(),
        };
        let saga = DeleteSaga::new(self);
        self.engine.run(&saga, tenant.slug.as_str(), Some(id), state).await.map_err(ApiError::from)?;
        Ok(())
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeleteState {
    tenant: TenantId,
    slug: Slug,
    placement: Placement,
    cluster: String,
    database: String,
    schema: String,
}

/// Deletes a tenant. It only goes forward: what is deleted cannot be brought back by undoing, so
/// a failure is tried again until it succeeds.
pub(crate) struct DeleteSaga {
    shared: Shared,
}

impl DeleteSaga {
    pub(crate) fn new(tenants: &Arc<Tenants>) -> Self {
        Self { shared: Arc::downgrade(tenants) }
    }
}

impl Saga for DeleteSaga {
    type State = DeleteState;

    fn name(&self) -> &'static str {
        "delete"
    }

    fn steps(&self) -> &'static [&'static str] {
        &["close", "rows", "forget"]
    }

    async fn run(
        &self,
        step: &'static str,
        state: &mut DeleteState,
        control: &SystemConnection,
    ) -> Result<StepOutcome, StepError> {
        let tenants = upgrade(&self.shared)?;
        let location = Location::new(&state.cluster, &state.database, &state.schema);
        match step {
            "close" => {
                control
                    .query("update control.tenants set status = 'deleting' where id = $1", params![state.tenant])
                    .await?;
            }
            "rows" => match state.placement {
                Placement::Pool => tenants.delete_rows(state.tenant, &location).await?,
                Placement::Schema => {
                    tenants.delete_rows(state.tenant, &location).await?;
                    tenants.drop_schema(&location).await?;
                    target_delete(control, &location).await?;
                }
                Placement::Database => {
                    tenants.drop_database(&location).await?;
                    target_delete(control, &location).await?;
                }
            },
            _ => {
                control.query("delete from control.memberships where tenant_id = $1", params![state.tenant]).await?;
                control.query("delete from control.invitations where tenant_id = $1", params![state.tenant]).await?;
                let archive =
                    "update control.tenants set status = 'archived', name = '', updated_at = now() where id = $1";
                control.query(archive, params![state.tenant]).await?;
            }
        }
        tenants.registry.forget(state.tenant, state.slug.as_str()).await;
        Ok(StepOutcome::Done)
    }

    /// Nothing can be taken back; the tenant stays closed, and deleting it again goes on.
    async fn undo(&self, _: &'static str, _: &mut DeleteState, _: &SystemConnection) -> Result<(), StepError> {
        Ok(())
    }
}
