//! Bringing one place to the newest version: the control database, a data database's ground, a
//! target.

use std::collections::HashMap;
use std::sync::Arc;

use rowhouse_app::{App, AppError, completion_sql, drop_scoped_views_sql, fingerprint};
use rowhouse_postgres::{
    AppliedMigration, CONTROL_TARGET, DatabaseError, DatabaseResult, Databases, Location, Migration, MigrationError,
    MigrationSet, PLATFORM_TARGET, SHARED_TARGET, SystemConnection, SystemScope, applied_migrations, apply_migrations,
    quote_identifier,
};
use tokio::sync::Mutex;

/// Brings the control database to the newest version. Gives the names of what was applied.
pub async fn migrate_control(databases: &Databases, scope: &SystemScope) -> Result<Vec<String>, MigrationError> {
    let failed = |source| MigrationError { name: "(connect)".into(), target: CONTROL_TARGET.into(), source };
    let mut connection = databases.control(scope).await.map_err(failed)?;
    let set = MigrationSet::control(
        &[
            rowhouse_audit::CONTROL_MIGRATIONS,
            rowhouse_identity::CONTROL_MIGRATIONS,
            rowhouse_jobs::CONTROL_MIGRATIONS,
            crate::CONTROL_MIGRATIONS,
        ],
        &databases.home().roles,
    );
    apply_migrations(&mut connection, &set, CONTROL_TARGET, env!("CARGO_PKG_VERSION")).await
}

/// Brings what every data database carries to the newest version: the platform's set and the
/// shared tables.
pub(crate) async fn migrate_ground(
    connection: &mut SystemConnection,
    databases: &Databases,
    app: &App,
) -> Result<(), AppError> {
    let roles = databases.home().roles.clone();
    let release = app.release();
    apply_migrations(connection, &MigrationSet::platform(&roles), PLATFORM_TARGET, &release).await?;
    let applied = apply_migrations(connection, &app.shared_migrations, SHARED_TARGET, &release).await?;
    if !applied.is_empty() {
        let completion = completion_sql(connection, SHARED_TARGET, &roles, app).await?;
        connection.batch(&format!("begin; {}; {completion} commit", search_path(SHARED_TARGET))).await?;
    }
    Ok(())
}

fn search_path(schema: &str) -> String {
    format!("set local search_path = {}, shared, rowhouse, pg_temp", quote_identifier(schema))
}

/// What the way from one state of the ledger to the newest release takes beside the files.
/// Worked out on the first target of a state, then used for all the others.
#[derive(Clone)]
struct Way {
    drop_views: Arc<str>,
    completion: Arc<str>,
}

/// Migrates targets; remembers the ways.
pub(crate) struct TargetMigrator {
    databases: Arc<Databases>,
    app: Arc<App>,
    release: String,
    ways: Mutex<HashMap<Vec<String>, Way>>,
}

impl TargetMigrator {
    pub(crate) fn new(databases: Arc<Databases>, app: Arc<App>) -> Self {
        Self { databases, release: app.release(), app, ways: Mutex::default() }
    }

    /// What the ledger lacks, and what was changed after it was applied.
    pub(crate) async fn pending(
        &self,
        connection: &SystemConnection,
        schema: &str,
    ) -> Result<Vec<String>, MigrationError> {
        let failed = |source| MigrationError { name: "(ledger)".into(), target: schema.into(), source };
        let applied = applied_migrations(connection, schema).await.map_err(failed)?;
        self.refuse_changed(&applied, schema)?;
        Ok(self.app.migrations.pending(&applied).into_iter().map(|migration| migration.name.clone()).collect())
    }

    fn refuse_changed(&self, applied: &[AppliedMigration], schema: &str) -> Result<(), MigrationError> {
        let Some(changed) = self.app.migrations.changed(applied).into_iter().next() else { return Ok(()) };
        let message =
            "the file was changed after it was applied here; put it back, and write a new migration".to_owned();
        let source = DatabaseError::Other { code: "changed".into(), message, position: None };
        Err(MigrationError { name: changed.name.clone(), target: schema.into(), source })
    }

