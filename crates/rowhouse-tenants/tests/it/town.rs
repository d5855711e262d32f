//! What the tests stand on: databases of their own, the fixture app in a directory of its own,
//! and processes (services) that share them.

use std::path::Path;
use std::sync::Arc;

use rowhouse_app::App;
use rowhouse_audit::Audit;
use rowhouse_identity::{Identity, IdentitySettings};
use rowhouse_postgres::{Databases, Location, SystemConnection, TenantConnection, params, quote_identifier};
use rowhouse_tenants::{
    Placement, Provision, ProvisionOwner, Provisioned, Tenant, Tenants, TenantsError, TenantsSettings, migrate_control,
};
use rowhouse_testkit::TestDatabases;
use rowhouse_types::ApiError;
use tempfile::TempDir;

/// Every placement, for tests that hold in each.
pub(crate) const PLACEMENTS: [Placement; 3] = [Placement::Pool, Placement::Schema, Placement::Database];

pub(crate) struct Town {
    pub(crate) test: TestDatabases,
    pub(crate) identity: Arc<Identity>,
    app: TempDir,
}

/// Nothing prepared, and nothing in the background: a test sees only what it does.
pub(crate) fn quiet() -> TenantsSettings {
    TenantsSettings { warm: 0, ..TenantsSettings::default() }
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Town {
    pub(crate) async fn start() -> Self {
        Self::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/workshop")).await
    }

    /// With another app than the workshop.
    pub(crate) async fn of(directory: &Path) -> Self {
        let test = TestDatabases::start(&[]).await;
        let (databases, system) = (test.databases.clone(), test.authorities.system.clone());
        migrate_control(&databases, &system.scope("test")).await.unwrap();
        let audit = Audit::start(databases.clone(), system.clone());
        let key = databases.home().master_key.clone();
        let identity = Identity::open(databases, system, key, audit, IdentitySettings::default()).await.unwrap();
        let app = TempDir::new().unwrap();
        copy_directory(directory, app.path());
        Self { test, identity: Arc::new(identity), app }
    }

    /// A process with the app as it lies in the directory now.
    pub(crate) async fn try_open(&self, settings: TenantsSettings) -> Result<Arc<Tenants>, TenantsError> {
        let app = App::load(self.app.path()).unwrap();
        let databases = self.test.databases.clone();
        Tenants::open(databases, &self.test.authorities, self.identity.clone(), app, settings).await
    }

    pub(crate) async fn open(&self) -> Arc<Tenants> {
        self.try_open(quiet()).await.unwrap()
    }

    /// A process with connections of its own, on the same installation.
    pub(crate) async fn process(&self, settings: TenantsSettings) -> Arc<Tenants> {
        let app = App::load(self.app.path()).unwrap();
        let (databases, authorities) = Databases::open((*self.test.databases.home()).clone());
        let system = authorities.system.clone();
        let audit = Audit::start(databases.clone(), system.clone());
        let key = databases.home().master_key.clone();
        let identity = Identity::open(databases.clone(), system, key, audit, IdentitySettings::default());
        Tenants::open(databases, &authorities, Arc::new(identity.await.unwrap()), app, settings).await.unwrap()
    }

    /// Writes a file of the app.
    pub(crate) fn write(&self, file: &str, text: &str) {
        std::fs::write(self.app.path().join(file), text).unwrap();
    }

    pub(crate) async fn control(&self) -> SystemConnection {
        self.test.databases.control(&self.test.authorities.system.scope("test")).await.unwrap()
    }

    pub(crate) async fn system(&self, location: &Location) -> SystemConnection {
        self.test.databases.system(&self.test.authorities.system.scope("test"), location).await.unwrap()
    }

    pub(crate) async fn data(&self) -> SystemConnection {
        self.system(&self.test.databases.pool_location()).await
    }

    pub(crate) async fn tenant(&self, tenant: &Tenant) -> TenantConnection {
        self.test.databases.tenant(&tenant.context(&self.test.authorities.tenant)).await.unwrap()
    }

    /// Waits until that many sessions of a database wait for somebody's lock.
    pub(crate) async fn wait_for_blocked(&self, location: &Location, sessions: usize) -> Vec<i32> {
        self.wait_for_sessions(location, |waiting| waiting.len() >= sessions).await
    }

    /// Waits until no session of a database waits for somebody's lock.
    pub(crate) async fn wait_for_unblocked(&self, location: &Location) {
        self.wait_for_sessions(location, <[i32]>::is_empty).await;
    }

    /// The sessions that wait for a lock, once they are as wanted.
    async fn wait_for_sessions(&self, location: &Location, wanted: impl Fn(&[i32]) -> bool) -> Vec<i32> {
        const WAITING: &str = "
            select pid from pg_stat_activity, pg_sleep(0.01) where datname = $1 and wait_event_type = 'Lock'";
        let control = self.control().await;
        loop {
            let found = control.query(WAITING, params![&*location.database]).await.unwrap();
            let waiting: Vec<i32> = found.iter().map(|row| row.get(0)).collect();
            if wanted(&waiting) {
                return waiting;
            }
        }
    }

    /// Ends a session of the owner's, as a server that restarts or a process that is killed does.
    pub(crate) async fn end_session(&self, pid: i32) {
        self.control().await.query("select pg_terminate_backend($1, 5000)", params![pid]).await.unwrap();
    }

    /// Drops a tenant's database, once nobody is connected to it.
    pub(crate) async fn drop_database(&self, location: &Location) {
        const ALONE: &str = "select count(*) from pg_stat_activity, pg_sleep(0.01) where datname = $1";
        self.test.databases.close(location);
        let data = self.data().await;
        while data.query(ALONE, params![&*location.database]).await.unwrap()[0].get::<_, i64>(0) > 0 {}
        data.batch(&format!("drop database {}", quote_identifier(&location.database))).await.unwrap();
    }

    /// The number of rows a tenant sees in a table; of the app's own, unless a schema is named.
    pub(crate) async fn count(&self, tenant: &Tenant, table: &str) -> i64 {
        let connection = self.tenant(tenant).await;
        let table = match table.contains('.') {
            true => table.to_owned(),
            false => format!("{}.{table}", quote_identifier(connection.schema())),
        };
        connection.run(&format!("select count(*) from {table}"), &[]).await.unwrap()[0].get(0)
    }

    /// Lets every lease and every wait of an operation run out, as time would.
    pub(crate) async fn expire_leases(&self) {
        let expire = "update control.sagas set lease_until = now() - interval '1 second' where finished_at is null";
        self.control().await.query(expire, &[]).await.unwrap();
    }

    /// What a process that died left is taken over until nothing is under way: its sessions may
    /// still be ending.
    pub(crate) async fn settle(&self, tenants: &Tenants) {
        loop {
            self.expire_leases().await;
            tenants.resume_operations().await.unwrap();
            let left = "select count(*) from control.sagas where finished_at is null";
            if self.control().await.query(left, &[]).await.unwrap()[0].get::<_, i64>(0) == 0 {
                return;
            }
        }
    }

    /// Everything there is, wherever it lives: to compare before and after. Of a tenant's own
    /// place only that it is there. The records of operations are not part of it.
    pub(crate) async fn inventory(&self) -> Vec<String> {
        const CONTROL: &str = "
            select 'tenant ' || t::text from control.tenants t union all
            select 'user ' || t::text from control.users t union all
            select 'membership ' || t::text from control.memberships t union all
            select 'invitation ' || t::text from control.invitations t union all
            select 'target ' || t::text from control.targets t union all
            select 'database ' || datname from pg_database where starts_with(datname, $1) order by 1";
        const DATA: &str = "
            select 'table ' || schemaname || '.' || tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')
            union all select 'schema ' || nspname from pg_namespace where nspname not like 'pg\\_%'
            union all select 'ledger ' || target || name from rowhouse._migrations
            union all select 'members ' || count(*) from rowhouse.members
            union all select 'customers ' || count(*) from app.customers
            union all select 'notes ' || count(*) from app.notes
            order by 1";
        let prefix = self.test.databases.home().roles.database("");
        let mut found = self.control().await.query(CONTROL, params![prefix]).await.unwrap();
        found.extend(self.data().await.query(DATA, &[]).await.unwrap());
        found.iter().map(|row| row.get(0)).collect()
    }
}

/// Somebody who signs up, with an address made from the slug.
pub(crate) fn sign_up(slug: &str, placement: Placement) -> Provision {
    Provision {
        name: format!("The {slug}"),
        slug: Some(slug.parse().unwrap()),
        plan: None,
        placement,
        owner: ProvisionOwner::NewUser {
            email: format!("owner@{slug}.example").parse().unwrap(),
            password_hash: "(hash)".into(),
            first_name: "Olga".into(),
            last_name: "Owner".into(),
            email_verified: false,
        },
    }
}

/// A tenant by that slug.
pub(crate) async fn provision(tenants: &Arc<Tenants>, slug: &str, placement: Placement) -> Arc<Tenant> {
    tenants.provision(sign_up(slug, placement)).await.unwrap().tenant
}

pub(crate) async fn try_provision(
    tenants: &Arc<Tenants>,
    slug: &str,
    placement: Placement,
) -> Result<Provisioned, ApiError> {
    tenants.provision(sign_up(slug, placement)).await
}

/// Polls a future so many times, then drops it, as a disconnecting client does. True if it ended.
pub(crate) async fn drop_after_polls(work: impl Future, polls: usize) -> bool {
    let mut work = Box::pin(work);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(false);
        }
        left -= 1;
        work.as_mut().poll(context).map(|_| true)
    })
    .await
}
