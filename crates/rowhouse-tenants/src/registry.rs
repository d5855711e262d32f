//! The registry as every request asks it: by id or slug, from memory for a moment.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use rowhouse_postgres::{DatabaseResult, SystemConnection, params};
use rowhouse_types::TenantId;

use crate::tenant::{TENANT_COLUMNS, Tenant};

/// How long another process may take to notice a change.
const STALE: Duration = Duration::from_secs(2);
const ENTRIES_MAX: u64 = 200_000;
/// No slug is longer, and an id is 36 characters.
const NAME_LENGTH_MAX: usize = 48;

pub(crate) struct Registry {
    by_name: Cache<String, Option<Arc<Tenant>>>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self { by_name: Cache::builder().max_capacity(ENTRIES_MAX).time_to_live(STALE).build() }
    }

    /// What is remembered of a name; absence is remembered too, so that a flood of unknown names
    /// does not reach the database. The outer none means that nothing is known.
    pub(crate) async fn remembered(&self, name: &str) -> Option<Option<Arc<Tenant>>> {
        if name.is_empty() || name.len() > NAME_LENGTH_MAX {
            return Some(None);
        }
        self.by_name.get(&name.to_lowercase()).await
    }

    pub(crate) async fn remember(&self, name: &str, tenant: Option<Arc<Tenant>>) {
        self.by_name.insert(name.to_lowercase(), tenant).await;
    }

    /// Forgets a tenant after a change.
    pub(crate) async fn forget(&self, id: TenantId, slug: &str) {
        self.by_name.invalidate(&id.to_string()).await;
        self.by_name.invalidate(slug).await;
    }
}

/// The tenant of this id or slug.
pub(crate) async fn tenant_find(connection: &SystemConnection, name: &str) -> DatabaseResult<Option<Tenant>> {
    let by = if name.parse::<TenantId>().is_ok() { "id = $1::text::uuid" } else { "slug = lower($1)" };
    let sql = format!("select {TENANT_COLUMNS} from control.tenants where {by}");
    let row = connection.query_opt(&sql, params![name]).await?;
    Ok(row.as_ref().and_then(Tenant::from_row))
}
