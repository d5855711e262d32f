//! The linter: every rule finds its bad fixture and leaves its good one alone.

use std::path::{Path, PathBuf};

use rowhouse_app::{App, Finding, RULES, completion_sql, lint};
use rowhouse_postgres::{DatabaseError, SystemConnection};
use rowhouse_testkit::TestDatabases;

fn fixture(rule: &str, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rules").join(rule).join(file)
}

fn read(rule: &str, file: &str) -> String {
    let path = fixture(rule, file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("rule {rule} needs {}: {error}", path.display()))
}

/// An app whose manifest lists nothing, so that only the catalog speaks.
fn empty_app() -> App {
    app_with("")
}

/// An app with these sections in its manifest.
pub(crate) fn app_with(sections: &str) -> App {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("migrations")).unwrap();
    std::fs::write(directory.path().join("migrations/0001_init.sql"), "select 1;").unwrap();
    let manifest = format!("[app]\nname = \"x\"\ntitle = \"X\"\n{sections}");
    std::fs::write(directory.path().join("rowhouse.toml"), manifest).unwrap();
    App::load(directory.path()).unwrap()
}

/// Applies a fixture in a schema of its own: the migration, completion, then what follows it.
async fn findings(test: &TestDatabases, fixture: &str) -> Result<Vec<Finding>, DatabaseError> {
    let connection =
        test.databases.system(&test.authorities.system.scope("test"), &test.databases.pool_location()).await?;
    let roles = test.databases.home().roles.clone();
    let app = empty_app();
    let (migration, after) = fixture.split_once("-- after completion\n").unwrap_or((fixture, ""));
    run(&connection, migration).await?;
    let completion = completion_sql(&connection, "app", &roles, &app).await.unwrap();
    run(&connection, &completion).await?;
    run(&connection, after).await?;
    Ok(lint(&connection, "app", &app, &roles).await.unwrap())
}

pub(crate) async fn run(connection: &SystemConnection, sql: &str) -> Result<(), DatabaseError> {
    connection.batch(&format!("begin; set local search_path = app, shared, rowhouse; {sql} commit")).await
}

/// Holes that only a superuser can open: the owner role of the platform, which runs migrations,
/// is refused by the server itself. The rule looks for those that were there before.
fn refused_by_server(fixture: &str) -> bool {
    fixture.starts_with("-- refused by the server")
}

#[tokio::test]
async fn every_rule_finds_its_bad_fixture() {
    for rule in RULES.iter().filter(|rule| rule.name != "role-powerful") {
        let bad = read(rule.name, "bad.sql");
        let test = TestDatabases::start(&[]).await;
        let found = findings(&test, &bad).await;
        if refused_by_server(&bad) {
            assert!(found.is_err(), "{}: the server did not refuse", rule.name);
            continue;
        }
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", rule.name));
        let hit = found.iter().find(|finding| finding.rule == rule.name);
        assert!(hit.is_some(), "{} missed its bad fixture; found {found:#?}", rule.name);
        assert_eq!(hit.unwrap().severity, rule.severity);
    }
}

#[tokio::test]
async fn every_rule_leaves_its_good_fixture_alone() {
    for rule in RULES {
        let test = TestDatabases::start(&[]).await;
        let found = findings(&test, &read(rule.name, "good.sql")).await.unwrap();
        assert_eq!(found, [], "{}", rule.name);
    }
}

#[tokio::test]
async fn a_service_role_that_is_a_member_of_another_is_found() {
    let test = TestDatabases::start(&[]).await;
    let connection =
        test.databases.system(&test.authorities.system.scope("test"), &test.databases.pool_location()).await.unwrap();
    // The owner as its own service role: it owns everything.
    let roles = rowhouse_postgres::RoleNames::new("test");
    let found = lint(&connection, "app", &empty_app(), &roles).await.unwrap();
    assert_eq!(found, []);
    let powerful = rowhouse_postgres::RoleNames::new(&roles.owner().replace("_owner", "")).with_service(&roles.owner());
    let found = lint(&connection, "app", &empty_app(), &powerful).await.unwrap();
    assert!(found.iter().any(|finding| finding.rule == "role-powerful"), "{found:?}");
}

#[test]
fn every_rule_has_a_section_in_the_docs() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/isolation-rules.md");
    let text = std::fs::read_to_string(docs).unwrap();
    for rule in RULES.iter().map(|rule| rule.name).chain(["entity-without-owner", "migration"]) {
        let (_, section) =
            text.split_once(&format!("\n### {rule}\n")).unwrap_or_else(|| panic!("{rule} has no section"));
        let section = section.split("\n### ").next().unwrap_or_default();
        assert!(section.trim().len() > 80, "the section of {rule} says too little");
    }
}

#[test]
fn every_fixture_belongs_to_a_rule() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rules");
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(RULES.iter().any(|rule| rule.name == name), "there is no rule {name}");
    }
}
