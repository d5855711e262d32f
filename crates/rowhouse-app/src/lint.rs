//! The linter: one named rule per hole through which PostgreSQL can leak across tenants. Each
//! rule is a query over the real catalog, so that no text of a migration can hide anything.

mod migrations;
mod rules;

use rowhouse_postgres::{RoleNames, SystemConnection, params};

use crate::completion::POLICY_CONDITION;
use crate::error::AppError;
use crate::finding::{Finding, Severity};
use crate::load::App;

pub use migrations::lint_migrations;
pub use rules::RULES;

/// One rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its name; a section of `docs/isolation-rules.md`.
    pub name: &'static str,
    /// How grave a finding is.
    pub severity: Severity,
    /// What is wrong with the object.
    pub message: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// Gives the offending objects' names. Reads the settings from the relation `a`.
    query: &'static str,
}

/// What every rule may ask for: the app's schema, the roles, the policy as it must be.
const SETTINGS: &str =
    "with a as (select $1::text as schema, $2::text as service, $3::text as reader, $4::text as policy) ";

/// Runs every rule on one schema. Errors come first.
///
/// # Errors
/// Only if the catalog cannot be read.
pub async fn lint(
    connection: &SystemConnection,
    schema: &str,
    app: &App,
    roles: &RoleNames,
) -> Result<Vec<Finding>, AppError> {
    let mut findings = Vec::new();
    for rule in RULES {
        let sql = format!("{SETTINGS}{}", rule.query);
        let settings = params![schema, roles.service(), roles.reader(), POLICY_CONDITION];
        for row in connection.query(&sql, settings).await? {
            findings.push(rule.finding(row.get(0)));
        }
    }
    findings.extend(ownerless_entities(connection, schema, app).await?);
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.object.cmp(&b.object)));
    Ok(findings)
}

impl Rule {
    fn finding(&self, object: String) -> Finding {
        let (rule, severity) = (self.name, self.severity);
        Finding { rule, severity, object, message: self.message.to_owned(), fix: self.fix.to_owned() }
    }
}

/// The one rule that needs the manifest beside the catalog.
pub(crate) const ENTITY_WITHOUT_OWNER: &str = "entity-without-owner";

/// Entities on which the scopes own and public are empty.
async fn ownerless_entities(connection: &SystemConnection, schema: &str, app: &App) -> Result<Vec<Finding>, AppError> {
    let catalog = crate::catalog::Catalog::read(connection, schema).await?;
    let mut findings = Vec::new();
    for (name, section) in &app.manifest.entities {
        let Some(table) = catalog.tables.get(name) else { continue };
        let named = section.owner.is_some() || section.public.is_some();
        let found = ["owner_id", "created_by", "is_public"].iter().any(|column| table.column(column).is_some());
        if !named && !found {
            findings.push(Finding {
                rule: ENTITY_WITHOUT_OWNER,
                severity: Severity::Warning,
                object: name.clone(),
                message: "has no owner column and no public column: roles with the scopes own and public (member, viewer) see none of its records".into(),
                fix: format!("add owner_id uuid (or is_public boolean) to {name}, or name another column with owner = \"…\" in [entities.{name}]"),
            });
        }
    }
    Ok(findings)
}
