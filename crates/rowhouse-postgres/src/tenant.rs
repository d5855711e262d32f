//! The tenant scope: the only type that runs a tenant's SQL. Every statement runs in a
//! transaction whose tenant is set locally, so nothing of it can outlive the transaction on a
//! shared connection.

use std::sync::Arc;

use deadpool::managed::Object;
use futures_util::future::{FutureExt as _, join_all, join3};
use rowhouse_types::TenantId;
use tokio::sync::OwnedSemaphorePermit;

use crate::authority::Location;
use crate::connection::{Connection, Connector};
use crate::error::{DatabaseError, DatabaseResult};
use crate::lanes::{LANE_LOCK, LANE_STATEMENT};
use crate::param::Param;
use crate::quote_identifier;
use crate::row::Row;

/// Most statements of one pipeline; up to here `join_all` polls in order (30 is its bound).
const PIPELINE_MAX: usize = 16;

/// The tenant and the schemas of a transaction, local to it; and whether its commit will be done
/// before it is on the disk.
const SET_TENANT: &str = "select set_config('rowhouse.tenant_id', $1::text, true), \
     current_setting('synchronous_commit') = 'off', set_config('search_path', $2::text, true)";

/// The same on a lane, with its bounds.
const SET_TENANT_ON_LANE: &str = "select set_config('rowhouse.tenant_id', $1::text, true), \
     current_setting('synchronous_commit') = 'off', set_config('search_path', $2::text, true), \
     set_config('statement_timeout', $3::text, true), set_config('lock_timeout', $4::text, true)";

/// One statement and its parameters, for [`TenantConnection::run_all`].
#[derive(Debug, Clone)]
pub struct Statement<'a> {
    /// The text, with `$1`, `$2`, …
    pub sql: &'a str,
    /// The values.
    pub params: &'a [Param<'a>],
}

/// A connection bound to one tenant. Returns to its pool when dropped; a request that is
/// dropped midway has already sent its whole transaction, which then ends by itself.
pub struct TenantConnection {
    connection: Object<Connector>,
    permit: OwnedSemaphorePermit,
    setting: Setting,
    schema: Arc<str>,
}

/// What every transaction of a tenant sets, for itself only.
pub(crate) struct Setting {
    tenant: TenantId,
    text: String,
    path: String,
}

impl Setting {
    pub(crate) fn new(tenant: TenantId, location: &Location) -> Self {
        // The id is a parsed UUID and the schema is quoted: nothing here comes from a client.
        // pg_temp last: a temporary table must never shadow the app's.
        let path = format!("{}, shared, rowhouse, pg_temp", quote_identifier(&location.schema));
        Self { tenant, text: tenant.to_string(), path }
    }

    fn begin(&self) -> String {
        format!("begin; set local rowhouse.tenant_id = '{}'; set local search_path = {}", self.tenant, self.path)
    }

