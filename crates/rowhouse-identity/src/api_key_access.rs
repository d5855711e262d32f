//! What an API key opens: asked by every request that sends one, and remembered for a moment.
//!
//! Must never let a key open anything but its own tenant, nor after its end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use moka::sync::Cache;
use rowhouse_audit::SecurityEventKind;
use rowhouse_postgres::{DatabaseResult, Row, SystemConnection, params};
use rowhouse_types::{Grants, KeyId, Permission, RoleKey, TenantId};

use crate::api_key_secret::{ApiKeyHash, KeyMode, hash_of};
use crate::api_key_turns::{KeyTurns, Turns};
use crate::error::IdentityError;
use crate::identity::Identity;
use crate::limit::LimitedRoute;
use crate::remembered::Remembered;
use crate::session::Device;

/// How long a process does not write again that a key was used: somewhat more than the minute that
/// the statement leaves between two writes, so that each that is sent also writes.
const USE_NOTED: Duration = Duration::from_secs(65);
const ENTRIES_MAX: u64 = 100_000;

/// A key that was found.
#[derive(Debug)]
pub struct KeyAccess {
    /// The key.
    pub id: KeyId,
    /// The only tenant that it opens.
    pub tenant: TenantId,
    /// Its role, if it has one.
    pub role: Option<RoleKey>,
    /// What it may do.
    pub grants: Arc<Grants>,
    ends_at: Option<DateTime<Utc>>,
    /// How many requests it may make in a minute, and how many it has made.
    limit: Option<(i32, Arc<Turns>)>,
}

impl KeyAccess {
    fn is_good(&self) -> bool {
        self.ends_at.is_none_or(|end| end > Utc::now())
    }

    /// Takes one of its turns, if they are numbered.
    fn take_turn(&self) -> Result<(), IdentityError> {
        let Some((limit, turns)) = &self.limit else { return Ok(()) };
        let taken = turns.take(*limit, Utc::now().timestamp());
        taken.map_err(|retry_after_seconds| IdentityError::TooManyRequests { limit: *limit, retry_after_seconds })
    }
}

pub(crate) struct ApiKeyCaches {
    pub(crate) keys: Remembered<ApiKeyHash, Option<Arc<KeyAccess>>>,
    noted: Cache<KeyId, ()>,
    turns: KeyTurns,
}

impl ApiKeyCaches {
    pub(crate) fn new() -> Self {
        let noted = Cache::builder().max_capacity(ENTRIES_MAX).time_to_live(USE_NOTED).build();
        Self { keys: Remembered::new(), noted, turns: KeyTurns::new() }
    }
}

impl Identity {
    pub(crate) fn key_mode(&self) -> KeyMode {
        if self.settings.development { KeyMode::Test } else { KeyMode::Live }
    }

    /// What a key opens, for one request. A refusal is recorded with the device.
    ///
    /// # Errors
    /// [`IdentityError::InvalidKey`], whatever is wrong with it; [`IdentityError::TooManyAttempts`] in
    /// its place for a network that brings too many bad keys; [`IdentityError::TooManyRequests`].
    pub async fn verify_api_key(
        &self,
        text: &str,
        device: impl Fn() -> Device,
    ) -> Result<Arc<KeyAccess>, IdentityError> {
        let found = match hash_of(text, self.key_mode()) {
            Some(hash) => self.key_caches.keys.get_or_read(hash, self.read_key(hash, &device)).await?,
            None => None,
        };
        match found.filter(|key| key.is_good()) {
            Some(key) => key.take_turn().map(|()| key),
            None => {
                self.count_attempt(LimitedRoute::API_KEY, None, &device()).await?;
                Err(IdentityError::InvalidKey)
            }
        }
    }

