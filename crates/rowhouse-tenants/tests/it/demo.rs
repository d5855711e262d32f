//! Demo data: the same wherever it is made, whole, and true to every constraint.

use std::path::PathBuf;

use rowhouse_jobs::{Failpoint, set_failpoint};
use rowhouse_postgres::{params, quote_identifier};
use rowhouse_tenants::{Placement, Tenant};

use crate::town::{PLACEMENTS, Town, provision, quiet};

const APPS: [&str; 3] = ["garage", "solar", "launchpad"];
const ROWS: u64 = 300;

fn app(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../apps").join(name)
}

/// The app's tables in a tenant's place.
async fn tables(town: &Town, tenant: &Tenant) -> Vec<String> {
    const TABLES: &str = "select tablename::text from pg_tables where schemaname = $1 order by 1";
    let connection = town.system(&tenant.location).await;
    let rows = connection.query(TABLES, params![&*tenant.location.schema]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// A tenant's rows as text, sorted. Ids follow from the tenant's, which is another everywhere, and
/// what the onboarding seed makes has the time of day, to its microsecond: both are left out.
async fn rows(town: &Town, tenant: &Tenant) -> Vec<String> {
    let connection = town.system(&tenant.location).await;
    let schema = quote_identifier(&tenant.location.schema);
    let mut all = Vec::new();
    for table in tables(town, tenant).await {
        let sql = format!(
            "select (select jsonb_object_agg(key, case
                         when value ~ '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$' then 'an id'
                         when value ~ '^\\d{{4}}-\\d\\d-\\d\\dT.*\\.\\d+' and value::timestamptz > now() - interval '1 hour' then 'now'
                         else value end)::text
                     from jsonb_each_text(to_jsonb(t)))
             from {schema}.{} t where tenant_id = $1",
            quote_identifier(&table)
        );
        let found = connection.query(&sql, params![tenant.id]).await.unwrap();
        all.extend(found.iter().map(|row| format!("{table} {}", row.get::<_, &str>(0))));
    }
    all.sort();
    all
}

/// Foreign keys and checks that some row does not keep, or that are not in force.
async fn broken_constraints(town: &Town, tenant: &Tenant) -> Vec<String> {
    const CONSTRAINTS: &str = "
        select k.conrelid::regclass::text, k.conname::text, k.contype::text, k.convalidated, k.confrelid::regclass::text,
               pg_get_expr(k.conbin, k.conrelid),
               (select string_agg(format('t.%I = f.%I', a.attname, b.attname), ' and ')
                from unnest(k.conkey, k.confkey) as pair (own, other)
                join pg_attribute a on a.attrelid = k.conrelid and a.attnum = own
                join pg_attribute b on b.attrelid = k.confrelid and b.attnum = other),
               (select string_agg(format('t.%I is not null', a.attname), ' and ')
                from unnest(k.conkey) as own join pg_attribute a on a.attrelid = k.conrelid and a.attnum = own)
        from pg_constraint k join pg_class c on c.oid = k.conrelid
        where c.relnamespace = $1::text::regnamespace and k.contype in ('f', 'c')";
    let connection = town.system(&tenant.location).await;
    let schema = quote_identifier(&tenant.location.schema);
    let mut broken = Vec::new();
    for row in connection.query(CONSTRAINTS, params![schema]).await.unwrap() {
        let (table, name, kind, valid): (&str, &str, &str, bool) = (row.get(0), row.get(1), row.get(2), row.get(3));
        let violation = match kind {
            "c" => format!("select 1 from {table} t where not ({}) limit 1", row.get::<_, &str>(5)),
            _ => {
                let (other, matches, whole): (&str, &str, &str) = (row.get(4), row.get(6), row.get(7));
                format!(
                    "select 1 from {table} t where {whole} and not exists (select from {other} f where {matches}) limit 1"
                )
            }
        };
        if !valid || !connection.query(&violation, &[]).await.unwrap().is_empty() {
            broken.push(format!("{table} {name}"));
        }
    }
    broken
}

#[tokio::test]
async fn demo_rows_are_the_same_in_every_installation_and_placement() {
    for name in APPS {
        let mut found: Vec<Vec<String>> = Vec::new();
        for _ in 0..2 {
            let town = Town::of(&app(name)).await;
            let tenants = town.open().await;
            for placement in PLACEMENTS {
                let tenant = provision(&tenants, placement.as_str(), placement).await;
                let at_first = rows(&town, &tenant).await;
                tenants.seed_rows(&tenant, u32::try_from(ROWS).unwrap()).await.unwrap();
                let now = rows(&town, &tenant).await;
                let demo: Vec<String> = now.iter().filter(|row| !at_first.contains(row)).cloned().collect();
                assert!(demo.len() > 200, "{name}: {}", demo.len());
                let clock: Vec<&String> = demo.iter().filter(|row| row.contains(": \"now\"")).collect();
                assert!(clock.is_empty(), "{name}: the time of day is not the same everywhere: {clock:#?}");
                // Once more changes nothing: a run that was interrupted can be repeated.
                tenants.seed_rows(&tenant, u32::try_from(ROWS).unwrap()).await.unwrap();
                assert_eq!(rows(&town, &tenant).await, now, "{name} in {placement}");
                found.push(demo);
            }
        }
        for other in &found[1..] {
            assert_eq!(*other, found[0], "{name}");
        }
    }
}

#[tokio::test]
async fn demo_rows_keep_every_constraint_and_fill_every_table() {
    for name in APPS {
        let town = Town::of(&app(name)).await;
        let tenants = town.open().await;
        for placement in PLACEMENTS {
            let tenant = provision(&tenants, placement.as_str(), placement).await;
            let neighbour = provision(&tenants, &format!("{placement}-neighbour"), placement).await;
            let before = rows(&town, &neighbour).await;
            tenants.seed_rows(&tenant, u32::try_from(ROWS).unwrap()).await.unwrap();
            assert_eq!(broken_constraints(&town, &tenant).await, Vec::<String>::new(), "{name} in {placement}");
            for table in tables(&town, &tenant).await {
                assert!(town.count(&tenant, &quote_identifier(&table)).await > 0, "{name}: {table} is empty");
            }
            assert_eq!(rows(&town, &neighbour).await, before, "{name} in {placement}");
        }
    }
}

#[tokio::test]
async fn demo_tenants_are_made_once_and_completed_after_an_interruption() {
    let town = Town::start().await;
    let tenants = town.open().await;
    set_failpoint("provision-seed-before", "demo-0002", Failpoint::Crash);
    tenants.seed_demo(3, ROWS, Placement::Schema, &|_| {}).await.unwrap_err();
    tenants.finish().await;
    town.expire_leases().await;
    let tenants = town.process(quiet()).await;
    let slugs = tenants.seed_demo(3, ROWS, Placement::Schema, &|_| {}).await.unwrap();
    assert_eq!(slugs, ["demo-0001", "demo-0002", "demo-0003"]);
    let mut all = Vec::new();
    for slug in &slugs {
        let tenant = tenants.find(slug).await.unwrap().unwrap();
        assert_eq!(town.count(&tenant, "customers").await, 51, "half of its share, and the first");
        all.push(rows(&town, &tenant).await);
    }
    assert!(all.iter().all(|rows| *rows == all[0]));
    assert_eq!(tenants.seed_demo(4, ROWS, Placement::Schema, &|_| {}).await.unwrap().len(), 4);
    let first = tenants.find("demo-0001").await.unwrap().unwrap();
    assert_eq!(rows(&town, &first).await, all[0], "what is there stays as it is");
}
