//! The migration runner for one target: a set of SQL files, each applied once, in order, in a
//! transaction with its line in the ledger `rowhouse._migrations`. Running it over thousands of
//! targets is the tenants crate's work.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::error::{DatabaseError, DatabaseResult};
use crate::params;
use crate::system::SystemConnection;
use crate::{quote_identifier, quote_literal};

/// How long one migration waits for a lock before it gives way and tries again: while it waits,
/// every other statement on the table queues behind it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS_MAX: u32 = 5;
/// First line of a file that cannot run in a transaction (create index concurrently).
const NO_TRANSACTION: &str = "-- rowhouse: no-transaction";

/// Where in a zero-downtime change a file belongs; told by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationPhase {
    /// Adds what the old release does not mind (`.expand.sql`, or no phase named).
    Expand,
    /// Fills what was added (`.backfill.sql`).
    Backfill,
    /// Removes what only the old release needs (`.contract.sql`).
    Contract,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The file's name without `.sql`: `0001_init`, `0002_add_phone.expand`.
    pub name: String,
    /// Its phase.
    pub phase: MigrationPhase,
    /// Its text.
    pub sql: String,
    /// The text that takes it back, from `NAME.down.sql`.
    pub down: Option<String>,
}

impl Migration {
    /// A migration from its file name (without `.sql`) and text.
    pub fn new(name: &str, sql: &str, down: Option<String>) -> Self {
        let phase = match name.rsplit_once('.').map(|(_, phase)| phase) {
            Some("backfill") => MigrationPhase::Backfill,
            Some("contract") => MigrationPhase::Contract,
            _ => MigrationPhase::Expand,
        };
        Self { name: name.to_owned(), phase, sql: sql.to_owned(), down }
    }

    /// SHA-256 of the text, in hexadecimal.
    pub fn checksum(&self) -> String {
        Sha256::digest(self.sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it must run outside a transaction.
    pub fn without_transaction(&self) -> bool {
        self.sql.trim_start().starts_with(NO_TRANSACTION)
    }

    /// The statement that writes its line into the ledger.
    fn ledger_line(&self, target: &str, release: &str, duration_ms: u128) -> String {
        format!(
            "insert into rowhouse._migrations (target, name, checksum, duration_ms, release) values ({}, {}, '{}', {duration_ms}, {})",
            quote_literal(target),
            quote_literal(&self.name),
            self.checksum(),
            quote_literal(release),
        )
    }
}

/// An ordered list of files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrationSet {
    /// The files, in the order of their names.
    pub migrations: Vec<Migration>,
}

/// A file could not be applied.
#[derive(Debug, thiserror::Error)]
#[error("migration {name} on {target}: {source}")]
pub struct MigrationError {
    /// The file.
    pub name: String,
    /// The schema it was applied to.
    pub target: String,
    /// The database's word.
    pub source: DatabaseError,
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMigration {
    /// The file.
    pub name: String,
    /// Its checksum when it was applied.
    pub checksum: String,
}

impl MigrationSet {
    /// The whole set as one batch for a fresh schema: what provisioning runs in one message.
    /// `after` is appended (completion).
    pub fn provision_sql(&self, schema: &str, release: &str, after: &str) -> String {
        let mut sql = format!("{};\n", search_path(schema));
        for migration in &self.migrations {
            sql.push_str(&migration.sql);
            // A file may end in a comment or without a semicolon.
            sql.push_str("\n;\n");
        }
        for migration in &self.migrations {
            sql.push_str(&migration.ledger_line(schema, release, 0));
            sql.push_str(";\n");
        }
        sql.push_str(&search_path(schema));
        sql.push_str(";\n");
        sql.push_str(after);
        sql
    }

    /// Some files with their lines for the ledger, as one batch to run inside a transaction whose
    /// search path is set.
    pub fn files_sql(&self, files: &[&Migration], target: &str, release: &str) -> String {
        let mut sql = String::new();
        for migration in files {
            sql.push_str(&migration.sql);
            sql.push_str("\n;\n");
            sql.push_str(&migration.ledger_line(target, release, 0));
            sql.push_str(";\n");
        }
        sql
    }

    /// Files that the ledger does not have.
    pub fn pending<'a>(&'a self, applied: &[AppliedMigration]) -> Vec<&'a Migration> {
        let missing = |migration: &&Migration| !applied.iter().any(|line| line.name == migration.name);
        self.migrations.iter().filter(missing).collect()
    }

    /// Applied files whose text has changed since.
    pub fn changed<'a>(&'a self, applied: &[AppliedMigration]) -> Vec<&'a Migration> {
        let differs = |migration: &&Migration| {
            applied.iter().any(|line| line.name == migration.name && line.checksum != migration.checksum())
        };
        self.migrations.iter().filter(differs).collect()
    }
}

fn search_path(schema: &str) -> String {
    format!("set local search_path = {}, shared, rowhouse, pg_temp", quote_identifier(schema))
}

