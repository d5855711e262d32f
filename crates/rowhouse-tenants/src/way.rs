//! The way of one target to the newest release: which files, in which transactions, and what is
//! dropped before and completed after them.
//!
//! What must be dropped and completed is read from a target's real catalog once for each way
//! (where it starts and which files follow) and used for every other target on the same way: one
//! message per target. Every target ends with a fingerprint of its real schema; one that differs
//! from the first's has drifted before. Must never mark a target as migrated on the word of
//! another.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rowhouse_app::{App, AppError, completion_sql, drop_scoped_views_sql, fingerprints};
use rowhouse_postgres::{
    AppliedMigration, DatabaseError, DatabaseResult, Databases, Migration, MigrationError, MigrationStep,
    SHARED_TARGET, SystemConnection, SystemScope, applied_migrations, apply_alone, give_way_pause, gives_way, ledgers,
    migration_preamble, params, quote_identifier, wait_for_target,
};
use tokio::sync::OnceCell;

use crate::migrate::{refuse_changed, refuse_forked};
use crate::target::{Fingerprint, Target, TargetStatus};
use crate::version::Version;

/// Attempts at a target whose locks others hold.
const ATTEMPTS_MAX: u32 = 5;

/// Where targets start that take the same way, and the files on it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Start {
    fingerprint: Fingerprint,
    files: Vec<String>,
}

/// What a way takes beside its files, and where it ends.
struct Way {
    drop_views: String,
    completion: String,
    fingerprint: Fingerprint,
}

/// What became of a target.
pub(crate) enum Arrival {
    /// On the newest release; with the fingerprint that others on its way have.
    Current(Option<Fingerprint>),
    /// It is on a newer release than this process knows; left alone.
    Ahead,
}

/// Migrates targets; remembers the ways.
pub(crate) struct TargetMigrator {
    databases: Arc<Databases>,
    app: Arc<App>,
    pub(crate) version: Version,
    ways: Mutex<HashMap<Start, Arc<OnceCell<Way>>>>,
}

fn failed(name: &str, target: &str, source: DatabaseError) -> AppError {
    MigrationError { name: name.into(), target: target.into(), source }.into()
}

fn database_error(error: &AppError) -> Option<&DatabaseError> {
    match error {
        AppError::Migration(error) => Some(&error.source),
        AppError::Database(error) => Some(error),
        _ => None,
    }
}

fn search_path(schema: &str) -> String {
    format!("set local search_path = {}, shared, rowhouse, pg_temp", quote_identifier(schema))
}

impl TargetMigrator {
    pub(crate) fn new(databases: Arc<Databases>, app: Arc<App>, version: Version) -> Self {
        Self { databases, app, version, ways: Mutex::default() }
    }

    /// Files that a ledger lacks.
    pub(crate) fn pending(
        &self,
        applied: &[AppliedMigration],
        schema: &str,
    ) -> Result<Vec<&Migration>, MigrationError> {
        refuse_changed(&self.app.migrations, applied, schema)?;
        let pending = self.app.migrations.pending(applied);
        refuse_forked(&self.app.migrations, applied, &pending, schema)?;
        Ok(pending)
    }

    /// Brings targets of one database to the newest release, whose ground is there already.
    /// Every target gets its new state, whether it succeeded or not; `passed` is called after
    /// each with whether it failed. A session that ends costs the target it was at, not those
    /// after it.
    ///
    /// # Errors
    /// Only if the database cannot be asked at all.
    pub(crate) async fn migrate(
        &self,
        scope: &SystemScope,
        targets: &mut [Target],
        passed: &(dyn Fn(bool) + Sync),
    ) -> Result<(), AppError> {
        let Some(database) = targets.first().map(|target| target.location.clone()) else { return Ok(()) };
        let mut connection = self.databases.system(scope, &database).await?;
        let schemas: Vec<String> = targets.iter().map(|target| target.location.schema.to_string()).collect();
        let mut ledgers = ledgers(&connection, schemas).await?;
        let mut expected: Vec<Option<Fingerprint>> = Vec::with_capacity(targets.len());
        for target in &mut *targets {
            let applied = ledgers.remove(&*target.location.schema).unwrap_or_default();
            let arrival = self.bring_forward(&mut connection, target, applied).await;
            passed(arrival.is_err());
            expected.push(None);
            match arrival {
                Ok(Arrival::Current(fingerprint)) => {
                    Version { release: target.release, platform: target.platform } = self.version.clone();
                    (target.status, target.error) = (TargetStatus::Ok, None);
                    *expected.last_mut().expect("pushed above") = fingerprint;
                }
                Ok(Arrival::Ahead) => (target.status, target.error) = (TargetStatus::Ok, None),
                Err(error) => {
                    (target.status, target.error) = (TargetStatus::Failed, Some(error.to_string()));
                    if matches!(database_error(&error), Some(DatabaseError::Unavailable(_))) {
                        connection.keep_from_pool(true);
                        connection = self.databases.system(scope, &database).await?;
                    }
                }
            }
        }
        let real = real_fingerprints(&connection, targets).await?;
        for (target, expected) in targets.iter_mut().zip(expected) {
            if target.status != TargetStatus::Ok {
                continue;
            }
            target.fingerprint = real.get(&target.name()).cloned().unwrap_or_default();
            if expected.is_some_and(|expected| expected != target.fingerprint) {
                target.status = TargetStatus::Drifted;
                let message =
                    "migrated, but the schema differs from others that took the same way: somebody changed it by hand";
                target.error = Some(message.to_owned());
            }
        }
        Ok(())
    }

