//! All rows of one tenant in one place: deleting them whatever the foreign keys.

use rowhouse_postgres::{
    ConstraintKind, DatabaseError, DatabaseResult, Location, SystemConnection, params, quote_identifier,
};
use rowhouse_types::TenantId;

use crate::service::Tenants;

/// Every table with a tenant's rows, of the app and of the platform.
const TABLES: &str = "
    select n.nspname::text, c.relname::text
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
    where n.nspname in ($1, 'rowhouse') and c.relkind in ('r', 'p') and not c.relispartition
    order by n.nspname = 'rowhouse', c.relname";

impl Tenants {
    /// Deletes every row of a tenant. A table that others still point at is tried again after
    /// them.
    pub(crate) async fn delete_rows(&self, tenant: TenantId, location: &Location) -> DatabaseResult<()> {
        let mut connection = self.databases.system(&self.system.scope("delete a tenant's rows"), location).await?;
        let rows = connection.query(TABLES, params![&*location.schema]).await?;
        let mut left: Vec<String> = rows
            .iter()
            .map(|row| format!("{}.{}", quote_identifier(row.get(0)), quote_identifier(row.get(1))))
            .collect();
        connection.begin().await?;
        while !left.is_empty() {
            let before = left.len();
            let mut waiting = Vec::new();
            for table in left {
                if !delete_from(&connection, &table, tenant).await? {
                    waiting.push(table);
                }
            }
            if waiting.len() == before {
                let message = format!("these tables point at each other in a circle: {}", waiting.join(", "));
                return Err(DatabaseError::Other { code: "circular".into(), message, position: None });
            }
            left = waiting;
        }
        connection.commit().await
    }
}

/// False if other tables still point at the rows.
async fn delete_from(connection: &SystemConnection, table: &str, tenant: TenantId) -> DatabaseResult<bool> {
    connection.batch("savepoint one_table").await?;
    match connection.query(&format!("delete from {table} where tenant_id = $1"), params![tenant]).await {
        Ok(_) => {
            connection.batch("release savepoint one_table").await?;
            Ok(true)
        }
        Err(DatabaseError::Constraint(violated)) if violated.kind == ConstraintKind::ForeignKey => {
            connection.batch("rollback to savepoint one_table").await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
