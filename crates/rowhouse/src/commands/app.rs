//! `rowhouse app …` and `rowhouse openapi`.

use std::fmt::Write as _;
use std::process::ExitCode;

use rowhouse_app::{AppModel, CheckReport, Entity, check, scaffold};
use serde_json::json;

use crate::cli::AppCommand;
use crate::compose::{Ground, load_app};
use crate::output::{Output, table};
use crate::settings::Settings;

pub(super) async fn run(command: AppCommand, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        AppCommand::New { directory } => {
            let files = scaffold(&directory)?;
            let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            output.result(&json!({ "files": names }), || {
                format!("{}\n\nNext: rowhouse dev --app {}", names.join("\n"), directory.display())
            });
            Ok(ExitCode::SUCCESS)
        }
        AppCommand::Check => {
            let report = checked(settings).await?;
            output.result(&serde_json::to_value(&report)?, || told(&report));
            Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        AppCommand::Describe => {
            let report = checked(settings).await?;
            let described = json!({ "app": report.app, "release": report.release, "model": report.model, "completed": report.completed });
            output.result(&described, || describe(&report));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The OpenAPI document, without serving.
pub(super) async fn openapi(settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let report = checked(settings).await?;
    let title = report.model.manifest.app.title.clone();
    let routes = rowhouse_server::route_docs();
    let document = rowhouse_server::openapi_document(
        &report.model,
        &routes,
        &title,
        env!("CARGO_PKG_VERSION"),
        &settings.public_url,
    );
    let text = serde_json::to_string_pretty(&document)?;
    output.result(&document, || text);
    Ok(ExitCode::SUCCESS)
}

/// The app on a scratch database.
async fn checked(settings: &Settings) -> anyhow::Result<CheckReport> {
    let app = load_app(settings)?;
    let ground = Ground::open(settings, "rowhouse app").await?;
    let report = check(&ground.databases, &ground.authorities.system.scope("check the app"), &app).await;
    ground.close().await;
    Ok(report?)
}

fn told(report: &CheckReport) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        writeln!(text, "{finding}").expect("writing to memory");
    }
    let errors = report.findings.iter().filter(|finding| finding.severity == rowhouse_app::Severity::Error).count();
    let warnings = report.findings.len() - errors;
    let verdict =
        if errors == 0 { "passed: nothing in this schema can leak" } else { "refused: this schema could leak" };
    write!(
        text,
        "{} {}: {verdict} ({} entities, {errors} errors, {warnings} warnings)",
        report.app, report.release, report.entities
    )
    .expect("writing to memory");
    text
}

fn describe(report: &CheckReport) -> String {
    let model = &report.model;
    let mut text = format!("{} {}\n", model.manifest.app.title, report.release);
    for entity in model.entities.values().chain(model.shared.values()) {
        describe_entity(entity, &mut text).expect("writing to memory");
    }
    describe_roles(model, &mut text).expect("writing to memory");
    let policies = report.completed.matches("create policy").count();
    let indexes = report.completed.matches("create index").count();
    writeln!(text, "\nCompleted: row-level security and the tenant policy on {policies} tables, {indexes} indexes, grants, scoped views.")
        .expect("writing to memory");
    text
}

fn describe_entity(entity: &Entity, text: &mut String) -> std::fmt::Result {
    let shared = if entity.shared { ", shared by all tenants" } else { "" };
    writeln!(text, "\n{} ({}{shared})", entity.name, entity.label)?;
    let rows = entity.columns.iter().map(|column| {
        let mut notes = Vec::new();
        if entity.title.as_deref() == Some(&column.name) {
            notes.push("title".to_owned());
        }
        if entity.search.contains(&column.name) {
            notes.push("searched".to_owned());
        }
        if entity.status.as_deref() == Some(&column.name) {
            notes.push("status".to_owned());
        }
        if entity.owner.as_deref() == Some(&column.name) {
            notes.push("owner".to_owned());
        }
        if let Some(allowed) = &column.allowed {
            notes.push(allowed.join(" | "));
        }
        let need = if column.read_only {
            "set by server"
        } else if column.nullable || column.has_default {
            "optional"
        } else {
            "required"
        };
        vec![format!("  {}", column.name), column.type_name.clone(), need.to_owned(), notes.join(", ")]
    });
    writeln!(text, "{}", table(&["  column", "type", "", ""], rows))?;
    for relation in entity.relations.values() {
        let many = if relation.many { "many" } else { "one" };
        writeln!(text, "  include={}: {many} of {}", relation.name, relation.entity)?;
    }
    Ok(())
}

fn describe_roles(model: &AppModel, text: &mut String) -> std::fmt::Result {
    writeln!(text, "\nRoles: owner, admin, member, viewer")?;
    for (key, role) in &model.manifest.roles {
        writeln!(text, "  {key} ({}): {}", role.title, role.permissions.join(" "))?;
    }
    Ok(())
}
