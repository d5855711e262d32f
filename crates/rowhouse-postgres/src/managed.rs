//! The managed local server: Rowhouse's own PostgreSQL, in its data directory, on a socket
//! that nobody else can reach. It starts in half a second, dies with its parent, and as root
//! runs under an unprivileged account.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use rowhouse_types::MasterKey;
use secrecy::ExposeSecret;
use tokio_postgres::Config;

use crate::cluster::{ClusterSettings, RoleNames};

/// The socket's port number: any will do, the directory is private.
const PORT: u16 = 5432;
const SUPERUSER: &str = "postgres";
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Accounts the server may run as when Rowhouse runs as root, in order of preference.
const UNPRIVILEGED: [&str; 3] = ["rowhouse", "postgres", "nobody"];
/// A socket's path may have 107 bytes (sockaddr_un); this is what PostgreSQL appends.
const SOCKET_PATH_MAX: usize = 107 - "/.s.PGSQL.5432".len();

/// PostgreSQL's server programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresBinaries {
    /// The directory with `postgres` and `initdb`.
    pub directory: PathBuf,
    /// The major version, such as 15.
    pub major: u32,
}

/// No usable server programs.
#[derive(Debug, thiserror::Error)]
pub enum BinariesError {
    /// None were found.
    #[error(
        "PostgreSQL's server programs were not found. Install them (Debian: apt-get install postgresql), \
         or name their directory with ROWHOUSE_PG_BIN, or use a server of your own with --database-url"
    )]
    Missing,
    /// The data directory was made by another major version.
    #[error(
        "the data directory was made by PostgreSQL {data}, but only {found:?} are installed. \
         Install PostgreSQL {data}, or start with a new --data-dir"
    )]
    OtherVersion {
        /// The version of the data.
        data: u32,
        /// The versions found.
        found: Vec<u32>,
    },
}

impl PostgresBinaries {
    /// Finds the programs: `ROWHOUSE_PG_BIN`, then the newest under `/usr/lib/postgresql`, then
    /// those on the path. With `major`, only that version will do.
    ///
    /// # Errors
    /// Says what to install.
    pub fn find(named: Option<&Path>, major: Option<u32>) -> Result<Self, BinariesError> {
        let mut found: Vec<Self> = Vec::new();
        if let Some(directory) = named {
            found.extend(Self::at(directory));
        } else {
            let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
            found.extend(installed.filter_map(|entry| Self::at(&entry.path().join("bin"))));
            found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
            let path = std::env::var_os("PATH").unwrap_or_default();
            found.extend(std::env::split_paths(&path).filter_map(|directory| Self::at(&directory)));
        }
        let versions: Vec<u32> = found.iter().map(|binaries| binaries.major).collect();
        match major {
            None => found.into_iter().find(|binaries| binaries.major >= 15).ok_or(BinariesError::Missing),
            Some(data) => found
                .into_iter()
                .find(|binaries| binaries.major == data)
                .ok_or(BinariesError::OtherVersion { data, found: versions }),
        }
    }

    fn at(directory: &Path) -> Option<Self> {
        if !directory.join("initdb").exists() {
            return None;
        }
        let output = Command::new(directory.join("postgres")).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        // "postgres (PostgreSQL) 15.20 (Debian …)"
        let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        let major = version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        Some(Self { directory: directory.to_owned(), major })
    }
}

/// Why the managed server could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ManagedError {
    /// No server programs.
    #[error(transparent)]
    Binaries(#[from] BinariesError),
    /// A file or directory could not be made or read.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The data directory's path is too long for a socket in it.
    #[error("the path {0} is too long for a socket (at most {SOCKET_PATH_MAX} bytes); choose a shorter --data-dir")]
    PathTooLong(PathBuf),
    /// No account to run the server as.
    #[error("running as root, and none of the accounts rowhouse, postgres or nobody exists to run the server as")]
    NoAccount,
    /// `initdb` or `postgres` failed.
    #[error("{program} failed ({status}): {output}")]
    Failed {
        /// The program.
        program: &'static str,
        /// Its end.
        status: ExitStatus,
        /// The last it said.
        output: String,
    },
    /// It did not answer in time.
    #[error("the server did not accept connections within {} s; its log is {log}", START_TIMEOUT.as_secs())]
    Timeout {
        /// Its log file.
        log: PathBuf,
    },
}

