//! Checks as people write them and PostgreSQL prints them again, and what is told to whoever breaks one.

use std::fmt::Write;

use rowhouse_app::compile;
use rowhouse_testkit::TestDatabases;

use crate::rules::{app_with, run};

const COLUMNS: &str = "id uuid primary key, n integer, big bigint, price numeric(10, 2), share real, name text,
    code varchar(20), kind varchar, status text, body bytea, flag boolean, day date, starts_at timestamptz,
    ends_at timestamptz, pause interval, tags text[], low integer, high integer, \"Odd name\" integer,
    settings jsonb";

const TOLD: &[(&str, &str)] = &[
    ("n >= 0", "must be at least 0"),
    ("0 < n", "must be more than 0"),
    ("n > -5", "must be more than -5"),
    ("n <> - 5", "must not be -5"),
    ("big < -9000000000", "must be less than -9000000000"),
    ("price >= 0", "must be at least 0"),
    ("price > 0.5 and price < 1e3", "must be more than 0.5 and must be less than 1000"),
    ("price > -0.5", "must be more than -0.5"),
    ("share <= 1", "must be at most 1"),
    ("n between 1 and 5", "must be between 1 and 5"),
    ("n::numeric between 1.5 and 5", "must be between 1.5 and 5"),
    ("status in ('open', 'it''s')", "must be one of open, it's"),
    ("status = any (array['a', 'b'])", "must be one of a, b"),
    ("kind in ('a', 'b')", "must be one of a, b"),
    ("code in ('a', 'b')", "must be one of a, b"),
    ("n in (1, 2)", "must be one of 1, 2"),
    ("n in (-1, 1)", "must be one of -1, 1"),
    ("length(name) between 1 and 200", "must have 1 to 200 characters"),
    ("char_length(code) = 4", "must have exactly 4 characters"),
    ("octet_length(body) <= 10", "must have at most 10 bytes"),
    ("cardinality(tags) <= 3", "must have at most 3 entries"),
    ("name <> ''", "must not be empty"),
    ("trim(name) <> ''", "must not be blank"),
    ("btrim(code) != ''", "must not be blank"),
    ("length(trim(both from name)) > 0", "must not be blank"),
    ("name like '%@%'", "must contain @"),
    ("code like 'RH-%'", "must begin with RH-"),
    ("code ~ '^[A-Z]{2}\\d+$'", "must match the pattern ^[A-Z]{2}\\d+$"),
    ("code ~* '^a(b|c)'", "must match the pattern ^a(b|c)"),
    ("day >= '2020-01-01'", "must not be before 2020-01-01"),
    ("day > date '2020-01-01'", "must be after 2020-01-01"),
    ("pause <= interval '90 minutes'", "must be at most 01:30:00"),
    ("pause >= '1 day'", "must be at least 1 day"),
    ("ends_at > starts_at", "ends_at must be after starts_at"),
    ("ends_at is null or ends_at >= starts_at", "ends_at must not be before starts_at"),
    ("high >= low", "high must be at least low"),
    ("name is not null", "is required"),
    ("name is not null or code is not null", "one of name, code is required"),
    ("name is null or status = 'lost'", "name is only allowed if status is lost"),
    ("day is null or status in ('paid', 'sent')", "day is only allowed if status is one of paid, sent"),
    ("\"Odd name\" is null or \"Odd name\" > 0", "must be more than 0"),
    ("((n) > (0))", "must be more than 0"),
];

const LEFT_ALONE: &[&str] = &[
    "not flag",
    "flag",
    "flag is true",
    "not (n > 0)",
    "not (name is null and code is null)",
    "n > 0 or low > 0",
    "n > 0 and low > 0",
    "n > 0 and not flag and (low > 0 or (high > 0 and price > 0))",
    "upper(code) = code",
    "lower(name) like '%@%'",
    "name not like '%@%'",
    "name like 'a%b'",
    "name ilike '%a%'",
    "name similar to 'a|b'",
    "code !~ '^x'",
    "n not in (1, 2)",
    "status = any ('{a,b}'::text[])",
    "n % 2 = 0",
    "high > low + 1",
    "high - low > 1",
    "coalesce(n, low) > 0",
    "num_nonnulls(name, code) = 1",
    "day > current_date",
    "starts_at > now()",
    "ends_at - starts_at <= interval '1 day'",
    "extract(year from day) > 2000",
    "starts_at at time zone 'UTC' > '2020-01-01'",
    "case when flag then n > 0 else low > 0 end",
    "(status = 'won') = (day is not null)",
    "n is distinct from 3",
    "settings ? 'a'",
    "settings ->> 'a' = 'b'",
    "tags[1] = 'a'",
    "tags @> array['a']",
    "trim(leading from name) <> ''",
    "trim(both 'x' from name) <> ''",
    "name collate \"C\" > 'a'",
    "name::integer > 0 or code is null",
    "(n, low) = (1, 2)",
    "flag = true",
];

#[tokio::test]
async fn checks_are_told_as_postgresql_prints_them() {
    let test = TestDatabases::start(&[]).await;
    let connection =
        test.databases.system(&test.authorities.system.scope("test"), &test.databases.pool_location()).await.unwrap();
    let mut sql = format!("create table app.things ({COLUMNS}");
    let expected = TOLD.iter().map(|(check, told)| (*check, Some(*told))).chain(LEFT_ALONE.iter().map(|c| (*c, None)));
    for (number, (check, _)) in expected.clone().enumerate() {
        write!(sql, ", constraint c{number} check ({check})").unwrap();
    }
    sql.push_str("); alter table app.things add constraint later check (n > 7) not valid;");
    run(&connection, &sql).await.unwrap();
    let model = compile(&connection, "app", &app_with("[entities.things]\n")).await.unwrap();
    let constraints = &model.entities["things"].constraints;
    let told = |name: &str| constraints.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", constraints.keys()));
    let wrong: Vec<_> = expected
        .enumerate()
        .map(|(number, (check, expected))| (check, expected, told(&format!("c{number}"))))
        .filter(|(_, expected, constraint)| constraint.message.as_deref() != *expected)
        .map(|(check, expected, constraint)| (check, &constraint.expression, &constraint.message, expected))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(told("later").message.as_deref(), Some("must be more than 7"));
}
