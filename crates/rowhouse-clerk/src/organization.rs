//! Clerk's organisations as tenants.

use rowhouse_audit::Actor;
use rowhouse_postgres::params;
use rowhouse_tenants::{Description, Placement, Provision, ProvisionOwner, TenantStatus};
use rowhouse_types::{Slug, TenantId, UserId};
use serde_json::Value;

use crate::claims::ActiveOrganization;
use crate::clerk_id::{OrganizationId, PersonId};
use crate::error::ClerkError;
use crate::event::Organization;
use crate::person::person_ensure;
use crate::seen::{State, seen_deleted, seen_lock, seen_take};
use crate::service::Clerk;

/// What is known of an organisation.
enum Standing {
    /// It was never told of.
    Unknown,
    /// It is this tenant.
    Tenant(TenantId),
    /// It is gone, or its tenant is.
    Gone,
}

impl From<&ActiveOrganization> for Organization {
    /// As much as a token tells: older than whatever a message will tell.
    fn from(active: &ActiveOrganization) -> Self {
        let ActiveOrganization { id, role: _, slug } = active;
        let public_metadata = serde_json::Map::new();
        let (name, slug) = (slug.clone(), slug.clone());
        Self { id: id.clone(), name, slug, created_by: None, public_metadata, tenant: None, version: 0 }
    }
}

impl Clerk {
    /// Takes a state of an organisation, which gets a tenant if it has none.
    pub(crate) async fn apply_organization(&self, organization: &Organization) -> Result<(), ClerkError> {
        let Some(tenant) = self.ensure_organization(organization, organization.created_by.as_ref()).await? else {
            return Ok(());
        };
        const METADATA: &str = "update control.clerk_tenants set metadata = $2 where clerk_id = $1";
        let id = organization.id.as_str();
        let mut connection = self.control("apply an organisation").await?;
        connection.begin().await?;
        if seen_take(&connection, id, State::At(organization.version)).await? {
            let plan = organization.public_metadata.get("plan").and_then(Value::as_str).map(str::to_owned);
            let description = Description { name: organization.name.clone(), plan };
            self.tenants.describe(&connection, &Actor::system(), tenant, &description).await?;
            connection.query(METADATA, params![id, Value::Object(organization.public_metadata.clone())]).await?;
        }
        // Its end may have been told while the tenant was being made.
        let gone = seen_deleted(&connection, id).await?;
        connection.commit().await?;
        drop(connection);
        self.tenants.forget(tenant).await?;
        if gone { self.close(tenant).await } else { Ok(()) }
    }

    /// Takes the end of an organisation. Its tenant is closed and kept: what Clerk forgets by a
    /// click is somebody's data here, and an operator's to delete.
    pub(crate) async fn remove_organization(&self, id: &OrganizationId, at: i64) -> Result<(), ClerkError> {
        let mut connection = self.control("remove an organisation").await?;
        connection.begin().await?;
        seen_take(&connection, id.as_str(), State::DeletedAt(at)).await?;
        connection.commit().await?;
        drop(connection);
        match self.tenant_of(id).await? {
            Some((tenant, _)) => self.close(tenant).await,
            None => Ok(()),
        }
    }

    async fn close(&self, tenant: TenantId) -> Result<(), ClerkError> {
        let Some(found) = self.tenants.find(&tenant.to_string()).await? else { return Ok(()) };
        match found.status {
            TenantStatus::Active => {
                self.tenants.suspend_by(&Actor::system(), tenant, "its organisation was deleted at Clerk").await?;
                Ok(())
            }
            TenantStatus::Provisioning => Err(ClerkError::Busy),
            TenantStatus::Suspended | TenantStatus::Deleting | TenantStatus::Archived => Ok(()),
        }
    }

