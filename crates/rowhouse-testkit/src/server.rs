//! One managed PostgreSQL per test program, without durability; databases per test.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rowhouse_postgres::{
    Authorities, CONTROL_TARGET, ClusterSettings, Databases, ManagedServer, MigrationSet, PLATFORM_TARGET, RoleNames,
    apply_migrations, bootstrap,
};
use rowhouse_types::MasterKey;
use uuid::Uuid;

/// Speed over safety: a test's data dies with its program.
const TUNING: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("max_connections", "500"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
];

struct TestServer {
    // Held so that it lives as long as the program; it dies with it.
    _server: ManagedServer,
    directory: PathBuf,
    master_key: MasterKey,
}

static SERVER: OnceLock<TestServer> = OnceLock::new();

fn server() -> &'static TestServer {
    SERVER.get_or_init(|| {
        remove_leftovers();
        let directory = std::env::temp_dir().join(format!("rowhouse-test-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let named = std::env::var_os("ROWHOUSE_PG_BIN").map(PathBuf::from);
        let server = ManagedServer::start(&directory, named.as_deref(), TUNING).expect("PostgreSQL starts");
        TestServer { _server: server, directory, master_key: MasterKey::generate() }
    })
}

/// Directories of test programs that have ended.
fn remove_leftovers() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("rowhouse-test-"));
        if pid.is_some_and(|pid| !std::path::Path::new("/proc").join(pid).exists()) {
            // Another program may be removing the same one.
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}

/// Settings that reach the test server with databases of a new random prefix; nothing exists
/// there yet.
pub fn server_settings() -> ClusterSettings {
    let server = server();
    let prefix = format!("t{}", &Uuid::new_v4().simple().to_string()[..12]);
    let roles = RoleNames::new("test").with_databases(&prefix);
    ManagedServer::settings(&server.directory, roles, server.master_key.clone()).expect("the server was started here")
}

/// A control and a data database of one test's own, with the platform's ground in both.
pub struct TestDatabases {
    /// The databases.
    pub databases: Arc<Databases>,
    /// Both authorities.
    pub authorities: Authorities,
}

impl TestDatabases {
    /// Makes the databases; `control` are the domains' control migrations to apply.
    pub async fn start(control: &[&[(&str, &str)]]) -> Self {
        Self::start_with(control, |_| {}).await
    }

    /// The same with settings of its own.
    pub async fn start_with(control: &[&[(&str, &str)]], adjust: impl FnOnce(&mut ClusterSettings)) -> Self {
        let mut settings = server_settings();
        adjust(&mut settings);
        bootstrap(&settings).await.expect("bootstrap the test server");
        let roles = settings.roles.clone();
        let (databases, authorities) = Databases::open(settings);
        let scope = authorities.system.scope("test set-up");
        let mut connection = databases.control(&scope).await.expect("connect to the control database");
        let set = MigrationSet::control(control, &roles);
        apply_migrations(&mut connection, &set, CONTROL_TARGET, "").await.expect("migrate the control database");
        let mut connection =
            databases.system(&scope, &databases.pool_location()).await.expect("connect to the data database");
        let set = MigrationSet::platform(&roles);
        apply_migrations(&mut connection, &set, PLATFORM_TARGET, "").await.expect("migrate the data database");
        Self { databases, authorities }
    }
}
