//! `rowhouse seed …`

use std::process::ExitCode;
use std::time::Instant;

use serde_json::json;

use crate::cli::{PlacementArg, SeedCommand};
use crate::compose::Rowhouse;
use crate::output::Output;
use crate::settings::Settings;

pub(super) async fn run(command: SeedCommand, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let SeedCommand::Demo { tenants, rows, placement } = command;
    let made = async |rowhouse: &Rowhouse| made(rowhouse, output, tenants, rows, placement).await;
    Rowhouse::work(settings, output, "rowhouse seed", made).await
}

async fn made(
    rowhouse: &Rowhouse,
    output: Output,
    tenants: u32,
    rows: u64,
    placement: PlacementArg,
) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let progress = |number: u32| {
        if output.interactive() {
            output.message(&format!("tenant {number} of {tenants}"));
        }
    };
    let mut slugs = rowhouse.tenants.seed_demo(tenants, rows, placement.into(), &progress).await?;
    slugs.sort();
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    output.result(&json!({ "tenants": slugs, "duration_ms": duration_ms }), || {
        format!("{} tenants with about {rows} rows in {:.1} s", slugs.len(), started.elapsed().as_secs_f64())
    });
    Ok(ExitCode::SUCCESS)
}
