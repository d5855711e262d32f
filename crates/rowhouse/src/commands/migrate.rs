//! `rowhouse migrate …`

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rowhouse_postgres::SystemScope;
use rowhouse_tenants::{
    FleetProgress, FleetReport, TargetKind, TargetPlan, TargetState, control_plan, control_status, first_plan,
    migrate_control,
};
use serde_json::json;

use crate::cli::{MigrateCommand, TargetArg};
use crate::compose::{Ground, Rowhouse, load_app};
use crate::output::{Output, table};
use crate::settings::Settings;

const VERB: &str = "rowhouse migrate";
const CONTROL_FIRST: &str = "the control database is behind; first run: rowhouse migrate up --target control";

pub(super) async fn run(command: MigrateCommand, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        MigrateCommand::Plan(which) | MigrateCommand::Up { target: which, dry_run: true, .. } => {
            plan(which.target, settings, output).await
        }
        MigrateCommand::Up { target: which, parallel, .. } => match which.target {
            TargetArg::Control => up_control(settings, output).await,
            TargetArg::Tenants => up_tenants(settings, output, parallel).await,
            TargetArg::All => up_all(settings, output, parallel).await,
        },
        MigrateCommand::Down { target: which, dry_run } => down(which.target, settings, output, dry_run).await,
        MigrateCommand::Status { target: which, verify } => status(which.target, settings, output, verify).await,
    }
}

fn scope(ground: &Ground) -> SystemScope {
    ground.authorities.system.scope("migrate the control database")
}

/// Tells what `up` would do. Nothing is changed: neither is the control database, so an older one
/// is asked for the tenants' targets as it is.
async fn plan(which: TargetArg, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let app = if which == TargetArg::Control { None } else { Some(load_app(settings)?) };
    let release = app.as_ref().map(|app| app.release());
    let ground = Ground::open(settings, VERB).await?;
    let control = control_plan(&ground.databases, &scope(&ground)).await?;
    let never = control.as_ref().is_some_and(|plan| plan.release.is_empty());
    let behind = control.is_some();
    let mut plans: Vec<TargetPlan> = control.into_iter().filter(|_| which != TargetArg::Tenants).collect();
    match app {
        None => ground.close().await,
        Some(app) if never => {
            plans.push(first_plan(&ground.databases, &app));
            ground.close().await;
        }
        Some(app) => {
            let look = async {
                let rowhouse = Rowhouse::open_on(ground, settings, app, false).await?;
                let plans = rowhouse.tenants.migrate_plan().await;
                rowhouse.close().await;
                anyhow::Ok(plans?)
            };
            let told = look.await;
            plans.extend(if behind { told.context(CONTROL_FIRST)? } else { told? });
        }
    }
    output.result(&json!(plans), || {
        if plans.is_empty() {
            return release.map_or_else(up_to_date, |release| format!("every target is on {release}"));
        }
        let rows = plans.iter().map(|plan| {
            let pending = if plan.pending.is_empty() { "(completion)".to_owned() } else { plan.pending.join(", ") };
            vec![plan.database.clone(), plan.schema.clone(), plan.release.clone(), pending]
        });
        table(&["DATABASE", "SCHEMA", "RELEASE", "PENDING"], rows)
    });
    Ok(ExitCode::SUCCESS)
}

fn up_to_date() -> String {
    "the control database is up to date".to_owned()
}

fn tell_applied(applied: &[String]) -> String {
    if applied.is_empty() {
        return up_to_date();
    }
    format!("applied to the control database:\n  {}", applied.join("\n  "))
}

async fn up_control(settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let ground = Ground::open(settings, VERB).await?;
    let applied = migrate_control(&ground.databases, &scope(&ground)).await;
    ground.close().await;
    let applied = applied?;
    output.result(&json!({ "applied": applied }), || tell_applied(&applied));
    Ok(ExitCode::SUCCESS)
}

/// A ground whose control database is on the newest version: the tenants' targets stand in it.
async fn ground_of_tenants(settings: &Settings) -> anyhow::Result<Ground> {
    let ground = Ground::open(settings, VERB).await?;
    let pending = control_plan(&ground.databases, &scope(&ground)).await?.map(|plan| plan.pending).unwrap_or_default();
    if pending.is_empty() {
        return Ok(ground);
    }
    ground.close().await;
    bail!("{CONTROL_FIRST}\n  pending: {}", pending.join(", "))
}

