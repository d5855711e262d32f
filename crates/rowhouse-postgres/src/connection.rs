//! One connection and its bounded cache of prepared statements. Private: the scopes are the
//! only way to it.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use lru::LruCache;
use tokio_postgres::config::{Config, SslMode};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls};

use crate::cluster::{ClusterSettings, ConnectAs};
use crate::error::{DatabaseError, DatabaseResult};
use crate::param::Param;
use crate::row::{Row, Rows};
use crate::tenant::Statement;
use crate::tls::Tls;
use crate::wire::Wire;

/// A connection in a pool.
pub(crate) struct Connection {
    way: Way,
    pub(crate) pipelining: bool,
    commits_at_once: AtomicBool,
}

/// How a connection speaks to its server.
enum Way {
    /// The ordinary driver: poolers, TLS, the owner's work.
    Driver {
        client: Box<Client>,
        /// Bounded: a prepared statement costs its backend some 10 kB, and in schema placement
        /// every tenant has statements of its own.
        prepared: Option<Mutex<LruCache<Box<str>, tokio_postgres::Statement>>>,
    },
    /// Tenants' requests.
    Wire(Box<Wire>),
}

impl Connection {
    /// Runs statements without parameters and discards their results.
    pub(crate) async fn batch(&self, sql: &str) -> DatabaseResult<()> {
        match &self.way {
            Way::Driver { client, .. } => Ok(client.batch_execute(sql).await?),
            Way::Wire(wire) => wire.batch(sql).await,
        }
    }

