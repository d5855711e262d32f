//! Completion: what is safe to add to an app's tables is added, always the same way: row-level
//! security, the one policy, grants, indexes that start with the tenant, scoped views.
//!
//! The text names no schema, so that one text serves every schema under its search path. It can
//! be run again: a second run changes nothing but the scoped views, which are made anew.

use std::fmt::Write as _;

use rowhouse_postgres::{RoleNames, SHARED_TARGET, SystemConnection, quote_identifier};

use crate::catalog::{Catalog, Table};
use crate::error::AppError;
use crate::load::App;

/// The name of the one policy that every tenant table has.
pub const POLICY: &str = "rowhouse_tenant";
/// The policy's condition as PostgreSQL prints it back.
pub(crate) const POLICY_CONDITION: &str = "(tenant_id = rowhouse.tenant_id())";
const SCOPED_VIEW_PREFIX: &str = "rowhouse_scoped_";
/// PostgreSQL cuts identifiers at 63 bytes.
const IDENTIFIER_LENGTH_MAX: usize = 63;

/// The scoped view of a table: the same rows under the tenant's predicate, but without row-level
/// security, so that conditions that are not leakproof can use an index (ADR 2).
pub fn scoped_view(table: &str) -> String {
    let mut name = format!("{SCOPED_VIEW_PREFIX}{table}");
    name.truncate(IDENTIFIER_LENGTH_MAX);
    name
}

/// Drops the scoped views of a schema: they would stand in the way of dropping columns. The
/// migration that follows and the completion that makes them anew share a transaction.
pub async fn drop_scoped_views_sql(connection: &SystemConnection, schema: &str) -> Result<String, AppError> {
    const VIEWS: &str = "
        select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relkind = 'v' and starts_with(c.relname, 'rowhouse_scoped_') order by 1";
    let rows = connection.query(VIEWS, rowhouse_postgres::params![schema]).await?;
    let mut sql = String::new();
    for row in rows {
        writeln!(sql, "drop view {};", quote_identifier(row.get(0))).expect("writing to a string");
    }
    Ok(sql)
}

/// What completes the app's tables in a schema.
#[derive(Debug, Clone, Default)]
pub struct Completion {
    /// Everything but the scoped views.
    pub tables: String,
    /// Makes the scoped views where there are none.
    pub views: String,
    drop_views: String,
}

impl Completion {
    /// All of it, wherever it is run.
    pub fn whole(&self) -> String {
        [self.tables.as_str(), &self.drop_views, &self.views].concat()
    }
}

/// [`Completion::whole`] of a schema.
pub async fn completion_sql(
    connection: &SystemConnection,
    schema: &str,
    roles: &RoleNames,
    app: &App,
) -> Result<String, AppError> {
    completion(connection, schema, roles, app).await.map(|completion| completion.whole())
}

/// The statements that complete the app's tables in a schema, read from that schema's catalog.
pub async fn completion(
    connection: &SystemConnection,
    schema: &str,
    roles: &RoleNames,
    app: &App,
) -> Result<Completion, AppError> {
    let catalog = Catalog::read(connection, schema).await?;
    let (service, reader) = (quote_identifier(&roles.service()), quote_identifier(&roles.reader()));
    let mut completion = Completion::default();
    if schema == SHARED_TARGET {
        for name in catalog.tables.keys() {
            let table = quote_identifier(name);
            writeln!(completion.tables, "grant select on {table} to {service}, {reader};")
                .expect("writing to a string");
        }
        return Ok(completion);
    }
    let mut names = Vec::new();
    for (name, table) in catalog.tables.iter().filter(|(_, table)| table.is_scoped()) {
        complete_table(&mut completion.tables, name, table, app).expect("writing to a string");
        complete_view(&mut completion, name, table).expect("writing to a string");
        names.push(name.as_str());
    }
    if !names.is_empty() {
        grant(&mut completion, &names, &service, &reader).expect("writing to a string");
    }
    Ok(completion)
}

