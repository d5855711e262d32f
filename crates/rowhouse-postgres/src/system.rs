//! The system scope's connection: the owner role, which sees every tenant's rows. For
//! migrations, provisioning, identity and the like; never for serving a tenant's request.

use std::sync::atomic::{AtomicBool, Ordering};

use deadpool::managed::Object;
use futures_util::future::join;

use crate::authority::Location;
use crate::connection::{Connection, Connector};
use crate::error::{DatabaseError, DatabaseResult};
use crate::param::Param;
use crate::quote_identifier;
use crate::row::Row;

enum Held {
    Pooled(Box<Object<Connector>>),
    Own(Box<Connection>),
}

/// An owner's connection.
pub struct SystemConnection {
    held: Option<Held>,
    location: Location,
    in_transaction: bool,
    /// A transaction is to begin with the next statement.
    begin_due: AtomicBool,
    kept: bool,
}

impl SystemConnection {
    pub(crate) fn pooled(connection: Object<Connector>, location: Location) -> Self {
        Self::new(Held::Pooled(Box::new(connection)), location)
    }

    pub(crate) fn own(connection: Connection, location: Location) -> Self {
        Self::new(Held::Own(Box::new(connection)), location)
    }

    fn new(held: Held, location: Location) -> Self {
        Self { held: Some(held), location, in_transaction: false, begin_due: AtomicBool::new(false), kept: false }
    }

    fn connection(&self) -> &Connection {
        match self.held.as_ref().expect("held until dropped") {
            Held::Pooled(connection) => connection,
            Held::Own(connection) => connection,
        }
    }

    /// The database and schema it was opened for.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Runs one statement.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> DatabaseResult<Vec<Row>> {
        let connection = self.connection();
        self.send(async {
            let prepared = connection.prepare(sql).await?;
            connection.query(sql, prepared.as_ref(), params).await
        })
        .await
    }

    /// Runs one statement of which at most one row is expected.
    pub async fn query_opt(&self, sql: &str, params: &[Param<'_>]) -> DatabaseResult<Option<Row>> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Runs one statement and gives the number of rows it changed.
    pub async fn execute(&self, sql: &str, params: &[Param<'_>]) -> DatabaseResult<u64> {
        self.send(self.connection().execute(sql, params)).await
    }

    /// Runs statements without parameters in one message; several form one transaction.
    pub async fn batch(&self, sql: &str) -> DatabaseResult<()> {
        self.send(self.connection().batch(sql)).await
    }

    /// Sends a statement, and before it the begin that is due: one round trip for both.
    async fn send<T>(&self, statement: impl Future<Output = DatabaseResult<T>>) -> DatabaseResult<T> {
        if !self.begin_due.swap(false, Ordering::Relaxed) {
            return statement.await;
        }
        // The one that is polled first sends first.
        let (begun, outcome) = join(self.connection().batch("begin"), statement).await;
        begun?;
        outcome
    }

    /// Drops a database with whoever is connected to it, as far as the role may end them.
    ///
    /// By force alone it fails while the server itself vacuums there, because a worker's session
    /// is nobody's; the plain way sends such workers away and waits for them.
    pub async fn drop_database(&self, name: &str) -> DatabaseResult<()> {
        let name = quote_identifier(name);
        match self.batch(&format!("drop database if exists {name} with (force)")).await {
            Err(DatabaseError::Forbidden) => self.batch(&format!("drop database if exists {name}")).await,
            outcome => outcome,
        }
    }

    /// While `held`, dropping the connection closes it instead of giving it back to its pool:
    /// its session holds a lock or a setting that must not pass to somebody else.
    pub fn keep_from_pool(&mut self, held: bool) {
        self.kept = held;
    }

    /// Begins a transaction, together with its first statement; it ends by [`Self::commit`] or,
    /// when dropped, by rollback.
    pub async fn begin(&mut self) -> DatabaseResult<()> {
        self.in_transaction = true;
        if self.connection().pipelining {
            *self.begin_due.get_mut() = true;
            return Ok(());
        }
        self.batch("begin").await
    }

    /// Commits what was begun.
    pub async fn commit(&mut self) -> DatabaseResult<()> {
        self.end("commit").await
    }

    /// Takes back what was begun.
    pub async fn rollback(&mut self) -> DatabaseResult<()> {
        self.end("rollback").await
    }

    async fn end(&mut self, how: &str) -> DatabaseResult<()> {
        // Nothing was sent, so there is no transaction to end.
        if !std::mem::take(self.begin_due.get_mut()) {
            self.batch(how).await?;
        }
        self.in_transaction = false;
        Ok(())
    }

    /// Takes back what was begun after a statement failed, whose error is the one to tell. If
    /// the session itself is gone, so is the transaction.
    pub async fn give_up(&mut self) {
        if let Err(error) = self.rollback().await {
            tracing::debug!(%error, "roll a failed transaction back");
        }
    }
}

impl Drop for SystemConnection {
    fn drop(&mut self) {
        // A connection inside a transaction is never given to somebody else: it is closed,
        // which rolls back.
        if (self.in_transaction || self.kept)
            && let Some(Held::Pooled(connection)) = self.held.take()
        {
            drop(Object::take(*connection));
        }
    }
}