    /// Runs statements, each tenant's setting before them, in one message and one transaction of
    /// their own; nothing if this connection has no way to do so. `shared` is as in
    /// [`Wire::run_alone`].
    pub(crate) async fn run_alone(
        &self,
        statements: &[Statement<'_>],
        shared: bool,
    ) -> Option<DatabaseResult<Vec<Vec<Row>>>> {
        match &self.way {
            Way::Driver { .. } => None,
            Way::Wire(wire) => Some(wire.run_alone(statements, shared).await),
        }
    }

    /// The statement, prepared on this connection; none where prepared statements are off.
    /// Must be awaited before a pipeline is built: preparing inside one would let the commit
    /// overtake the query (measured), which then ran without a tenant.
    pub(crate) async fn prepare(&self, sql: &str) -> DatabaseResult<Option<tokio_postgres::Statement>> {
        let Way::Driver { client, prepared: Some(cache) } = &self.way else { return Ok(None) };
        let cached = cache.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = cached {
            return Ok(Some(statement));
        }
        let statement = client.prepare(sql).await?;
        cache.lock().unwrap_or_else(PoisonError::into_inner).push(sql.into(), statement.clone());
        Ok(Some(statement))
    }

    /// Runs one statement. With `prepared` given, everything is sent at the first poll, which
    /// is what pipelining relies on.
    pub(crate) async fn query(
        &self,
        sql: &str,
        prepared: Option<&tokio_postgres::Statement>,
        params: &[Param<'_>],
    ) -> DatabaseResult<Vec<Row>> {
        let rows = match (&self.way, prepared) {
            (Way::Wire(wire), _) => {
                let mut results = wire.run(&[Statement { sql, params }]).await?;
                return Ok(results.pop().unwrap_or_default());
            }
            (Way::Driver { client, .. }, Some(statement)) => {
                let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
                client.query(statement, &params).await?
            }
            (Way::Driver { client, .. }, None) => client.query_typed(sql, &typed(params)).await?,
        };
        Ok(Rows::of_driver(&rows))
    }

    /// Runs one statement and gives the number of rows it changed. Tenants' connections, whose
    /// statements return what they changed, do not count.
    pub(crate) async fn execute(&self, sql: &str, params: &[Param<'_>]) -> DatabaseResult<u64> {
        let prepared = self.prepare(sql).await?;
        match (&self.way, prepared) {
            (Way::Wire(_), _) => Err(DatabaseError::Driver("a tenant's connection counts no rows".into())),
            (Way::Driver { client, .. }, Some(statement)) => {
                let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
                Ok(client.execute(&statement, &params).await?)
            }
            (Way::Driver { client, .. }, None) => Ok(client.execute_typed(sql, &typed(params)).await?),
        }
    }

    /// Whether the last transaction that told so was done before its commit was on the disk
    /// (`synchronous_commit = off`).
    pub(crate) fn commits_at_once(&self) -> bool {
        self.commits_at_once.load(Ordering::Relaxed)
    }

    pub(crate) fn set_commits_at_once(&self, at_once: bool) {
        self.commits_at_once.store(at_once, Ordering::Relaxed);
    }

    /// Has nobody use it any more.
    pub(crate) fn give_up(&self) {
        match &self.way {
            // The driver tells answers apart by itself.
            Way::Driver { .. } => {}
            Way::Wire(wire) => wire.give_up(),
        }
    }

    /// Whether a connection that is shared may be used, as far as can be told without waiting.
    pub(crate) fn is_open(&self) -> bool {
        match &self.way {
            Way::Driver { client, .. } => !client.is_closed(),
            Way::Wire(wire) => wire.is_open(),
        }
    }

    /// Forgets every prepared statement: after a migration their result types may be stale.
    pub(crate) fn forget_statements(&self) {
        match &self.way {
            Way::Driver { prepared: Some(cache), .. } => cache.lock().unwrap_or_else(PoisonError::into_inner).clear(),
            Way::Driver { .. } => {}
            Way::Wire(wire) => wire.forget_statements(),
        }
    }
}

fn typed<'a>(params: &'a [Param<'_>]) -> Vec<(&'a (dyn ToSql + Sync), tokio_postgres::types::Type)> {
    params.iter().map(|param| (param as &(dyn ToSql + Sync), param.type_of())).collect()
}

/// Opens connections of one role to one database.
pub(crate) struct Connector {
    config: Config,
    tls: Tls,
    statements_cached_max: Option<NonZeroUsize>,
    pipelining: bool,
    /// Whether tenants' requests speak to the server themselves.
    wire: bool,
    /// Whether a pooler stands between.
    pooled: bool,
}

impl Connector {
    pub(crate) fn new(settings: &ClusterSettings, role: ConnectAs, database: &str) -> Self {
        let config = settings.config(role, database);
        let tls = settings.tls(role).clone();
        let prepares = settings.prepares(role);
        Self {
            wire: role == ConnectAs::Service
                && prepares
                && settings.pipelining
                && tls.for_config(&config).is_none()
                && Wire::serves(&config),
            pooled: settings.is_pooled(),
            tls,
            config,
            statements_cached_max: prepares
                .then(|| NonZeroUsize::new(settings.limits.statements_cached_max).unwrap_or(NonZeroUsize::MIN)),
            pipelining: settings.pipelining,
        }
    }

    /// Whether several requests may use one of its connections at once. Not through a pooler: it
    /// would have to tell whose answer is whose.
    pub(crate) fn shareable(&self) -> bool {
        self.wire && !self.pooled
    }

    pub(crate) async fn open(&self) -> DatabaseResult<Connection> {
        let way = match self.statements_cached_max {
            Some(max) if self.wire => Way::Wire(Box::new(Wire::connect(&self.config, max).await?)),
            max => Way::Driver {
                client: Box::new(connect(&self.config, &self.tls).await?),
                prepared: max.map(|max| Mutex::new(LruCache::new(max))),
            },
        };
        Ok(Connection { way, pipelining: self.pipelining, commits_at_once: AtomicBool::new(false) })
    }
}

/// Connects and drives the connection in a task of its own.
pub(crate) async fn connect(config: &Config, tls: &Tls) -> DatabaseResult<Client> {
    let Some(secured) = tls.for_config(config) else {
        return Box::pin(connect_plain(config)).await.map_err(|error| tls.in_words(error, config));
    };
    // In boxes: what is needed for a moment would be part of every future that may connect.
    match Box::pin(config.connect(secured)).await {
        Ok((client, connection)) => {
            tokio::spawn(drive(connection));
            Ok(client)
        }
        Err(error) if tls.goes_on_in_the_clear(&error) => {
            tracing::debug!(%error, "the server cannot be reached with TLS; going on without, as sslmode=prefer says");
            Box::pin(connect_plain(config)).await.map_err(|error| tls.in_words(error, config))
        }
        Err(error) => Err(tls.in_words(error, config)),
    }
}

async fn connect_plain(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let mut config = config.clone();
    config.ssl_mode(SslMode::Disable);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(drive(connection));
    Ok(client)
}

async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    // Whoever uses the connection sees the same error; here it is only worth a trace.
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a database connection ended");
    }
}

impl Manager for Connector {
    type Type = Connection;
    type Error = DatabaseError;

    async fn create(&self) -> DatabaseResult<Connection> {
        self.open().await
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<DatabaseError> {
        let sound = match &connection.way {
            Way::Driver { client, .. } => !client.is_closed(),
            Way::Wire(wire) => wire.is_sound().await,
        };
        if sound { Ok(()) } else { Err(RecycleError::message("the connection is closed")) }
    }
}
