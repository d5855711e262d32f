//! Making and removing the place where a tenant's rows live.

use std::sync::Arc;

use rowhouse_app::{AppError, fingerprint};
use rowhouse_postgres::{DatabaseError, DatabaseResult, Location, quote_identifier};
use rowhouse_types::ApiError;
use uuid::Uuid;

use crate::migrate::{completion_of, database_exists, lock_down_sql, migrate_ground};
use crate::service::{Tenants, TenantsError};
use crate::target::{Target, TargetKind};

/// Two processes must not build the same template.
const TEMPLATE_LOCK: &str = "select pg_advisory_lock(hashtextextended('rowhouse template', 0))";

impl Tenants {
    /// Makes a schema with the app's tables in the shared database: one message, one transaction.
    /// Whatever was left of an earlier attempt under the same name is replaced.
    pub(crate) async fn create_schema(&self, name: &str) -> DatabaseResult<Location> {
        let pool = self.databases.pool_location();
        let location = Location { schema: name.into(), ..pool };
        let roles = &self.databases.home().roles;
        let quoted = quote_identifier(name);
        let provision = self.app.migrations.provision_sql(name, &self.app.release(), &self.completion.load());
        let connection = self.databases.system(&self.system.scope("create a schema"), &location).await?;
        let sql = format!(
            "begin; drop schema if exists {quoted} cascade; delete from rowhouse._migrations where target = {target}; \
             create schema {quoted}; grant usage on schema {quoted} to {service}, {reader}; {provision} commit",
            target = rowhouse_postgres::quote_literal(name),
            service = quote_identifier(&roles.service()),
            reader = quote_identifier(&roles.reader()),
        );
        match connection.batch(&sql).await {
            Ok(()) => Ok(location),
            Err(error) => {
                connection.batch("rollback").await?;
                Err(error)
            }
        }
    }

    /// Removes a schema and its ledger, if it is there.
    pub(crate) async fn drop_schema(&self, location: &Location) -> DatabaseResult<()> {
        let connection = self.databases.system(&self.system.scope("drop a schema"), location).await?;
        let (quoted, target) = (quote_identifier(&location.schema), rowhouse_postgres::quote_literal(&location.schema));
        connection
            .batch(&format!(
                "begin; drop schema if exists {quoted} cascade; delete from rowhouse._migrations where target = {target}; commit"
            ))
            .await
    }

    /// Makes a database from the template of the release.
    pub(crate) async fn create_database(&self, name: &str) -> Result<Location, TenantsError> {
        let template = self.template().await?;
        let home = self.databases.pool_location();
        let admin = self.databases.system_unpooled(&self.system.scope("create a database"), &home).await?;
        let location = Location::new(&home.cluster, name, "app");
        if database_exists(&admin, name).await? {
            self.drop_database(&location).await?;
        }
        let (new, from) = (quote_identifier(name), quote_identifier(&template));
        // wal_log copies through the buffers: no checkpoint, which file_copy forces (measured).
        admin.batch(&format!("create database {new} template {from} strategy wal_log")).await?;
        admin.batch(&lock_down_sql(&self.databases, name)).await?;
        Ok(location)
    }

    /// Removes a database, if it is there, with whoever is connected to it.
    pub(crate) async fn drop_database(&self, location: &Location) -> DatabaseResult<()> {
        self.databases.close(location);
        let home = self.databases.pool_location();
        let admin = self.databases.system_unpooled(&self.system.scope("drop a database"), &home).await?;
        admin.batch(&format!("drop database if exists {} with (force)", quote_identifier(&location.database))).await
    }

    /// The database that new ones are copied from, made on first use and once per release.
    async fn template(&self) -> Result<String, TenantsError> {
        let home = self.databases.pool_location();
        let roles = self.databases.home().roles.clone();
        let release = self.app.release();
        let suffix = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{}@{release}", self.app.manifest.app.name).as_bytes());
        let name = roles.database(&format!("template_{}", &suffix.simple().to_string()[..12]));
        let admin = self.databases.system_unpooled(&self.system.scope("make a template"), &home).await?;
        if database_exists(&admin, &name).await? {
            return Ok(name);
        }
        admin.query(TEMPLATE_LOCK, &[]).await?;
        if database_exists(&admin, &name).await? {
            return Ok(name);
        }
        // Built under another name and renamed when complete: a crash leaves no half template.
        let unfinished = roles.database(&format!("unfinished_{}", &suffix.simple().to_string()[..12]));
        let quoted = quote_identifier(&unfinished);
        admin.batch(&format!("drop database if exists {quoted} with (force)")).await?;
        admin.batch(&format!("create database {quoted} template template0 encoding 'UTF8'")).await?;
        self.fill_template(&Location::new(&home.cluster, &unfinished, "app")).await?;
        admin.batch(&format!("alter database {quoted} rename to {}", quote_identifier(&name))).await?;
        Ok(name)
    }

    async fn fill_template(&self, location: &Location) -> Result<(), TenantsError> {
        let mut connection = self.databases.system_unpooled(&self.system.scope("make a template"), location).await?;
        migrate_ground(&mut connection, &self.databases, &self.app).await?;
        let release = self.app.release();
        let provision = self.app.migrations.provision_sql("app", &release, "");
        connection.batch(&format!("begin; {provision} commit")).await?;
        let completion = completion_of(&self.databases, &connection, &self.app).await?;
        connection
            .batch(&format!("begin; set local search_path = app, shared, rowhouse, pg_temp; {completion} commit"))
            .await?;
        Ok(())
    }

    /// A new target of this release, with its fingerprint taken from the real schema.
    pub(crate) async fn new_target(&self, location: Location, kind: TargetKind) -> DatabaseResult<Target> {
        let connection = self.databases.system(&self.system.scope("take a fingerprint"), &location).await?;
        let fingerprint = fingerprint(&connection, &location.schema).await?;
        Ok(Target { location, kind, tenant: None, release: self.app.release(), fingerprint, error: None })
    }

    /// A name for a schema or database that nothing else has.
    pub(crate) fn place_name(&self, kind: TargetKind, id: Uuid) -> String {
        let id = id.simple();
        match kind {
            TargetKind::Schema | TargetKind::PreparedSchema => format!("s_{id}"),
            _ => self.databases.home().roles.database(&format!("d_{id}")),
        }
    }
}

impl From<TenantsError> for rowhouse_jobs::StepError {
    fn from(error: TenantsError) -> Self {
        match error {
            TenantsError::Database(error) | TenantsError::App(AppError::Database(error)) => Self::Database(error),
            TenantsError::App(_) => Self::Refused(ApiError::internal(error)),
        }
    }
}

/// Shared handle of the sagas.
pub(crate) type Shared = std::sync::Weak<Tenants>;

/// The service behind a saga; it outlives every saga but those of a process that ends.
pub(crate) fn upgrade(shared: &Shared) -> Result<Arc<Tenants>, rowhouse_jobs::StepError> {
    shared.upgrade().ok_or_else(|| DatabaseError::Unavailable("the process is ending".into()).into())
}
