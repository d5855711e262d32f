//! The API keys of a tenant: made, listed, rotated and revoked by its people.
//!
//! Must never let a key hold more than whoever makes it, nor more than whoever rotates it, because
//! they are given a text that opens all that it opens.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rowhouse_audit::Actor;
use rowhouse_postgres::{Row, SystemConnection, TenantContext, params};
use rowhouse_types::{Grants, KeyId, PER_PAGE_DEFAULT, PER_PAGE_MAX, Permission, TenantId, UserId};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::api_key_access::KeyRights;
use crate::api_key_secret::ApiKeySecret;
use crate::error::IdentityError;
use crate::identity::Identity;

/// Keys that a tenant may have at once. Each is a row, and a line of what every process remembers.
const KEYS_MAX: i64 = 100;

/// A key as the people of its tenant see it.
#[derive(Debug, Clone, Serialize)]
pub struct ApiKeyOut {
    /// Its id, which it keeps when it is rotated.
    pub id: KeyId,
    /// What it is for.
    pub name: String,
    /// How its text begins.
    pub prefix: String,
    /// Its role, or
    pub role: Option<String>,
    /// its permissions.
    pub permissions: Option<Vec<String>>,
    /// Who made it, if they still have an account.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was rotated last.
    pub rotated_at: Option<DateTime<Utc>>,
    /// Until when the text from before the rotation is good too, if it still is.
    pub previous_until: Option<DateTime<Utc>>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was used last, to a minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// From where.
    pub last_used_ip: Option<String>,
    /// How many requests it may make in a minute, if they are numbered.
    pub requests_per_minute: Option<i32>,
}

impl ApiKeyOut {
    fn from_row(row: &Row) -> Self {
        Self {
            id: KeyId::from_uuid(row.get(0)),
            name: row.get(1),
            prefix: row.get(2),
            role: row.get(3),
            permissions: row.get(4),
            created_by: row.get::<_, Option<Uuid>>(5).map(UserId::from_uuid),
            created_at: row.get(6),
            rotated_at: row.get(7),
            previous_until: row.get(8),
            expires_at: row.get(9),
            last_used_at: row.get(10),
            last_used_ip: row.get(11),
            requests_per_minute: row.get(12),
        }
    }
}

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub rights: KeyRights,
    /// Days until it ends, and again from each rotation; none for a key without an end.
    pub lifetime_days: Option<i32>,
    /// How many requests it may make in a minute; none for as many as it will.
    pub requests_per_minute: Option<i32>,
}

/// Who makes or rotates a key.
#[derive(Debug, Clone, Copy)]
pub struct ApiKeyMaker<'a> {
    /// The person.
    pub user: UserId,
    /// The same, as the audit log names them.
    pub actor: &'a Actor,
    /// What they hold in the tenant.
    pub grants: &'a Grants,
}

/// A key with its text, which is kept nowhere.
#[derive(Debug)]
pub struct MadeApiKey {
    /// The key.
    pub key: ApiKeyOut,
    /// Its text.
    pub secret: ApiKeySecret,
}

/// Which keys to list: the newest 50 unless said otherwise.
#[derive(Debug, Clone, Default)]
pub struct ApiKeyPage {
    /// Those older than this one: the last of the page before.
    pub before: Option<KeyId>,
    /// How many at most; bounded by 201: one more than a page tells whether another follows.
    pub limit: Option<u32>,
}

impl Identity {
    /// The keys of a tenant, the newest first, page by page, under its policies.
    pub async fn api_keys(&self, context: &TenantContext, page: &ApiKeyPage) -> Result<Vec<ApiKeyOut>, IdentityError> {
        const LIST: &str = "
            select id, name, prefix, role, permissions, created_by, created_at, rotated_at,
                   case when previous_until > now() then previous_until end, expires_at, last_used_at, last_used_ip,
                   requests_per_minute
            from control.api_keys where tenant_id = $1 and ($2::uuid is null or id < $2) order by id desc limit $3";
        let limit = i64::from(page.limit.unwrap_or(PER_PAGE_DEFAULT).clamp(1, PER_PAGE_MAX + 1));
        let connection = self.databases.tenant_control(context).await?;
        let rows = connection.run(LIST, params![context.tenant(), page.before, limit]).await?;
        Ok(rows.iter().map(ApiKeyOut::from_row).collect())
    }

