//! `rowhouse app check`: the whole app on a scratch database, which is dropped afterwards.

use rowhouse_postgres::{
    Databases, Location, MigrationSet, PLATFORM_TARGET, SHARED_TARGET, SystemConnection, SystemScope, apply_migrations,
    quote_identifier, revert_migration,
};
use serde::Serialize;

use crate::compile::compile;
use crate::completion::{completion_sql, drop_scoped_views_sql};
use crate::error::AppError;
use crate::finding::{Finding, Severity};
use crate::lint::{lint, lint_migrations};
use crate::load::App;
use crate::model::AppModel;

/// What the check saw.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// The app's name.
    pub app: String,
    /// Its release.
    pub release: String,
    /// Number of entities.
    pub entities: usize,
    /// Everything found, errors first.
    pub findings: Vec<Finding>,
    /// The compiled model, for whoever goes on with it.
    #[serde(skip)]
    pub model: AppModel,
    /// What completion ran.
    #[serde(skip)]
    pub completed: String,
}

impl CheckReport {
    /// Whether the app may be served.
    pub fn passed(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity < Severity::Error)
    }
}

/// Checks an app on a scratch database of the cluster.
///
/// # Errors
/// If the app cannot even be set up; what the linter finds is in the report.
pub async fn check(databases: &Databases, scope: &SystemScope, app: &App) -> Result<CheckReport, AppError> {
    let home = databases.pool_location();
    let name = databases.home().roles.database(&format!("check_{}", uuid::Uuid::new_v4().simple()));
    let admin = databases.system_unpooled(scope, &home).await?;
    admin.batch(&format!("create database {} template template0 encoding 'UTF8'", quote_identifier(&name))).await?;
    let location = Location::new(&home.cluster, &name, "app");
    let outcome = check_on(databases, scope, app, &location).await;
    databases.close(&location);
    let dropped = admin.drop_database(&name).await;
    let report = outcome?;
    dropped?;
    Ok(report)
}

async fn check_on(
    databases: &Databases,
    scope: &SystemScope,
    app: &App,
    location: &Location,
) -> Result<CheckReport, AppError> {
    let roles = databases.home().roles.clone();
    let release = app.release();
    let mut connection = databases.system_unpooled(scope, location).await?;
    apply_migrations(&mut connection, &MigrationSet::platform(&roles), PLATFORM_TARGET, &release).await?;
    apply_migrations(&mut connection, &app.shared_migrations, SHARED_TARGET, &release).await?;
    complete(&connection, app, SHARED_TARGET, databases).await?;
    apply_migrations(&mut connection, &app.migrations, "app", &release).await?;
    let completed = complete(&connection, app, "app", databases).await?;
    let mut findings = lint(&connection, "app", app, &roles).await?;
    findings.extend(lint_migrations(app));
    let model = compile(&connection, "app", app).await?;
    there_and_back(&mut connection, app, databases).await?;
    Ok(CheckReport {
        app: app.manifest.app.name.clone(),
        release,
        entities: model.entities.len(),
        findings,
        model,
        completed,
    })
}

async fn complete(
    connection: &SystemConnection,
    app: &App,
    schema: &str,
    databases: &Databases,
) -> Result<String, AppError> {
    let sql = completion_sql(connection, schema, &databases.home().roles, app).await?;
    let path = format!("set local search_path = {}, shared, rowhouse, pg_temp", quote_identifier(schema));
    connection.batch(&format!("begin; {path}; {sql} commit")).await?;
    Ok(sql)
}

/// Takes every migration back that can be, newest first, and applies them again.
async fn there_and_back(connection: &mut SystemConnection, app: &App, databases: &Databases) -> Result<(), AppError> {
    let drop_views = drop_scoped_views_sql(connection, "app").await?;
    connection.batch(&format!("begin; set local search_path = app; {drop_views} commit")).await?;
    for migration in app.migrations.migrations.iter().rev().take_while(|migration| migration.down.is_some()) {
        revert_migration(connection, migration, "app").await?;
    }
    apply_migrations(connection, &app.migrations, "app", &app.release()).await?;
    complete(connection, app, "app", databases).await?;
    Ok(())
}
