//! The embedded server of a data directory, shared by the commands on it: whoever holds its
//! lock runs it, everybody else attaches through its socket.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rowhouse_postgres::{ClusterSettings, ManagedServer, RoleNames};
use rowhouse_types::MasterKey;
use secrecy::ExposeSecret as _;

use crate::settings::Settings;

/// How long a command waits for the holder of the lock to have the server ready.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(60);

/// A file lock that names its holder; freed when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// The lock is held by somebody else.
#[derive(Debug, thiserror::Error)]
#[error("{holder}")]
pub(crate) struct Held {
    /// What the holder wrote: its command and process id.
    pub(crate) holder: String,
}

impl Lock {
    /// Takes the lock, or tells who holds it.
    pub(crate) fn take(path: &Path, holder: &str) -> anyhow::Result<Result<Self, Held>> {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut file = open.with_context(|| format!("cannot open the lock file {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                file.rewind()?;
                write!(file, "{holder} (process {})", std::process::id())?;
                Ok(Ok(Self { _file: file }))
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                Ok(Err(Held { holder }))
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }
}

const PUBLIC_URL_FILE: &str = "public-url";

/// Keeps what clients call the service, so that tokens and links of other commands are its own.
pub(crate) fn remember_public_url(data_dir: &Path, url: &str) -> anyhow::Result<()> {
    let path = data_dir.join(PUBLIC_URL_FILE);
    fs::write(&path, url).with_context(|| format!("write {}", path.display()))
}

/// The settings of a command that does not serve: unless somebody chose a public URL, the one
/// under which the data directory was served last.
pub(crate) fn with_public_url(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    let remembered = fs::read_to_string(settings.data_dir.join(PUBLIC_URL_FILE));
    if let (false, Ok(url)) = (settings.public_url_chosen, remembered) {
        settings.public_url = url;
    }
    settings
}

/// A server to work with: one that this process runs, one that another runs, or one of the
/// user's own.
pub(crate) struct Server {
    /// How to reach it.
    pub(crate) settings: ClusterSettings,
    managed: Option<(ManagedServer, Lock)>,
}

impl Server {
    /// Whether this process runs the server.
    pub(crate) fn is_managed_here(&self) -> bool {
        self.managed.is_some()
    }

    /// Stops the server if this process runs it.
    pub(crate) fn stop(self) {
        if let Some((server, _lock)) = self.managed {
            server.stop();
        }
    }
}

/// Makes the data directory, or says why it cannot be used.
pub(crate) fn prepare_data_dir(data_dir: &Path) -> anyhow::Result<PathBuf> {
    let data_dir = std::path::absolute(data_dir)?;
    fs::create_dir_all(&data_dir).with_context(|| {
        format!("cannot create the data directory {}; choose another with --data-dir", data_dir.display())
    })?;
    let probe = data_dir.join(".writable");
    fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)).with_context(|| {
        format!("cannot write to the data directory {}; choose another with --data-dir", data_dir.display())
    })?;
    Ok(data_dir)
}

/// The master key: from `ROWHOUSE_MASTER_KEY`, the file named, or the data directory, where it
/// is made on first use.
pub(crate) fn master_key(settings: &Settings, data_dir: &Path) -> anyhow::Result<MasterKey> {
    if let Ok(text) = std::env::var("ROWHOUSE_MASTER_KEY") {
        return MasterKey::from_base64(&text).context("ROWHOUSE_MASTER_KEY");
    }
    let path = settings.master_key_file.clone().unwrap_or_else(|| data_dir.join("master.key"));
    match fs::read_to_string(&path) {
        Ok(text) => MasterKey::from_base64(&text).with_context(|| path.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && settings.master_key_file.is_none() => {
            let key = MasterKey::generate();
            write_private(&path, key.to_base64().expose_secret())?;
            Ok(key)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read the master key {}", path.display())),
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, text)
        .and_then(|()| fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600)))
        .and_then(|()| fs::rename(&unfinished, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Finds or starts the server that the settings name.
pub(crate) fn open(settings: &Settings, command: &str) -> anyhow::Result<Server> {
    let data_dir = prepare_data_dir(&settings.data_dir)?;
    let master_key = master_key(settings, &data_dir)?;
    let roles = RoleNames::new(&settings.instance);
    if let Some(url) = &settings.database_url {
        let cluster = ClusterSettings::from_url(url, roles, master_key).map_err(anyhow::Error::msg)?;
        return Ok(Server { settings: tuned(cluster, settings)?, managed: None });
    }
    let managed = start_or_attach(settings, &data_dir, command)?;
    let cluster = ManagedServer::settings(&data_dir, roles, master_key)?;
    Ok(Server { settings: tuned(cluster, settings)?, managed })
}

fn tuned(mut cluster: ClusterSettings, settings: &Settings) -> anyhow::Result<ClusterSettings> {
    if let Some(url) = &settings.pooler_url {
        cluster = cluster.behind_pooler(url).map_err(anyhow::Error::msg)?;
    }
    cluster.limits.service_connections_max = settings.connections;
    cluster.limits.statement = settings.statement_timeout;
    cluster.prepared_statements = settings.prepared_statements;
    cluster.pipelining = settings.pipelining;
    Ok(cluster)
}

fn start_or_attach(
    settings: &Settings,
    data_dir: &Path,
    command: &str,
) -> anyhow::Result<Option<(ManagedServer, Lock)>> {
    let deadline = Instant::now() + ATTACH_TIMEOUT;
    loop {
        match Lock::take(&data_dir.join("postgres.lock"), command)? {
            Ok(lock) => {
                let server = ManagedServer::start(data_dir, settings.pg_bin.as_deref(), &[])?;
                return Ok(Some((server, lock)));
            }
            Err(_) if ManagedServer::is_running(data_dir) => return Ok(None),
            // The holder is starting or stopping it.
            Err(held) if Instant::now() > deadline => {
                bail!("the embedded PostgreSQL is held by {} and does not answer", held.holder)
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
