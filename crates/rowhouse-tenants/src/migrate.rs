//! Bringing a database's ground to the newest version: the control database, and what every
//! data database carries beside the app's tables.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rowhouse_app::{App, AppError, completion_sql, fingerprint};
use rowhouse_audit::Actor;
use rowhouse_postgres::{
    AppliedMigration, CONTROL_TARGET, DatabaseError, DatabaseResult, Databases, Migration, MigrationError,
    MigrationSet, PLATFORM_TARGET, SHARED_TARGET, SystemConnection, SystemScope, applied_migrations, apply_migrations,
    migration_preamble,
};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::target::{Fingerprint, Target, TargetKind, target_get, targets_put};
use crate::version::{PROGRAM, Version};

/// Brings the control database to the newest version, and records its fingerprint. Gives the
/// names of what was applied.
pub async fn migrate_control(databases: &Databases, scope: &SystemScope) -> Result<Vec<String>, MigrationError> {
    let failed = |name: &str, source| MigrationError { name: name.into(), target: CONTROL_TARGET.into(), source };
    let mut connection = databases.control(scope).await.map_err(|error| failed("(connect)", error))?;
    let set = control_set(databases);
    let applied = apply_migrations(&mut connection, &set, CONTROL_TARGET, PROGRAM).await?;
    record_control(databases, &mut connection, &applied).await.map_err(|error| failed("(fingerprint)", error))?;
    Ok(applied)
}

/// The control database's files, in the order in which the domains build on each other.
pub(crate) fn control_set(databases: &Databases) -> MigrationSet {
    let domains = [
        rowhouse_audit::CONTROL_MIGRATIONS,
        rowhouse_identity::CONTROL_MIGRATIONS,
        rowhouse_jobs::CONTROL_MIGRATIONS,
        crate::CONTROL_MIGRATIONS,
    ];
    MigrationSet::control(&domains, &databases.home().roles)
}

async fn record_control(
    databases: &Databases,
    connection: &mut SystemConnection,
    applied: &[String],
) -> DatabaseResult<()> {
    let location = databases.control_location();
    let version = Version::of_control();
    let recorded = target_get(connection, &location).await?;
    if applied.is_empty() && recorded.is_some_and(|target| target.platform == version.platform) {
        return Ok(());
    }
    let own = fingerprint(connection, &location.schema).await?;
    let fingerprint = Fingerprint { own, shared: String::new() };
    // What tells of a migration is made by the first one, so they are not one transaction.
    connection.begin().await?;
    targets_put(connection, &[Target::new(location, TargetKind::Control, &version, fingerprint)]).await?;
    let details = json!({ "program": PROGRAM, "applied": applied });
    Actor::system().did("migrate_control").with_details(details).write(connection).await?;
    connection.commit().await
}

/// Files that were changed after they were applied: what stands there is not what the app says.
pub(crate) fn refuse_changed(
    set: &MigrationSet,
    applied: &[AppliedMigration],
    target: &str,
) -> Result<(), MigrationError> {
    let Some(changed) = set.changed(applied).into_iter().next() else { return Ok(()) };
    let message = "the file was changed after it was applied here; put it back, and write a new migration".to_owned();
    let source = DatabaseError::Other { code: "changed".into(), message, position: None };
    Err(MigrationError { name: changed.name.clone(), target: target.into(), source })
}

/// Applied files that the app does not have, although it has others that are not applied: neither
/// ahead nor behind, so nobody can tell what the tables should be.
pub(crate) fn refuse_forked(
    set: &MigrationSet,
    applied: &[AppliedMigration],
    pending: &[&Migration],
    target: &str,
) -> Result<(), MigrationError> {
    let (Some(unknown), Some(next)) = (set.unknown(applied).into_iter().next(), pending.first()) else {
        return Ok(());
    };
    let message = format!(
        "it was applied here, but the app has no such file, while {} is not applied; bring both into the app",
        next.name
    );
    let source = DatabaseError::Other { code: "forked".into(), message, position: None };
    Err(MigrationError { name: unknown.name.clone(), target: target.into(), source })
}

/// What every data database carries: the platform's set and the shared tables. Brought to the
/// newest version once per database and process.
pub(crate) struct Ground {
    databases: Arc<Databases>,
    app: Arc<App>,
    done: Mutex<HashMap<Arc<str>, Arc<OnceCell<()>>>>,
}

impl Ground {
    pub(crate) fn new(databases: Arc<Databases>, app: Arc<App>) -> Self {
        Self { databases, app, done: Mutex::default() }
    }

    /// Brings the database of this connection to the newest version, unless that was done.
    pub(crate) async fn migrate(&self, connection: &mut SystemConnection) -> Result<(), AppError> {
        let database = connection.location().database.clone();
        let done = {
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.entry(database).or_default().clone()
        };
        done.get_or_try_init(|| self.bring_forward(connection)).await?;
        Ok(())
    }

    /// The same without remembering: for a database that is dropped and made again.
    pub(crate) async fn bring_forward(&self, connection: &mut SystemConnection) -> Result<(), AppError> {
        let roles = self.databases.home().roles.clone();
        let (release, shared) = (self.app.release(), &self.app.shared_migrations);
        apply_migrations(connection, &MigrationSet::platform(&roles), PLATFORM_TARGET, &release).await?;
        if shared.migrations.is_empty() {
            return Ok(());
        }
        let applied = applied_migrations(connection, SHARED_TARGET).await?;
        refuse_changed(shared, &applied, SHARED_TARGET)?;
        apply_migrations(connection, shared, SHARED_TARGET, &release).await?;
        // Always: a process that died before this must not leave the tables without their grants.
        let completion = completion_sql(connection, SHARED_TARGET, &roles, &self.app).await?;
        connection.batch(&format!("{}{completion}", migration_preamble(SHARED_TARGET))).await?;
        Ok(())
    }
}