/// A running server that belongs to this process. Stops when dropped.
pub struct ManagedServer {
    home: PathBuf,
    stop: Option<mpsc::SyncSender<()>>,
    supervisor: Option<std::thread::JoinHandle<()>>,
}

impl ManagedServer {
    /// Starts the server in `data_dir/postgres`, making it first if need be. Blocks until it
    /// accepts connections.
    ///
    /// # Errors
    /// Says what failed and what to do.
    pub fn start(data_dir: &Path, named: Option<&Path>, tuning: &[(&str, &str)]) -> Result<Self, ManagedError> {
        let home = prepare_home(data_dir)?;
        let account = account()?;
        let existing = fs::read_to_string(home.join("data/PG_VERSION")).ok().and_then(|text| text.trim().parse().ok());
        let binaries = PostgresBinaries::find(named, existing)?;
        give(&home, account.as_ref())?;
        if existing.is_none() {
            initialise(&home, &binaries, account.as_ref())?;
        }
        wait_for_previous(&home);
        let (stop, supervisor) = supervise(&home, &binaries, account, tuning)?;
        let server = Self { home, stop: Some(stop), supervisor: Some(supervisor) };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// How to reach a managed server that lives in `data_dir`, whoever started it.
    pub fn settings(data_dir: &Path, roles: RoleNames, master_key: MasterKey) -> Result<ClusterSettings, ManagedError> {
        let home = absolute(data_dir)?.join("postgres");
        let password = fs::read_to_string(home.join("superuser.password")).map_err(|source| ManagedError::Io {
            what: "read",
            path: home.join("superuser.password"),
            source,
        })?;
        let mut base = Config::new();
        base.host_path(home.join("run")).port(PORT).user(SUPERUSER).password(password.trim()).dbname("postgres");
        Ok(ClusterSettings::from_config(base, roles, master_key))
    }

    /// Whether a server of this data directory accepts connections now.
    pub fn is_running(data_dir: &Path) -> bool {
        absolute(data_dir).is_ok_and(|path| accepts(&path.join("postgres")))
    }

    /// Stops the server and waits for its clean end.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(supervisor) = self.supervisor.take() {
            // A panic of the supervisor has been reported on its own thread.
            let _ = supervisor.join();
        }
    }

    fn wait_until_ready(&self) -> Result<(), ManagedError> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if accepts(&self.home) {
                return Ok(());
            }
            if self.supervisor.as_ref().is_none_or(std::thread::JoinHandle::is_finished) {
                return Err(ManagedError::Failed {
                    program: "postgres",
                    status: ExitStatus::default(),
                    output: last_lines(&self.home.join("log"), 5),
                });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(ManagedError::Timeout { log: self.home.join("log") })
    }
}

impl Drop for ManagedServer {
    fn drop(&mut self) {
        self.end();
    }
}

fn absolute(path: &Path) -> Result<PathBuf, ManagedError> {
    std::path::absolute(path).map_err(|source| ManagedError::Io { what: "resolve", path: path.to_owned(), source })
}

/// Makes `data_dir/postgres` and `…/run`, private to whoever runs the server.
fn prepare_home(data_dir: &Path) -> Result<PathBuf, ManagedError> {
    let home = absolute(data_dir)?.join("postgres");
    let run = home.join("run");
    if run.as_os_str().len() > SOCKET_PATH_MAX {
        return Err(ManagedError::PathTooLong(run));
    }
    fs::create_dir_all(&run).map_err(|source| ManagedError::Io { what: "create", path: run.clone(), source })?;
    for directory in [&home, &run] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(|source| ManagedError::Io {
            what: "restrict",
            path: directory.clone(),
            source,
        })?;
    }
    Ok(home)
}

/// The account to run the server as: none unless this process is root, which PostgreSQL refuses.
fn account() -> Result<Option<User>, ManagedError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let found = UNPRIVILEGED.iter().find_map(|name| User::from_name(name).ok().flatten());
    found.map(Some).ok_or(ManagedError::NoAccount)
}