async fn up_tenants(settings: &Settings, output: Output, parallel: usize) -> anyhow::Result<ExitCode> {
    let app = load_app(settings)?;
    let ground = ground_of_tenants(settings).await?;
    let rowhouse = Rowhouse::open_on(ground, settings, app, true).await?;
    let report = up(&rowhouse, output, parallel).await;
    rowhouse.close().await;
    let report = report?;
    output.result(&json!(report), || tell(&report, "migrated"));
    Ok(failures(&report, output))
}

async fn up_all(settings: &Settings, output: Output, parallel: usize) -> anyhow::Result<ExitCode> {
    let app = load_app(settings)?;
    let ground = Ground::open(settings, VERB).await?;
    let applied = migrate_control(&ground.databases, &scope(&ground)).await?;
    let rowhouse = Rowhouse::open_on(ground, settings, app, true).await?;
    let report = up(&rowhouse, output, parallel).await;
    rowhouse.close().await;
    let report = report?;
    let mut data = json!(report);
    data["applied"] = json!(applied);
    output.result(&data, || {
        let told = tell(&report, "migrated");
        if applied.is_empty() { told } else { format!("{}\n{told}", tell_applied(&applied)) }
    });
    Ok(failures(&report, output))
}

async fn up(rowhouse: &Rowhouse, output: Output, parallel: usize) -> anyhow::Result<FleetReport> {
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
    Ok(report)
}

fn new_bar(total: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} targets, {per_sec}, {eta} left, {msg}");
    let bar = ProgressBar::new(total as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn tell(report: &FleetReport, done: &str) -> String {
    let FleetReport { migrated, current, failed, .. } = report;
    format!("{done} {migrated} targets; {current} needed nothing; {} failed", failed.len())
}

/// Names what failed, and gives the exit code.
fn failures(report: &FleetReport, output: Output) -> ExitCode {
    for (target, error) in &report.failed {
        output.message(&format!("failed: {target}: {error}"));
    }
    for (target, reason) in &report.drifted {
        output.message(&format!("drifted: {target}: {reason}"));
    }
    if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Takes the newest file of the tenants' targets back: for both values that name them. Nothing is
/// migrated before, or what is to be taken back would first be put where it is not yet.
async fn down(which: TargetArg, settings: &Settings, output: Output, dry_run: bool) -> anyhow::Result<ExitCode> {
    if which == TargetArg::Control {
        bail!(
            "the control database's files have no way back; restore it from a backup, and run the program that made it"
        );
    }
    let app = load_app(settings)?;
    let ground = ground_of_tenants(settings).await?;
    let rowhouse = Rowhouse::open_on(ground, settings, app, false).await?;
    let outcome = take_back(&rowhouse, output, dry_run).await;
    rowhouse.close().await;
    outcome
}

async fn take_back(rowhouse: &Rowhouse, output: Output, dry_run: bool) -> anyhow::Result<ExitCode> {
    if dry_run {
        let name = rowhouse.tenants.newest_applied().await?;
        output.result(&json!({ "migration": name }), || name.clone().unwrap_or_else(|| "nothing to take back".into()));
        return Ok(ExitCode::SUCCESS);
    }
    let report = rowhouse.tenants.migrate_down().await?;
    output.result(&json!(report), || tell(&report, "taken back on"));
    Ok(failures(&report, output))
}

async fn status(which: TargetArg, settings: &Settings, output: Output, verify: bool) -> anyhow::Result<ExitCode> {
    let app = if which == TargetArg::Control { None } else { Some(load_app(settings)?) };
    let ground = Ground::open(settings, VERB).await?;
    let control = control_status(&ground.databases, &scope(&ground), verify).await?;
    let (never, behind) = (control.release.is_empty(), control.state == "behind");
    let mut states: Vec<TargetState> = [control].into_iter().filter(|_| which != TargetArg::Tenants).collect();
    match app {
        // Where nothing was ever migrated there are no targets.
        None => ground.close().await,
        Some(_) if never => ground.close().await,
        Some(app) => {
            let look = async {
                let rowhouse = Rowhouse::open_on(ground, settings, app, false).await?;
                let states = rowhouse.tenants.migrate_status(verify).await;
                rowhouse.close().await;
                anyhow::Ok(states?)
            };
            let told = look.await;
            let told = if behind { told.context(CONTROL_FIRST)? } else { told? };
            states.extend(told.into_iter().filter(|state| state.kind != TargetKind::Control));
        }
    }
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
