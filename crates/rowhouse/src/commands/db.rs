//! `rowhouse db …`: the embedded PostgreSQL.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use rowhouse_postgres::ManagedServer;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::DbCommand;
use crate::compose::{Rowhouse, load_app};
use crate::local::{self, Lock, prepare_data_dir};
use crate::output::Output;
use crate::settings::{Settings, SettingsError};

/// The port that belongs to the socket; nothing listens on a network.
const PORT: u16 = 5432;

pub(super) async fn run(command: DbCommand, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    if settings.database_url.is_some() && !matches!(command, DbCommand::Psql { .. }) {
        bail!("--database-url names a server of your own; db start, stop and status are for the embedded one");
    }
    match command {
        DbCommand::Start => start(settings, output).await,
        DbCommand::Stop => stop(settings, output),
        DbCommand::Status => status(settings, output),
        DbCommand::Psql { .. } if output.json => {
            let message = "db psql prints what psql prints, so it has no --json; psql has: -- --csv -c 'select …'";
            Err(SettingsError(vec![message.into()]).into())
        }
        DbCommand::Psql { tenant, arguments } => psql(settings, tenant, &arguments).await,
    }
}

async fn start(settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let opening = settings.clone();
    let server = tokio::task::spawn_blocking(move || local::open(&opening, "rowhouse db start")).await??;
    if !server.is_managed_here() {
        bail!("the embedded PostgreSQL runs already; see: rowhouse db status");
    }
    // Before anybody is told that Ctrl-C stops it.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    if output.json {
        let socket = socket_directory(&prepare_data_dir(&settings.data_dir)?);
        output.result(&json!({ "running": true, "socket": socket, "port": PORT }), String::new);
    }
    output.message(&format!("PostgreSQL is ready at {}; Ctrl-C stops it", server.settings.address()));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tokio::task::spawn_blocking(move || server.stop()).await?;
    Ok(ExitCode::SUCCESS)
}

/// Only a server that `db start` runs is stopped: one under `serve` belongs to that.
fn stop(settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let data_dir = prepare_data_dir(&settings.data_dir)?;
    let held = match Lock::take(&data_dir.join("postgres.lock"), "rowhouse db stop")? {
        Ok(_) => {
            output.result(&json!({ "running": false }), || "the embedded PostgreSQL does not run".to_owned());
            return Ok(ExitCode::SUCCESS);
        }
        Err(held) => held.holder,
    };
    let process = held.rsplit_once("(process ").and_then(|(_, rest)| rest.trim_end_matches(')').parse::<u32>().ok());
    let Some(process) = process.filter(|_| held.starts_with("rowhouse db start")) else {
        bail!("the embedded PostgreSQL belongs to {held}; stop that instead");
    };
    let told = Command::new("kill").arg("-TERM").arg(process.to_string()).status().context("run kill")?;
    if !told.success() {
        bail!("process {process} could not be told to stop");
    }
    output.result(&json!({ "running": false, "process": process }), || format!("stopping ({held})"));
    Ok(ExitCode::SUCCESS)
}

/// The directory of the server's socket.
fn socket_directory(data_dir: &Path) -> String {
    data_dir.join("postgres/run").display().to_string()
}

fn status(settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let data_dir = prepare_data_dir(&settings.data_dir)?;
    let running = ManagedServer::is_running(&data_dir);
    let socket = socket_directory(&data_dir);
    output.result(&json!({ "running": running, "socket": socket, "port": PORT }), || {
        if running {
            format!("running; socket {socket}, port {PORT}; open it with: rowhouse db psql")
        } else {
            "not running".to_owned()
        }
    });
    Ok(ExitCode::SUCCESS)
}

/// As the owner, or as the service role with one tenant set, which sees what that tenant sees.
async fn psql(settings: &Settings, tenant: Option<String>, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (location, options) = match tenant {
        None => (None, String::new()),
        Some(name) => {
            let rowhouse = Rowhouse::open(settings, load_app(settings)?, "rowhouse db psql").await?;
            let found = super::tenant::find(&rowhouse, &name).await;
            let closing = found.as_ref().map(|tenant| tenant.clone());
            let options = closing.map(|tenant| {
                format!("-c rowhouse.tenant_id={} -c search_path={},shared,rowhouse", tenant.id, tenant.location.schema)
            });
            let location = found.as_ref().map(|tenant| tenant.location.clone());
            rowhouse.close().await;
            (Some(location.map_err(|error| anyhow::anyhow!("{error}"))?), options.unwrap_or_default())
        }
    };
    let opening = settings.clone();
    let server = tokio::task::spawn_blocking(move || local::open(&opening, "rowhouse db psql")).await??;
    // On a server that no other command has used yet there is nobody to connect as.
    rowhouse_postgres::bootstrap(&server.settings).await?;
    let roles = &server.settings.roles;
    let user = if location.is_some() { roles.service() } else { roles.owner() };
    let database = location.as_ref().map_or_else(|| roles.data_database(), |location| location.database.to_string());
    let (host, port) =
        server.settings.address().rsplit_once(':').map(|(h, p)| (h.to_owned(), p.to_owned())).unwrap_or_default();
    let mut command = Command::new("psql");
    command
        .args(["-h", &host, "-p", &port, "-U", &user, "-d", &database])
        .args(arguments)
        .env("PGPASSWORD", server.settings.master_key.password(&user).expose_secret())
        .envs(server.settings.tls_environment())
        .env("PGOPTIONS", options);
    if server.is_managed_here() {
        // The server must outlive psql, so this process stays, also when Ctrl-C reaches both:
        // there it takes back a statement and is no reason to end.
        let _interrupts = signal(SignalKind::interrupt())?;
        let status = tokio::task::spawn_blocking(move || command.status()).await?.context("run psql")?;
        tokio::task::spawn_blocking(move || server.stop()).await?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    Err(command.exec()).context("run psql; install PostgreSQL's client (Debian: apt-get install postgresql-client)")
}