    /// One target, again while others hold its locks or move it themselves.
    async fn bring_forward(
        &self,
        connection: &mut SystemConnection,
        target: &Target,
        mut applied: Vec<AppliedMigration>,
    ) -> Result<Arrival, AppError> {
        let schema = &*target.location.schema;
        let mut attempt = 1;
        loop {
            let pending = self.pending(&applied, schema)?;
            if pending.is_empty() && !self.app.migrations.unknown(&applied).is_empty() {
                return Ok(Arrival::Ahead);
            }
            let started = Instant::now();
            let error = match self.walk(connection, target, &pending).await {
                Ok(fingerprint) => return Ok(Arrival::Current(fingerprint)),
                Err(error) => error,
            };
            if matches!(database_error(&error), Some(DatabaseError::Locked))
                && wait_for_target(connection, schema).await?
            {
                applied = applied_migrations(connection, schema).await?;
                continue;
            }
            match applied_migrations(connection, schema).await {
                // Another process, or the steps before the one that failed, got it further.
                Ok(now) if now != applied => {
                    applied = now;
                    continue;
                }
                Ok(_) => {}
                // The session is gone; what it was told first says why.
                Err(_) => return Err(error),
            }
            let give_way = database_error(&error).is_some_and(|error| gives_way(error, started.elapsed()));
            if !give_way || attempt == ATTEMPTS_MAX {
                return Err(error);
            }
            tokio::time::sleep(give_way_pause(attempt)).await;
            attempt += 1;
        }
    }

    async fn walk(
        &self,
        connection: &mut SystemConnection,
        target: &Target,
        pending: &[&Migration],
    ) -> Result<Option<Fingerprint>, AppError> {
        let schema = &*target.location.schema;
        let steps = MigrationStep::of(pending);
        if let [] | [MigrationStep::Together(_)] = steps.as_slice() {
            return self.walk_known(connection, target, pending).await.map(Some);
        }
        for step in &steps {
            match step {
                MigrationStep::Together(files) => drop(self.walk_alone(connection, target, files).await?),
                MigrationStep::Alone(file) => apply_alone(connection, file, schema, &self.version.release).await?,
            }
        }
        let completed = steps.iter().any(|step| matches!(step, MigrationStep::Together(_)));
        if let Some(MigrationStep::Alone(file)) = steps.last()
            && (file.without_transaction() || !completed)
        {
            self.walk_alone(connection, target, &[]).await?;
        }
        Ok(None)
    }

    /// One transaction: as the first target of its way, or in one message as others did.
    async fn walk_known(
        &self,
        connection: &mut SystemConnection,
        target: &Target,
        files: &[&Migration],
    ) -> Result<Fingerprint, AppError> {
        let names = files.iter().map(|file| file.name.clone()).collect();
        let start = Start { fingerprint: target.fingerprint.clone(), files: names };
        let cell = self.ways.lock().unwrap_or_else(PoisonError::into_inner).entry(start).or_default().clone();
        let mut first = false;
        let way = cell
            .get_or_try_init(async || {
                first = true;
                let way = self.walk_alone(connection, target, files).await?;
                Ok::<_, AppError>(way)
            })
            .await?;
        if first {
            return Ok(way.fingerprint.clone());
        }
        let (schema, release) = (&*target.location.schema, &self.version.release);
        let whole = format!(
            "{}{}{}{};\n{}",
            migration_preamble(schema),
            way.drop_views,
            self.app.migrations.files_sql(files, schema, release),
            search_path(schema),
            way.completion
        );
        // Several statements in one message are one transaction: no begin that could be left open.
        if let Err(error) = connection.batch(&whole).await {
            if gives_way(&error, Duration::ZERO) || matches!(error, DatabaseError::Unavailable(_)) {
                return Err(failed(files.last().map_or("(completion)", |file| &file.name), schema, error));
            }
            // It may have drifted from the others on its way; and the long way names the file.
            self.walk_alone(connection, target, files).await?;
        }
        Ok(way.fingerprint.clone())
    }

