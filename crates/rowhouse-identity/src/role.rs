//! Roles that a tenant's own people make: listed, made, changed and removed.
//!
//! Must never let a role hold more than whoever makes or changes it, nor vanish while somebody has
//! it: a role of the same name that is made later would be theirs.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rowhouse_postgres::{Row, SystemConnection, TenantContext, params};
use rowhouse_types::{Action, Grants, Permission, RoleKey, TenantId};
use serde::Serialize;
use serde_json::json;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::member::{Manager, tenant_lock};
use crate::organisation_error::OrganisationError;

/// Roles of its own that a tenant may have.
const ROLES_MAX: i64 = 50;
/// Longest key, in characters; the table says the same.
const KEY_LENGTH_MAX: usize = 40;

/// Where a role comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleSource {
    /// Every app has it.
    BuiltIn,
    /// The app's manifest.
    App,
    /// The tenant's own people.
    Tenant,
}

/// A role as the people of its tenant see it.
#[derive(Debug, Clone, Serialize)]
pub struct RoleOut {
    /// What members and keys are given.
    pub key: RoleKey,
    /// Its name, for people.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Where it comes from.
    pub source: RoleSource,
    /// What it may do.
    pub permissions: Vec<Permission>,
    /// How many members have it.
    pub members: i64,
    /// When it was made; none unless it is the tenant's own.
    pub created_at: Option<DateTime<Utc>>,
    /// When it was changed last.
    pub updated_at: Option<DateTime<Utc>>,
}

/// A role to be made.
#[derive(Debug, Clone)]
pub struct NewRole {
    /// What members and keys are given.
    pub key: RoleKey,
    /// Its name, for people.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it may do.
    pub permissions: Vec<Permission>,
}

/// What is changed of a role; the rest stays.
#[derive(Debug, Clone, Default)]
pub struct RolePatch {
    /// Its name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// What it may do.
    pub permissions: Option<Vec<Permission>>,
}

/// Whether a text can be the key of a role.
pub fn is_role_key(text: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    text.len() <= KEY_LENGTH_MAX && text.starts_with(|first: char| first.is_ascii_lowercase()) && text.chars().all(fits)
}

impl RoleOut {
    fn own(row: &Row, members: i64) -> Self {
        Self {
            key: RoleKey::new(row.get::<_, String>(0)),
            name: row.get(1),
            description: row.get(2),
            source: RoleSource::Tenant,
            permissions: permissions_read(&row.get::<_, Vec<String>>(3)),
            members,
            created_at: row.get(4),
            updated_at: row.get(5),
        }
    }
}

/// What is no permission any more allows nothing.
pub(crate) fn permissions_read(texts: &[String]) -> Vec<Permission> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// The permissions as they stand in the table: each once, in order.
fn permissions_texts(permissions: &[Permission]) -> Vec<String> {
    Grants::new(permissions.iter().cloned()).permissions().map(|permission| permission.to_string()).collect()
}

impl Identity {
    /// The roles that members and keys of a tenant can have: the built-in ones, the app's, its own.
    pub async fn roles(&self, context: &TenantContext) -> Result<Vec<RoleOut>, IdentityError> {
        const LIST: &str = "
            select coalesce(r.key, h.role), r.name, r.description, r.permissions, r.created_at, r.updated_at,
                   coalesce(h.members, 0)
            from (select * from control.roles where tenant_id = $1) r
            full join (select role, count(*) as members from control.memberships
                       where tenant_id = $1 and active group by role) h on h.role = r.key
            order by 1";
        let connection = self.databases.tenant_control(context).await?;
        let rows = connection.run(LIST, params![context.tenant()]).await?;
        let (own, others): (Vec<&Row>, Vec<&Row>) =
            rows.iter().partition(|row| row.get::<_, Option<&str>>(1).is_some());
        let own: Vec<RoleOut> = own.iter().map(|row| RoleOut::own(row, row.get(6))).collect();
        let members: HashMap<String, i64> = others.iter().map(|row| (row.get(0), row.get(6))).collect();
        let given = self.roles.load().all().into_iter().filter(|(key, _, _)| own.iter().all(|role| role.key != *key));
        let given = given.map(|(key, source, grants)| RoleOut {
            name: key.to_string(),
            description: String::new(),
            source,
            permissions: grants.permissions().collect(),
            members: members.get(key.as_str()).copied().unwrap_or_default(),
            created_at: None,
            updated_at: None,
            key,
        });
        Ok(given.chain(own.iter().cloned()).collect())
    }

