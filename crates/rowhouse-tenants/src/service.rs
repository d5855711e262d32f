//! The tenants service: holds the app and the registry, and opens the installation.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rowhouse_app::{App, AppError, AppModel, check, compile, completion_sql};
use rowhouse_identity::Identity;
use rowhouse_jobs::{Engine, SagaFailure, SagaOut};
use rowhouse_postgres::{
    Authorities, DatabaseError, DatabaseResult, Databases, SystemAuthority, SystemConnection, TenantAuthority, params,
};
use rowhouse_types::{ApiError, SagaId, TenantId};

use crate::lifecycle::DeleteSaga;
use crate::migrate::TargetMigrator;
use crate::provision::ProvisionSaga;
use crate::registry::{Registry, tenant_find};
use crate::target::{Target, TargetKind, target_put, targets_behind};
use crate::tenant::Tenant;

/// Settings of the service.
#[derive(Debug, Clone)]
pub struct TenantsSettings {
    /// Schemas and databases kept prepared, each.
    pub warm: usize,
    /// Targets that are migrated at a time.
    pub parallel: usize,
}

impl Default for TenantsSettings {
    fn default() -> Self {
        Self { warm: 2, parallel: 8 }
    }
}

/// The installation cannot be opened, or a fleet operation failed.
#[derive(Debug, thiserror::Error)]
pub enum TenantsError {
    /// The app is refused, or a migration failed.
    #[error(transparent)]
    App(#[from] AppError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<TenantsError> for ApiError {
    fn from(error: TenantsError) -> Self {
        match error {
            TenantsError::Database(error) => error.into(),
            TenantsError::App(_) => ApiError::internal(error),
        }
    }
}

/// The tenants of an installation and the app they use.
pub struct Tenants {
    pub(crate) databases: Arc<Databases>,
    pub(crate) system: SystemAuthority,
    pub(crate) authority: TenantAuthority,
    pub(crate) identity: Arc<Identity>,
    pub(crate) engine: Engine,
    pub(crate) app: Arc<App>,
    pub(crate) settings: TenantsSettings,
    pub(crate) registry: Registry,
    pub(crate) migrator: TargetMigrator,
    /// The text that completes a fresh schema of this release.
    pub(crate) completion: ArcSwap<String>,
    model: ArcSwap<AppModel>,
}

impl Tenants {
    /// Opens the installation with an app: refuses one that can leak, brings the shared database
    /// and every target to its release, compiles the model.
    ///
    /// # Errors
    /// [`AppError::Refused`] with every finding.
    pub async fn open(
        databases: Arc<Databases>,
        authorities: &Authorities,
        identity: Arc<Identity>,
        app: App,
        settings: TenantsSettings,
    ) -> Result<Arc<Self>, TenantsError> {
        let system = authorities.system.clone();
        let app = Arc::new(app);
        let scope = system.scope("open the installation");
        let control = databases.control(&scope).await?;
        refuse_leaks(&databases, &system, &control, &app).await?;
        let migrator = TargetMigrator::new(databases.clone(), app.clone());
        let pool = databases.pool_location();
        migrate_pool(&databases, &system, &control, &migrator, &app).await?;
        let data = databases.system(&scope, &pool).await?;
        let completion = completion_sql(&data, &pool.schema, &databases.home().roles, &app).await?;
        let model = compile(&data, &pool.schema, &app).await?;
        drop((data, control));
        identity.set_roles(app.manifest.role_grants());
        let tenants = Arc::new(Self {
            engine: Engine::new(databases.clone(), system.clone()),
            databases,
            system,
            authority: authorities.tenant.clone(),
            identity,
            app,
            settings,
            registry: Registry::new(),
            migrator,
            completion: ArcSwap::from_pointee(completion),
            model: ArcSwap::from_pointee(model),
        });
        tenants.engine.register(Arc::new(ProvisionSaga::new(&tenants)));
        tenants.engine.register(Arc::new(DeleteSaga::new(&tenants)));
        Ok(tenants)
    }

    /// The compiled model that serves every tenant.
    pub fn model(&self) -> Arc<AppModel> {
        self.model.load_full()
    }

    /// The app.
    pub fn app(&self) -> &App {
        &self.app
    }

    pub(crate) async fn control(&self, purpose: &'static str) -> DatabaseResult<SystemConnection> {
        self.databases.control(&self.system.scope(purpose)).await
    }

    /// The tenant of this id or slug, from memory for a moment.
    pub async fn find(&self, name: &str) -> DatabaseResult<Option<Arc<Tenant>>> {
        if let Some(known) = self.registry.remembered(name).await {
            return Ok(known);
        }
        let found = tenant_find(&self.control("look up a tenant").await?, name).await?.map(Arc::new);
        self.registry.remember(name, found.clone()).await;
        Ok(found)
    }

