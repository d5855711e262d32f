//! The migration runner for one target: a set of SQL files, each applied once, in order, in a
//! transaction with its line in the ledger `rowhouse._migrations`. Running it over thousands of
//! targets is the tenants crate's work.
//!
//! Two first lines make a file run otherwise. `-- rowhouse: no-transaction` runs it outside a
//! transaction (create index concurrently). `-- rowhouse: repeat` is for backfills: the file's
//! one statement changes a bounded number of rows (`… limit 5000`) and is run again, each time
//! in a transaction of its own, until it changes none; stopped midway, it goes on from there.
//!
//! Must never give a connection back to its pool with a lock or a search path in its session.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::error::{DatabaseError, DatabaseResult};
use crate::params;
use crate::sql_text::{statements, without_concurrently};
use crate::system::SystemConnection;
use crate::{quote_identifier, quote_literal};

/// How long one migration waits for a lock before it gives way and tries again: while it waits,
/// every other statement on the table queues behind it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a transaction waits for a target's lock. Shorter than PostgreSQL's deadlock timeout
/// (1 s): whoever holds the lock may be building an index concurrently, which waits for this
/// transaction, and would be the one to be ended.
const TARGET_LOCK_TIMEOUT: Duration = Duration::from_millis(800);
/// How often somebody else's lock is asked for.
const TARGET_LOCK_INTERVAL: Duration = Duration::from_millis(50);
const ATTEMPTS_MAX: u32 = 5;
/// How long one file may run inside a transaction: what it locks is locked for so long.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(3600);
/// First line of a file that cannot run in a transaction (create index concurrently).
const NO_TRANSACTION: &str = "-- rowhouse: no-transaction";
/// First line of a file whose statement is repeated until it changes no row.
const REPEAT: &str = "-- rowhouse: repeat";
/// For a fresh place: before it builds an index, PostgreSQL opens all others of the table to
/// estimate how many workers would pay, which none do on empty tables; and nobody reads notices.
const ON_EMPTY_TABLES: &str = "set local max_parallel_maintenance_workers = 0; set local client_min_messages = warning";
/// Batches of one backfill; one that needs more does not come to an end.
const REPEATS_MAX: u32 = 1_000_000;

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
    checksum: String,
}

impl Migration {
    /// A migration from its file name (without `.sql`) and text.
    pub fn new(name: &str, sql: &str, down: Option<String>) -> Self {
        let phase = match name.rsplit_once('.').map(|(_, phase)| phase) {
            Some("backfill") => MigrationPhase::Backfill,
            Some("contract") => MigrationPhase::Contract,
            _ => MigrationPhase::Expand,
        };
        let checksum = Sha256::digest(sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name: name.to_owned(), phase, sql: sql.to_owned(), down, checksum }
    }

    /// SHA-256 of the text, in hexadecimal.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }

    /// Whether it must run outside a transaction.
    pub fn without_transaction(&self) -> bool {
        self.sql.trim_start().starts_with(NO_TRANSACTION)
    }

    /// Whether its statement is repeated until it changes no row.
    pub fn repeats(&self) -> bool {
        self.sql.trim_start().starts_with(REPEAT)
    }

    /// The text for a place that is made in one transaction: nobody uses its tables yet, so an
    /// index need not be built concurrently, which no transaction allows.
    fn sql_for_fresh_place(&self) -> Cow<'_, str> {
        if self.without_transaction() { without_concurrently(&self.sql).into() } else { self.sql.as_str().into() }
    }

    /// The statement that writes its line into the ledger.
    fn ledger_line(&self, target: &str, release: &str, duration_ms: u128) -> String {
        format!(
            "insert into rowhouse._migrations (target, name, checksum, duration_ms, release) values ({}, {}, '{}', {duration_ms}, {})",
            quote_literal(target),
            quote_literal(&self.name),
            self.checksum,
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
        let mut sql = format!("{ON_EMPTY_TABLES};\n{};\n", search_path(schema));
        for migration in &self.migrations {
            sql.push_str(&migration.sql_for_fresh_place());
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

    /// Applied files that the set does not have: the target is ahead of it, or the app lost them.
    pub fn unknown<'a>(&self, applied: &'a [AppliedMigration]) -> Vec<&'a AppliedMigration> {
        let known = |line: &&AppliedMigration| self.migrations.iter().any(|migration| migration.name == line.name);
        applied.iter().filter(|line| !known(line)).collect()
    }

    /// Applied files whose text has changed since.
    pub fn changed<'a>(&'a self, applied: &[AppliedMigration]) -> Vec<&'a Migration> {
        let differs = |migration: &&Migration| {
            applied.iter().any(|line| line.name == migration.name && line.checksum != migration.checksum)
        };
        self.migrations.iter().filter(differs).collect()
    }
}