    async fn read_key(
        &self,
        hash: ApiKeyHash,
        device: impl Fn() -> Device,
    ) -> Result<Option<Arc<KeyAccess>>, IdentityError> {
        const FIND: &str = "
            select k.tenant_id, k.id, k.role, k.permissions,
                   case when k.hash = $1 then k.expires_at else least(k.expires_at, k.previous_until) end,
                   r.permissions, k.requests_per_minute
            from control.api_keys k left join control.roles r on r.tenant_id = k.tenant_id and r.key = k.role
            where k.hash = $1 or k.previous_hash = $1";
        let connection = self.control("look up an API key").await?;
        let row = connection.query_opt(FIND, params![hash.as_slice()]).await?;
        let found = match row {
            Some(row) => Some(Arc::new(self.key_of(&connection, &row).await?)),
            None => None,
        };
        drop(connection);
        if !found.as_ref().is_some_and(|key| key.is_good()) {
            let tenant = found.as_ref().map(|key| key.tenant);
            self.record(SecurityEventKind::ApiKeyRefused, None, tenant, None, &device());
        }
        Ok(found)
    }

    async fn key_of(&self, connection: &SystemConnection, row: &Row) -> Result<KeyAccess, IdentityError> {
        let (tenant, id) = (TenantId::from_uuid(row.get(0)), KeyId::from_uuid(row.get(1)));
        let rights = KeyRights::from_columns(row.get(2), row.get(3));
        let own: Option<Vec<String>> = row.get(5);
        let limit = match row.get(6) {
            Some(limit) => Some((limit, self.key_caches.turns.of_key(connection, tenant, id).await?)),
            None => None,
        };
        let grants = self.grants_of(&rights, own.as_deref()).unwrap_or_default();
        Ok(KeyAccess { id, tenant, role: rights.role().cloned(), grants, ends_at: row.get(4), limit })
    }

    /// What somebody with these rights may do, whose role is the tenant's own if it has permissions
    /// there; none if nobody knows the role.
    fn grants_of(&self, rights: &KeyRights, own: Option<&[String]>) -> Option<Arc<Grants>> {
        match rights {
            KeyRights::Role(role) => self.roles.load().grants_in_tenant(role, own),
            KeyRights::Permissions(permissions) => Some(Arc::new(Grants::new(permissions.iter().cloned()))),
        }
    }

    /// Notes that a key was used, at most once a minute, while the request goes on.
    pub fn key_used(&self, key: &KeyAccess, ip: Option<IpAddr>) {
        const NOTE: &str = "
            update control.api_keys set last_used_at = now(), last_used_ip = $3
            where tenant_id = $1 and id = $2
              and (last_used_at is null or last_used_at < now() - interval '1 minute')";
        if self.key_caches.noted.contains_key(&key.id) || !self.key_caches.noted.entry(key.id).or_insert(()).is_fresh()
        {
            return;
        }
        let (databases, scope) = (self.databases.clone(), self.authority.scope("note the use of an API key"));
        let (tenant, id, ip) = (key.tenant, key.id, ip.map(|ip| ip.to_string()));
        tokio::spawn(async move {
            let noted: DatabaseResult<()> = async {
                let connection = databases.control(&scope).await?;
                connection.query(NOTE, params![tenant, id, ip.as_deref()]).await.map(drop)
            }
            .await;
            if let Err(error) = noted {
                tracing::warn!(tenant_id = %tenant, key_id = %id, %error, "note the use of an API key");
            }
        });
    }

    /// Forgets keys that have changed.
    pub(crate) async fn forget_keys(&self, hashes: Vec<Vec<u8>>) {
        for hash in hashes {
            if let Ok(hash) = ApiKeyHash::try_from(hash) {
                self.key_caches.keys.forget(&hash).await;
            }
        }
    }
}

/// What a key may do: a role's, as it is now, or permissions of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRights {
    /// A role, with what it holds at the time of each request.
    Role(RoleKey),
    /// Just these.
    Permissions(Vec<Permission>),
}

impl KeyRights {
    /// As they stand in the table. What is no permission any more allows nothing.
    pub(crate) fn from_columns(role: Option<String>, permissions: Option<Vec<String>>) -> Self {
        match role {
            Some(role) => Self::Role(RoleKey::new(role)),
            None => {
                let permissions = permissions.unwrap_or_default();
                Self::Permissions(permissions.iter().filter_map(|text| text.parse().ok()).collect())
            }
        }
    }

    pub(crate) fn role(&self) -> Option<&RoleKey> {
        match self {
            Self::Role(role) => Some(role),
            Self::Permissions(_) => None,
        }
    }
}
