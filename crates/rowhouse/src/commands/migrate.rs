//! `rowhouse migrate …`

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rowhouse_tenants::{FleetProgress, FleetReport};
use serde_json::json;

use crate::cli::{MigrateCommand, TargetArg};
use crate::compose::{Ground, Rowhouse, load_app};
use crate::output::{Output, table};
use crate::settings::Settings;

pub(super) async fn run(command: MigrateCommand, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    if let MigrateCommand::Up { target, dry_run: false, .. } = &command
        && target.target == TargetArg::Control
    {
        return control(settings, output).await;
    }
    let app = load_app(settings)?;
    let rowhouse = match &command {
        MigrateCommand::Plan(_)
        | MigrateCommand::Status { .. }
        | MigrateCommand::Up { dry_run: true, .. }
        | MigrateCommand::Down { dry_run: true, .. } => {
            Rowhouse::open_to_look(settings, app, "rowhouse migrate").await?
        }
        MigrateCommand::Up { .. } | MigrateCommand::Down { .. } => {
            Rowhouse::open(settings, app, "rowhouse migrate").await?
        }
    };
    let outcome = dispatch(command, &rowhouse, output).await;
    rowhouse.close().await;
    outcome
}

async fn control(settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let ground = Ground::open(settings, "rowhouse migrate").await?;
    let scope = ground.authorities.system.scope("migrate the control database");
    let applied = rowhouse_tenants::migrate_control(&ground.databases, &scope).await;
    ground.close().await;
    let applied = applied?;
    output.result(&json!({ "applied": applied }), || match applied.as_slice() {
        [] => "the control database is up to date".to_owned(),
        names => format!("applied to the control database:\n  {}", names.join("\n  ")),
    });
    Ok(ExitCode::SUCCESS)
}

async fn dispatch(command: MigrateCommand, rowhouse: &Rowhouse, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        MigrateCommand::Plan(_) => plan(rowhouse, output).await,
        MigrateCommand::Up { dry_run: true, .. } => plan(rowhouse, output).await,
        MigrateCommand::Up { parallel, .. } => up(rowhouse, output, parallel).await,
        MigrateCommand::Down { dry_run: true, .. } => {
            let newest = rowhouse.tenants.app().migrations.migrations.last();
            let name = newest.map(|migration| migration.name.clone());
            output.result(&json!({ "migration": name }), || {
                name.clone().unwrap_or_else(|| "nothing to take back".into())
            });
            Ok(ExitCode::SUCCESS)
        }
        MigrateCommand::Down { .. } => {
            let report = rowhouse.tenants.migrate_down().await?;
            Ok(tell(&report, "taken back on", output))
        }
        MigrateCommand::Status { verify, .. } => status(rowhouse, output, verify).await,
    }
}

async fn plan(rowhouse: &Rowhouse, output: Output) -> anyhow::Result<ExitCode> {
    let plans = rowhouse.tenants.migrate_plan().await?;
    output.result(&json!(plans), || {
        if plans.is_empty() {
            return format!("every target is on {}", rowhouse.tenants.app().release());
        }
        let rows = plans.iter().map(|plan| {
            let pending = if plan.pending.is_empty() { "(completion)".to_owned() } else { plan.pending.join(", ") };
            vec![plan.database.clone(), plan.schema.clone(), plan.release.clone(), pending]
        });
        table(&["DATABASE", "SCHEMA", "RELEASE", "PENDING"], rows)
    });
    Ok(ExitCode::SUCCESS)
}

async fn up(rowhouse: &Rowhouse, output: Output, parallel: usize) -> anyhow::Result<ExitCode> {
    let bar: Mutex<Option<ProgressBar>> = Mutex::new(None);
    let progress = |progress: FleetProgress| {
        if output.interactive()
            && let Ok(mut bar) = bar.lock()
        {
            let bar = bar.get_or_insert_with(|| new_bar(progress.total));
            bar.set_length(progress.total as u64);
            bar.set_position(progress.done as u64);
            bar.set_message(format!("{} failed", progress.failed));
        }
    };
    let report = rowhouse.tenants.migrate_up(parallel, &progress).await?;
    if let Ok(Some(bar)) = bar.into_inner() {
        bar.finish_and_clear();
    }
    Ok(tell(&report, "migrated", output))
}

fn new_bar(total: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} targets, {per_sec}, {eta} left, {msg}");
    let bar = ProgressBar::new(total as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn tell(report: &FleetReport, done: &str, output: Output) -> ExitCode {
    output.result(&json!(report), || {
        format!("{done} {} targets; {} needed nothing; {} failed", report.migrated, report.current, report.failed.len())
    });
    for (target, error) in &report.failed {
        output.message(&format!("failed: {target}: {error}"));
    }
    for (target, reason) in &report.drifted {
        output.message(&format!("drifted: {target}: {reason}"));
    }
    if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn status(rowhouse: &Rowhouse, output: Output, verify: bool) -> anyhow::Result<ExitCode> {
    let states = rowhouse.tenants.migrate_status(verify).await?;
    output.result(&json!(states), || {
        let rows = states.iter().map(|state| {
            vec![
                state.database.clone(),
                state.schema.clone(),
                state.release.clone(),
                state.state.to_owned(),
                state.error.clone().unwrap_or_default(),
            ]
        });
        table(&["DATABASE", "SCHEMA", "RELEASE", "STATE", "ERROR"], rows)
    });
    let sound = states.iter().all(|state| matches!(state.state, "current" | "behind"));
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
