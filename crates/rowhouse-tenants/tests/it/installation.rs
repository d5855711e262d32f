//! An installation of one test's own, with the solar app.

use std::path::Path;
use std::sync::Arc;

use rowhouse_app::App;
use rowhouse_audit::Audit;
use rowhouse_identity::{Identity, IdentitySettings};
use rowhouse_postgres::{Migration, params};
use rowhouse_tenants::{Placement, Provision, ProvisionOwner, Tenants, TenantsSettings, migrate_control};
use rowhouse_testkit::TestDatabases;
use rowhouse_types::Slug;

pub(crate) struct Installation {
    pub(crate) test: TestDatabases,
    pub(crate) identity: Arc<Identity>,
    pub(crate) tenants: Arc<Tenants>,
}

pub(crate) fn solar() -> App {
    App::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../apps/solar")).unwrap()
}

/// Solar with one more migration.
pub(crate) fn solar_with(name: &str, sql: &str, down: Option<&str>) -> App {
    let mut app = solar();
    app.migrations.migrations.push(Migration::new(name, sql, down.map(str::to_owned)));
    app
}

impl Installation {
    pub(crate) async fn start(warm: usize) -> Self {
        let test = TestDatabases::start(&[]).await;
        migrate_control(&test.databases, &test.authorities.system.scope("test")).await.unwrap();
        let audit = Audit::start(test.databases.clone(), test.authorities.system.clone());
        let master = test.databases.home().master_key.clone();
        let identity = Identity::open(
            test.databases.clone(),
            test.authorities.system.clone(),
            master,
            audit,
            IdentitySettings::default(),
        );
        let identity = Arc::new(identity.await.unwrap());
        let tenants = open(&test, &identity, solar(), warm).await;
        Self { test, identity, tenants }
    }

    /// The same installation opened by another process, perhaps with another release.
    pub(crate) async fn reopen(&self, app: App) -> Arc<Tenants> {
        open(&self.test, &self.identity, app, 0).await
    }

    pub(crate) async fn make(&self, slug: &str, placement: Placement) {
        self.tenants.provision(wanted(slug, placement)).await.unwrap();
    }

    /// Counts rows of the control database.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let control = self.test.databases.control(&self.test.authorities.system.scope("test")).await.unwrap();
        control.query_opt(sql, &[]).await.unwrap().unwrap().get(0)
    }

    /// Schemas, databases and rows of tenants that exist: what must be gone after a compensation.
    pub(crate) async fn remains(&self, slug: &str) -> Vec<String> {
        let scope = self.test.authorities.system.scope("test");
        let mut remains = Vec::new();
        let control = self.test.databases.control(&scope).await.unwrap();
        for (what, sql) in [
            ("tenant", "select count(*) from control.tenants where slug = $1"),
            ("user", "select count(*) from control.users where email = 'owner@' || $1 || '.example'"),
            (
                "membership",
                "select count(*) from control.memberships m join control.users u on u.id = m.user_id where u.email = 'owner@' || $1 || '.example'",
            ),
            ("target", "select count(*) from control.targets where tenant_id is not null and $1 <> ''"),
            (
                "database",
                "select count(*) from pg_database where datname like left(current_database(), 13) || '\\_d\\_%' and $1 <> ''",
            ),
        ] {
            let count: i64 = control.query_opt(sql, params![slug]).await.unwrap().unwrap().get(0);
            if count > 0 {
                remains.push(what.to_owned());
            }
        }
        let data = self.test.databases.system(&scope, &self.test.databases.pool_location()).await.unwrap();
        for (what, sql) in [
            ("schema", "select count(*) from pg_namespace where nspname like 's\\_%'"),
            ("member", "select count(*) from rowhouse.members"),
            ("stage", "select count(*) from app.pipeline_stages"),
            ("ledger", "select count(*) from rowhouse._migrations where target like 's\\_%'"),
        ] {
            let count: i64 = data.query_opt(sql, &[]).await.unwrap().unwrap().get(0);
            if count > 0 {
                remains.push(what.to_owned());
            }
        }
        remains
    }
}

async fn open(test: &TestDatabases, identity: &Arc<Identity>, app: App, warm: usize) -> Arc<Tenants> {
    let settings = TenantsSettings { warm, ..TenantsSettings::default() };
    Tenants::open(test.databases.clone(), &test.authorities, identity.clone(), app, settings).await.unwrap()
}

pub(crate) fn wanted(slug: &str, placement: Placement) -> Provision {
    Provision {
        name: slug.to_owned(),
        slug: Some(slug.parse::<Slug>().unwrap()),
        plan: None,
        placement,
        owner: ProvisionOwner::NewUser {
            email: format!("owner@{slug}.example").parse().unwrap(),
            password_hash: "none".into(),
            first_name: "Olga".into(),
            last_name: "Owner".into(),
            email_verified: false,
        },
    }
}