    /// Makes a key.
    ///
    /// # Errors
    /// [`IdentityError::NotHeld`] if it would hold more than its maker, [`IdentityError::UnknownRole`],
    /// [`IdentityError::TooManyKeys`].
    pub async fn create_api_key(
        &self,
        maker: ApiKeyMaker<'_>,
        tenant: TenantId,
        new: NewApiKey,
    ) -> Result<MadeApiKey, IdentityError> {
        const INSERT: &str = "
            insert into control.api_keys
                (tenant_id, id, name, prefix, hash, role, permissions, created_by, lifetime_days, expires_at,
                 requests_per_minute)
            select $1, $2, $3, $4, $5, $6, case when $6::text is null then $7::text[] end, $8, $9,
                   now() + make_interval(days => $9), $11
            where (select count(*) from control.api_keys where tenant_id = $1) < $10
            returning id, name, prefix, role, permissions, created_by, created_at, rotated_at, previous_until,
                      expires_at, last_used_at, last_used_ip, requests_per_minute";
        let NewApiKey { name, rights, lifetime_days, requests_per_minute } = new;
        let (id, secret) = (KeyId::generate(), ApiKeySecret::generate(self.key_mode()));
        let role = rights.role().map(|role| role.as_str());
        let permissions = permissions_of(&rights);
        let details = json!({
            "name": name, "prefix": secret.shown(), "role": role, "permissions": permissions,
            "lifetime_days": lifetime_days, "requests_per_minute": requests_per_minute,
        });
        let values = params![
            tenant,
            id,
            name.as_str(),
            secret.shown(),
            secret.hash().to_vec(),
            role,
            permissions,
            maker.user,
            lifetime_days,
            KEYS_MAX,
            requests_per_minute
        ];
        let mut connection = self.control("make an API key").await?;
        connection.begin().await?;
        if let Err(refusal) = self.require_held(&connection, tenant, maker.grants, &rights).await {
            connection.rollback().await?;
            return Err(refusal);
        }
        let Some(row) = connection.query_opt(INSERT, values).await? else {
            connection.rollback().await?;
            return Err(IdentityError::TooManyKeys(KEYS_MAX));
        };
        let entry = maker.actor.did("create_api_key").on("api_key", id).on_tenant(tenant);
        entry.with_details(details).write(&connection).await?;
        connection.commit().await?;
        Ok(MadeApiKey { key: ApiKeyOut::from_row(&row), secret })
    }

