//! The database that tenants' own ones are copied from: one per version of app and platform.

use rowhouse_app::{AppError, completion_sql};
use rowhouse_postgres::{Location, SystemConnection, params, quote_identifier};

use crate::place::database_exists;
use crate::service::{Tenants, TenantsError};
use crate::target::{Fingerprint, Target, TargetKind, TargetStatus, target_get, targets_put};
use crate::way::fingerprint_within;

/// A template that is ready to be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) database: String,
    /// Its fingerprint, and so that of every copy.
    pub(crate) fingerprint: Fingerprint,
}

impl Tenants {
    /// The template of this version, made on first use.
    pub(crate) async fn template(&self) -> Result<Template, TenantsError> {
        let mut known = self.template.lock().await;
        if let Some(template) = &*known {
            return Ok(template.clone());
        }
        let template = self.find_or_make_template().await?;
        *known = Some(template.clone());
        Ok(template)
    }

    /// Forgets a template that turned out to be gone.
    pub(crate) async fn forget_template(&self, gone: &Template) {
        let mut known = self.template.lock().await;
        if known.as_ref() == Some(gone) {
            *known = None;
        }
    }

    async fn find_or_make_template(&self) -> Result<Template, TenantsError> {
        const LOCK: &str = "select pg_advisory_lock(hashtextextended('rowhouse template', 0))";
        let home = self.databases.pool_location();
        let digits = self.version().digits(&self.app);
        let database = self.databases.home().roles.database(&format!("template_{digits}"));
        let location = Location::new(&home.cluster, &database, "app");
        // Two processes must not build the same; the lock ends with this connection.
        let admin = self.databases.system_unpooled(&self.system.scope("make a template"), &home).await?;
        admin.query(LOCK, &[]).await?;
        let recorded = target_get(&self.control("find the template").await?, &location).await?;
        let ready = recorded.filter(|target| target.status == TargetStatus::Ok);
        if let Some(target) = ready
            && database_exists(&admin, &database).await?
        {
            return Ok(Template { database, fingerprint: target.fingerprint });
        }
        let fingerprint = self.make_template(&admin, &location).await?;
        Ok(Template { database, fingerprint })
    }

    /// Builds the template. Recorded before it is begun, so that one left half made is dropped,
    /// and as usable only when it is whole.
    async fn make_template(&self, admin: &SystemConnection, location: &Location) -> Result<Fingerprint, TenantsError> {
        let mut target = Target::new(location.clone(), TargetKind::Template, self.version(), Fingerprint::default());
        target.status = TargetStatus::Making;
        targets_put(&self.control("record a template").await?, std::slice::from_ref(&target)).await?;
        let database = quote_identifier(&location.database);
        admin.drop_database(&location.database).await?;
        admin.batch(&format!("create database {database} template template0 encoding 'UTF8'")).await?;
        admin.batch(&format!("revoke all on database {database} from public")).await?;
        target.fingerprint = self.fill_template(&target).await?;
        target.status = TargetStatus::Ok;
        targets_put(&self.control("record a template").await?, std::slice::from_ref(&target)).await?;
        Ok(target.fingerprint)
    }

    async fn fill_template(&self, target: &Target) -> Result<Fingerprint, AppError> {
        let scope = self.system.scope("make a template");
        // A connection of its own, gone at the end: a template must have none when it is copied.
        let mut connection = self.databases.system_unpooled(&scope, &target.location).await?;
        self.ground.bring_forward(&mut connection).await?;
        connection.begin().await?;
        let provision = self.app.migrations.provision_sql("app", &self.version().release, "");
        connection.batch(&provision).await?;
        let completion = completion_sql(&connection, "app", &self.databases.home().roles, &self.app).await?;
        connection.batch(&completion).await?;
        let fingerprint = fingerprint_within(&connection, target).await?;
        connection.commit().await?;
        self.wait_until_alone(connection, &target.location).await?;
        Ok(fingerprint)
    }

    /// Ends the last connection and waits for the server to notice.
    async fn wait_until_alone(&self, connection: SystemConnection, location: &Location) -> Result<(), AppError> {
        const ALONE: &str = "select not exists (select 1 from pg_stat_activity where datname = $1)";
        const LOOKS_MAX: u32 = 200;
        drop(connection);
        let home = self.databases.pool_location();
        let admin = self.databases.system(&self.system.scope("make a template"), &home).await?;
        for _ in 0..LOOKS_MAX {
            if admin.query_opt(ALONE, params![&*location.database]).await?.is_some_and(|row| row.get(0)) {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        // Copying will say who is still connected.
        Ok(())
    }
}
