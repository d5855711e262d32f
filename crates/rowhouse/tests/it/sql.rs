//! Every SQL text of the product is planned by a real server, in the role and the databases that
//! run it: a misspelt column or a missing grant fails here and not before a user. What the data API
//! composes is not here; its own tests run it.

use crate::service::{DEMOS, INITECH, Service};
use crate::sql_source::{SqlText, constant, sql_texts};

/// A text whose rest only a run knows: its file, how it begins, and a value for each of its holes.
const COMPOSED: &[(&str, &str, &[&str])] = &[
    ("crates/rowhouse/src/commands/serve.rs", "select id::text", &["app", "leads"]),
    (
        "crates/rowhouse-postgres/src/migrate.rs",
        "insert into rowhouse._migrations",
        &["'app'", "'0001_init'", "0", "1", "'r'"],
    ),
    ("crates/rowhouse-postgres/src/migrate.rs", "select pg_advisory_xact_lock", &["'app'"]),
    ("crates/rowhouse-postgres/src/migrate.rs", "delete from rowhouse._migrations", &["'app'", "'0001_init'"]),
    ("crates/rowhouse-postgres/src/probe.rs", "select exists", &["app.leads"]),
    ("crates/rowhouse-tenants/src/delete.rs", "delete from control.", &["memberships"]),
    ("crates/rowhouse-tenants/src/rows.rs", "delete from {table}", &["app.leads", "app.leads"]),
    ("crates/rowhouse-tenants/src/rows.rs", "with {}", &["a as (delete from app.leads where tenant_id = $1)"]),
];

/// Texts that their file puts behind another: the file, and the constant and file of the other.
const FRAMED: &[(&str, &str, &str)] =
    &[("crates/rowhouse-app/src/lint/rules.rs", "SETTINGS", "crates/rowhouse-app/src/lint.rs")];

/// The only crate that puts statements together piece by piece: its literals are pieces.
const BUILDER: &str = "crates/rowhouse-records/";

/// The text as it is run.
fn whole(sql: &SqlText) -> String {
    let mut text = sql.text.clone();
    if !sql.open.is_empty() {
        let known = COMPOSED.iter().find(|(file, begin, _)| sql.file == *file && text.trim_start().starts_with(begin));
        let Some((_, _, values)) = known else {
            panic!("{}: say in COMPOSED what to plan it with for {:?}: {text}", sql.place, sql.open)
        };
        assert_eq!(sql.open.len(), values.len(), "{}: a value for each of {:?}", sql.place, sql.open);
        for (hole, value) in sql.open.iter().zip(*values) {
            text = text.replacen(hole, value, 1);
        }
    }
    match FRAMED.iter().find(|(file, _, _)| sql.file == *file) {
        Some((_, name, file)) => constant(file, name) + &text,
        None => text,
    }
}

/// Prepares the text and has it planned, which checks names, types and rights, without running it.
fn plan(text: &str) -> String {
    let numbers = text.split('$').skip(1).map_while(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some(digits.parse().unwrap_or(0))
    });
    let nulls = vec!["null"; numbers.max().unwrap_or(0)].join(", ");
    let values = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    format!("prepare planned as {text}; explain execute planned{values}; deallocate planned;")
}

#[test]
fn every_sql_text_can_be_planned_by_the_role_that_runs_it() {
    let service = Service::shared();
    let [data, own] = [&DEMOS[0], &INITECH].map(|demo| service.place(demo).database);
    let all = sql_texts();
    let frames =
        |sql: &SqlText| FRAMED.iter().any(|(_, name, file)| sql.file == *file && sql.text == constant(file, name));
    let texts = || all.iter().filter(|sql| !sql.file.starts_with(BUILDER) && !frames(sql));
    assert!(texts().count() > 100, "{} texts found", texts().count());
    for (file, begin, _) in COMPOSED {
        let used = texts().any(|sql| sql.file == *file && sql.text.trim_start().starts_with(begin));
        assert!(used, "{file} has no text {begin:?} any more: remove it from COMPOSED");
    }
    let mut faults = Vec::new();
    for by_service in [false, true] {
        let role = if by_service { "rowhouse_service" } else { "rowhouse_owner" };
        for database in ["rowhouse_control", &data, &own] {
            let is_control = database == "rowhouse_control";
            // The probe makes its table where tables are shared.
            let is_absent = |text: &str| database == own && text.contains("rowhouse._probe");
            let here: Vec<_> = texts()
                .filter(|sql| sql.by_service == by_service && sql.text.contains("control.") == is_control)
                .filter(|sql| !is_absent(&sql.text))
                .map(|sql| (sql, plan(&whole(sql))))
                .collect();
            let everything: String = here.iter().map(|(_, plan)| plan.as_str()).collect();
            if service.sql_as(role, database, &everything).is_ok() {
                continue;
            }
            for (sql, plan) in here {
                if let Err(error) = service.sql_as(role, database, &plan) {
                    faults.push(format!("{} as {role} in {database}: {error}", sql.place));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