    /// Runs statements behind the setting, in one message; nothing if the connection has no way to.
    async fn run_alone(
        &self,
        connection: &Connection,
        statements: &[Statement<'_>],
    ) -> Option<DatabaseResult<Vec<Vec<Row>>>> {
        let params = [self.text.as_str().into(), self.path.as_str().into()];
        self.run_behind(Statement { sql: SET_TENANT, params: &params }, connection, statements, false).await
    }

    /// The same on a lane.
    pub(crate) async fn run_on_lane(
        &self,
        connection: &Connection,
        statements: &[Statement<'_>],
    ) -> Option<DatabaseResult<Vec<Vec<Row>>>> {
        let params = [self.text.as_str().into(), self.path.as_str().into(), LANE_STATEMENT.into(), LANE_LOCK.into()];
        self.run_behind(Statement { sql: SET_TENANT_ON_LANE, params: &params }, connection, statements, true).await
    }

    async fn run_behind(
        &self,
        setting: Statement<'_>,
        connection: &Connection,
        statements: &[Statement<'_>],
        shared: bool,
    ) -> Option<DatabaseResult<Vec<Vec<Row>>>> {
        assert!(statements.len() <= PIPELINE_MAX, "a pipeline has at most {PIPELINE_MAX} statements");
        let mut all = Vec::with_capacity(statements.len() + 1);
        all.push(setting);
        all.extend_from_slice(statements);
        let outcome = connection.run_alone(&all, shared).await?;
        Some(outcome.and_then(|mut results| {
            let set = results.remove(0);
            let set = set.first();
            connection.set_commits_at_once(set.is_some_and(|row| row.get(1)));
            // Each answer begins with whose it is. That another's comes is what must never be.
            if set.map(|row| row.get::<_, &str>(0)) != Some(self.text.as_str()) {
                connection.give_up();
                tracing::error!(tenant = %self.tenant, "an answer was for another tenant; its connection is closed");
                return Err(DatabaseError::Driver("the answer was for another tenant".into()));
            }
            Ok(results)
        }))
    }
}

impl TenantConnection {
    pub(crate) fn new(
        connection: Object<Connector>,
        permit: OwnedSemaphorePermit,
        setting: Setting,
        location: &Location,
    ) -> Self {
        Self { connection, permit, setting, schema: location.schema.clone() }
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.setting.tenant
    }

    /// The schema of the app's tables.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Whether its last transaction did not wait for the disk, as far as is known.
    pub(crate) fn commits_at_once(&self) -> bool {
        self.connection.commits_at_once()
    }

    /// Runs one statement in a transaction of its own, in one round trip.
    pub async fn run(&self, sql: &str, params: &[Param<'_>]) -> DatabaseResult<Vec<Row>> {
        let mut results = self.run_all(&[Statement { sql, params }]).await?;
        Ok(results.pop().unwrap_or_default())
    }

    /// Runs statements in one transaction and one round trip: begin, the statements and commit
    /// are sent together. If one fails, all are rolled back and the first error is given.
    pub async fn run_all(&self, statements: &[Statement<'_>]) -> DatabaseResult<Vec<Vec<Row>>> {
        if let Some(outcome) = self.setting.run_alone(&self.connection, statements).await {
            return outcome;
        }
        let mut prepared = Vec::with_capacity(statements.len());
        for statement in statements {
            prepared.push(self.connection.prepare(statement.sql).await?);
        }
        if !self.connection.pipelining {
            return self.run_in_turn(statements).await;
        }
        let queries = statements
            .iter()
            .zip(&prepared)
            .map(|(statement, prepared)| self.connection.query(statement.sql, prepared.as_ref(), statement.params));
        let begin = self.setting.begin();
        // join polls in order, and each future sends all it has at its first poll: the order
        // on the wire is begin, statements, commit.
        let (begun, results, committed) =
            join3(self.connection.batch(&begin), join_all(queries), self.connection.batch("commit")).await;
        begun?;
        let results = results.into_iter().collect::<DatabaseResult<Vec<_>>>()?;
        committed?;
        Ok(results)
    }

    /// The same, one by one, for poolers that cannot pipeline.
    async fn run_in_turn(&self, statements: &[Statement<'_>]) -> DatabaseResult<Vec<Vec<Row>>> {
        let unfinished = Unfinished(Some(&self.connection));
        self.connection.batch(&self.setting.begin()).await?;
        let mut results = Vec::with_capacity(statements.len());
        for statement in statements {
            let prepared = self.connection.prepare(statement.sql).await?;
            results.push(self.connection.query(statement.sql, prepared.as_ref(), statement.params).await?);
        }
        self.connection.batch("commit").await?;
        unfinished.end();
        Ok(results)
    }

    /// Runs statements without parameters, such as a seed file, in a transaction of their own and
    /// in one round trip.
    pub async fn run_batch(&self, sql: &str) -> DatabaseResult<()> {
        let unfinished = Unfinished(Some(&self.connection));
        // The text may end in a comment or without a semicolon.
        self.connection.batch(&format!("{};\n{sql}\n;\ncommit", self.setting.begin())).await?;
        unfinished.end();
        Ok(())
    }

    /// Begins a transaction of several steps, where a later one depends on an earlier one's
    /// result.
    pub async fn begin(self) -> DatabaseResult<TenantTx> {
        let transaction = TenantTx { connection: Some(self) };
        transaction.get().connection.batch(&transaction.get().setting.begin()).await?;
        Ok(transaction)
    }
}

/// A transaction that a failing statement leaves open. If its request fails, or is dropped
/// between two statements, the connection would go back to its pool in the middle of it, with the
/// tenant set and locks held: so the rollback is sent first.
struct Unfinished<'a>(Option<&'a Connection>);

impl Unfinished<'_> {
    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0 {
            // The first poll sends it; whatever is sent later comes behind it.
            let _ = connection.batch("rollback").now_or_never();
        }
    }
}

/// A tenant's transaction of several steps. Dropped without commit it is rolled back before
/// its connection serves anybody else.
pub struct TenantTx {
    connection: Option<TenantConnection>,
}

impl TenantTx {
    fn get(&self) -> &TenantConnection {
        self.connection.as_ref().expect("a transaction has its connection until it ends")
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.get().tenant()
    }

    /// The schema of the app's tables.
    pub fn schema(&self) -> &str {
        &self.get().schema
    }

    /// Runs one statement.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> DatabaseResult<Vec<Row>> {
        let connection = &self.get().connection;
        let prepared = connection.prepare(sql).await?;
        connection.query(sql, prepared.as_ref(), params).await
    }

    /// Runs statements without parameters, such as a seed file.
    pub async fn batch(&self, sql: &str) -> DatabaseResult<()> {
        self.get().connection.batch(sql).await
    }

    /// Commits, and gives the connection back for the tenant's next statement.
    pub async fn commit(mut self) -> DatabaseResult<TenantConnection> {
        self.get().connection.batch("commit").await?;
        Ok(self.connection.take().expect("not ended before"))
    }
}

impl Drop for TenantTx {
    fn drop(&mut self) {
        let Some(TenantConnection { connection, permit, .. }) = self.connection.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            // No runtime to roll back on: take it out of the pool, so that it is closed.
            drop(Object::take(connection));
            return;
        };
        runtime.spawn(async move {
            if connection.batch("rollback").await.is_err() {
                drop(Object::take(connection));
            }
            drop(permit);
        });
    }
}

/// Whether an error leaves the statement's effect unknown (the connection broke at commit).
impl DatabaseError {
    /// True if the transaction may or may not have been committed.
    pub fn is_indeterminate(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
