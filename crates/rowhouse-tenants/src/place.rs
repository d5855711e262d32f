//! Making and removing the place where a tenant's rows live.
//!
//! A place is made under the lock of its name: a process that died in the middle may have left a
//! session whose last statement still runs, and what that leaves is replaced. Must never be
//! called with a name that came from a client.

use rowhouse_app::{AppError, Completion, completion};
use rowhouse_postgres::{
    DatabaseError, DatabaseResult, Location, SystemConnection, migration_preamble, params, quote_identifier,
    quote_literal,
};
use rowhouse_types::TenantId;
use uuid::Uuid;

use crate::service::{Tenants, TenantsError};
use crate::target::{Fingerprint, Target, TargetKind};
use crate::way::fingerprint_within;

/// The SQLSTATE of a table or view that is there already.
const DUPLICATE_TABLE: &str = "42P07";
const UNLOCK: &str = "select pg_advisory_unlock_all()";
/// The SQLSTATE of a template that is not there.
const UNDEFINED_DATABASE: &str = "3D000";

/// When a new schema gets its scoped views, which take a sixth of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Views {
    /// With its tables.
    Now,
    /// By [`Tenants::create_views`], while others already write to the tables.
    Later,
}

/// How a fresh schema is made beside the app's files: what completion adds, read once from the
/// catalog of a fresh schema, and the fingerprint of the schema that came out. The same text on
/// an empty schema gives the same schema; verification takes every fingerprint afresh.
pub(crate) struct Recipe {
    completion: Completion,
    fingerprint: Fingerprint,
}

impl Tenants {
    /// Makes a schema with the app's tables in the shared database: one message, one transaction.
    /// Whatever was left of an earlier attempt under the same name is replaced. What of it can be
    /// made later is [`Self::create_views`]'s.
    pub(crate) async fn create_schema(&self, name: &str, views: Views) -> Result<Target, TenantsError> {
        let location = self.schema_location(name);
        let mut connection = self.databases.system(&self.system.scope("create a schema"), &location).await?;
        let target = |fingerprint| Target::new(location.clone(), TargetKind::Schema, self.version(), fingerprint);
        let mut first = false;
        let recipe = self
            .recipe
            .get_or_try_init(async || {
                first = true;
                self.create_first_schema(&mut connection, &target(Fingerprint::default())).await
            })
            .await?;
        if !first {
            let completion = match views {
                Views::Now => recipe.completion.whole(),
                Views::Later => recipe.completion.tables.clone(),
            };
            let provision = self.app.migrations.provision_sql(name, &self.version().release, &completion);
            connection.batch(&format!("{}{provision}", self.empty_schema_sql(name))).await?;
        }
        Ok(target(recipe.fingerprint.clone()))
    }

    /// Makes the scoped views of a schema that was made without, unless they are there: they are of
    /// an earlier attempt, or of a migration that has completed the schema since.
    pub(crate) async fn create_views(&self, name: &str) -> DatabaseResult<()> {
        let Some(recipe) = self.recipe.get() else { return Ok(()) };
        let scope = self.system.scope("create scoped views");
        let connection = self.databases.system(&scope, &self.schema_location(name)).await?;
        let made = connection.batch(&format!("{}{}", migration_preamble(name), recipe.completion.views)).await;
        match made {
            Err(DatabaseError::Other { code, .. }) if code == DUPLICATE_TABLE => Ok(()),
            made => made,
        }
    }

    fn schema_location(&self, name: &str) -> Location {
        Location { schema: name.into(), ..self.databases.pool_location() }
    }

    /// What [`Self::create_schema`] will give; none before the first schema of this version.
    pub(crate) fn foreseen_schema(&self, name: &str) -> Option<Target> {
        let location = self.schema_location(name);
        let fingerprint = self.recipe.get()?.fingerprint.clone();
        Some(Target::new(location, TargetKind::Schema, self.version(), fingerprint))
    }

    /// The lock of a name, and an empty schema of it; to be run at the beginning of a transaction.
    fn empty_schema_sql(&self, name: &str) -> String {
        let roles = &self.databases.home().roles;
        let (schema, target) = (quote_identifier(name), quote_literal(name));
        format!(
            "{}drop schema if exists {schema} cascade; delete from rowhouse._migrations where target = {target}; \
             create schema {schema}; grant usage on schema {schema} to {}, {};\n",
            migration_preamble(name),
            quote_identifier(&roles.service()),
            quote_identifier(&roles.reader()),
        )
    }

    /// The first schema of this version in this process: completion is read from its catalog.
    async fn create_first_schema(
        &self,
        connection: &mut SystemConnection,
        target: &Target,
    ) -> Result<Recipe, AppError> {
        connection.begin().await?;
        let name = &*target.location.schema;
        let provision = self.app.migrations.provision_sql(name, &self.version().release, "");
        connection.batch(&format!("{}{provision}", self.empty_schema_sql(name))).await?;
        let completion = completion(connection, name, &self.databases.home().roles, &self.app).await?;
        connection.batch(&completion.whole()).await?;
        let fingerprint = fingerprint_within(connection, target).await?;
        connection.commit().await?;
        Ok(Recipe { completion, fingerprint })
    }

