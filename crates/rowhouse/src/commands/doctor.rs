//! `rowhouse doctor`: settings, server and isolation, each with what to do.

use std::process::ExitCode;

use rowhouse_app::{Severity, lint};
use serde::Serialize;
use serde_json::json;

use crate::compose::{Rowhouse, load_app};
use crate::output::Output;
use crate::settings::Settings;

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    passed: bool,
    message: String,
}

pub(super) async fn run(settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let mut checks = vec![Check { name: "settings", passed: true, message: "all settings can be read".into() }];
    match examine(settings, &mut checks).await {
        Ok(()) => {}
        Err(error) => checks.push(Check { name: "start", passed: false, message: format!("{error:#}") }),
    }
    let passed = checks.iter().all(|check| check.passed);
    output.result(&json!({ "passed": passed, "checks": checks }), || {
        let line = |check: &Check| {
            format!("{}  {:<12} {}", if check.passed { "ok    " } else { "FAILED" }, check.name, check.message)
        };
        checks.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn examine(settings: &Settings, checks: &mut Vec<Check>) -> anyhow::Result<()> {
    let app = load_app(settings)?;
    checks.push(Check { name: "app", passed: true, message: format!("{} {}", app.manifest.app.name, app.release()) });
    let rowhouse = Rowhouse::open(settings, app, "rowhouse doctor").await?;
    let outcome = examine_open(&rowhouse, checks).await;
    rowhouse.close().await;
    outcome
}

async fn examine_open(rowhouse: &Rowhouse, checks: &mut Vec<Check>) -> anyhow::Result<()> {
    let ground = &rowhouse.ground;
    checks.push(Check { name: "server", passed: true, message: ground.server.settings.address() });
    let location = ground.databases.pool_location();
    let (tenants, systems) = (&ground.authorities.tenant, &ground.authorities.system);
    let findings = rowhouse_postgres::probe(&ground.databases, tenants, systems, &location).await?;
    let told: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
    let message = if told.is_empty() { "two tenants do not see each other".to_owned() } else { told.join(" ") };
    checks.push(Check { name: "isolation", passed: findings.is_empty(), message });
    let connection = ground.databases.system(&systems.scope("doctor"), &location).await?;
    let findings = lint(&connection, &location.schema, rowhouse.tenants.app(), &ground.databases.home().roles).await?;
    let errors: Vec<String> =
        findings.iter().filter(|finding| finding.severity == Severity::Error).map(ToString::to_string).collect();
    let message = if errors.is_empty() { "the live schema cannot leak".to_owned() } else { errors.join("\n") };
    checks.push(Check { name: "schema", passed: errors.is_empty(), message });
    drop(connection);
    let states = rowhouse.tenants.migrate_status(true).await?;
    let bad: Vec<String> = states
        .iter()
        .filter(|state| state.state != "current")
        .map(|state| format!("{}/{} is {}", state.database, state.schema, state.state))
        .collect();
    let message = if bad.is_empty() {
        format!("{} targets are on the newest release", states.len())
    } else {
        format!("{}; run: rowhouse migrate up", bad.join(", "))
    };
    checks.push(Check { name: "migrations", passed: bad.is_empty(), message });
    let mail = rowhouse.mailer.check().await;
    checks.push(Check { name: "mail", passed: mail.is_ok(), message: mail.unwrap_or_else(|error| error) });
    if let Some(clerk) = &rowhouse.clerk {
        let reached = clerk.check().await.map(|()| "its keys are published".to_owned()).map_err(anyhow::Error::from);
        let (passed, message) = (reached.is_ok(), reached.unwrap_or_else(|error| format!("{error:#}")));
        checks.push(Check { name: "clerk", passed, message });
    }
    Ok(())
}
