//! Fingerprints: two schemas with the same fingerprint have the same tables, keys, indexes,
//! policies, grants and functions, whatever their names.

use std::collections::BTreeMap;

use rowhouse_postgres::{DatabaseResult, SystemConnection, params, quote_identifier};
use sha2::{Digest as _, Sha256};

/// Every line that tells something of a schema, in a stable order. Physical facts (oids, sizes,
/// statistics) are left out.
const LINES: &str = "
    with s as (select oid, nspname from pg_namespace where nspname = any($1))
    select nspname::text, line from (
        select s.nspname, 'column ' || c.relname || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
               || ' ' || a.attnotnull || ' ' || a.attgenerated::text || a.attidentity::text || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '') as line
        from s join pg_class c on c.relnamespace = s.oid and c.relkind in ('r', 'p', 'v', 'm', 'f')
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
        union all
        select s.nspname, 'table ' || c.relname || ' ' || c.relkind::text || ' ' || c.relpersistence::text || ' ' || c.relrowsecurity || ' '
               || c.relforcerowsecurity || ' ' || coalesce(array_to_string(c.reloptions, ','), '') || ' '
               || (select coalesce(string_agg(g.item, ',' order by g.item), '') from (
                       select pg_get_userbyid(x.grantee) || '=' || x.privilege_type as item from aclexplode(c.relacl) x) g)
        from s join pg_class c on c.relnamespace = s.oid and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
        union all
        select s.nspname, 'view ' || c.relname || ' ' || pg_get_viewdef(c.oid)
        from s join pg_class c on c.relnamespace = s.oid and c.relkind in ('v', 'm')
        union all
        select s.nspname, 'constraint ' || c.relname || ' ' || k.conname || ' ' || pg_get_constraintdef(k.oid)
        from s join pg_constraint k on k.connamespace = s.oid join pg_class c on c.oid = k.conrelid
        union all
        select s.nspname, 'index ' || pg_get_indexdef(x.indexrelid) || ' ' || x.indisvalid
        from s join pg_class c on c.relnamespace = s.oid join pg_index x on x.indrelid = c.oid
        union all
        select s.nspname, 'policy ' || c.relname || ' ' || p.polname || ' ' || p.polcmd::text || ' ' || p.polpermissive || ' '
               || coalesce(pg_get_expr(p.polqual, p.polrelid), '') || ' ' || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '')
        from s join pg_class c on c.relnamespace = s.oid join pg_policy p on p.polrelid = c.oid
        union all
        select s.nspname, 'trigger ' || c.relname || ' ' || pg_get_triggerdef(t.oid)
        from s join pg_class c on c.relnamespace = s.oid join pg_trigger t on t.tgrelid = c.oid and not t.tgisinternal
        union all
        select s.nspname, 'function ' || pg_get_functiondef(f.oid)
        from s join pg_proc f on f.pronamespace = s.oid and f.prokind in ('f', 'p')
        union all
        select s.nspname, 'type ' || t.typname || ' ' || t.typtype::text || ' '
               || array_to_string(array(select l.enumlabel from pg_enum l where l.enumtypid = t.oid order by l.enumsortorder), ',')
        from s join pg_type t on t.typnamespace = s.oid and t.typtype in ('e', 'd')
    ) lines
    order by nspname, line collate \"C\"";

/// The fingerprint of one schema.
pub async fn fingerprint(connection: &SystemConnection, schema: &str) -> DatabaseResult<String> {
    let mut all = fingerprints(connection, vec![schema.to_owned()]).await?;
    Ok(all.remove(schema).unwrap_or_else(|| Sha256::digest(b"").iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// The fingerprints of many schemas of one database, in one query. A schema that holds nothing
/// has none.
pub async fn fingerprints(
    connection: &SystemConnection,
    schemas: Vec<String>,
) -> DatabaseResult<BTreeMap<String, String>> {
    let mut hashes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in connection.query(LINES, params![schemas]).await? {
        let (schema, line): (String, String) = (row.get(0), row.get(1));
        // Definitions name their own schema in both forms; it must not tell targets apart.
        let line = line.replace(&format!("{}.", quote_identifier(&schema)), "").replace(&format!("{schema}."), "");
        hashes.entry(schema).or_default().push(line);
    }
    let digest = |mut lines: Vec<String>| {
        // Replacing the schema's name may have changed the order.
        lines.sort();
        let mut hash = Sha256::new();
        for line in lines {
            hash.update(line);
            hash.update("\n");
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    Ok(hashes.into_iter().map(|(schema, lines)| (schema, digest(lines))).collect())
}