fn give(home: &Path, account: Option<&User>) -> Result<(), ManagedError> {
    let Some(account) = account else { return Ok(()) };
    for path in [home.to_owned(), home.join("run")] {
        chown(&path, Some(account.uid.as_raw()), Some(account.gid.as_raw())).map_err(|source| ManagedError::Io {
            what: "hand over",
            path,
            source,
        })?;
    }
    // The account must be able to pass through the directories above, or it cannot reach its own.
    for parent in home.ancestors().skip(1) {
        let Ok(metadata) = fs::metadata(parent) else { continue };
        if metadata.permissions().mode() & 0o001 == 0 {
            return Err(ManagedError::Io {
                what: "let the account of the server pass through",
                path: parent.to_owned(),
                source: io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "its mode forbids others to enter; choose another --data-dir, or chmod o+x it",
                ),
            });
        }
    }
    Ok(())
}

fn as_account(command: &mut Command, account: Option<&User>) {
    if let Some(account) = account {
        // Supplementary groups of root are dropped by the standard library when a uid is set.
        command.uid(account.uid.as_raw()).gid(account.gid.as_raw()).env("HOME", &account.dir);
    }
}

fn initialise(home: &Path, binaries: &PostgresBinaries, account: Option<&User>) -> Result<(), ManagedError> {
    let password_file = home.join("superuser.password");
    let password = MasterKey::generate().password(SUPERUSER);
    let write = |source| ManagedError::Io { what: "write", path: password_file.clone(), source };
    fs::write(&password_file, password.expose_secret()).map_err(write)?;
    fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).map_err(write)?;
    if let Some(account) = account {
        chown(&password_file, Some(account.uid.as_raw()), Some(account.gid.as_raw())).map_err(write)?;
    }
    // A crash inside initdb would leave half a cluster that looks like a whole one; it is
    // built beside and renamed when complete.
    let unfinished = home.join("data.unfinished");
    let _ = fs::remove_dir_all(&unfinished);
    let mut command = Command::new(binaries.directory.join("initdb"));
    command
        .arg("-D")
        .arg(&unfinished)
        .args(["-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8", "--data-checksums", "--no-instructions"])
        .args(["--auth-local=scram-sha-256", "--auth-host=reject"])
        .arg(format!("--pwfile={}", password_file.display()))
        .current_dir("/")
        .stdin(Stdio::null());
    as_account(&mut command, account);
    let output = command.output().map_err(|source| ManagedError::Io {
        what: "run",
        path: binaries.directory.join("initdb"),
        source,
    })?;
    if !output.status.success() {
        let output_text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(ManagedError::Failed { program: "initdb", status: output.status, output: output_text });
    }
    fs::rename(&unfinished, home.join("data")).map_err(|source| ManagedError::Io {
        what: "put in place",
        path: home.join("data"),
        source,
    })
}

