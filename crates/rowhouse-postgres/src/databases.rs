//! Every database Rowhouse may reach, and the pools to them: one pool per database and role,
//! never per tenant, with a fair bound per tenant.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use deadpool::managed::{Object, Pool, PoolError, Timeouts};
use lru::LruCache;
use rowhouse_types::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::authority::{Authorities, Location, SystemScope, TenantContext};
use crate::cluster::{ClusterSettings, ConnectAs, HOME_CLUSTER};
use crate::connection::Connector;
use crate::error::{DatabaseError, DatabaseResult};
use crate::lanes::Lanes;
use crate::quick::{Access, SlowStatements};
use crate::system::SystemConnection;
use crate::tenant::{Setting, TenantConnection};

/// How often idle connections are looked for.
const REAP_INTERVAL: Duration = Duration::from_secs(15);
/// Tenants whose bound is remembered; a forgotten one starts afresh.
const TENANT_BOUNDS_MAX: u64 = 100_000;

#[derive(Clone, PartialEq, Eq, Hash)]
struct PoolKey {
    cluster: Arc<str>,
    database: Arc<str>,
    role: ConnectAs,
}

/// A pool and what of its connections is shared.
#[derive(Clone)]
pub(crate) struct Entry {
    pool: Pool<Connector>,
    reads: Arc<Lanes>,
    /// Used while commits do not wait for the disk: one by one they would take longer than the
    /// commits of many connections, which the server brings to the disk together.
    pub(crate) writes: Arc<Lanes>,
    /// Held for writing while a first connection is opened ahead of whoever will need it.
    ahead: Arc<tokio::sync::RwLock<()>>,
}

impl Entry {
    /// Whether a connection can be had without waiting for another's end.
    pub(crate) fn has_room(&self) -> bool {
        let status = self.pool.status();
        status.available > 0 || status.size < status.max_size
    }

    pub(crate) fn lanes(&self, access: Access) -> &Lanes {
        match access {
            Access::Read => &self.reads,
            Access::Write => &self.writes,
        }
    }

    fn close(&self) {
        self.reads.close();
        self.writes.close();
        self.pool.close();
    }
}

/// The clusters and their connection pools.
pub struct Databases {
    clusters: RwLock<HashMap<Arc<str>, Arc<ClusterSettings>>>,
    pools: Mutex<LruCache<PoolKey, Entry>>,
    pub(crate) slow: SlowStatements,
    tenants: moka::sync::Cache<TenantId, Arc<Semaphore>>,
}

impl Databases {
    /// Opens the directory with the cluster that holds the control database, and hands out the
    /// two authorities. Nothing is connected yet.
    pub fn open(home: ClusterSettings) -> (Arc<Self>, Authorities) {
        let databases_max = NonZeroUsize::new(home.limits.databases_max.max(2) * 2).unwrap_or(NonZeroUsize::MIN);
        let databases = Arc::new(Self {
            clusters: RwLock::new(HashMap::from([(HOME_CLUSTER.into(), Arc::new(home))])),
            pools: Mutex::new(LruCache::new(databases_max)),
            tenants: moka::sync::Cache::builder()
                .max_capacity(TENANT_BOUNDS_MAX)
                .time_to_idle(Duration::from_secs(300))
                .build(),
            slow: SlowStatements::new(),
        });
        tokio::spawn(reap(Arc::downgrade(&databases)));
        (databases, Authorities::new())
    }

    /// The settings of the cluster that holds the control database.
    pub fn home(&self) -> Arc<ClusterSettings> {
        self.cluster(HOME_CLUSTER).expect("the home cluster is always there")
    }

    pub(crate) fn cluster(&self, name: &str) -> DatabaseResult<Arc<ClusterSettings>> {
        let clusters = self.clusters.read().unwrap_or_else(PoisonError::into_inner);
        let unknown = || DatabaseError::Unavailable(format!("the cluster {name:?} is not in the directory"));
        clusters.get(name).cloned().ok_or_else(unknown)
    }