    /// Brings a target to the newest release and gives its new fingerprint.
    pub(crate) async fn migrate(&self, location: &Location, scope: &SystemScope) -> Result<String, AppError> {
        let mut connection = self.databases.system(scope, location).await?;
        migrate_ground(&mut connection, &self.databases, &self.app).await?;
        let schema = &*location.schema;
        let failed = |name: &str, source| MigrationError { name: name.into(), target: schema.into(), source };
        let applied = applied_migrations(&connection, schema).await?;
        self.refuse_changed(&applied, schema)?;
        let pending = self.app.migrations.pending(&applied);
        if pending.iter().any(|migration| migration.without_transaction()) {
            // Such files cannot share a transaction with the rest: each is applied by itself.
            let drop_views = drop_scoped_views_sql(&connection, schema).await?;
            connection.batch(&format!("begin; {}; {drop_views} commit", search_path(schema))).await?;
            apply_migrations(&mut connection, &self.app.migrations, schema, &self.release).await?;
            self.complete(&connection, schema).await?;
        } else {
            self.migrate_whole(&mut connection, schema, &applied, &pending).await.map_err(|error| match error {
                AppError::Database(source) => AppError::Migration(failed(
                    pending.last().map_or("(completion)", |migration| &migration.name),
                    source,
                )),
                other => other,
            })?;
        }
        Ok(fingerprint(&connection, schema).await?)
    }

    async fn complete(&self, connection: &SystemConnection, schema: &str) -> Result<(), AppError> {
        let completion = completion_sql(connection, schema, &self.databases.home().roles, &self.app).await?;
        connection.batch(&format!("begin; {}; {completion} commit", search_path(schema))).await?;
        Ok(())
    }

    /// Files and completion in one transaction; in one message where the way is known.
    async fn migrate_whole(
        &self,
        connection: &mut SystemConnection,
        schema: &str,
        applied: &[AppliedMigration],
        pending: &[&Migration],
    ) -> Result<(), AppError> {
        let state: Vec<String> = applied.iter().map(|line| line.name.clone()).collect();
        let known = self.ways.lock().await.get(&state).cloned();
        let lock = format!(
            "select pg_advisory_xact_lock(hashtextextended('rowhouse migrate ' || {}, 0)); set local lock_timeout = '2s'",
            rowhouse_postgres::quote_literal(schema)
        );
        let files = self.app.migrations.files_sql(pending, schema, &self.release);
        if let Some(way) = known {
            let path = search_path(schema);
            let whole = format!("begin; {lock}; {path}; {} {files} {path}; {} commit", way.drop_views, way.completion);
            return match connection.batch(&whole).await {
                Ok(()) => Ok(()),
                Err(error) => {
                    connection.batch("rollback").await?;
                    Err(error.into())
                }
            };
        }
        let drop_views = drop_scoped_views_sql(connection, schema).await?;
        connection.begin().await?;
        connection.batch(&format!("{lock}; {}; {drop_views} {files}", search_path(schema))).await?;
        let completion = completion_sql(connection, schema, &self.databases.home().roles, &self.app).await?;
        connection.batch(&format!("{}; {completion}", search_path(schema))).await?;
        connection.commit().await?;
        let way = Way { drop_views: drop_views.into(), completion: completion.into() };
        self.ways.lock().await.insert(state, way);
        Ok(())
    }

    /// Takes the newest applied file back on one target; gives its name.
    pub(crate) async fn revert(&self, location: &Location, scope: &SystemScope) -> Result<Option<String>, AppError> {
        let mut connection = self.databases.system(scope, location).await?;
        let schema = &*location.schema;
        let applied = applied_migrations(&connection, schema).await?;
        let Some(last) = applied.last() else { return Ok(None) };
        let Some(migration) = self.app.migrations.migrations.iter().find(|migration| migration.name == last.name)
        else {
            let message = "the file that made this change is not in the app any more".to_owned();
            let source = DatabaseError::Other { code: "unknown".into(), message, position: None };
            return Err(MigrationError { name: last.name.clone(), target: schema.into(), source }.into());
        };
        let drop_views = drop_scoped_views_sql(&connection, schema).await?;
        let reverted = rowhouse_postgres::revert_migration_with(&mut connection, migration, schema, &drop_views).await;
        // Whatever happened, the views are there again afterwards.
        self.complete(&connection, schema).await?;
        reverted?;
        Ok(Some(migration.name.clone()))
    }
}

/// The completion of a schema that is on the newest release, for provisioning another like it.
pub(crate) async fn completion_of(
    databases: &Databases,
    connection: &SystemConnection,
    app: &App,
) -> Result<String, AppError> {
    completion_sql(connection, "app", &databases.home().roles, app).await
}

/// Whether a role of the cluster may connect to a new database: grants on databases are not
/// copied from a template.
pub(crate) fn lock_down_sql(databases: &Databases, database: &str) -> String {
    let roles = &databases.home().roles;
    format!(
        "revoke all on database {db} from public; grant connect on database {db} to {}, {}",
        quote_identifier(&roles.service()),
        quote_identifier(&roles.reader()),
        db = quote_identifier(database)
    )
}

pub(crate) async fn database_exists(connection: &SystemConnection, name: &str) -> DatabaseResult<bool> {
    const EXISTS: &str = "select 1 from pg_database where datname = $1";
    Ok(connection.query_opt(EXISTS, rowhouse_postgres::params![name]).await?.is_some())
}
