//! Bringing a data database's ground to the newest version: what it carries beside the app's
//! tables.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rowhouse_app::{App, AppError, completion_sql};
use rowhouse_postgres::{
    AppliedMigration, DatabaseError, Databases, Migration, MigrationError, MigrationSet, PLATFORM_TARGET,
    SHARED_TARGET, SystemConnection, applied_migrations, apply_migrations, migration_preamble,
};
use tokio::sync::OnceCell;

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