    /// The location of pool placement on the home cluster.
    pub fn pool_location(&self) -> Location {
        Location::new(HOME_CLUSTER, &self.home().roles.data_database(), "app")
    }

    /// The location of the control database.
    pub fn control_location(&self) -> Location {
        Location::new(HOME_CLUSTER, &self.home().roles.control_database(), "control")
    }

    /// A connection for one tenant, where its rows live, as the service role.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`] if no connection comes free in time: the tenant's own
    /// bound or the pool's.
    pub async fn tenant(&self, context: &TenantContext) -> DatabaseResult<TenantConnection> {
        self.tenant_at(context, context.location().clone()).await
    }

    /// A connection for one tenant to the control database (its members, invitations, keys),
    /// as the service role and under the same policies.
    pub async fn tenant_control(&self, context: &TenantContext) -> DatabaseResult<TenantConnection> {
        self.tenant_at(context, self.control_location()).await
    }

    async fn tenant_at(&self, context: &TenantContext, location: Location) -> DatabaseResult<TenantConnection> {
        let cluster = self.cluster(&location.cluster)?;
        let permit = self.tenant_permit(context.tenant(), &cluster).await?;
        let connection = self.checkout(&cluster, &location, ConnectAs::Service).await?;
        Ok(TenantConnection::new(connection, permit, Setting::new(context.tenant(), &location), &location))
    }

    pub(crate) async fn tenant_permit(
        &self,
        tenant: TenantId,
        cluster: &ClusterSettings,
    ) -> DatabaseResult<OwnedSemaphorePermit> {
        let bound = cluster.limits.tenant_connections_max;
        let semaphore = self.tenants.get_with(tenant, || Arc::new(Semaphore::new(bound)));
        let busy = |_| DatabaseError::Unavailable("all of this tenant's connections are busy".into());
        let acquired = tokio::time::timeout(cluster.limits.wait, semaphore.acquire_owned()).await.map_err(busy)?;
        Ok(acquired.expect("the bound is never closed"))
    }

    /// Opens the service's first connection to a new database, while the caller goes on: the first
    /// session in a database takes milliseconds. Whoever needs a connection there waits for it.
    pub fn open_ahead(&self, location: &Location) -> DatabaseResult<()> {
        let entry = self.pool(&*self.cluster(&location.cluster)?, location, ConnectAs::Service);
        if let Ok(opening) = entry.ahead.clone().try_write_owned() {
            tokio::spawn(async move {
                if let Err(error) = entry.pool.get().await {
                    tracing::debug!(%error, "open a connection ahead; whoever needs it will be told");
                }
                drop(opening);
            });
        }
        Ok(())
    }

    /// An owner's connection to the control database.
    pub async fn control(&self, scope: &SystemScope) -> DatabaseResult<SystemConnection> {
        self.system(scope, &self.control_location()).await
    }

    /// An owner's connection to a data database: it sees every tenant's rows.
    pub async fn system(&self, scope: &SystemScope, location: &Location) -> DatabaseResult<SystemConnection> {
        let cluster = self.cluster(&location.cluster)?;
        let connection = self.checkout(&cluster, location, ConnectAs::Owner).await?;
        tracing::debug!(purpose = scope.purpose(), database = %location.database, "system scope opened");
        Ok(SystemConnection::pooled(connection, location.clone()))
    }

    /// An owner's connection outside every pool, for long work that would keep others waiting
    /// and for statements that must not run beside others (create and drop database).
    pub async fn system_unpooled(&self, scope: &SystemScope, location: &Location) -> DatabaseResult<SystemConnection> {
        let cluster = self.cluster(&location.cluster)?;
        let connector = Connector::new(&cluster, ConnectAs::Owner, &location.database);
        tracing::debug!(purpose = scope.purpose(), database = %location.database, "system scope opened");
        Ok(SystemConnection::own(connector.open().await?, location.clone()))
    }

    async fn checkout(
        &self,
        cluster: &ClusterSettings,
        location: &Location,
        role: ConnectAs,
    ) -> DatabaseResult<Object<Connector>> {
        checkout(&self.pool(cluster, location, role)).await
    }