/// Pending files that run in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MigrationStep<'a> {
    /// In one transaction.
    Together(Vec<&'a Migration>),
    /// By itself: outside a transaction, or repeated.
    Alone(&'a Migration),
}

impl<'a> MigrationStep<'a> {
    /// The steps in which pending files run.
    pub fn of(pending: &[&'a Migration]) -> Vec<Self> {
        let mut steps = Vec::new();
        for &migration in pending {
            match steps.last_mut() {
                _ if migration.without_transaction() || migration.repeats() => steps.push(Self::Alone(migration)),
                Some(Self::Together(files)) => files.push(migration),
                _ => steps.push(Self::Together(vec![migration])),
            }
        }
        steps
    }
}

/// The statements that a transaction begins with that migrates a target: bounds on waiting, the
/// target's lock until the end of the transaction, the search path.
pub fn migration_preamble(target: &str) -> String {
    let (wait_ms, lock) = (TARGET_LOCK_TIMEOUT.as_millis(), lock_sql(target));
    format!("set local lock_timeout = '{wait_ms}ms'; {lock}; {}; {};\n", bounds(), search_path(target))
}

fn bounds() -> String {
    let (lock_ms, statement_ms) = (LOCK_TIMEOUT.as_millis(), STATEMENT_TIMEOUT.as_millis());
    format!("set local lock_timeout = '{lock_ms}ms'; set local statement_timeout = '{statement_ms}ms'")
}

/// The same lock as [`lock`] takes, for a transaction.
fn lock_sql(target: &str) -> String {
    format!("select pg_advisory_xact_lock(hashtextextended('rowhouse migrate ' || {}, 0))", quote_literal(target))
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

/// The ledgers of many targets of one database, in one query. A target without lines is absent.
pub async fn ledgers(
    connection: &SystemConnection,
    targets: Vec<String>,
) -> DatabaseResult<BTreeMap<String, Vec<AppliedMigration>>> {
    const LINES: &str = "
        select target, name, checksum from rowhouse._migrations where target = any($1) order by target, name";
    let mut ledgers: BTreeMap<String, Vec<AppliedMigration>> = BTreeMap::new();
    for row in connection.query(LINES, params![targets]).await? {
        let line = AppliedMigration { name: row.get(1), checksum: row.get(2) };
        ledgers.entry(row.get(0)).or_default().push(line);
    }
    Ok(ledgers)
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
    let unlocked = unlock(connection).await;
    let applied = outcome.map_err(|(name, error)| failed(&name, error))?;
    unlocked.map_err(|error| failed("(unlock)", error))?;
    Ok(applied)
}

/// Applies one file by itself, under the target's lock: what [`MigrationStep::Alone`] names.
/// Does nothing if the file stands in the ledger by now.
///
/// # Errors
/// Names the file.
pub async fn apply_alone(
    connection: &mut SystemConnection,
    migration: &Migration,
    target: &str,
    release: &str,
) -> Result<(), MigrationError> {
    let failed = |source| MigrationError { name: migration.name.clone(), target: target.into(), source };
    lock(connection, target).await.map_err(failed)?;
    let outcome = async {
        let applied = applied_migrations(connection, target).await?;
        if applied.iter().any(|line| line.name == migration.name) {
            return Ok(());
        }
        apply_again(connection, migration, target, release).await
    };
    let outcome = outcome.await;
    let unlocked = unlock(connection).await;
    outcome.map_err(failed)?;
    unlocked.map_err(failed)
}

/// Waits while another process migrates the target; false if none did.
pub async fn wait_for_target(connection: &mut SystemConnection, target: &str) -> DatabaseResult<bool> {
    let waited = lock(connection, target).await?;
    unlock(connection).await?;
    Ok(waited)
}

/// Takes a target's lock for the session; true if somebody else had it. Asks again and again
/// rather than wait in a statement: whoever has the lock may be building an index concurrently,
/// which waits for every statement that has begun.
async fn lock(connection: &mut SystemConnection, target: &str) -> DatabaseResult<bool> {
    const LOCK: &str = "select pg_try_advisory_lock(hashtextextended('rowhouse migrate ' || $1, 0))";
    // The lock belongs to the session: dropped midway, the connection must be closed.
    connection.keep_from_pool(true);
    let mut waited = false;
    while !connection.query_opt(LOCK, params![target]).await?.is_some_and(|row| row.get(0)) {
        waited = true;
        tokio::time::sleep(TARGET_LOCK_INTERVAL).await;
    }
    Ok(waited)
}

async fn unlock(connection: &mut SystemConnection) -> DatabaseResult<()> {
    connection.batch("select pg_advisory_unlock_all()").await?;
    connection.keep_from_pool(false);
    Ok(())
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
        let outcome = apply_again(connection, migration, target, release).await;
        outcome.map_err(|error| (migration.name.clone(), error))?;
        names.push(migration.name.clone());
    }
    Ok(names)
}

/// Applies one file, again if it has to give way.
async fn apply_again(
    connection: &mut SystemConnection,
    migration: &Migration,
    target: &str,
    release: &str,
) -> DatabaseResult<()> {
    let mut attempt = 1;
    loop {
        let started = Instant::now();
        let outcome = if migration.without_transaction() {
            apply_bare(connection, migration, target, release).await
        } else if migration.repeats() {
            apply_repeatedly(connection, migration, target, release).await
        } else {
            apply_one(connection, migration, target, release).await
        };
        match outcome {
            Err(error) if attempt < ATTEMPTS_MAX && gives_way(&error, started.elapsed()) => {
                tokio::time::sleep(give_way_pause(attempt)).await;
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

/// Whether a migration that failed so may succeed shortly: a lock could not be had, or two
/// transactions collided. One that ran into the statement timeout would only do so again.
pub fn gives_way(error: &DatabaseError, elapsed: Duration) -> bool {
    matches!(error, DatabaseError::Locked | DatabaseError::Timeout | DatabaseError::Collision)
        && elapsed < STATEMENT_TIMEOUT
}

/// How long a migration that gave way leaves the lock to others, by the number of its attempt
/// from 1.
pub fn give_way_pause(attempt: u32) -> Duration {
    Duration::from_millis(200 << attempt.min(ATTEMPTS_MAX))
}

async fn apply_one(
    connection: &mut SystemConnection,
    migration: &Migration,
    target: &str,
    release: &str,
) -> DatabaseResult<()> {
    let started = Instant::now();
    connection.begin().await?;
    let outcome = async {
        connection.batch(&format!("{}; {}", bounds(), search_path(target))).await?;
        connection.batch(&migration.sql).await?;
        connection.batch(&migration.ledger_line(target, release, started.elapsed().as_millis())).await
    }
    .await;
    end(connection, outcome).await
}

/// Commits what went well and takes back what did not.
async fn end(connection: &mut SystemConnection, outcome: DatabaseResult<()>) -> DatabaseResult<()> {
    match outcome {
        Ok(()) => connection.commit().await,
        Err(error) => {
            connection.give_up().await;
            Err(error)
        }
    }
}

/// Drops indexes that were begun and not finished: `if not exists` would take them for built.
async fn drop_unfinished_indexes(connection: &SystemConnection, target: &str) -> DatabaseResult<()> {
    const UNFINISHED: &str = "
        select format('%I.%I', n.nspname, c.relname) from pg_index x
        join pg_class c on c.oid = x.indexrelid join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and not x.indisvalid and c.relkind = 'i'";
    for row in connection.query(UNFINISHED, params![target]).await? {
        connection.batch(&format!("drop index concurrently if exists {}", row.get::<_, &str>(0))).await?;
    }
    Ok(())
}

/// Outside a transaction. Stopped midway, its effect may be there without its ledger line, so
/// such a file says `if not exists`.
async fn apply_bare(
    connection: &SystemConnection,
    migration: &Migration,
    target: &str,
    release: &str,
) -> DatabaseResult<()> {
    let started = Instant::now();
    drop_unfinished_indexes(connection, target).await?;
    connection.batch(&search_path(target).replacen("set local", "set", 1)).await?;
    // One statement a message: several in one message would form a transaction.
    let mut applied = Ok(());
    for statement in statements(&migration.sql) {
        applied = connection.batch(statement).await;
        if applied.is_err() {
            break;
        }
    }
    connection.batch("reset search_path").await?;
    applied?;
    connection.batch(&migration.ledger_line(target, release, started.elapsed().as_millis())).await
}

/// The one statement again and again, until it changes no row; then the ledger line.
async fn apply_repeatedly(
    connection: &mut SystemConnection,
    migration: &Migration,
    target: &str,
    release: &str,
) -> DatabaseResult<()> {
    let started = Instant::now();
    for _ in 0..REPEATS_MAX {
        connection.begin().await?;
        let outcome = async {
            connection.batch(&format!("{}; {}", bounds(), search_path(target))).await?;
            let changed = connection.execute(&migration.sql, &[]).await?;
            if changed == 0 {
                let line = migration.ledger_line(target, release, started.elapsed().as_millis());
                connection.batch(&line).await?;
            }
            Ok(changed)
        };
        let outcome = outcome.await;
        let changed = outcome.as_ref().map_or(0, |changed| *changed);
        end(connection, outcome.map(drop)).await?;
        if changed == 0 {
            return Ok(());
        }
    }
    let message = format!(
        "the statement still changes rows after {REPEATS_MAX} batches; its condition must leave out what it has done"
    );
    Err(DatabaseError::Other { code: "endless".into(), message, position: None })
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
    end(connection, outcome).await.map_err(failed)
}