    /// Makes a role.
    ///
    /// # Errors
    /// [`IdentityError::NotHeld`] if it would hold more than its maker; [`OrganisationError::RoleTaken`];
    /// [`OrganisationError::TooManyRoles`].
    pub async fn create_role(&self, by: Manager<'_>, new: NewRole) -> Result<RoleOut, IdentityError> {
        // Whoever still has a role of this name, which is gone from the app, must not get this one.
        const TAKEN: &str = "
            select exists (select 1 from control.roles where tenant_id = $1 and key = $2)
                or exists (select 1 from control.memberships where tenant_id = $1 and role = $2)
                or exists (select 1 from control.invitations where tenant_id = $1 and role = $2 and accepted_at is null)
                or exists (select 1 from control.api_keys where tenant_id = $1 and role = $2)
                or exists (select 1 from control.domains where tenant_id = $1 and role = $2),
                   (select count(*) from control.roles where tenant_id = $1)";
        const INSERT: &str = "
            insert into control.roles (tenant_id, key, name, description, permissions, created_by)
            values ($1, $2, $3, $4, $5, $6) returning key, name, description, permissions, created_at, updated_at";
        require_held(by.grants, &new.permissions)?;
        let NewRole { key, name, description, permissions } = new;
        let permissions = permissions_texts(&permissions);
        let mut connection = self.control("make a role").await?;
        connection.begin().await?;
        tenant_lock(&connection, by.tenant).await?;
        let taken = connection.query_opt(TAKEN, params![by.tenant, key.as_str()]).await?;
        let (is_taken, count) = taken.map_or((true, 0), |row| (row.get(0), row.get(1)));
        if is_taken || self.role_grants(&key).is_some() {
            return Err(OrganisationError::RoleTaken.into());
        }
        if count >= ROLES_MAX {
            return Err(OrganisationError::TooManyRoles(ROLES_MAX).into());
        }
        let details = json!({ "name": name, "permissions": permissions });
        let values = params![by.tenant, key.as_str(), name, description, permissions.clone(), by.user];
        let row = connection.query_opt(INSERT, values).await?.ok_or(IdentityError::NotFound)?;
        let entry = by.actor.did("create_role").on("role", &key).on_tenant(by.tenant);
        entry.with_details(details).write(&connection).await?;
        connection.commit().await?;
        self.forget_roles();
        Ok(RoleOut::own(&row, 0))
    }

    /// Changes a role. It acts at once here, and within a second in other processes, on everybody
    /// and every key that has it.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`]; [`IdentityError::NotHeld`] if it holds, or would hold, more than
    /// who changes it.
    pub async fn change_role(
        &self,
        by: Manager<'_>,
        key: &RoleKey,
        patch: RolePatch,
    ) -> Result<RoleOut, IdentityError> {
        const CHANGE: &str = "
            update control.roles r
            set name = coalesce($3, name), description = coalesce($4, description),
                permissions = case when $5 then $6 else permissions end, updated_at = now()
            where tenant_id = $1 and key = $2
            returning key, name, description, permissions, created_at, updated_at,
                      (select count(*) from control.memberships m
                       where m.tenant_id = r.tenant_id and m.role = r.key and m.active)";
        // Who manages people from now on is asked for a second factor from now on.
        const ASK: &str = "update control.memberships set mfa_asked_at = now() where tenant_id = $1 and role = $2";
        let RolePatch { name, description, permissions } = patch;
        let mut connection = self.control("change a role").await?;
        connection.begin().await?;
        let before = role_hold(&connection, by, key).await?;
        require_held(by.grants, permissions.as_deref().unwrap_or_default())?;
        let texts = permissions_texts(permissions.as_deref().unwrap_or_default());
        let (name, description) = (name.as_deref(), description.as_deref());
        let values = params![by.tenant, key.as_str(), name, description, permissions.is_some(), texts];
        let row = connection.query_opt(CHANGE, values).await?.ok_or(IdentityError::NotFound)?;
        let changed = RoleOut::own(&row, row.get(6));
        if manages_people(&changed.permissions) && !manages_people(&permissions_read(&before)) {
            connection.query(ASK, params![by.tenant, key.as_str()]).await?;
        }
        let entry = by.actor.did("change_role").on("role", key).on_tenant(by.tenant);
        let details = json!({ "name": changed.name, "permissions": changed.permissions, "permissions_before": before });
        entry.with_details(details).write(&connection).await?;
        connection.commit().await?;
        self.forget_roles();
        Ok(changed)
    }

