//! Changes of a tenant's people: another role, an end for now or for good, leaving, and the transfer of
//! ownership.
//!
//! Must never leave a tenant without an owner who can act: the changes of a tenant come one after the
//! other, and each looks whether another owner is left. Must never let anybody touch a member who
//! holds more than they do.

use std::borrow::Cow;
use std::sync::Arc;

use rowhouse_audit::Actor;
use rowhouse_mail::{Brand, Deed, Mail, Message};
use rowhouse_postgres::{Param, Row, SystemConnection, params};
use rowhouse_types::{Grants, RoleKey, TenantId, UserId};
use serde_json::{Value, json};

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::member::{Manager, members_changed, tenant_lock};
use crate::organisation_error::OrganisationError;
use crate::profile::check_metadata;
use crate::session::Device;

/// The role of an owner, who alone hands the ownership on.
const OWNER: &str = "owner";
/// What a former owner becomes.
const FORMER_OWNER: &str = "admin";

/// What is changed of a member; the rest stays.
#[derive(Debug, Clone, Default)]
pub struct MemberPatch {
    /// Their role.
    pub role: Option<RoleKey>,
    /// Whether they may work in the tenant; their records and their place in lists stay.
    pub active: Option<bool>,
    /// What the tenant keeps about them, an object.
    pub metadata: Option<Value>,
}

/// A member as they are while nobody else can change them.
struct Held {
    role: RoleKey,
    /// Their membership is active; their account may not be.
    is_active: bool,
    /// What they hold.
    grants: Arc<Grants>,
    /// There is no other owner who can act.
    is_last_owner: bool,
}

impl Held {
    /// # Errors
    /// [`OrganisationError::Stronger`] if they hold more than whoever wants to change them.
    fn require_within(&self, by: Manager<'_>) -> Result<(), IdentityError> {
        if by.grants.covers_all(&self.grants) { Ok(()) } else { Err(OrganisationError::Stronger.into()) }
    }

    /// # Errors
    /// [`OrganisationError::LastOwner`] if nobody could act as owner without them.
    fn require_dispensable(&self) -> Result<(), IdentityError> {
        if self.is_last_owner { Err(OrganisationError::LastOwner.into()) } else { Ok(()) }
    }
}

impl Identity {
    /// Changes a member. It acts at once here, and within a second in other processes. Bring the
    /// tenant's members in step after it (`Tenants::project_members`).
    ///
    /// # Errors
    /// [`IdentityError::NotFound`]; [`OrganisationError::Stronger`] if they hold more than who changes
    /// them; [`IdentityError::Role`] for one that nobody knows or that allows more than that;
    /// [`OrganisationError::LastOwner`].
    pub async fn change_member(&self, by: Manager<'_>, user: UserId, patch: MemberPatch) -> Result<(), IdentityError> {
        const CHANGE: &str = "
            update control.memberships
            set role = coalesce($3, role), active = coalesce($4, active), metadata = coalesce($5, metadata),
                mfa_asked_at = case when $3 <> role or ($4 and not active) then now() else mfa_asked_at end
            where tenant_id = $1 and user_id = $2";
        let MemberPatch { role, active, metadata } = patch;
        metadata.as_ref().map_or(Ok(()), check_metadata)?;
        let mut connection = self.control("change a member").await?;
        connection.begin().await?;
        let before = self.member_hold(&connection, by.tenant, user).await?;
        before.require_within(by)?;
        if let Some(role) = &role {
            let known = self.roles_hold(&connection, by.tenant, [role]).await?;
            known.get(role).filter(|given| by.grants.covers_all(given)).ok_or(IdentityError::Role)?;
        }
        let stays_owner = role.as_ref().is_none_or(|role| role.as_str() == OWNER) && active != Some(false);
        if !stays_owner {
            before.require_dispensable()?;
        }
        if active == Some(false) {
            self.shut_out(&connection, by.tenant, user).await?;
        }
        let details = json!({
            "role_before": before.role, "role": role.as_ref().unwrap_or(&before.role),
            "active_before": before.is_active, "active": active.unwrap_or(before.is_active),
            "metadata": metadata.is_some(),
        });
        let role = role.as_ref().map(RoleKey::as_str);
        connection.query(CHANGE, params![by.tenant, user, role, active, Param::Json(metadata.map(Cow::Owned))]).await?;
        members_changed(&connection, by.tenant).await?;
        by.actor
            .did("change_member")
            .on("user", user)
            .on_tenant(by.tenant)
            .with_details(details)
            .write(&connection)
            .await?;
        connection.commit().await?;
        self.forget_access(user, by.tenant).await;
        Ok(())
    }

    /// Ends a membership for good. What the person has made stays the tenant's.
    ///
    /// # Errors
    /// As for [`Self::change_member`].
    pub async fn remove_member(&self, by: Manager<'_>, user: UserId) -> Result<(), IdentityError> {
        let mut connection = self.control("remove a member").await?;
        connection.begin().await?;
        let held = self.member_hold(&connection, by.tenant, user).await?;
        held.require_within(by)?;
        held.require_dispensable()?;
        self.end(&connection, by.actor, "remove_member", by.tenant, user, &held).await?;
        connection.commit().await?;
        self.forget_access(user, by.tenant).await;
        Ok(())
    }

    /// Ends one's own membership for good.
    ///
    /// # Errors
    /// [`OrganisationError::LastOwner`]: then the ownership has to be handed on first.
    pub async fn leave_tenant(&self, actor: &Actor, tenant: TenantId, user: UserId) -> Result<(), IdentityError> {
        let mut connection = self.control("leave a tenant").await?;
        connection.begin().await?;
        let held = self.member_hold(&connection, tenant, user).await?;
        held.require_dispensable()?;
        self.end(&connection, actor, "leave_tenant", tenant, user, &held).await?;
        connection.commit().await?;
        self.forget_access(user, tenant).await;
        Ok(())
    }