    /// One transaction with everything read from the target's own catalog.
    async fn walk_alone(
        &self,
        connection: &mut SystemConnection,
        target: &Target,
        files: &[&Migration],
    ) -> Result<Way, AppError> {
        let schema = &*target.location.schema;
        connection.begin().await?;
        match self.walk_within(connection, target, files).await {
            Ok(way) => {
                let last = files.last().map_or("(completion)", |file| &file.name);
                connection.commit().await.map_err(|error| failed(last, schema, error))?;
                Ok(way)
            }
            Err(error) => {
                connection.give_up().await;
                Err(error)
            }
        }
    }

    async fn walk_within(
        &self,
        connection: &SystemConnection,
        target: &Target,
        files: &[&Migration],
    ) -> Result<Way, AppError> {
        let schema = &*target.location.schema;
        connection.batch(&migration_preamble(schema)).await.map_err(|error| failed("(lock)", schema, error))?;
        let drop_views = drop_scoped_views_sql(connection, schema).await?;
        connection.batch(&drop_views).await?;
        for &file in files {
            let sql = self.app.migrations.files_sql(&[file], schema, &self.version.release);
            connection.batch(&sql).await.map_err(|error| failed(&file.name, schema, error))?;
        }
        let completion = completion_sql(connection, schema, &self.databases.home().roles, &self.app).await?;
        let complete = format!("{};\n{completion}", search_path(schema));
        connection.batch(&complete).await.map_err(|error| failed("(completion)", schema, error))?;
        let fingerprint = fingerprint_within(connection, target).await?;
        Ok(Way { drop_views, completion, fingerprint })
    }

    /// Takes one file back on one target, and completes what is left, in one transaction.
    pub(crate) async fn revert(
        &self,
        connection: &mut SystemConnection,
        target: &Target,
        migration: &Migration,
    ) -> Result<(), AppError> {
        let schema = &*target.location.schema;
        let Some(down) = &migration.down else {
            let message = format!("{}.down.sql does not exist, so this migration cannot be taken back", migration.name);
            let source = DatabaseError::Other { code: "no_down".into(), message, position: None };
            return Err(failed(&migration.name, schema, source));
        };
        connection.begin().await?;
        match self.revert_within(connection, schema, &migration.name, down).await {
            Ok(()) => Ok(connection.commit().await.map_err(|error| failed(&migration.name, schema, error))?),
            Err(error) => {
                connection.give_up().await;
                Err(error)
            }
        }
    }

    async fn revert_within(
        &self,
        connection: &SystemConnection,
        schema: &str,
        name: &str,
        down: &str,
    ) -> Result<(), AppError> {
        const FORGET: &str = "delete from rowhouse._migrations where target = $1 and name = $2";
        connection.batch(&migration_preamble(schema)).await.map_err(|error| failed("(lock)", schema, error))?;
        connection.batch(&drop_scoped_views_sql(connection, schema).await?).await?;
        connection.batch(down).await.map_err(|error| failed(name, schema, error))?;
        connection.query(FORGET, params![schema, name]).await?;
        let completion = completion_sql(connection, schema, &self.databases.home().roles, &self.app).await?;
        let complete = format!("{};\n{completion}", search_path(schema));
        connection.batch(&complete).await.map_err(|error| failed("(completion)", schema, error))
    }
}

/// Fingerprints taken from the real schemas of targets of one database, by target's name: one
/// query. A target whose schema is gone is absent.
pub(crate) async fn real_fingerprints(
    connection: &SystemConnection,
    targets: &[Target],
) -> DatabaseResult<BTreeMap<String, Fingerprint>> {
    let mut schemas: Vec<String> = targets.iter().map(|target| target.location.schema.to_string()).collect();
    if targets.iter().any(|target| target.kind.is_whole_database()) {
        schemas.push(SHARED_TARGET.to_owned());
    }
    let found = fingerprints(connection, schemas).await?;
    let shared = found.get(SHARED_TARGET).cloned().unwrap_or_default();
    let mut real = BTreeMap::new();
    for target in targets {
        let Some(own) = found.get(&*target.location.schema).cloned() else { continue };
        let shared = if target.kind.is_whole_database() { shared.clone() } else { String::new() };
        real.insert(target.name(), Fingerprint { own, shared });
    }
    Ok(real)
}

/// The fingerprint of a target within the transaction that makes or migrates it. Definitions name
/// other schemas only where the search path does not reach them, so that must be the usual one.
pub(crate) async fn fingerprint_within(connection: &SystemConnection, target: &Target) -> DatabaseResult<Fingerprint> {
    connection.batch("set local search_path to default").await?;
    let mut real = real_fingerprints(connection, std::slice::from_ref(target)).await?;
    Ok(real.remove(&target.name()).unwrap_or_default())
}