    /// Removes a role that nobody has.
    ///
    /// # Errors
    /// [`OrganisationError::RoleInUse`] if a member, an invitation, a key or a domain has it;
    /// [`IdentityError::NotFound`]; [`IdentityError::NotHeld`].
    pub async fn delete_role(&self, by: Manager<'_>, key: &RoleKey) -> Result<(), IdentityError> {
        const USES: &str = "
            select (select count(*) from control.memberships where tenant_id = $1 and role = $2),
                   (select count(*) from control.invitations
                    where tenant_id = $1 and role = $2 and accepted_at is null),
                   (select count(*) from control.api_keys where tenant_id = $1 and role = $2),
                   (select count(*) from control.domains where tenant_id = $1 and role = $2)";
        const DELETE: &str = "delete from control.roles where tenant_id = $1 and key = $2";
        let mut connection = self.control("remove a role").await?;
        connection.begin().await?;
        let before = role_hold(&connection, by, key).await?;
        // A statement of its own: it sees what those gave who held the role before.
        let uses = connection.query_opt(USES, params![by.tenant, key.as_str()]).await?;
        let count = |index| uses.as_ref().map_or(0_i64, |row| row.get(index));
        let (members, invitations, keys, domains) = (count(0), count(1), count(2), count(3));
        if members + invitations + keys + domains > 0 {
            return Err(OrganisationError::RoleInUse { members, invitations, keys, domains }.into());
        }
        connection.query(DELETE, params![by.tenant, key.as_str()]).await?;
        let entry = by.actor.did("delete_role").on("role", key).on_tenant(by.tenant);
        entry.with_details(json!({ "permissions_before": before })).write(&connection).await?;
        connection.commit().await?;
        self.forget_roles();
        Ok(())
    }

    /// What each of these roles may do in a tenant, without those that nobody knows. The tenant's
    /// own cannot change or vanish until the caller's transaction ends: it may give them.
    pub(crate) async fn roles_hold(
        &self,
        connection: &SystemConnection,
        tenant: TenantId,
        roles: impl IntoIterator<Item = &RoleKey>,
    ) -> Result<HashMap<RoleKey, Arc<Grants>>, IdentityError> {
        const HOLD: &str = "
            select key, permissions from control.roles where tenant_id = $1 and key = any($2) order by key for share";
        let (mut held, mut named) = (HashMap::new(), Vec::new());
        for role in roles {
            held.extend(self.role_grants(role).map(|grants| (role.clone(), grants)));
            if !role.is_built_in() {
                named.push(role.as_str().to_owned());
            }
        }
        if !named.is_empty() {
            for row in connection.query(HOLD, params![tenant, named]).await? {
                let grants = Grants::new(permissions_read(&row.get::<_, Vec<String>>(1)));
                held.insert(RoleKey::new(row.get::<_, String>(0)), Arc::new(grants));
            }
        }
        Ok(held)
    }

    /// Forgets what is remembered of roles: members and keys that have one are not known by it.
    fn forget_roles(&self) {
        self.caches.memberships.forget_all();
        self.key_caches.keys.forget_all();
    }
}

fn manages_people(permissions: &[Permission]) -> bool {
    Grants::new(permissions.iter().cloned()).allows("users", Action::Manage)
}

/// Whoever hands permissions on must hold them all.
fn require_held(held: &Grants, permissions: &[Permission]) -> Result<(), IdentityError> {
    let missing = permissions.iter().find(|permission| !held.covers(permission));
    missing.map_or(Ok(()), |permission| Err(IdentityError::NotHeld(permission.clone())))
}

/// Holds a role for the caller's transaction, who must hold all that it does. Gives what that is.
async fn role_hold(
    connection: &SystemConnection,
    by: Manager<'_>,
    key: &RoleKey,
) -> Result<Vec<String>, IdentityError> {
    const FIND: &str = "select permissions from control.roles where tenant_id = $1 and key = $2 for update";
    let row = connection.query_opt(FIND, params![by.tenant, key.as_str()]).await?.ok_or(IdentityError::NotFound)?;
    let texts: Vec<String> = row.get(0);
    require_held(by.grants, &permissions_read(&texts))?;
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_role_is_a_short_word() {
        for good in ["a", "front_desk", "desk2", &"x".repeat(40)] {
            assert!(is_role_key(good), "{good}");
        }
        for bad in ["", "2desk", "_desk", "Desk", "front desk", "front-desk", "bücher", "a:b", &"x".repeat(41)] {
            assert!(!is_role_key(bad), "{bad}");
        }
    }
}