    /// The tenant of an organisation, made if it has none, with this person for its owner; none if
    /// either is gone.
    pub(crate) async fn ensure_organization(
        &self,
        organization: &Organization,
        owner: Option<&PersonId>,
    ) -> Result<Option<TenantId>, ClerkError> {
        match self.standing(&organization.id).await? {
            Standing::Tenant(tenant) => return Ok(Some(tenant)),
            Standing::Gone => return Ok(None),
            Standing::Unknown => {}
        }
        if let Some(tenant) = organization.tenant
            && self.link(&organization.id, tenant).await?
        {
            return Ok(Some(tenant));
        }
        let owner = match owner {
            Some(person) => self.ensure_owner(person).await?,
            None => None,
        };
        let Organization { id, name, slug, .. } = organization;
        let provision = Provision {
            name: name.clone().or_else(|| slug.clone()).unwrap_or_else(|| "Organisation".to_owned()),
            slug: slug.as_deref().and_then(|slug| slug.parse::<Slug>().ok()),
            plan: None,
            placement: Placement::Pool,
            owner: owner.map_or(ProvisionOwner::Nobody, ProvisionOwner::User),
        };
        if let Some(made) = self.tenants.provision_claimed(&Actor::system(), provision, id.as_str()).await? {
            self.forget_known();
            return Ok(Some(made.tenant.id));
        }
        // Somebody else was told of it at the same time.
        match self.standing(id).await? {
            Standing::Tenant(tenant) => Ok(Some(tenant)),
            Standing::Gone => Ok(None),
            Standing::Unknown => Err(ClerkError::Busy),
        }
    }

    /// Notes that an organisation was made for a tenant of ours; false if there is no such tenant.
    pub(crate) async fn link(&self, id: &OrganizationId, tenant: TenantId) -> Result<bool, ClerkError> {
        const LINK: &str = "
            with known as (select t.id from control.tenants t where t.id = $2 and t.status not in ('deleting', 'archived')),
                 seen as (
                insert into control.clerk_objects (clerk_id, version) select $1, 0 from known on conflict do nothing)
            insert into control.clerk_tenants (clerk_id, tenant_id) select $1, id from known
            on conflict (clerk_id) do update set clerk_id = excluded.clerk_id returning tenant_id = $2";
        let row = self.control("link an organisation").await?.query_opt(LINK, params![id.as_str(), tenant]).await?;
        self.forget_known();
        Ok(row.is_some_and(|row| row.get(0)))
    }

    /// What is known at Clerk of an organisation that a token told of; only what the token says if
    /// Clerk cannot be asked.
    pub(crate) async fn look_up(&self, active: &ActiveOrganization) -> Result<Organization, ClerkError> {
        if let (Some(backend), Standing::Unknown) = (&self.backend, self.standing(&active.id).await?) {
            match backend.organization(active.id.as_str()).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, organization = %active.id, "take an organisation from a token"),
            }
        }
        Ok(active.into())
    }

    async fn ensure_owner(&self, person: &PersonId) -> Result<Option<UserId>, ClerkError> {
        let mut connection = self.control("find an owner").await?;
        connection.begin().await?;
        seen_lock(&connection, person.as_str()).await?;
        let owner = person_ensure(&connection, person, ("", "")).await?;
        connection.commit().await?;
        Ok(owner)
    }

    async fn standing(&self, id: &OrganizationId) -> Result<Standing, ClerkError> {
        const SEEN: &str = "select 1 from control.clerk_objects where clerk_id = $1";
        match self.tenant_of(id).await? {
            Some((_, status)) if status == "provisioning" => Err(ClerkError::Busy),
            Some((tenant, _)) => Ok(Standing::Tenant(tenant)),
            None => {
                let seen = self.control("find an organisation").await?.query_opt(SEEN, params![id.as_str()]).await?;
                Ok(if seen.is_some() { Standing::Gone } else { Standing::Unknown })
            }
        }
    }

    /// The tenant of an organisation, and its status.
    async fn tenant_of(&self, id: &OrganizationId) -> Result<Option<(TenantId, String)>, ClerkError> {
        const FIND: &str = "
            select t.id, t.status from control.clerk_tenants c join control.tenants t on t.id = c.tenant_id
            where c.clerk_id = $1 and t.status not in ('deleting', 'archived')";
        let row = self.control("find an organisation").await?.query_opt(FIND, params![id.as_str()]).await?;
        Ok(row.map(|row| (TenantId::from_uuid(row.get(0)), row.get(1))))
    }
}