/// A server whose parent was killed is still shutting down; starting beside it would fail.
fn wait_for_previous(home: &Path) {
    let pid_file = home.join("data/postmaster.pid");
    let deadline = Instant::now() + STOP_TIMEOUT;
    while Instant::now() < deadline {
        let Ok(text) = fs::read_to_string(&pid_file) else { return };
        let alive = text
            .lines()
            .next()
            .and_then(|line| line.trim().parse().ok())
            .is_some_and(|pid| kill(Pid::from_raw(pid), None).is_ok() && is_postgres(pid));
        if !alive {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_postgres(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim().starts_with("postgres"))
}

type Supervisor = (mpsc::SyncSender<()>, std::thread::JoinHandle<()>);

/// Runs the server as a child of a thread of its own: the death signal fires when the thread
/// that started the child ends, so that thread must live as long as the server.
fn supervise(
    home: &Path,
    binaries: &PostgresBinaries,
    account: Option<User>,
    tuning: &[(&str, &str)],
) -> Result<Supervisor, ManagedError> {
    let program = binaries.directory.join("postgres");
    let log_path = home.join("log");
    let log = fs::File::create(&log_path).map_err(|source| ManagedError::Io {
        what: "create",
        path: log_path.clone(),
        source,
    })?;
    let errors = log.try_clone().map_err(|source| ManagedError::Io { what: "open", path: log_path, source })?;
    let mut command = Command::new(&program);
    command
        .arg("-D")
        .arg(home.join("data"))
        .arg("-k")
        .arg(home.join("run"))
        .args(["-p", &PORT.to_string(), "-c", "listen_addresses=", "-c", "wal_level=logical"])
        .args(["-c", "max_connections=200", "-c", "shared_buffers=256MB", "-c", "unix_socket_permissions=0700"])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .current_dir("/")
        // A group of its own: Ctrl-C reaches Rowhouse only, which then stops the server in order.
        .process_group(0);
    for (name, value) in tuning {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    as_account(&mut command, account.as_ref());
    die_with_parent(&mut command);
    take_turns(&mut command);
    let (stop, stopped) = mpsc::sync_channel::<()>(1);
    let (started, start) = mpsc::sync_channel::<io::Result<()>>(1);
    let supervisor = std::thread::Builder::new()
        .name("postgres".into())
        .spawn(move || match command.spawn() {
            Ok(child) => {
                let _ = started.send(Ok(()));
                attend(child, &stopped);
            }
            Err(error) => drop(started.send(Err(error))),
        })
        .map_err(|source| ManagedError::Io { what: "start a thread for", path: program.clone(), source })?;
    match start.recv() {
        Ok(Ok(())) => Ok((stop, supervisor)),
        Ok(Err(source)) => Err(ManagedError::Io { what: "run", path: program, source }),
        Err(_) => Err(ManagedError::Io { what: "run", path: program, source: io::ErrorKind::BrokenPipe.into() }),
    }
}

#[expect(unsafe_code, reason = "the death signal can only be set between fork and exec, after the uid")]
fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe, and the closure allocates nothing. The standard
    // library runs it after setuid, which would clear the setting.
    unsafe {
        command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Some(Signal::SIGINT)).map_err(io::Error::from));
    }
}

/// Has the server's processes, when they are woken, wait until whoever runs has done its turn
/// (`SCHED_BATCH`, sched(7)); their share of the processor stays the same. Otherwise each statement
/// that arrives while another is answered interrupts it (measured: a fifth of an insert's time).
#[expect(unsafe_code, reason = "the policy is the child's, and its children inherit it")]
fn take_turns(command: &mut Command) {
    // SAFETY: sched_setscheduler is a system call that reads the structure it is given, and the
    // closure allocates nothing. A system that refuses it runs the server as any other program.
    unsafe {
        command.pre_exec(|| {
            let parameters = libc::sched_param { sched_priority: 0 };
            libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters);
            Ok(())
        });
    }
}

/// Waits for the stop signal or the child's own end; then makes sure that it has ended.
fn attend(mut child: Child, stopped: &mpsc::Receiver<()>) {
    let pid = Pid::from_raw(child.id().cast_signed());
    while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(Duration::from_millis(200)) {
        if let Ok(Some(status)) = child.try_wait() {
            tracing::error!(%status, "the managed PostgreSQL server ended by itself");
            return;
        }
    }
    // SIGINT is PostgreSQL's fast shutdown: it ends sessions and checkpoints.
    let _ = kill(pid, Signal::SIGINT);
    let deadline = Instant::now() + STOP_TIMEOUT;
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    tracing::warn!("the managed PostgreSQL server did not stop in time; it is told to quit at once");
    let _ = kill(pid, Signal::SIGQUIT);
    let _ = child.wait();
}

/// Whether the server answers on its socket. It writes "ready" as the last line of its pid file.
fn accepts(home: &Path) -> bool {
    let ready = fs::read_to_string(home.join("data/postmaster.pid"))
        .is_ok_and(|text| text.lines().nth(7).is_some_and(|line| line.trim() == "ready"));
    let socket = home.join("run").join(format!(".s.PGSQL.{PORT}"));
    ready && std::os::unix::net::UnixStream::connect(socket).is_ok()
}

fn last_lines(path: &Path, count: usize) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
