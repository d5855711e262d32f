//! What PostgreSQL's catalog says of one schema: tables, columns, constraints, indexes. Read in
//! three set-based queries, whatever the number of tables.

use std::collections::BTreeMap;

use rowhouse_postgres::{DatabaseResult, SystemConnection, params};

/// One schema.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    pub(crate) tables: BTreeMap<String, Table>,
}

/// A table, a partition parent, or a child.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<TableColumn>,
    pub(crate) constraints: Vec<Constraint>,
    pub(crate) indexes: Vec<Index>,
}

#[derive(Debug, Clone)]
pub(crate) struct TableColumn {
    pub(crate) name: String,
    /// As PostgreSQL writes it: `numeric(12,2)`.
    pub(crate) type_name: String,
    /// The base type's bare name: `numeric`, `int4`; of an array's elements for an array.
    pub(crate) base: String,
    pub(crate) is_array: bool,
    pub(crate) is_enum: bool,
    pub(crate) not_null: bool,
    pub(crate) default: Option<String>,
    pub(crate) generated: bool,
    pub(crate) identity: bool,
    pub(crate) comment: Option<String>,
    pub(crate) enum_values: Vec<String>,
}

/// `p` primary key, `u` unique, `f` foreign key, `c` check, `x` exclusion.
#[derive(Debug, Clone)]
pub(crate) struct Constraint {
    pub(crate) name: String,
    pub(crate) kind: char,
    pub(crate) columns: Vec<String>,
    pub(crate) definition: String,
    pub(crate) other_schema: Option<String>,
    pub(crate) other_table: Option<String>,
    pub(crate) other_columns: Vec<String>,
    pub(crate) comment: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) name: String,
    /// Key columns in order; an expression is an empty name.
    pub(crate) columns: Vec<String>,
    pub(crate) partial: bool,
}

const COLUMNS: &str = "
    select c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
           coalesce(nullif(e.typbasetype, 0)::regtype::text, e.typname)::text,
           (select b.typname::text from pg_type b where b.oid = coalesce(nullif(e.typbasetype, 0), e.oid)),
           t.typcategory = 'A' and t.typelem <> 0, e.typtype = 'e',
           a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attgenerated <> '', a.attidentity <> '',
           col_description(c.oid, a.attnum),
           array(select l.enumlabel::text from pg_enum l where l.enumtypid = e.oid order by l.enumsortorder)
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    join pg_type e on e.oid = case when t.typcategory = 'A' and t.typelem <> 0 then t.typelem else t.oid end
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where n.nspname = $1 and c.relkind in ('r', 'p')
    order by c.relname, a.attnum";

const CONSTRAINTS: &str = "
    select c.relname, k.conname, k.contype::text,
           array(select a.attname::text from unnest(k.conkey) with ordinality u(num, pos)
                 join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.num order by u.pos),
           pg_get_constraintdef(k.oid), fn.nspname, f.relname,
           array(select a.attname::text from unnest(k.confkey) with ordinality u(num, pos)
                 join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.num order by u.pos),
           obj_description(k.oid, 'pg_constraint')
    from pg_constraint k
    join pg_class c on c.oid = k.conrelid
    join pg_namespace n on n.oid = c.relnamespace
    left join pg_class f on f.oid = k.confrelid
    left join pg_namespace fn on fn.oid = f.relnamespace
    where n.nspname = $1 and k.contype in ('p', 'u', 'f', 'c', 'x')
    order by c.relname, k.conname";

const INDEXES: &str = "
    select c.relname, (select i.relname::text from pg_class i where i.oid = x.indexrelid),
           array(select coalesce(a.attname::text, '') from unnest(x.indkey::int2[]) with ordinality u(num, pos)
                 left join pg_attribute a on a.attrelid = c.oid and a.attnum = u.num and u.num > 0
                 where u.pos <= x.indnkeyatts order by u.pos),
           x.indpred is not null
    from pg_index x
    join pg_class c on c.oid = x.indrelid
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1
    order by c.relname, x.indexrelid";

impl Catalog {
    /// Reads one schema.
    pub(crate) async fn read(connection: &SystemConnection, schema: &str) -> DatabaseResult<Self> {
        let mut tables: BTreeMap<String, Table> = BTreeMap::new();
        for row in connection.query(COLUMNS, params![schema]).await? {
            tables.entry(row.get(0)).or_default().columns.push(TableColumn {
                name: row.get(1),
                type_name: row.get(2),
                base: row.get(4),
                is_array: row.get(5),
                is_enum: row.get(6),
                not_null: row.get(7),
                default: row.get(8),
                generated: row.get(9),
                identity: row.get(10),
                comment: row.get(11),
                enum_values: row.get(12),
            });
        }
        let first = |text: Option<String>| text.and_then(|text| text.chars().next()).unwrap_or(' ');
        for row in connection.query(CONSTRAINTS, params![schema]).await? {
            let name: String = row.get(0);
            tables.entry(name).or_default().constraints.push(Constraint {
                name: row.get(1),
                kind: first(row.get(2)),
                columns: row.get(3),
                definition: row.get(4),
                other_schema: row.get(5),
                other_table: row.get(6),
                other_columns: row.get(7),
                comment: row.get(8),
            });
        }
        for row in connection.query(INDEXES, params![schema]).await? {
            let name: String = row.get(0);
            tables.entry(name).or_default().indexes.push(Index {
                name: row.get(1),
                columns: row.get(2),
                partial: row.get(3),
            });
        }
        Ok(Self { tables })
    }
}

impl Table {
    pub(crate) fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether the table is a tenant's: it has the column that isolation hangs on. One of
    /// another type cannot be completed; the linter refuses it.
    pub(crate) fn is_scoped(&self) -> bool {
        self.column("tenant_id").is_some_and(|column| column.base == "uuid" && !column.is_array)
    }

    /// Whether an index over the whole table, other than the one of this name, starts with these
    /// columns.
    pub(crate) fn has_index_beside(&self, name: &str, columns: &[&str]) -> bool {
        let starts = |index: &&Index| {
            index.name != name
                && !index.partial
                && index.columns.len() >= columns.len()
                && index.columns.iter().zip(columns).all(|(a, b)| a == b)
        };
        self.indexes.iter().any(|index| starts(&index))
    }
}
