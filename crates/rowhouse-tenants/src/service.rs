//! The tenants service: holds the app and the registry, and opens the installation.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rowhouse_app::{App, AppError, AppModel, Severity, check, compile};
use rowhouse_identity::Identity;
use rowhouse_jobs::{Engine, ListSagas, Saga, SagaFailure, SagaOut};
use rowhouse_postgres::{
    Authorities, DatabaseError, DatabaseResult, Databases, SystemAuthority, SystemConnection, TenantAuthority, params,
};
use rowhouse_types::{ApiError, SagaId, Slug, TenantId};
use tokio::sync::{Mutex, Notify, OnceCell};
use tokio_util::task::TaskTracker;

use crate::delete::{DeleteSaga, SweepSaga};
use crate::migrate::Ground;
use crate::place::Recipe;
use crate::provision_saga::ProvisionSaga;
use crate::registry::Registry;
use crate::template::Template;
use crate::version::Version;
use crate::way::TargetMigrator;

/// Settings of the service.
#[derive(Debug, Clone)]
pub struct TenantsSettings {
    /// Schemas and databases kept prepared, each.
    pub warm: usize,
    /// Targets that are migrated at a time.
    pub parallel: usize,
    /// Whether opening brings the pool to the app's release. Without it nothing is changed: to
    /// look at what a migration would do. No tenant can be served or made then.
    pub migrate_at_open: bool,
    /// How long after a look at every real schema the next is due.
    pub drift_scan: Duration,
}

impl Default for TenantsSettings {
    fn default() -> Self {
        Self { warm: 2, parallel: 8, migrate_at_open: true, drift_scan: Duration::from_secs(6 * 3600) }
    }
}