    /// Hands the ownership on to another member, in one transaction; the owner becomes an admin, and
    /// both are told by mail.
    ///
    /// # Errors
    /// [`OrganisationError::NotOwner`] unless the caller is an owner; [`IdentityError::NotFound`] if the
    /// other is no active member; [`OrganisationError::AlreadyOwner`].
    pub async fn transfer_ownership(&self, by: Manager<'_>, to: UserId, device: &Device) -> Result<(), IdentityError> {
        const FIND: &str = "
            select u.email, coalesce(nullif(trim(u.first_name || ' ' || u.last_name), ''), u.email), m.role, t.name
            from control.memberships m join control.users u on u.id = m.user_id and u.active
            join control.tenants t on t.id = m.tenant_id
            where m.tenant_id = $1 and m.user_id = $2 and m.active";
        const HAND_ON: &str = "
            update control.memberships
            set role = case when user_id = $3 then $4 else $5 end,
                mfa_asked_at = case when user_id = $3 then now() else mfa_asked_at end
            where tenant_id = $1 and user_id in ($2, $3)";
        let mut connection = self.control("transfer the ownership").await?;
        connection.begin().await?;
        tenant_lock(&connection, by.tenant).await?;
        let is_owner = |row: &Row| row.get::<_, &str>(2) == OWNER;
        let from = connection.query_opt(FIND, params![by.tenant, by.user]).await?;
        let from = from.filter(is_owner).ok_or(OrganisationError::NotOwner)?;
        let heir = connection.query_opt(FIND, params![by.tenant, to]).await?.ok_or(IdentityError::NotFound)?;
        if is_owner(&heir) {
            return Err(OrganisationError::AlreadyOwner.into());
        }
        connection.query(HAND_ON, params![by.tenant, by.user, to, OWNER, FORMER_OWNER]).await?;
        members_changed(&connection, by.tenant).await?;
        let details = json!({ "from": by.user, "to": to });
        let entry = by.actor.did("transfer_ownership").on("user", to).on_tenant(by.tenant);
        entry.with_details(details).write(&connection).await?;
        self.tell_of_transfer(&connection, by.tenant, [(by.user, &from), (to, &heir)], device).await?;
        connection.commit().await?;
        self.nudge_mails();
        self.forget_access(by.user, by.tenant).await;
        self.forget_access(to, by.tenant).await;
        Ok(())
    }

    /// The same mail to both, the former owner first.
    async fn tell_of_transfer(
        &self,
        connection: &SystemConnection,
        tenant: TenantId,
        people: [(UserId, &Row); 2],
        device: &Device,
    ) -> Result<(), IdentityError> {
        let [(_, from), (_, to)] = people;
        let deed = Deed { at: chrono::Utc::now(), device: device.user_agent.clone(), ip: device.ip };
        let message = Message::OwnershipTransferred { from: from.get(1), to: to.get(1), deed };
        let mails = people.iter().filter_map(|(user, row)| {
            let brand = Some(Brand { tenant, name: row.get(3), colour: None });
            let to = row.get::<_, String>(0).parse().ok()?;
            Some(Mail { to, user: Some(*user), brand, language: None, message: message.clone() })
        });
        self.enqueue_all(connection, &mails.collect::<Vec<_>>()).await
    }

    /// Holds a member, and all others of the tenant, until the caller's transaction ends.
    async fn member_hold(
        &self,
        connection: &SystemConnection,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Held, IdentityError> {
        const FIND: &str = "
            select m.role, m.active, r.permissions,
                   m.active and m.role = $3 and not exists (
                       select 1 from control.memberships o join control.users p on p.id = o.user_id and p.active
                       where o.tenant_id = $1 and o.user_id <> $2 and o.role = $3 and o.active)
            from control.memberships m left join control.roles r on r.tenant_id = m.tenant_id and r.key = m.role
            where m.tenant_id = $1 and m.user_id = $2";
        tenant_lock(connection, tenant).await?;
        let row = connection.query_opt(FIND, params![tenant, user, OWNER]).await?.ok_or(IdentityError::NotFound)?;
        let role = RoleKey::new(row.get::<_, String>(0));
        let own: Option<Vec<String>> = row.get(2);
        let grants = self.roles.load().grants_in_tenant(&role, own.as_deref()).unwrap_or_default();
        Ok(Held { role, is_active: row.get(1), grants, is_last_owner: row.get(3) })
    }

    async fn end(
        &self,
        connection: &SystemConnection,
        actor: &Actor,
        deed: &'static str,
        tenant: TenantId,
        user: UserId,
        held: &Held,
    ) -> Result<(), IdentityError> {
        const END: &str = "delete from control.memberships where tenant_id = $1 and user_id = $2";
        self.shut_out(connection, tenant, user).await?;
        connection.query(END, params![tenant, user]).await?;
        members_changed(connection, tenant).await?;
        let entry = actor.did(deed).on("user", user).on_tenant(tenant);
        Ok(entry.with_details(json!({ "role_before": held.role })).write(connection).await?)
    }

    /// Takes the open invitation of a member's address back: it would let them in again.
    async fn shut_out(
        &self,
        connection: &SystemConnection,
        tenant: TenantId,
        user: UserId,
    ) -> Result<(), IdentityError> {
        const TAKE_BACK: &str = "
            delete from control.invitations i using control.users u
            where i.tenant_id = $1 and u.id = $2 and i.email = u.email and i.accepted_at is null";
        connection.query(TAKE_BACK, params![tenant, user]).await?;
        Ok(())
    }
}