/// What the roles may do, for all tables at once: four statements, however many tables there are.
fn grant(completion: &mut Completion, names: &[&str], service: &str, reader: &str) -> std::fmt::Result {
    let Completion { tables: sql, views: view_sql, .. } = completion;
    let list = |quoted: Vec<String>| quoted.join(", ");
    let tables = list(names.iter().map(|name| quote_identifier(name)).collect());
    let views = list(names.iter().map(|name| quote_identifier(&scoped_view(name))).collect());
    writeln!(sql, "revoke all on {tables} from public, {service}, {reader};")?;
    writeln!(sql, "grant select, insert, update, delete on {tables} to {service};")?;
    writeln!(sql, "grant select on {tables} to {reader};")?;
    writeln!(view_sql, "grant select on {views} to {service};")
}

fn complete_table(sql: &mut String, name: &str, table: &Table, app: &App) -> std::fmt::Result {
    let quoted = quote_identifier(name);
    writeln!(sql, "alter table {quoted} enable row level security;")?;
    // Dropped first: PostgreSQL has no "create policy if not exists", and the text must be ours.
    writeln!(sql, "drop policy if exists {POLICY} on {quoted};")?;
    writeln!(
        sql,
        "create policy {POLICY} on {quoted} using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());"
    )?;
    for columns in wanted_indexes(name, table, app) {
        let all: Vec<&str> = std::iter::once("tenant_id").chain(columns.iter().map(String::as_str)).collect();
        let index = index_name(name, &columns);
        // Its own index does not count as there: the text must complete a fresh schema as well as
        // the one it was read from.
        if !table.has_index_beside(&index, &all) {
            // Lists are by age and then by id: with both in the index, a page needs no sort.
            let by_age = columns == ["created_at"] && table.column("id").is_some();
            let list = all.iter().copied().chain(by_age.then_some("id"));
            let list: Vec<String> = list.map(quote_identifier).collect();
            writeln!(
                sql,
                "create index if not exists {} on {quoted} ({});",
                quote_identifier(&index),
                list.join(", ")
            )?;
        }
    }
    Ok(())
}

fn complete_view(completion: &mut Completion, name: &str, table: &Table) -> std::fmt::Result {
    let (view, table_name) = (quote_identifier(&scoped_view(name)), quote_identifier(name));
    let columns: Vec<String> = table.columns.iter().map(|column| quote_identifier(&column.name)).collect();
    writeln!(completion.drop_views, "drop view if exists {view};")?;
    writeln!(
        completion.views,
        "create view {view} as select {} from {table_name} where tenant_id = rowhouse.tenant_id();",
        columns.join(", ")
    )
}

/// What every tenant table should find quickly: along each foreign key, by status, by age.
fn wanted_indexes(name: &str, table: &Table, app: &App) -> Vec<Vec<String>> {
    let mut wanted: Vec<Vec<String>> = Vec::new();
    for constraint in table.constraints.iter().filter(|constraint| constraint.kind == 'f') {
        let columns: Vec<String> = constraint.columns.iter().filter(|column| *column != "tenant_id").cloned().collect();
        wanted.push(columns);
    }
    let status = app.manifest.entities.get(name).and_then(|entity| entity.status.clone());
    let status = status.filter(|status| table.column(status).is_some());
    let created_at = table.column("created_at").map(|column| column.name.clone());
    wanted.extend(status.into_iter().chain(created_at).map(|column| vec![column]));
    wanted.retain(|columns| !columns.is_empty());
    wanted.sort();
    wanted.dedup();
    wanted
}

fn index_name(table: &str, columns: &[String]) -> String {
    let mut name = format!("{table}_tenant_{}_idx", columns.join("_"));
    if name.len() > IDENTIFIER_LENGTH_MAX {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(name.as_bytes());
        let tail: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        name.truncate(IDENTIFIER_LENGTH_MAX - 9);
        name = format!("{name}_{tail}");
    }
    name
}
