//! The saga of deleting a tenant, and the sweep after it.
//!
//! It only goes forward: what is deleted cannot be brought back by undoing, so a failure waits
//! and is tried again. Must never touch a row that does not carry the tenant's id.

use std::sync::Arc;
use std::time::Duration;

use rowhouse_audit::Actor;
use rowhouse_jobs::{ListSagas, Saga, SagaFailure, StepError, StepOutcome};
use rowhouse_postgres::{DatabaseResult, SystemConnection, params, quote_identifier};
use rowhouse_types::{ApiError, Slug, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::provision_saga::{Place, Shared, upgrade};
use crate::service::Tenants;
use crate::target::target_delete;
use crate::tenant::{Placement, TenantStatus};

/// Another process may serve the tenant until it notices, and a statement that has begun may
/// still run: what those write is swept away after this.
const SWEEP_AFTER: Duration = Duration::from_secs(30);

/// Tables of the control database that keep their lines about a tenant that is gone: the
/// operators' own records, which name it by its id only.
const KEPT: &[&str] = &["sagas", "targets", "security_events", "alerts", "audit_log"];

impl Tenants {
    /// [`Self::delete_by`] the system itself.
    pub async fn delete(self: &Arc<Self>, id: TenantId) -> Result<(), ApiError> {
        self.delete_by(&Actor::system(), id).await
    }

    /// Deletes a tenant and everything of it. Its id and slug stay taken.
    ///
    /// # Errors
    /// Not found; a conflict if it is being set up or deleted already. If a step fails, the
    /// tenant is closed and the operation goes on by itself.
    pub async fn delete_by(self: &Arc<Self>, actor: &Actor, id: TenantId) -> Result<(), ApiError> {
        let tenant = self.find(&id.to_string()).await?.ok_or_else(ApiError::not_found)?;
        match tenant.status {
            TenantStatus::Active | TenantStatus::Suspended => {}
            TenantStatus::Archived => return Err(ApiError::not_found()),
            TenantStatus::Provisioning | TenantStatus::Deleting => return Err(self.busy(id, tenant.status).await?),
        }
        let state = DeleteState {
            tenant: tenant.id,
            slug: tenant.slug.clone(),
            placement: tenant.placement,
            place: Place::of(&tenant.location),
            by: Some(actor.clone()),
        };
        let saga = DeleteSaga::new(self);
        let outcome = self.drive(saga, &tenant.slug, id, state).await;
        self.registry.forget(tenant.id, tenant.slug.as_str()).await;
        match outcome {
            Ok(_) => Ok(()),
            Err(failure @ SagaFailure::Unfinished(_)) => {
                tracing::error!(tenant_id = %id, %failure, "delete a tenant");
                Err(ApiError::unavailable(failure))
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// The conflict with the operation that is under way, by its number.
    async fn busy(&self, id: TenantId, status: TenantStatus) -> Result<ApiError, ApiError> {
        let sagas = self.engine.list(&ListSagas { tenant: Some(id), limit: 1, ..ListSagas::default() }).await?;
        let operation = sagas.first().map(|saga| format!(" See operation {}.", saga.id)).unwrap_or_default();
        Ok(ApiError::conflict(format!("The tenant is {status}, so it cannot be deleted now.{operation}")))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeleteState {
    tenant: TenantId,
    slug: Slug,
    placement: Placement,
    place: Place,
    /// Who deletes it. The first step writes it to the audit log and is recorded with the saga
    /// itself, so whoever takes the saga over has nothing more to tell.
    #[serde(skip)]
    by: Option<Actor>,
}

pub(crate) struct DeleteSaga {
    shared: Shared,
}

impl DeleteSaga {
    pub(crate) fn new(tenants: &Arc<Tenants>) -> Self {
        Self { shared: Arc::downgrade(tenants) }
    }

    async fn close(state: &mut DeleteState, control: &SystemConnection) -> Result<StepOutcome, StepError> {
        const CLOSE: &str = "
            update control.tenants set status = 'deleting', updated_at = now()
            where id = $1 and status in ('active', 'suspended', 'deleting') returning 1";
        if control.query_opt(CLOSE, params![state.tenant]).await?.is_none() {
            return Err(StepError::Refused(ApiError::conflict("The tenant is being set up, or is gone already.")));
        }
        if let Some(actor) = state.by.take() {
            let details = json!({ "slug": state.slug, "placement": state.placement });
            actor.did("delete_tenant").on_tenant(state.tenant).with_details(details).write(control).await?;
        }
        Ok(StepOutcome::Done)
    }

    async fn rows(
        tenants: &Tenants,
        state: &DeleteState,
        control: &SystemConnection,
    ) -> Result<StepOutcome, StepError> {
        let location = state.place.location();
        if state.placement != Placement::Database {
            tenants.delete_rows(state.tenant, &location).await?;
        }
        if state.placement != Placement::Pool {
            tenants.drop_place(state.placement, &location).await?;
            target_delete(control, &location).await?;
        }
        Ok(StepOutcome::Done)
    }

    /// Its lines in the control database; what is left says only that there was such a tenant.
    async fn forget(
        &self,
        tenants: &Tenants,
        state: &DeleteState,
        control: &SystemConnection,
    ) -> Result<StepOutcome, StepError> {
        const ARCHIVE: &str = "
            update control.tenants set status = 'archived', name = '', status_reason = '', domains = '{}', features = '{}',
                   limits = '{}', usage = '{}', billing = '{}', settings = '{}', updated_at = now() where id = $1";
        const SCRUB: &str = "
            update control.sagas set input = '{}', state = '{}' where tenant_id = $1 and finished_at is not null";
        delete_control_rows(control, state.tenant).await?;
        control.query(SCRUB, params![state.tenant]).await?;
        control.query(ARCHIVE, params![state.tenant]).await?;
        if state.placement != Placement::Database {
            let sweep = SweepSaga { shared: self.shared.clone() };
            let state = SweepState { tenant: state.tenant, place: state.place.clone() };
            let tenant = Some(state.tenant);
            let queued = tenants.engine.enqueue_after(SWEEP_AFTER, control, &sweep, "sweep", tenant, state).await;
            queued.map_err(ApiError::from)?;
        }
        Ok(StepOutcome::Done)
    }
}

/// Every line of the control database that belongs to the tenant, of whatever crate.
async fn delete_control_rows(control: &SystemConnection, tenant: TenantId) -> DatabaseResult<()> {
    const TABLES: &str = "
        select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
        where n.nspname = 'control' and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> all ($1)
        order by c.relname";
    let kept = KEPT.iter().map(ToString::to_string).collect::<Vec<_>>();
    for row in control.query(TABLES, params![kept]).await? {
        let table = quote_identifier(row.get(0));
        control.query(&format!("delete from control.{table} where tenant_id = $1"), params![tenant]).await?;
    }
    Ok(())
}

impl Saga for DeleteSaga {
    type State = DeleteState;

    fn name(&self) -> &'static str {
        "delete"
    }

    fn steps(&self) -> &'static [&'static str] {
        &["close", "rows", "forget"]
    }

    fn is_reversible(&self) -> bool {
        false
    }

    async fn run(
        &self,
        step: &'static str,
        state: &mut DeleteState,
        control: &SystemConnection,
    ) -> Result<StepOutcome, StepError> {
        let tenants = upgrade(&self.shared)?;
        tenants.registry.forget(state.tenant, state.slug.as_str()).await;
        match step {
            "close" => Self::close(state, control).await,
            "rows" => Self::rows(&tenants, state, control).await,
            _ => self.forget(&tenants, state, control).await,
        }
    }

    /// Never called: it is not reversible.
    async fn undo(&self, _: &'static str, _: &mut DeleteState, _: &SystemConnection) -> Result<(), StepError> {
        Ok(())
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SweepState {
    tenant: TenantId,
    place: Place,
}

/// Deletes once more what was written while the tenant was being closed.
pub(crate) struct SweepSaga {
    shared: Shared,
}

impl SweepSaga {
    pub(crate) fn new(tenants: &Arc<Tenants>) -> Self {
        Self { shared: Arc::downgrade(tenants) }
    }
}

impl Saga for SweepSaga {
    type State = SweepState;

    fn name(&self) -> &'static str {
        "sweep"
    }

    fn steps(&self) -> &'static [&'static str] {
        &["rows"]
    }

    fn is_reversible(&self) -> bool {
        false
    }

    async fn run(
        &self,
        _: &'static str,
        state: &mut SweepState,
        _: &SystemConnection,
    ) -> Result<StepOutcome, StepError> {
        let tenants = upgrade(&self.shared)?;
        // In schema placement the schema is gone, but the platform's tables are shared.
        tenants.delete_rows(state.tenant, &state.place.location()).await?;
        Ok(StepOutcome::Done)
    }

    /// Never called: it is not reversible.
    async fn undo(&self, _: &'static str, _: &mut SweepState, _: &SystemConnection) -> Result<(), StepError> {
        Ok(())
    }
}
