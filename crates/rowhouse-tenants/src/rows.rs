//! Deleting all rows of one tenant from one place, whatever the foreign keys: tables that point
//! at others first, in batches, so that a large tenant neither locks nor bloats for long.
//!
//! Must never leave the tenant out of a statement: row numbers (ctid) repeat over partitions.

use std::collections::{BTreeMap, BTreeSet};

use rowhouse_postgres::{DatabaseResult, Location, SystemConnection, params, quote_identifier};
use rowhouse_types::TenantId;

use crate::service::Tenants;

/// Rows deleted by one statement.
const BATCH: i64 = 5000;

/// Every table with a tenant's rows, of the app and of the platform.
const TABLES: &str = "
    select n.nspname, c.relname
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
    where n.nspname in ($1, 'rowhouse') and c.relkind in ('r', 'p') and not c.relispartition
    order by n.nspname = 'rowhouse', c.relname";

/// Which of them points at which.
const REFERENCES: &str = "
    select cn.nspname, c.relname, pn.nspname, p.relname
    from pg_constraint k
    join pg_class c on c.oid = k.conrelid join pg_namespace cn on cn.oid = c.relnamespace
    join pg_class p on p.oid = k.confrelid join pg_namespace pn on pn.oid = p.relnamespace
    where k.contype = 'f' and cn.nspname in ($1, 'rowhouse') and pn.nspname in ($1, 'rowhouse')
      and not c.relispartition and not p.relispartition";

/// Tables in the order in which their rows can be deleted. Those of one step point at each other
/// in a circle, or at themselves, and must go in one statement.
fn deletion_order(tables: &[String], references: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let mut left: BTreeSet<&String> = tables.iter().collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let pointed_at = |table: &String| {
            left.iter().any(|other| *other != table && references.get(*other).is_some_and(|to| to.contains(table)))
        };
        let free: Vec<String> = left.iter().filter(|table| !pointed_at(table)).map(|table| (*table).clone()).collect();
        let step: Vec<Vec<String>> = match free.is_empty() {
            false => free.into_iter().map(|table| vec![table]).collect(),
            // Only circles, and what they point at, are left.
            true => vec![left.iter().map(|table| (*table).clone()).collect()],
        };
        for table in step.iter().flatten() {
            left.remove(table);
        }
        order.extend(step);
    }
    order
}

impl Tenants {
    /// Deletes every row of a tenant in one place.
    pub(crate) async fn delete_rows(&self, tenant: TenantId, location: &Location) -> DatabaseResult<()> {
        let connection = self.databases.system(&self.system.scope("delete a tenant's rows"), location).await?;
        let name = |schema: &str, table: &str| format!("{}.{}", quote_identifier(schema), quote_identifier(table));
        let tables = connection.query(TABLES, params![&*location.schema]).await?;
        let tables: Vec<String> = tables.iter().map(|row| name(row.get(0), row.get(1))).collect();
        let mut references: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for row in connection.query(REFERENCES, params![&*location.schema]).await? {
            references.entry(name(row.get(0), row.get(1))).or_default().insert(name(row.get(2), row.get(3)));
        }
        for step in deletion_order(&tables, &references) {
            match step.as_slice() {
                [table] if !references.get(table).is_some_and(|to| to.contains(table)) => {
                    delete_in_batches(&connection, table, tenant).await?;
                }
                circle => delete_at_once(&connection, circle, tenant).await?,
            }
        }
        Ok(())
    }
}

async fn delete_in_batches(connection: &SystemConnection, table: &str, tenant: TenantId) -> DatabaseResult<()> {
    let delete = format!(
        "delete from {table} where tenant_id = $1
         and ctid = any (array(select ctid from {table} where tenant_id = $1 limit $2))"
    );
    while connection.execute(&delete, params![tenant, BATCH]).await? > 0 {}
    Ok(())
}

/// Foreign keys are checked at the end of a statement, when all rows that point at each other
/// are gone.
async fn delete_at_once(connection: &SystemConnection, tables: &[String], tenant: TenantId) -> DatabaseResult<()> {
    let deletions: Vec<String> = tables
        .iter()
        .enumerate()
        .map(|(number, table)| format!("deletion_{number} as (delete from {table} where tenant_id = $1)"))
        .collect();
    connection.query(&format!("with {} select 1", deletions.join(", ")), params![tenant]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(tables: &[&str], pairs: &[(&str, &str)]) -> Vec<Vec<String>> {
        let tables: Vec<String> = tables.iter().map(ToString::to_string).collect();
        let mut references: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            references.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        deletion_order(&tables, &references)
    }

    #[test]
    fn what_points_at_others_goes_first() {
        let found = order(
            &["accounts", "contacts", "members", "notes"],
            &[("contacts", "accounts"), ("notes", "contacts"), ("accounts", "members"), ("notes", "notes")],
        );
        assert_eq!(found, [["notes"], ["contacts"], ["accounts"], ["members"]]);
    }

    #[test]
    fn a_circle_goes_at_once() {
        let found = order(&["a", "b", "c", "d"], &[("a", "b"), ("b", "a"), ("b", "d"), ("c", "a")]);
        assert_eq!(found, [vec!["c"], vec!["a", "b", "d"]]);
    }
}
