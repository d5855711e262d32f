//! The probe: proof, on the live server, that two tenants do not see each other. It uses the
//! very path that requests use; nothing is served until it finds nothing.

use rowhouse_types::TenantId;

use crate::authority::{Location, SystemAuthority, TenantAuthority};
use crate::databases::Databases;
use crate::error::{DatabaseError, DatabaseResult};
use crate::{params, quote_identifier};

/// One thing the probe found wrong, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFinding {
    /// A stable word.
    pub code: &'static str,
    /// What was seen, and what to do.
    pub message: String,
}

const ROLE_FAULTS: &str = "
    select r.rolname,
           r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication as powerful,
           exists (select 1 from pg_auth_members m where m.member = r.oid) as member,
           exists (select 1 from pg_class c where c.relowner = r.oid) as owns
    from pg_roles r where r.rolname = any($1)";

const SYNTHETIC: &str = "
    create table if not exists rowhouse._probe (
        tenant_id uuid not null default rowhouse.tenant_id(),
        id uuid not null default rowhouse.new_id(),
        primary key (tenant_id, id)
    );
    alter table rowhouse._probe enable row level security;
    drop policy if exists rowhouse_tenant on rowhouse._probe;
    create policy rowhouse_tenant on rowhouse._probe
        using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());
    grant select, insert, update, delete on rowhouse._probe to ";

/// Runs the probe against one data database. No finding means that it may serve.
///
/// # Errors
/// Only if the database cannot be asked; what is wrong with it is a finding.
pub async fn probe(
    databases: &Databases,
    tenants: &TenantAuthority,
    systems: &SystemAuthority,
    location: &Location,
) -> DatabaseResult<Vec<ProbeFinding>> {
    let mut findings = Vec::new();
    let scope = systems.scope("isolation probe");
    let system = databases.system(&scope, location).await?;
    let roles = databases.home().roles.clone();
    for row in system.query(ROLE_FAULTS, params![vec![roles.service(), roles.reader()]]).await? {
        let (name, powerful, member, owns): (String, bool, bool, bool) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        if powerful || member || owns {
            findings.push(ProbeFinding {
                code: "role",
                message: format!(
                    "The role {name} must own nothing, be a member of nothing and have no attribute beyond LOGIN."
                ),
            });
        }
    }
    system.batch(&format!("{SYNTHETIC}{}", quote_identifier(&roles.service()))).await?;
    drop(system);
    let (ours, theirs) = (TenantId::generate(), TenantId::generate());
    for (tenant, other) in [(ours, theirs), (theirs, ours)] {
        let context = tenants.context(tenant, location.clone());
        let connection = databases.tenant(&context).await?;
        connection.run("insert into rowhouse._probe default values", &[]).await?;
        let stranger = "insert into rowhouse._probe (tenant_id) values ($1)";
        match connection.run(stranger, params![other]).await {
            Err(DatabaseError::Forbidden) => {}
            Ok(_) => {
                findings.push(ProbeFinding { code: "write", message: "One tenant could write another's row.".into() })
            }
            Err(error) => return Err(error),
        }
        let seen = connection.run("select tenant_id from rowhouse._probe", &[]).await?;
        let foreign = seen.iter().any(|row| TenantId::from_uuid(row.get(0)) != tenant);
        if foreign || seen.is_empty() {
            findings.push(ProbeFinding { code: "read", message: "A tenant saw another's row, or not its own.".into() });
        }
    }
    findings.extend(random_tenant_sees_nothing(databases, tenants, systems, location).await?);
    let system = databases.system(&scope, location).await?;
    system
        .query("delete from rowhouse._probe where tenant_id = any($1)", params![vec![ours.uuid(), theirs.uuid()]])
        .await?;
    Ok(findings)
}

/// To a tenant that does not exist, every tenant table of the schema looks empty.
async fn random_tenant_sees_nothing(
    databases: &Databases,
    tenants: &TenantAuthority,
    systems: &SystemAuthority,
    location: &Location,
) -> DatabaseResult<Vec<ProbeFinding>> {
    const TENANT_TABLES: &str = "
        select n.nspname, c.relname
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
        where c.relkind in ('r', 'p', 'f', 'v', 'm') and n.nspname in ($1, 'rowhouse')
          and has_table_privilege($2, c.oid, 'select')";
    let scope = systems.scope("isolation probe");
    let service = databases.home().roles.service();
    let tables = {
        let system = databases.system(&scope, location).await?;
        system.query(TENANT_TABLES, params![&*location.schema, service]).await?
    };
    let context = tenants.context(TenantId::generate(), location.clone());
    let mut findings = Vec::new();
    for row in tables {
        let (schema, table): (String, String) = (row.get(0), row.get(1));
        let qualified = format!("{}.{}", quote_identifier(&schema), quote_identifier(&table));
        let connection = databases.tenant(&context).await?;
        let seen = connection.run(&format!("select exists (select 1 from {qualified})"), &[]).await?;
        if seen.first().is_none_or(|row| row.get(0)) {
            findings.push(ProbeFinding {
                code: "table",
                message: format!("Rows of {qualified} are visible to a tenant that has none."),
            });
        }
    }
    Ok(findings)
}