    /// The newest operations.
    pub async fn operations(&self, limit: u32) -> DatabaseResult<Vec<SagaOut>> {
        self.engine.list(limit).await
    }

    /// One operation with its steps.
    pub async fn operation(&self, id: SagaId) -> DatabaseResult<Option<SagaOut>> {
        self.engine.get(id).await
    }

    /// Takes over interrupted operations once; gives how many.
    pub async fn resume_operations(&self) -> DatabaseResult<usize> {
        self.engine.take_over().await
    }

    /// Works in the background until dropped: interrupted operations, prepared targets.
    pub async fn run_background(self: Arc<Self>) {
        tokio::join!(self.engine.run_worker(), self.keep_warm());
    }

    /// Copies a tenant's members into its data database, where owners' foreign keys point.
    pub async fn project_members(&self, tenant: TenantId) -> Result<(), ApiError> {
        const MEMBERS: &str = "
            select m.user_id, m.role, trim(u.first_name || ' ' || u.last_name), u.email, m.active, m.joined_at
            from control.memberships m join control.users u on u.id = m.user_id where m.tenant_id = $1";
        const PUT: &str = "
            insert into rowhouse.members (tenant_id, user_id, role, display_name, email, active, joined_at)
            values ($1, $2, $3, $4, $5, $6, $7)
            on conflict (tenant_id, user_id) do update set
                role = excluded.role, display_name = excluded.display_name, email = excluded.email, active = excluded.active";
        let Some(found) = self.find(&tenant.to_string()).await? else { return Ok(()) };
        let members = self.control("project members").await?.query(MEMBERS, params![tenant]).await?;
        let transaction = self.databases.tenant(&found.context(&self.authority)).await?.begin().await?;
        for row in members {
            let (user, role): (uuid::Uuid, String) = (row.get(0), row.get(1));
            let (name, email): (String, String) = (row.get(2), row.get(3));
            let (active, joined): (bool, chrono::DateTime<chrono::Utc>) = (row.get(4), row.get(5));
            transaction.query(PUT, params![tenant, user, role, name, email, active, joined]).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// An app's release is checked on a scratch database before it touches a real one; once it has
/// passed it is not checked again.
async fn refuse_leaks(
    databases: &Databases,
    system: &SystemAuthority,
    control: &SystemConnection,
    app: &App,
) -> Result<(), TenantsError> {
    const PASSED: &str = "select 1 from control.releases where release = $1";
    const PASS: &str = "insert into control.releases (release) values ($1) on conflict do nothing";
    let release = format!("{}@{}", app.manifest.app.name, app.release());
    if control.query_opt(PASSED, params![release.as_str()]).await?.is_some() {
        return Ok(());
    }
    let report = check(databases, &system.scope("check the app"), app).await?;
    if !report.passed() {
        let errors = report.findings.into_iter().filter(|finding| finding.severity == rowhouse_app::Severity::Error);
        return Err(AppError::Refused(errors.collect()).into());
    }
    control.query(PASS, params![release]).await?;
    Ok(())
}

async fn migrate_pool(
    databases: &Databases,
    system: &SystemAuthority,
    control: &SystemConnection,
    migrator: &TargetMigrator,
    app: &App,
) -> Result<(), TenantsError> {
    const KNOWN: &str = "
        select 1 from control.targets where cluster = $1 and database = $2 and schema = $3 and release = $4 and status = 'ok'";
    let location = databases.pool_location();
    let release = app.release();
    let values = params![&*location.cluster, &*location.database, &*location.schema, release.as_str()];
    if control.query_opt(KNOWN, values).await?.is_some() {
        return Ok(());
    }
    let fingerprint = migrator.migrate(&location, &system.scope("migrate the pool")).await?;
    databases.forget_statements();
    let target = Target { location, kind: TargetKind::Pool, tenant: None, release, fingerprint, error: None };
    target_put(control, &target).await?;
    Ok(())
}

/// How many targets are behind the app's release.
impl Tenants {
    /// Targets that `migrate up` would bring forward.
    pub async fn targets_behind(&self) -> DatabaseResult<usize> {
        let control = self.control("count targets behind").await?;
        Ok(targets_behind(&control, &self.app.release()).await?.len())
    }
}

impl From<SagaFailure> for TenantsError {
    fn from(failure: SagaFailure) -> Self {
        match failure {
            SagaFailure::Database(error) => Self::Database(error),
            other => Self::Database(DatabaseError::Driver(other.to_string())),
        }
    }
}
