//! Behind a pooler in transaction mode: many tenants on two server connections, none of which
//! remembers whom it served.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use futures_util::future::join_all;

use crate::isolation::{attack_everything, sees_its_own_rows_only};
use crate::service::{ACME, DEMOS, NEIGHBOUR, Service};

/// Debian's pgbouncer, which has no prepared statements in this mode.
struct Pooler {
    child: Child,
    directory: PathBuf,
}

/// Its number in the name of its socket: the socket's directory is its own.
const PORT: u16 = 6432;

impl Pooler {
    /// Starts one before the service's server. It may not run as root, so it runs as whoever owns
    /// the server's directory.
    fn start(service: &Service) -> Self {
        let server = service.data_dir.join("postgres/run");
        let directory = service.data_dir.join("pooler");
        std::fs::create_dir_all(&directory).unwrap();
        let owner = std::fs::metadata(&server).unwrap();
        std::os::unix::fs::chown(&directory, Some(owner.uid()), Some(owner.gid())).unwrap();
        let users = format!("\"rowhouse_service\" \"{}\"\n", service.password("rowhouse_service"));
        std::fs::write(directory.join("users"), users).unwrap();
        let config = format!(
            "[databases]\n* = host={}\n[pgbouncer]\nunix_socket_dir = {}\nlisten_port = {PORT}\npool_mode = transaction\n\
             auth_type = scram-sha-256\nauth_file = {}\ndefault_pool_size = 2\nmax_client_conn = 200\n",
            server.display(),
            directory.display(),
            directory.join("users").display(),
        );
        std::fs::write(directory.join("config.ini"), config).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if owner.uid() != own_uid() {
            command
                .args([format!("--reuid={}", owner.uid()), format!("--regid={}", owner.gid())])
                .arg("--clear-groups");
        }
        let program = if Path::new("/usr/sbin/pgbouncer").exists() { "/usr/sbin/pgbouncer" } else { "pgbouncer" };
        let log = std::fs::File::create(directory.join("log")).unwrap();
        let child = command
            .args(["--", program])
            .arg(directory.join("config.ini"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("pgbouncer runs; scripts/test installs it");
        let pooler = Self { child, directory };
        while !pooler.directory.join(format!(".s.PGSQL.{PORT}")).exists() {
            assert!(!pooler.ended(), "{}", pooler.log());
            std::thread::yield_now();
        }
        pooler
    }

    fn ended(&self) -> bool {
        !Path::new(&format!("/proc/{}/exe", self.child.id())).exists()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn url(&self) -> String {
        format!("postgresql://{}:{PORT}/", self.directory.display().to_string().replace('/', "%2F"))
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").unwrap().uid()
}

#[tokio::test]
async fn behind_a_pooler_in_transaction_mode_nothing_leaks() {
    let mut service = Service::start("solar");
    service.seed_neighbour();
    let pooler = Pooler::start(&service);
    let url = pooler.url();
    for pipelining in ["on", "off"] {
        let settings = ["--pooler-url", &url, "--prepared-statements", "off", "--pipelining", pipelining];
        service = service.restart("solar", &settings);
        join_all(DEMOS.iter().map(|demo| sees_its_own_rows_only(&service, demo))).await;
        attack_everything(&service, &ACME, &NEIGHBOUR).await;
        leave_in_the_middle(&service).await;
        join_all(DEMOS.iter().map(|demo| sees_its_own_rows_only(&service, demo))).await;
        nothing_is_remembered(&service, &pooler);
    }
    let sessions = "select count(distinct pid) from pg_stat_activity where usename = 'rowhouse_service'";
    let sessions: u32 = service.sql_as("rowhouse_owner", "rowhouse_data", sessions).unwrap().parse().unwrap();
    assert!((1..=8).contains(&sessions), "two a database, but {sessions}: the pooler was not used\n{}", pooler.log());
}

/// Requests whose clients go away: at once, or while the answer is made.
async fn leave_in_the_middle(service: &Service) {
    let (ann, neighbour) = (service.owner(&ACME).await, service.owner(&NEIGHBOUR).await);
    for turns in 0..40 {
        for caller in [&ann, &neighbour] {
            let caller = caller.clone();
            let request = tokio::spawn(async move { caller.get("/api/leads?per_page=200&include=projects").await });
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            request.abort();
        }
    }
}

/// Whoever gets one of the server's connections next finds it as if new.
fn nothing_is_remembered(service: &Service, pooler: &Pooler) {
    const LEFT: &str =
        "select coalesce(current_setting('rowhouse.tenant_id', true), ''), current_setting('search_path')";
    let fresh = service.sql_as("rowhouse_service", "rowhouse_data", LEFT).unwrap();
    assert!(fresh.starts_with('|'), "{fresh}");
    for _ in 0..10 {
        let left = service.sql_at(&pooler.directory, PORT, "rowhouse_service", "rowhouse_data", LEFT);
        assert_eq!(left.unwrap(), fresh);
    }
}
