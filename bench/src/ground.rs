//! The server that everything is measured on: a managed PostgreSQL with nothing else in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rowhouse_postgres::{ClusterSettings, ManagedServer, PostgresBinaries, RoleNames};
use rowhouse_types::MasterKey;

/// Commits do not wait for the disk: it would hide what the programs cost behind what a flush
/// costs, and make every ratio one. Everything else is as Rowhouse runs its own server.
pub(crate) const TUNING: &[(&str, &str)] = &[("synchronous_commit", "off"), ("max_connections", "400")];
const SUPERUSER: &str = "postgres";
const PORT: &str = "5432";

/// A running server and the programs that are measured on it.
pub(crate) struct Ground {
    server: ManagedServer,
    /// PostgreSQL's programs.
    pub(crate) binaries: PostgresBinaries,
    /// The rowhouse program.
    pub(crate) rowhouse: PathBuf,
    /// Where everything is kept.
    pub(crate) directory: PathBuf,
    password: String,
}

impl Ground {
    /// Starts an empty server below `directory`.
    pub(crate) fn start(directory: &Path, rowhouse: &Path) -> Result<Self> {
        let home = directory.join("ground");
        if home.exists() {
            fs::remove_dir_all(&home).with_context(|| format!("empty {}", home.display()))?;
        }
        fs::create_dir_all(&home).with_context(|| format!("create {}", home.display()))?;
        let named = std::env::var_os("ROWHOUSE_PG_BIN").map(PathBuf::from);
        let binaries = PostgresBinaries::find(named.as_deref(), None)?;
        let server = ManagedServer::start(&home, named.as_deref(), TUNING)?;
        let password = fs::read_to_string(home.join("postgres/superuser.password"))?.trim().to_owned();
        Ok(Self { server, binaries, rowhouse: rowhouse.to_owned(), directory: directory.to_owned(), password })
    }

    /// Stops the server.
    pub(crate) fn stop(self) {
        self.server.stop();
    }

    /// The directory of the server's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("ground/postgres/run")
    }

    /// The server as a URL, for the superuser, whom row-level security does not concern.
    pub(crate) fn url(&self) -> String {
        let host = self.socket().display().to_string().replace('/', "%2F");
        format!("postgresql://{SUPERUSER}:{}@{host}:{PORT}/postgres", self.password)
    }

    /// Settings of an installation that the benchmark makes itself, without Rowhouse's services.
    pub(crate) fn cluster(&self, instance: &str) -> Result<ClusterSettings> {
        let home = self.directory.join("ground");
        Ok(ManagedServer::settings(&home, RoleNames::new(instance), MasterKey::generate())?)
    }

    /// A program with the environment by which PostgreSQL's clients, and all that use its
    /// library, find the server.
    pub(crate) fn client(&self, program: impl AsRef<Path>, database: &str) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env("PGHOST", self.socket())
            .env("PGPORT", PORT)
            .env("PGUSER", SUPERUSER)
            .env("PGPASSWORD", &self.password)
            .env("PGDATABASE", database);
        command
    }

    /// Runs SQL as the superuser and gives its answer as text, one row a line.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let program = self.program("psql")?;
        output(self.client(program, database).args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]))
    }

    /// One of PostgreSQL's client programs: beside the server's, else on the path.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let beside = self.binaries.directory.join(name);
        if beside.exists() {
            return Ok(beside);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.exists());
        found.with_context(|| format!("{name} was not found; install PostgreSQL's client programs"))
    }

    /// The process id of the server.
    pub(crate) fn postmaster(&self) -> Result<u32> {
        let path = self.directory.join("ground/postgres/data/postmaster.pid");
        let text = fs::read_to_string(path)?;
        Ok(text.lines().next().unwrap_or_default().trim().parse()?)
    }

    /// Writes out what the last part left in memory, so that the next does not pay for it.
    pub(crate) fn settle(&self) -> Result<()> {
        self.sql("postgres", "checkpoint").map(drop)
    }
}

/// Runs a command to its end and gives what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{} failed ({}):\n{}{}",
            command.get_program().display(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
