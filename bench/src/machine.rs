//! What the figures were taken on.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::ground::{Ground, output};

/// The machine, the server and the state of the code, as lines of Markdown.
pub(crate) fn describe(ground: &Ground) -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([':', ' ', '\t']);
    let cores = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let total_kb: f64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().split(' ').next()?.parse().ok())
        .unwrap_or(0.0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let server = ground.sql("postgres", "select version()")?;
    let commit = output(Command::new("git").args(["-c", "safe.directory=*", "rev-parse", "--short", "HEAD"]))
        .unwrap_or_else(|_| "unknown".to_owned());
    let changed = output(Command::new("git").args(["-c", "safe.directory=*", "status", "--porcelain"]))
        .is_ok_and(|text| !text.is_empty());
    let date = output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    Ok(format!(
        "- Machine: {cores} cores of {model}, {:.0} GiB, Linux {}.\n- PostgreSQL: {server}.\n- Code: {commit}{}, {date}.",
        total_kb / 1_048_576.0,
        kernel.trim(),
        if changed { " with changes" } else { "" },
    ))
}