    pub(crate) fn pool(&self, cluster: &ClusterSettings, location: &Location, role: ConnectAs) -> Entry {
        let key = PoolKey { cluster: location.cluster.clone(), database: location.database.clone(), role };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = pools.get(&key) {
            return entry.clone();
        }
        let limits = &cluster.limits;
        let size = match role {
            ConnectAs::Owner => limits.owner_connections_max,
            ConnectAs::Service => limits.service_connections_max,
        };
        let connector = Connector::new(cluster, role, &location.database);
        // At least a quarter of the connections is left to what is not quick.
        let lanes = |most: usize| if connector.shareable() { limits.lanes_max.min(most) } else { 0 };
        let reads = Lanes::new(lanes(size / 2), &cluster.busy_reads, true);
        let writes = Lanes::new(lanes(size / 4), &cluster.busy_writes, false);
        let pool = Pool::builder(connector)
            .max_size(size)
            .runtime(deadpool::Runtime::Tokio1)
            .timeouts(Timeouts { wait: Some(limits.wait), create: Some(limits.connect), recycle: Some(limits.wait) })
            .build()
            .expect("a runtime is set for the timeouts");
        let entry = Entry { pool, reads, writes, ahead: Arc::default() };
        if let Some((_, evicted)) = pools.push(key, entry.clone()) {
            evicted.close();
        }
        entry
    }

    /// Closes every pool of a database: before it is dropped, renamed or used as a template.
    pub fn close(&self, location: &Location) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        for role in [ConnectAs::Owner, ConnectAs::Service] {
            let key = PoolKey { cluster: location.cluster.clone(), database: location.database.clone(), role };
            if let Some(entry) = pools.pop(&key) {
                entry.close();
            }
        }
    }

    /// Forgets all idle connections, so that no prepared statement outlives a migration.
    pub fn forget_statements(&self) {
        for Entry { pool, reads, writes, .. } in self.entries() {
            reads.forget_statements();
            writes.forget_statements();
            pool.retain(|connection, _| {
                connection.forget_statements();
                true
            });
        }
    }

    fn entries(&self) -> Vec<Entry> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.iter().map(|(_, entry)| entry.clone()).collect()
    }

    /// Open connections and bounds of each pool, for health and metrics.
    pub fn pool_states(&self) -> Vec<PoolState> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let state = |(key, Entry { pool, reads, writes, .. }): (&PoolKey, &Entry)| {
            let status = pool.status();
            PoolState {
                database: key.database.to_string(),
                role: match key.role {
                    ConnectAs::Owner => "owner",
                    ConnectAs::Service => "service",
                },
                open: status.size,
                idle: status.available + reads.idle() + writes.idle(),
                waiting: status.waiting,
                connections_max: status.max_size,
            }
        };
        pools.iter().map(state).collect()
    }

    /// Closes all pools; connections in use end when they are returned.
    pub fn shut_down(&self) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((_, entry)) = pools.pop_lru() {
            entry.close();
        }
    }
}

/// One pool's figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolState {
    /// The database.
    pub database: String,
    /// `service` or `owner`.
    pub role: &'static str,
    /// Open connections.
    pub open: usize,
    /// Open and unused connections.
    pub idle: usize,
    /// Requests waiting for one.
    pub waiting: usize,
    /// The bound.
    pub connections_max: usize,
}

/// Closes connections that were not used for a while.
async fn reap(databases: std::sync::Weak<Databases>) {
    loop {
        tokio::time::sleep(REAP_INTERVAL).await;
        let Some(databases) = databases.upgrade() else { return };
        let idle = databases.home().limits.idle;
        for Entry { pool, reads, writes, .. } in databases.entries() {
            reads.give_back_idle();
            writes.give_back_idle();
            pool.retain(|_, metrics| metrics.last_used() < idle);
        }
    }
}

pub(crate) async fn checkout(entry: &Entry) -> DatabaseResult<Object<Connector>> {
    drop(entry.ahead.read().await);
    entry.pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) => error,
        other => DatabaseError::Unavailable(format!("no connection came free: {other}")),
    })
}
