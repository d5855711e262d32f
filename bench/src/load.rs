//! The load generators: pgbench for PostgreSQL itself, wrk for everything that speaks HTTP. Both
//! choose a random tenant for every request.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::ground::{Ground, output};

/// pgbench takes at most 128 scripts.
const SCRIPTS_MAX: usize = 120;
/// Threads of the generators: what they cost is taken from the same two cores.
const THREADS: u32 = 2;

/// What a run of a generator found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// Requests or transactions a second.
    pub(crate) per_second: f64,
    /// Mean time of one, in milliseconds.
    pub(crate) mean_ms: f64,
}

/// How hard to load, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pressure {
    /// Connections.
    pub(crate) clients: u32,
    /// Seconds.
    pub(crate) seconds: u32,
}

/// Writes one pgbench script for each tenant: a literal tenant costs nothing at run time, so
/// that the yardstick is not slowed by choosing one.
pub(crate) fn write_scripts(
    ground: &Ground,
    name: &str,
    tenants: &[String],
    script: impl Fn(&str) -> String,
) -> Result<Vec<PathBuf>> {
    let directory = ground.directory.join("ground/scripts");
    fs::create_dir_all(&directory)?;
    let mut paths = Vec::new();
    for (index, tenant) in tenants.iter().take(SCRIPTS_MAX).enumerate() {
        let path = directory.join(format!("{name}-{index}.sql"));
        fs::write(&path, script(tenant))?;
        paths.push(path);
    }
    Ok(paths)
}

/// Runs scripts, chosen at random, with prepared statements.
pub(crate) fn pgbench(ground: &Ground, database: &str, scripts: &[PathBuf], pressure: Pressure) -> Result<Rate> {
    let mut command = ground.client(ground.program("pgbench")?, database);
    command.args(["-n", "-M", "prepared"]);
    command.args(["-c", &pressure.clients.to_string(), "-j", &THREADS.min(pressure.clients).to_string()]);
    command.args(["-T", &pressure.seconds.to_string()]);
    for script in scripts {
        command.arg("-f").arg(script);
    }
    let text = output(&mut command)?;
    let number = |label: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
        rest.trim().split(' ').next()?.parse::<f64>().ok()
    };
    let failed = number("number of failed transactions:").unwrap_or(0.0);
    ensure!(failed == 0.0, "pgbench: transactions failed:\n{text}");
    let per_second = number("tps =").with_context(|| format!("pgbench printed no rate:\n{text}"))?;
    let mean_ms = number("latency average =").with_context(|| format!("pgbench printed no latency:\n{text}"))?;
    Ok(Rate { per_second, mean_ms })
}

/// Requests in a file for wrk, separated by NUL.
pub(crate) fn write_requests(ground: &Ground, name: &str, requests: &[String]) -> Result<PathBuf> {
    let directory = ground.directory.join("ground/requests");
    fs::create_dir_all(&directory)?;
    let path = directory.join(name);
    fs::write(&path, requests.join("\0"))?;
    Ok(path)
}

/// Sends requests of a file, chosen at random. Any answer that is not of success is an error.
pub(crate) fn wrk(port: u16, requests: &Path, pressure: Pressure) -> Result<Rate> {
    let mut command = std::process::Command::new("wrk");
    command.args(["-c", &pressure.clients.to_string(), "-t", &THREADS.min(pressure.clients).to_string()]);
    command.args(["-d", &format!("{}s", pressure.seconds), "--timeout", "30s", "-s", "bench/wrk/requests.lua"]);
    command.arg(format!("http://127.0.0.1:{port}/")).arg("--").arg(requests);
    let text = output(&mut command)?;
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT ")).context("wrk printed no result")?;
    let figures: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let &[count, duration_us, mean_us, errors, lost] = figures.as_slice() else {
        anyhow::bail!("wrk printed {line:?}")
    };
    ensure!(errors == 0.0 && lost == 0.0, "{errors} requests were refused and {lost} lost");
    ensure!(count > 0.0, "nothing was answered");
    Ok(Rate { per_second: count / duration_us * 1e6, mean_ms: mean_us / 1e3 })
}