    /// Gives a key a new text and a new life. The text from before is good for `overlap` more, so
    /// that whoever uses it can change over; one from before that is good no longer.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] if the tenant has no such key, [`IdentityError::NotHeld`] if it
    /// holds more than who rotates it.
    pub async fn rotate_api_key(
        &self,
        maker: ApiKeyMaker<'_>,
        tenant: TenantId,
        id: KeyId,
        overlap: Duration,
    ) -> Result<MadeApiKey, IdentityError> {
        const FIND: &str = "
            select role, permissions, hash, previous_hash from control.api_keys
            where tenant_id = $1 and id = $2 for update";
        const ROTATE: &str = "
            update control.api_keys set
                previous_hash = case when $5::bigint > 0 then hash end,
                previous_until = case when $5 > 0 then least(now() + make_interval(secs => $5::float8), expires_at) end,
                hash = $3, prefix = $4, rotated_at = now(),
                expires_at = now() + make_interval(days => lifetime_days)
            where tenant_id = $1 and id = $2
            returning id, name, prefix, role, permissions, created_by, created_at, rotated_at, previous_until,
                      expires_at, last_used_at, last_used_ip, requests_per_minute";
        let secret = ApiKeySecret::generate(self.key_mode());
        let seconds = i64::try_from(overlap.as_secs()).unwrap_or(i64::MAX);
        let mut connection = self.control("rotate an API key").await?;
        connection.begin().await?;
        let found = connection.query_opt(FIND, params![tenant, id]).await?;
        let rotated = match found.as_ref().map(|row| KeyRights::from_columns(row.get(0), row.get(1))) {
            None => Err(IdentityError::NotFound),
            // A key whose role is gone allows nothing, and may have a role of its name tomorrow.
            Some(rights) => self.require_held(&connection, tenant, maker.grants, &rights).await,
        };
        if let Err(refusal) = rotated {
            connection.rollback().await?;
            return Err(refusal);
        }
        let values = params![tenant, id, secret.hash().to_vec(), secret.shown(), seconds];
        let row = connection.query_opt(ROTATE, values).await?.ok_or(IdentityError::NotFound)?;
        let entry = maker.actor.did("rotate_api_key").on("api_key", id).on_tenant(tenant);
        let details = json!({ "prefix": secret.shown(), "overlap_seconds": seconds });
        entry.with_details(details).write(&connection).await?;
        connection.commit().await?;
        if let Some(row) = found {
            self.forget_keys(hashes(&row, 2)).await;
        }
        Ok(MadeApiKey { key: ApiKeyOut::from_row(&row), secret })
    }

    /// Revokes a key: it opens nothing at once here, and within a second in other processes.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] if the tenant has no such key.
    pub async fn revoke_api_key(&self, actor: &Actor, tenant: TenantId, id: KeyId) -> Result<(), IdentityError> {
        // Nothing of it is needed any more: the audit log tells what it was.
        const DELETE: &str = "
            delete from control.api_keys where tenant_id = $1 and id = $2
            returning hash, previous_hash, name, prefix";
        let mut connection = self.control("revoke an API key").await?;
        connection.begin().await?;
        let Some(row) = connection.query_opt(DELETE, params![tenant, id]).await? else {
            connection.rollback().await?;
            return Err(IdentityError::NotFound);
        };
        let details = json!({ "name": row.get::<_, String>(2), "prefix": row.get::<_, String>(3) });
        let entry = actor.did("revoke_api_key").on("api_key", id).on_tenant(tenant);
        entry.with_details(details).write(&connection).await?;
        connection.commit().await?;
        self.forget_keys(hashes(&row, 0)).await;
        Ok(())
    }

    /// Whoever hands rights on must hold them all. A role of the tenant's own stays as it is until
    /// the caller's transaction ends.
    async fn require_held(
        &self,
        connection: &SystemConnection,
        tenant: TenantId,
        held: &Grants,
        rights: &KeyRights,
    ) -> Result<(), IdentityError> {
        let grants = match rights {
            KeyRights::Role(role) => {
                self.roles_hold(connection, tenant, [role]).await?.remove(role).ok_or(IdentityError::UnknownRole)?
            }
            KeyRights::Permissions(permissions) => Arc::new(Grants::new(permissions.iter().cloned())),
        };
        let missing: Option<Permission> = grants.permissions().find(|permission| !held.covers(permission));
        missing.map_or(Ok(()), |permission| Err(IdentityError::NotHeld(permission)))
    }
}

/// The hash and the one before it, in two columns from this one on.
fn hashes(row: &Row, first: usize) -> Vec<Vec<u8>> {
    [Some(row.get(first)), row.get(first + 1)].into_iter().flatten().collect()
}

fn permissions_of(rights: &KeyRights) -> Vec<String> {
    match rights {
        KeyRights::Role(_) => Vec::new(),
        KeyRights::Permissions(permissions) => permissions.iter().map(ToString::to_string).collect(),
    }
}