    /// Removes a schema and its ledger, if it is there.
    pub(crate) async fn drop_schema(&self, location: &Location) -> DatabaseResult<()> {
        let connection = self.databases.system(&self.system.scope("drop a schema"), location).await?;
        let (schema, target) = (quote_identifier(&location.schema), quote_literal(&location.schema));
        let drop = format!(
            "{}drop schema if exists {schema} cascade; delete from rowhouse._migrations where target = {target}",
            migration_preamble(&location.schema)
        );
        connection.batch(&drop).await
    }

    /// Makes a database from the template of this version. Whatever was left of an earlier
    /// attempt under the same name is replaced.
    pub(crate) async fn create_database(&self, name: &str) -> Result<Target, TenantsError> {
        let template = self.template().await?;
        let location = Location::new(&self.databases.pool_location().cluster, name, "app");
        let made = self.copy_template(&template.database, &location).await;
        let template = match made {
            Ok(()) => template,
            Err(DatabaseError::Other { code, .. }) if code == UNDEFINED_DATABASE => {
                // Another process, of another release, thought it stale.
                self.forget_template(&template).await;
                let template = self.template().await?;
                self.copy_template(&template.database, &location).await?;
                template
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Target::new(location, TargetKind::Database, self.version(), template.fingerprint))
    }

    async fn copy_template(&self, template: &str, location: &Location) -> DatabaseResult<()> {
        let mut admin = self.lock_database_name(&location.database).await?;
        if database_exists(&admin, &location.database).await? {
            self.remove_database(&admin, location).await?;
        }
        let (new, from) = (quote_identifier(&location.database), quote_identifier(template));
        // wal_log copies through the buffers: no checkpoint, which file_copy forces (measured).
        admin.batch(&format!("create database {new} template {from} strategy wal_log")).await?;
        // Grants on a database are not copied with it.
        let roles = &self.databases.home().roles;
        let (service, reader) = (quote_identifier(&roles.service()), quote_identifier(&roles.reader()));
        let grants = format!(
            "begin; revoke all on database {new} from public; grant connect on database {new} to {service}, {reader}; commit"
        );
        admin.batch(&format!("{grants}; {UNLOCK}")).await?;
        admin.keep_from_pool(false);
        Ok(())
    }

    /// A connection that holds the lock of a database's name until it is unlocked or dropped.
    async fn lock_database_name(&self, name: &str) -> DatabaseResult<SystemConnection> {
        const LOCK: &str = "select pg_advisory_lock(hashtextextended('rowhouse database ' || $1, 0))";
        let home = self.databases.pool_location();
        let mut admin = self.databases.system(&self.system.scope("create or drop a database"), &home).await?;
        admin.keep_from_pool(true);
        admin.query(LOCK, params![name]).await?;
        Ok(admin)
    }

    /// Removes a database, if it is there, with whoever is connected to it.
    pub(crate) async fn drop_database(&self, location: &Location) -> DatabaseResult<()> {
        let mut admin = self.lock_database_name(&location.database).await?;
        if database_exists(&admin, &location.database).await? {
            self.remove_database(&admin, location).await?;
        }
        unlock(&mut admin).await
    }

    /// Drops a database, under the lock of its name. Whoever made it may have connected already.
    async fn remove_database(&self, admin: &SystemConnection, location: &Location) -> DatabaseResult<()> {
        self.databases.close(location);
        let database = quote_identifier(&location.database);
        let service = quote_identifier(&self.databases.home().roles.service());
        admin.batch(&format!("revoke connect on database {database} from public, {service}")).await?;
        self.end_service_sessions(location).await?;
        admin.drop_database(&location.database).await
    }

    /// Ends the service role's sessions in a database. The owner may not (it is no member of the
    /// service role, and dropping by force fails on them), but the role itself may. Waits until
    /// they are gone: a session that is about to end is one still.
    async fn end_service_sessions(&self, location: &Location) -> DatabaseResult<()> {
        const END: &str = "
            select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1 and usename = current_user";
        // Nobody's tenant: the statement reads no tenant's rows, only the role matters.
        let context = self.authority.context(TenantId::generate(), self.databases.pool_location());
        self.databases.tenant(&context).await?.run(END, params![&*location.database]).await?;
        Ok(())
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

async fn unlock(admin: &mut SystemConnection) -> DatabaseResult<()> {
    admin.batch(UNLOCK).await?;
    admin.keep_from_pool(false);
    Ok(())
}

pub(crate) async fn database_exists(connection: &SystemConnection, name: &str) -> DatabaseResult<bool> {
    const EXISTS: &str = "select 1 from pg_database where datname = $1";
    Ok(connection.query_opt(EXISTS, params![name]).await?.is_some())
}
