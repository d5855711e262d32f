//! Parts of people in Clerk's organisations as memberships.
//!
//! Must never let a late message about a part that was taken away and given again undo the newer.

use rowhouse_audit::Actor;
use rowhouse_identity::membership_create;
use rowhouse_postgres::{DatabaseResult, SystemConnection, params};
use rowhouse_types::{RoleKey, TenantId, UserId};
use serde_json::json;

use crate::claims::SessionClaims;
use crate::clerk_id::{OrganizationId, PartId, PersonId};
use crate::error::ClerkError;
use crate::event::{Offer, OfferState, Organization, Part};
use crate::person::person_ensure;
use crate::seen::{State, seen_lock, seen_take};
use crate::service::Clerk;

/// What is known of a person's part in an organisation.
struct KnownPart {
    part: Option<PartId>,
    version: i64,
}

async fn part_find(
    connection: &SystemConnection,
    organization: &OrganizationId,
    person: &PersonId,
) -> DatabaseResult<Option<KnownPart>> {
    const FIND: &str = "
        select membership, version from control.clerk_memberships where organization = $1 and person = $2";
    let row = connection.query_opt(FIND, params![organization.as_str(), person.as_str()]).await?;
    Ok(row.map(|row| KnownPart {
        part: row.get::<_, Option<String>>(0).as_deref().and_then(PartId::parse),
        version: row.get(1),
    }))
}

async fn part_put(
    connection: &SystemConnection,
    organization: &OrganizationId,
    person: &PersonId,
    part: Option<&PartId>,
    version: i64,
) -> DatabaseResult<()> {
    const PUT: &str = "
        insert into control.clerk_memberships (organization, person, membership, version) values ($1, $2, $3, $4)
        on conflict (organization, person) do update set membership = excluded.membership, version = excluded.version";
    let values = params![organization.as_str(), person.as_str(), part.map(PartId::as_str), version];
    connection.query(PUT, values).await.map(drop)
}

impl Clerk {
    /// The role here of a role at Clerk.
    pub(crate) fn role(&self, at_clerk: &str) -> RoleKey {
        RoleKey::new(self.roles.get(at_clerk).map_or(at_clerk, String::as_str))
    }

    /// Takes a state of a part.
    pub(crate) async fn apply_part(&self, part: &Part) -> Result<(), ClerkError> {
        let role = self.role(&part.role);
        let owner = (role.as_str() == "owner").then_some(&part.person);
        // The message holds the organisation, but not always in its newest state.
        let first = Organization { version: 0, ..part.organization.clone() };
        let owner = part.organization.created_by.as_ref().or(owner);
        let Some(tenant) = self.ensure_organization(&first, owner).await? else { return Ok(()) };
        let mut connection = self.control("apply a part").await?;
        connection.begin().await?;
        seen_lock(&connection, part.person.as_str()).await?;
        let user = person_ensure(&connection, &part.person, (&part.names.0, &part.names.1)).await?;
        if let Some(user) = user
            && seen_take(&connection, part.id.as_str(), State::At(part.version)).await?
        {
            let known = part_find(&connection, &part.organization.id, &part.person).await?;
            let overtaken =
                known.is_some_and(|known| known.version > part.version && known.part.as_ref() != Some(&part.id));
            if !overtaken {
                part_put(&connection, &part.organization.id, &part.person, Some(&part.id), part.version).await?;
                self.join(&connection, tenant, user, &role).await?;
            }
        }
        connection.commit().await?;
        drop(connection);
        match user {
            Some(user) => self.part_changed(user, tenant).await,
            None => Ok(()),
        }
    }

    async fn join(
        &self,
        connection: &SystemConnection,
        tenant: TenantId,
        user: UserId,
        role: &RoleKey,
    ) -> Result<(), ClerkError> {
        membership_create(connection, tenant, user, role).await?;
        let entry = Actor::system().did("apply_clerk_membership").on("user", user).on_tenant(tenant);
        entry.with_details(json!({ "role": role.as_str() })).write(connection).await?;
        Ok(())
    }

