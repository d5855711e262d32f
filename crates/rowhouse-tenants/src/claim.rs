//! Tenants that are made for another identity provider's objects: an organisation of Clerk's, or a
//! person's sign-up there. The claim is taken in the transaction that makes the tenant's row, so an
//! object that is told of twice, or by two processes at a time, gets one tenant.

use std::sync::Arc;

use rowhouse_audit::Actor;
use rowhouse_postgres::{DatabaseResult, SystemConnection, params};
use rowhouse_types::{ApiError, FieldError, TenantId};
use serde_json::{Value, json};

use crate::provision::{Provision, Provisioned};
use crate::service::Tenants;

/// What another provider says of a tenant's organisation.
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// Its name.
    pub name: Option<String>,
    /// Its plan, if it is one of the app's.
    pub plan: Option<String>,
}

impl Tenants {
    /// Makes a tenant for another provider's object; none if there is one, or one is being made.
    /// The slug is a wish: if it is taken, one like it is made free.
    ///
    /// # Errors
    /// As [`Tenants::provision_by`].
    pub async fn provision_claimed(
        self: &Arc<Self>,
        actor: &Actor,
        provision: Provision,
        claim: &str,
    ) -> Result<Option<Provisioned>, ApiError> {
        let mut state = self.first_state(provision)?;
        state.by = Some(actor.clone());
        state.claim = Some(claim.to_owned());
        match self.provision_from(state, false).await {
            Ok(made) => Ok(Some(made)),
            Err(error) if error.details.iter().any(|detail| detail.field == "claim") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes over what another provider says of a tenant, in the caller's transaction. Names and
    /// plans that cannot be taken stay as they are. To be followed by [`Tenants::forget`].
    pub async fn describe(
        &self,
        connection: &SystemConnection,
        actor: &Actor,
        tenant: TenantId,
        description: &Description,
    ) -> DatabaseResult<()> {
        const DESCRIBE: &str = "
            update control.tenants set name = coalesce($2, name), plan = coalesce($3, plan), updated_at = now()
            where id = $1 and status <> 'archived' and (name, plan) is distinct from (coalesce($2, name), coalesce($3, plan))";
        let Description { name, plan } = description;
        let plan = plan.as_deref().filter(|plan| self.app.manifest.plans.contains_key(*plan));
        let values = params![tenant, name.as_deref(), plan];
        if connection.execute(DESCRIBE, values).await? > 0 {
            let details: Value = json!({ "renamed": name.is_some(), "plan": plan });
            actor.did("describe_tenant").on_tenant(tenant).with_details(details).write(connection).await?;
        }
        Ok(())
    }

    /// Forgets what is remembered of a tenant: after it changed.
    pub async fn forget(&self, tenant: TenantId) -> DatabaseResult<()> {
        const SLUG: &str = "select slug from control.tenants where id = $1";
        let slug = self.control("forget a tenant").await?.query_opt(SLUG, params![tenant]).await?;
        self.registry.forget(tenant, slug.as_ref().map_or("", |row| row.get(0))).await;
        Ok(())
    }
}

pub(crate) fn claim_taken() -> ApiError {
    ApiError::conflict("There is a tenant for this already.")
        .with_details(vec![FieldError::new("claim", "taken", "is taken")])
}

/// Takes a claim for a tenant; false if another tenant has it.
pub(crate) async fn claim_take(control: &SystemConnection, claim: &str, tenant: TenantId) -> DatabaseResult<bool> {
    const TAKE: &str = "
        with seen as (insert into control.clerk_objects (clerk_id, version) values ($1, 0) on conflict do nothing)
        insert into control.clerk_tenants (clerk_id, tenant_id) values ($1, $2) on conflict do nothing returning 1";
    Ok(control.query_opt(TAKE, params![claim, tenant]).await?.is_some())
}

/// Gives a claim back: the next one that is told of the object makes a tenant anew.
pub(crate) async fn claim_undo(control: &SystemConnection, claim: &str, tenant: TenantId) -> DatabaseResult<()> {
    const UNDO: &str = "
        with untold as (delete from control.clerk_objects where clerk_id = $1 and version = 0 and not deleted)
        delete from control.clerk_tenants where clerk_id = $1 and tenant_id = $2";
    control.query(UNDO, params![claim, tenant]).await.map(drop)
}
