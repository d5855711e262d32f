//! What the catalog says of the control schema's tables: who is kept apart from whom, and how.

use crate::TestDatabases;

/// The policy that keeps tenants apart: its name, that it permits, what may be read and written.
const OWN: &str = "rowhouse_tenant true (tenant_id = rowhouse.tenant_id()) (tenant_id = rowhouse.tenant_id())";

/// A table of the control schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlTable {
    /// Its name.
    pub name: String,
    /// Whether its rows name a tenant.
    pub of_tenant: bool,
    /// Whether row-level security is on, with the tenants' policy and no other.
    pub keeps_tenants_apart: bool,
    /// What others than its owner may do with all of its columns, sorted.
    pub granted: Vec<String>,
}

impl TestDatabases {
    /// All tables of the control schema, by name.
    pub async fn control_tables(&self) -> Vec<ControlTable> {
        const TABLES: &str = "
            select c.relname, c.relrowsecurity,
                   exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id'),
                   array(select p.polname || ' ' || p.polpermissive || ' ' || pg_get_expr(p.polqual, p.polrelid) || ' '
                                || pg_get_expr(p.polwithcheck, p.polrelid)
                         from pg_policy p where p.polrelid = c.oid),
                   array(select g.privilege_type from information_schema.role_table_grants g
                         where g.table_schema = 'control' and g.table_name = c.relname and g.grantee <> current_user
                         order by 1)::text[]
            from pg_class c
            where c.relnamespace = 'control'::regnamespace and c.relkind = 'r'
            order by 1";
        let scope = self.authorities.system.scope("look at the control schema");
        let connection = self.databases.control(&scope).await.expect("connect to the control database");
        let rows = connection.query(TABLES, &[]).await.expect("the catalog can be read");
        let table = |row: &rowhouse_postgres::Row| ControlTable {
            name: row.get(0),
            of_tenant: row.get(2),
            keeps_tenants_apart: row.get(1) && row.get::<_, Vec<String>>(3) == [OWN],
            granted: row.get(4),
        };
        rows.iter().map(table).collect()
    }
}