    /// Takes the end of a part.
    pub(crate) async fn remove_part(&self, part: &Part, at: i64) -> Result<(), ClerkError> {
        const FIND: &str = "
            select c.user_id, t.tenant_id from control.clerk_users c, control.clerk_tenants t
            where c.clerk_id = $1 and t.clerk_id = $2";
        const LEAVE: &str = "
            update control.memberships set active = false where tenant_id = $1 and user_id = $2 and active returning 1";
        let (person, organization) = (&part.person, &part.organization.id);
        let mut connection = self.control("remove a part").await?;
        connection.begin().await?;
        seen_lock(&connection, person.as_str()).await?;
        let taken = seen_take(&connection, part.id.as_str(), State::DeletedAt(at)).await?;
        let row = connection.query_opt(FIND, params![person.as_str(), organization.as_str()]).await?;
        let found = row.map(|row| (UserId::from_uuid(row.get(0)), TenantId::from_uuid(row.get(1))));
        let known = part_find(&connection, organization, person).await?;
        // Of a part that was given again, or that a token told of later, this is not the end.
        let current = known.is_none_or(|known| match known.part {
            Some(newest) => newest == part.id,
            None => known.version <= at,
        });
        if taken && current {
            part_put(&connection, organization, person, None, at).await?;
            if let Some((user, tenant)) = found
                && connection.query_opt(LEAVE, params![tenant, user]).await?.is_some()
            {
                let entry = Actor::system().did("remove_clerk_membership").on("user", user).on_tenant(tenant);
                entry.write(&connection).await?;
            }
        }
        connection.commit().await?;
        drop(connection);
        match found {
            Some((user, tenant)) => self.part_changed(user, tenant).await,
            None => Ok(()),
        }
    }

    /// Notes in the tenant's audit log how an offer stands. The part comes by a message of its own.
    pub(crate) async fn apply_offer(&self, offer: &Offer) -> Result<(), ClerkError> {
        const FIND: &str = "select tenant_id from control.clerk_tenants where clerk_id = $1";
        let mut connection = self.control("apply an offer").await?;
        connection.begin().await?;
        let row = connection.query_opt(FIND, params![offer.organization.as_str()]).await?;
        if let Some(tenant) = row.map(|row| TenantId::from_uuid(row.get(0)))
            && seen_take(&connection, offer.id.as_str(), State::At(offer.version)).await?
        {
            let deed = match offer.state {
                OfferState::Pending => "create_clerk_invitation",
                OfferState::Accepted => "accept_clerk_invitation",
                OfferState::Revoked => "revoke_clerk_invitation",
            };
            let entry = Actor::system().did(deed).on("invitation", &offer.id).on_tenant(tenant);
            entry.with_details(json!({ "role": self.role(&offer.role).as_str() })).write(&connection).await?;
        }
        connection.commit().await?;
        Ok(())
    }

    /// Takes what a token says, of somebody whom no message has told of yet.
    pub(crate) async fn settle(&self, session: &SessionClaims) -> Result<(), ClerkError> {
        let mut connection = self.control("settle a session").await?;
        connection.begin().await?;
        seen_lock(&connection, session.person.as_str()).await?;
        let user = person_ensure(&connection, &session.person, ("", "")).await?;
        connection.commit().await?;
        drop(connection);
        let (Some(user), Some(active)) = (user, &session.organization) else { return Ok(()) };
        let role = self.role(&active.role);
        let owner = (role.as_str() == "owner").then_some(&session.person);
        let organization = self.look_up(active).await?;
        let owner = organization.created_by.as_ref().or(owner);
        let Some(tenant) = self.ensure_organization(&organization, owner).await? else { return Ok(()) };
        let issued_at = session.issued_at.saturating_mul(1000);
        let mut connection = self.control("settle a membership").await?;
        connection.begin().await?;
        seen_lock(&connection, session.person.as_str()).await?;
        let known = part_find(&connection, &active.id, &session.person).await?;
        // A token outlives its part for a moment.
        let newer = known.is_none_or(|known| known.part.is_none() && known.version < issued_at);
        if newer {
            part_put(&connection, &active.id, &session.person, None, issued_at).await?;
            self.join(&connection, tenant, user, &role).await?;
        }
        connection.commit().await?;
        drop(connection);
        if newer { self.part_changed(user, tenant).await } else { Ok(()) }
    }

    /// Brings what depends on a membership in step with it.
    pub(crate) async fn part_changed(&self, user: UserId, tenant: TenantId) -> Result<(), ClerkError> {
        self.identity.forget_access(user, tenant).await;
        self.forget_known();
        self.tenants.project_members(tenant).await?;
        Ok(())
    }
}