/// The installation cannot be opened, or a fleet operation failed.
#[derive(Debug, thiserror::Error)]
pub enum TenantsError {
    /// The app is refused, or a migration failed.
    #[error(transparent)]
    App(#[from] AppError),
    /// The shared tables could not be brought to the app's release; the registry has the reason.
    #[error("the shared tables cannot be migrated: {0}")]
    Pool(String),
    /// The newest migration of the fleet is not in the app.
    #[error(
        "{0} is the newest migration that was applied, but the app has no such file; take it back with the app that has it"
    )]
    UnknownMigration(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<TenantsError> for ApiError {
    fn from(error: TenantsError) -> Self {
        match error {
            TenantsError::Database(error) => error.into(),
            TenantsError::App(_) | TenantsError::Pool(_) | TenantsError::UnknownMigration(_) => {
                ApiError::internal(error)
            }
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
    pub(crate) ground: Ground,
    pub(crate) migrator: TargetMigrator,
    /// How a fresh schema of this version is made; known after the first.
    pub(crate) recipe: OnceCell<Recipe>,
    /// The database that new ones are copied from; known after the first.
    pub(crate) template: Mutex<Option<Template>>,
    /// Told when a prepared place was taken.
    pub(crate) taken: Notify,
    /// Operations that were begun here, whether or not somebody still waits for them.
    under_way: TaskTracker,
    model: ArcSwap<AppModel>,
}

impl Tenants {
    /// Opens the installation with an app, on a migrated control database: refuses an app that
    /// can leak, brings the shared database to its release, compiles the model. The places of
    /// single tenants are brought forward by [`Self::migrate_up`].
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
        let version = Version::of(&app, &databases.home().roles);
        identity.set_roles(app.manifest.role_grants());
        let nothing = AppModel {
            manifest: app.manifest.clone(),
            entities: Default::default(),
            shared: Default::default(),
            fingerprint: String::new(),
        };
        let tenants = Arc::new(Self {
            engine: Engine::new(databases.clone(), system.clone()),
            ground: Ground::new(databases.clone(), app.clone()),
            migrator: TargetMigrator::new(databases.clone(), app.clone(), version),
            databases,
            system,
            authority: authorities.tenant.clone(),
            identity,
            app,
            settings,
            registry: Registry::new(),
            recipe: OnceCell::new(),
            template: Mutex::default(),
            taken: Notify::new(),
            under_way: TaskTracker::new(),
            model: ArcSwap::from_pointee(nothing),
        });
        tenants.engine.register(Arc::new(ProvisionSaga::new(&tenants)));
        tenants.engine.register(Arc::new(DeleteSaga::new(&tenants)));
        tenants.engine.register(Arc::new(SweepSaga::new(&tenants)));
        if tenants.settings.migrate_at_open {
            tenants.refuse_leaks().await?;
            tenants.migrate_pool().await?;
            tenants.reload().await?;
        }
        Ok(tenants)
    }

    /// The compiled model that serves every tenant.
    pub fn model(&self) -> Arc<AppModel> {
        self.model.load_full()
    }

    /// Compiles the model anew, from the pool's real tables.
    pub(crate) async fn reload(&self) -> Result<(), TenantsError> {
        let pool = self.databases.pool_location();
        let connection = self.databases.system(&self.system.scope("compile the model"), &pool).await?;
        let model = compile(&connection, &pool.schema, &self.app).await?;
        self.model.store(Arc::new(model));
        Ok(())
    }

    /// The app.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// What "current" means for this process.
    pub(crate) fn version(&self) -> &Version {
        &self.migrator.version
    }

    pub(crate) async fn control(&self, purpose: &'static str) -> DatabaseResult<SystemConnection> {
        self.databases.control(&self.system.scope(purpose)).await
    }

    /// Operations, the newest first.
    pub async fn operations(&self, list: &ListSagas) -> DatabaseResult<Vec<SagaOut>> {
        self.engine.list(list).await
    }

    /// One operation with its steps.
    pub async fn operation(&self, id: SagaId) -> DatabaseResult<Option<SagaOut>> {
        self.engine.get(id).await
    }

    /// Lets an operation that failed or waits go on.
    ///
    /// # Errors
    /// Not found, or a conflict.
    pub async fn retry_operation(&self, id: SagaId) -> Result<(), ApiError> {
        self.engine.retry(id).await
    }

    /// Has an operation taken back.
    ///
    /// # Errors
    /// Not found, or a conflict if it cannot be any more.
    pub async fn cancel_operation(&self, id: SagaId) -> Result<(), ApiError> {
        self.engine.cancel(id).await
    }

    /// Takes over interrupted operations once; gives how many.
    pub async fn resume_operations(&self) -> DatabaseResult<usize> {
        self.engine.take_over().await
    }

    /// Runs a new saga in a task of its own: a client who goes away, or Ctrl-C, drops its caller at
    /// any moment, and would leave half a tenant under a lease that nobody serves.
    pub(crate) async fn drive<S: Saga>(
        self: &Arc<Self>,
        saga: S,
        slug: &Slug,
        tenant: TenantId,
        state: S::State,
    ) -> Result<S::State, SagaFailure> {
        let (tenants, slug) = (self.clone(), slug.clone());
        let driven = async move { tenants.engine.run(&saga, slug.as_str(), Some(tenant), state).await };
        match self.under_way.spawn(driven).await.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(outcome) => outcome,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // Only a runtime that ends cancels the task; the next process takes the saga over.
            Err(Err(_)) => Err(SagaFailure::LeaseLost),
        }
    }

    /// Waits for the operations that were begun here, before the process ends.
    pub async fn finish(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }

    /// Works in the background until dropped: interrupted operations, prepared places, the look
    /// for drift, members that were left out of step.
    pub async fn run_background(self: Arc<Self>) {
        self.run_background_until(std::future::pending()).await;
    }

    /// The same until `shutdown` is ready; operations under way are brought to their end first.
    pub async fn run_background_until(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        let worker = self.engine.run_worker(shutdown);
        tokio::select! {
            () = worker => {}
            () = self.keep_warm() => {}
            () = self.watch_drift() => {}
            () = self.keep_members() => {}
        }
    }

    /// An app's release is checked on a scratch database before it touches a real one; once it
    /// has passed it is not checked again.
    pub(crate) async fn refuse_leaks(&self) -> Result<(), TenantsError> {
        const PASSED: &str = "select 1 from control.releases where release = $1";
        const PASS: &str = "insert into control.releases (release) values ($1) on conflict do nothing";
        let Version { release, platform } = self.version();
        let checked = format!("{}@{release}@{platform}", self.app.manifest.app.name);
        let control = self.control("check the app").await?;
        if control.query_opt(PASSED, params![checked.as_str()]).await?.is_some() {
            return Ok(());
        }
        let report = check(&self.databases, &self.system.scope("check the app"), &self.app).await?;
        if !report.passed() {
            let errors = report.findings.into_iter().filter(|finding| finding.severity == Severity::Error);
            return Err(AppError::Refused(errors.collect()).into());
        }
        control.query(PASS, params![checked]).await?;
        Ok(())
    }
}
