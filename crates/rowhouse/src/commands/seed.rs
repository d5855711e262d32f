//! `rowhouse seed …`

use std::process::ExitCode;
use std::time::Instant;

use serde_json::json;

use crate::cli::SeedCommand;
use crate::compose::{Rowhouse, load_app};
use crate::output::Output;
use crate::settings::Settings;

pub(super) async fn run(command: SeedCommand, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let SeedCommand::Demo { tenants, rows, placement } = command;
    let rowhouse = Rowhouse::open(settings, load_app(settings)?, "rowhouse seed").await?;
    let started = Instant::now();
    let progress = |number: u32| {
        if output.interactive() {
            output.message(&format!("tenant {number} of {tenants}"));
        }
    };
    let made = rowhouse.tenants.seed_demo(tenants, rows, placement.into(), &progress).await;
    rowhouse.close().await;
    let mut slugs = made?;
    slugs.sort();
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    output.result(&json!({ "tenants": slugs, "duration_ms": duration_ms }), || {
        format!("{} tenants with about {rows} rows in {:.1} s", slugs.len(), started.elapsed().as_secs_f64())
    });
    Ok(ExitCode::SUCCESS)
}
