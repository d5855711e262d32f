//! The registry as every request asks it: by id, slug or host, from memory for a moment.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use rowhouse_postgres::{DatabaseError, DatabaseResult, SystemConnection, params};
use rowhouse_types::TenantId;

use crate::service::Tenants;
use crate::tenant::{TENANT_COLUMNS, Tenant};

/// How long another process may take to notice a change.
pub(crate) const STALE: Duration = Duration::from_secs(2);
const ENTRIES_MAX: u64 = 200_000;
/// No slug is longer, and an id is 36 characters.
const NAME_LENGTH_MAX: usize = 48;
/// No host name is longer (RFC 1035).
const HOST_LENGTH_MAX: usize = 253;

/// A tenant or, so that a flood of unknown names does not reach the database, its absence.
type Known = Option<Arc<Tenant>>;

pub(crate) struct Registry {
    by_name: Cache<String, Known>,
    by_host: Cache<String, Known>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        let cache = || Cache::builder().max_capacity(ENTRIES_MAX).time_to_live(STALE).build();
        Self { by_name: cache(), by_host: cache() }
    }

    /// Forgets a tenant after a change.
    pub(crate) async fn forget(&self, id: TenantId, slug: &str) {
        self.by_name.invalidate(&id.to_string()).await;
        self.by_name.invalidate(slug).await;
        // Hosts change rarely, and a tenant's former ones are not known here.
        self.by_host.invalidate_all();
    }
}

/// The name in lower case, borrowed if it is already.
fn lower(name: &str) -> std::borrow::Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.into() }
}

impl Tenants {
    /// The tenant of this id or slug, from memory for a moment. However many ask for a name that
    /// is not in memory, one statement answers them all.
    pub async fn find(&self, name: &str) -> DatabaseResult<Known> {
        if name.is_empty() || name.len() > NAME_LENGTH_MAX {
            return Ok(None);
        }
        let name = lower(name);
        if let Some(known) = self.registry.by_name.get(&*name).await {
            return Ok(known);
        }
        let load = async { tenant_find(&self.control("look up a tenant").await?, &name).await };
        let found = self.registry.by_name.try_get_with_by_ref(&*name, load).await;
        found.map_err(shared)
    }

    /// The tenant that has this host for its own, from memory for a moment. A host that two
    /// tenants claim is nobody's.
    pub async fn find_by_host(&self, host: &str) -> DatabaseResult<Known> {
        if host.is_empty() || host.len() > HOST_LENGTH_MAX {
            return Ok(None);
        }
        let host = lower(host);
        if let Some(known) = self.registry.by_host.get(&*host).await {
            return Ok(known);
        }
        let load = async { tenant_find_by_host(&self.control("look up a host").await?, &host).await };
        let found = self.registry.by_host.try_get_with_by_ref(&*host, load).await;
        found.map_err(shared)
    }
}

/// An error that several callers share; each gets one of its class.
fn shared(error: Arc<DatabaseError>) -> DatabaseError {
    match &*error {
        DatabaseError::Unavailable(reason) => DatabaseError::Unavailable(reason.clone()),
        DatabaseError::Timeout => DatabaseError::Timeout,
        DatabaseError::Locked => DatabaseError::Locked,
        DatabaseError::Collision => DatabaseError::Collision,
        other => DatabaseError::Driver(other.to_string()),
    }
}

/// The tenant of this id or slug.
async fn tenant_find(connection: &SystemConnection, name: &str) -> DatabaseResult<Known> {
    let row = match name.parse::<TenantId>() {
        Ok(id) => {
            let sql = format!("select {TENANT_COLUMNS} from control.tenants where id = $1");
            connection.query_opt(&sql, params![id]).await?
        }
        Err(_) => {
            let sql = format!("select {TENANT_COLUMNS} from control.tenants where slug = $1");
            connection.query_opt(&sql, params![name]).await?
        }
    };
    Ok(row.as_ref().and_then(Tenant::from_row).map(Arc::new))
}

async fn tenant_find_by_host(connection: &SystemConnection, host: &str) -> DatabaseResult<Known> {
    let sql = format!("select {TENANT_COLUMNS} from control.tenants where domains @> array[$1::text] limit 2");
    let rows = connection.query(&sql, params![host]).await?;
    let [row] = rows.as_slice() else { return Ok(None) };
    Ok(Tenant::from_row(row).map(Arc::new))
}