/// The ledger of one target; empty if the database has none yet.
pub async fn applied_migrations(connection: &SystemConnection, target: &str) -> DatabaseResult<Vec<AppliedMigration>> {
    const LEDGER: &str = "select to_regclass('rowhouse._migrations') is not null";
    const LINES: &str = "select name, checksum from rowhouse._migrations where target = $1 order by name";
    let exists = connection.query_opt(LEDGER, &[]).await?.is_some_and(|row| row.get(0));
    if !exists {
        return Ok(Vec::new());
    }
    let rows = connection.query(LINES, params![target]).await?;
    Ok(rows.iter().map(|row| AppliedMigration { name: row.get(0), checksum: row.get(1) }).collect())
}

/// Applies what is pending on one target and gives the applied files' names. One process at a
/// time per target (advisory lock); a lock that cannot be had is tried again.
///
/// # Errors
/// Names the file; files before it stay applied, itself is rolled back.
pub async fn apply_migrations(
    connection: &mut SystemConnection,
    set: &MigrationSet,
    target: &str,
    release: &str,
) -> Result<Vec<String>, MigrationError> {
    let failed = |name: &str, source| MigrationError { name: name.into(), target: target.into(), source };
    lock(connection, target).await.map_err(|error| failed("(lock)", error))?;
    let outcome = apply_pending(connection, set, target, release).await;
    let unlocked = connection.query("select pg_advisory_unlock_all()", &[]).await;
    let applied = outcome.map_err(|(name, error)| failed(&name, error))?;
    unlocked.map_err(|error| failed("(unlock)", error))?;
    Ok(applied)
}

async fn lock(connection: &SystemConnection, target: &str) -> DatabaseResult<()> {
    const LOCK: &str = "select pg_advisory_lock(hashtextextended('rowhouse migrate ' || $1, 0))";
    connection.query(LOCK, params![target]).await.map(drop)
}

async fn apply_pending(
    connection: &mut SystemConnection,
    set: &MigrationSet,
    target: &str,
    release: &str,
) -> Result<Vec<String>, (String, DatabaseError)> {
    let applied = applied_migrations(connection, target).await.map_err(|error| ("(ledger)".to_owned(), error))?;
    let mut names = Vec::new();
    for migration in set.pending(&applied) {
        let mut attempt = 1;
        while let Err(error) = apply_one(connection, migration, target, release).await {
            let gives_way = matches!(error, DatabaseError::Timeout | DatabaseError::Collision);
            if !gives_way || attempt == ATTEMPTS_MAX {
                return Err((migration.name.clone(), error));
            }
            tokio::time::sleep(Duration::from_millis(200 << attempt)).await;
            attempt += 1;
        }
        names.push(migration.name.clone());
    }
    Ok(names)
}

async fn apply_one(
    connection: &mut SystemConnection,
    migration: &Migration,
    target: &str,
    release: &str,
) -> DatabaseResult<()> {
    let started = Instant::now();
    if migration.without_transaction() {
        connection.batch(&search_path(target).replacen("set local", "set", 1)).await?;
        let applied = connection.batch(&migration.sql).await;
        connection.batch("reset search_path").await?;
        applied?;
        return connection.batch(&migration.ledger_line(target, release, started.elapsed().as_millis())).await;
    }
    connection.begin().await?;
    let outcome = async {
        connection.batch(&format!("set local lock_timeout = '{}ms'", LOCK_TIMEOUT.as_millis())).await?;
        connection.batch(&search_path(target)).await?;
        connection.batch(&migration.sql).await?;
        connection.batch(&migration.ledger_line(target, release, started.elapsed().as_millis())).await
    }
    .await;
    match outcome {
        Ok(()) => connection.commit().await,
        Err(error) => {
            connection.rollback().await?;
            Err(error)
        }
    }
}

/// Takes one file back by its down text and removes its line from the ledger.
///
/// # Errors
/// [`DatabaseError::Other`] with code `no_down` if the file has no down text.
pub async fn revert_migration(
    connection: &mut SystemConnection,
    migration: &Migration,
    target: &str,
) -> Result<(), MigrationError> {
    revert_migration_with(connection, migration, target, "").await
}

/// The same, with statements that run before it in its transaction.
///
/// # Errors
/// As [`revert_migration`].
pub async fn revert_migration_with(
    connection: &mut SystemConnection,
    migration: &Migration,
    target: &str,
    before: &str,
) -> Result<(), MigrationError> {
    let failed = |source| MigrationError { name: migration.name.clone(), target: target.into(), source };
    let Some(down) = &migration.down else {
        let message = format!("{}.down.sql does not exist, so this migration cannot be taken back", migration.name);
        return Err(failed(DatabaseError::Other { code: "no_down".into(), message, position: None }));
    };
    let delete = format!(
        "delete from rowhouse._migrations where target = {} and name = {}",
        quote_literal(target),
        quote_literal(&migration.name)
    );
    connection.begin().await.map_err(failed)?;
    let outcome = async {
        connection.batch(&format!("{}; {before}", search_path(target))).await?;
        connection.batch(down).await?;
        connection.batch(&delete).await
    }
    .await;
    match outcome {
        Ok(()) => connection.commit().await.map_err(failed),
        Err(error) => {
            connection.rollback().await.map_err(failed)?;
            Err(failed(error))
        }
    }
}
