//! Fingerprints: two schemas with the same fingerprint have the same tables, keys, indexes,
//! policies, grants and functions, whatever their names.

use std::collections::BTreeMap;

use rowhouse_postgres::{DatabaseError, DatabaseResult, SystemConnection, params, quote_identifier};
use sha2::{Digest as _, Sha256};

/// Every line that tells something of a schema, in a stable order. Physical facts (oids, sizes,
/// statistics) are left out.
const LINES: &str = "
    with s as (select oid, nspname from pg_namespace where nspname = any($1))
    select nspname::text, line from (
        select s.nspname, 'column ' || c.relname || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
               || ' ' || a.attnotnull || ' ' || a.attgenerated::text || a.attidentity::text || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
               || ' ' || coalesce(a.attacl::text, '') as line
        from s join pg_class c on c.relnamespace = s.oid and c.relkind in ('r', 'p', 'v', 'm', 'f')
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
        union all
        select s.nspname, 'schema ' || pg_get_userbyid(n.nspowner) || ' '
               || (select coalesce(string_agg(g.item, ',' order by g.item), '') from (
                       select pg_get_userbyid(x.grantee) || '=' || x.privilege_type as item from aclexplode(n.nspacl) x) g)
        from s join pg_namespace n on n.oid = s.oid
        union all
        select s.nspname, 'table ' || c.relname || ' ' || pg_get_userbyid(c.relowner) || ' ' || c.relkind::text || ' ' || c.relpersistence::text || ' ' || c.relrowsecurity || ' '
               || c.relforcerowsecurity || ' ' || coalesce(array_to_string(c.reloptions, ','), '') || ' '
               || (select coalesce(string_agg(g.item, ',' order by g.item), '') from (
                       select pg_get_userbyid(x.grantee) || '=' || x.privilege_type as item from aclexplode(c.relacl) x) g)
               || (select coalesce(string_agg(r.ev_enabled::text || pg_get_ruledef(r.oid), ',' order by r.rulename), '')
                   from pg_rewrite r where r.ev_class = c.oid and r.rulename <> '_RETURN')
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
               || (select string_agg(pg_get_userbyid(r), ',' order by pg_get_userbyid(r)) from unnest(p.polroles) r) || ' '
               || coalesce(pg_get_expr(p.polqual, p.polrelid), '') || ' ' || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '')
        from s join pg_class c on c.relnamespace = s.oid join pg_policy p on p.polrelid = c.oid
        union all
        select s.nspname, 'trigger ' || c.relname || ' ' || t.tgenabled::text || ' ' || pg_get_triggerdef(t.oid)
        from s join pg_class c on c.relnamespace = s.oid join pg_trigger t on t.tgrelid = c.oid and not t.tgisinternal
        union all
        select s.nspname, 'function ' || pg_get_userbyid(f.proowner) || ' ' || coalesce(f.proacl::text, '') || ' ' || pg_get_functiondef(f.oid)
        from s join pg_proc f on f.pronamespace = s.oid and f.prokind in ('f', 'p')
        union all
        select s.nspname, 'type ' || t.typname || ' ' || t.typtype::text || ' '
               || array_to_string(array(select l.enumlabel from pg_enum l where l.enumtypid = t.oid order by l.enumsortorder), ',')
        from s join pg_type t on t.typnamespace = s.oid and t.typtype in ('e', 'd')
    ) lines
    order by nspname, line collate \"C\"";

/// Attempts at a reading during which somebody else drops what is being read.
const ATTEMPTS_MAX: u32 = 5;

/// How fingerprints are made: those that were made otherwise cannot be compared.
pub fn fingerprint_method() -> &'static str {
    LINES
}

/// The lines of some schemas. PostgreSQL prints definitions as they are now, but the rows that
/// name them are of the query's beginning: what was dropped in between is an error or null, and
/// the whole is read again.
async fn lines(connection: &SystemConnection, schemas: Vec<String>) -> DatabaseResult<Vec<(String, String)>> {
    let mut attempt = 1;
    loop {
        match connection.query(LINES, params![schemas.clone()]).await {
            Ok(rows) => {
                let lines: Option<Vec<(String, String)>> =
                    rows.iter().map(|row| Some((row.get(0), row.get::<_, Option<String>>(1)?))).collect();
                if let Some(lines) = lines {
                    return Ok(lines);
                }
            }
            Err(DatabaseError::Collision) => {}
            Err(error) => return Err(error),
        }
        if attempt == ATTEMPTS_MAX {
            return Err(DatabaseError::Collision);
        }
        attempt += 1;
    }
}

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
    for (schema, line) in lines(connection, schemas).await? {
        // Definitions name their own schema in both forms; it must not tell targets apart.
        let line = line.replace(&format!("{}.", quote_identifier(&schema)), "").replace(&format!("{schema}."), "");
        hashes.entry(schema).or_default().push(line);
    }
    // The line of the schema itself is always there.
    hashes.retain(|_, lines| lines.len() > 1);
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
