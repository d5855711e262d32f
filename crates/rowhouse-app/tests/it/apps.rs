//! The example apps and the scaffold: what a developer meets first.

use std::path::{Path, PathBuf};

use rowhouse_app::{App, AppError, ColumnKind, Severity, check, fingerprint, scaffold};
use rowhouse_testkit::TestDatabases;

fn app(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../apps").join(name)
}

async fn passes(directory: &Path) -> rowhouse_app::CheckReport {
    let test = TestDatabases::start(&[]).await;
    let app = App::load(directory).unwrap();
    let report = check(&test.databases, &test.authorities.system.scope("test"), &app).await.unwrap();
    let errors: Vec<_> = report.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    report
}

#[tokio::test]
async fn every_example_app_passes_the_check() {
    for entry in std::fs::read_dir(app("")).unwrap() {
        let path = entry.unwrap().path();
        if path.join("rowhouse.toml").exists() {
            let report = passes(&path).await;
            assert!(report.entities >= 3, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn the_catalog_becomes_the_model() {
    let report = passes(&app("solar")).await;
    let leads = &report.model.entities["leads"];
    assert_eq!(leads.status.as_deref(), Some("status"));
    assert_eq!(leads.owner.as_deref(), Some("owner_id"));
    assert!(leads.column("tenant_id").is_none());
    assert!(leads.column("id").unwrap().read_only);
    let temperature = leads.column("temperature").unwrap();
    assert_eq!(temperature.kind, ColumnKind::Enum);
    assert_eq!(temperature.allowed.as_deref().unwrap(), ["cold", "warm", "hot"]);
    assert_eq!(leads.column("status").unwrap().allowed.as_ref().unwrap().len(), 5);
    assert_eq!(leads.column("phone").unwrap().length_max, Some(40));
    let projects = &report.model.entities["projects"];
    assert!(!projects.relations["stage"].many);
    assert!(projects.relations["tasks"].many);
    assert!(projects.relations["panel_model"].shared);
}

#[tokio::test]
async fn constraints_have_words_for_whoever_breaks_them() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("desk");
    scaffold(&target).unwrap();
    let more = "
        alter table tickets
            add column priority integer check (priority between 1 and 5),
            add column code text check (upper(code) = code),
            add constraint subject_is_not_body check (subject <> body);
        comment on constraint tickets_code_check on tickets is 'must be in capitals';";
    std::fs::write(target.join("migrations/0002_words.sql"), more).unwrap();
    let report = passes(&target).await;
    let told = |entity: &str, name: &str| report.model.entities[entity].constraints[name].message.clone();
    assert_eq!(
        told("customers", "customers_tenant_id_email_key").as_deref(),
        Some("Another customer has this e-mail address.")
    );
    assert_eq!(told("tickets", "tickets_subject_check").as_deref(), Some("must have 1 to 200 characters"));
    assert_eq!(told("tickets", "tickets_status_check").as_deref(), Some("must be one of open, waiting, closed"));
    assert_eq!(told("tickets", "tickets_priority_check").as_deref(), Some("must be between 1 and 5"));
    assert_eq!(told("tickets", "tickets_code_check").as_deref(), Some("must be in capitals"));
    assert_eq!(told("tickets", "subject_is_not_body").as_deref(), Some("subject must not be the same as body"));
    assert_eq!(told("tickets", "tickets_tenant_id_customer_id_fkey"), None);
}

#[tokio::test]
async fn the_scaffold_passes_the_check_and_refuses_a_directory_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("desk");
    assert!(scaffold(&target).unwrap().len() <= 8);
    let report = passes(&target).await;
    assert_eq!(report.findings, []);
    assert!(matches!(scaffold(&target), Err(AppError::Faults(_))));
}

#[tokio::test]
async fn an_app_that_can_leak_is_named_with_every_fault() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("leaky");
    scaffold(&target).unwrap();
    std::fs::write(
        target.join("migrations/0002_leak.sql"),
        "create table loose (id uuid primary key, email text unique);",
    )
    .unwrap();
    let test = TestDatabases::start(&[]).await;
    let app = App::load(&target).unwrap();
    let report = check(&test.databases, &test.authorities.system.scope("test"), &app).await.unwrap();
    assert!(!report.passed());
    let rules: Vec<&str> = report.findings.iter().map(|finding| finding.rule).collect();
    assert!(rules.contains(&"tenant-id-missing") && rules.contains(&"unique-without-tenant"), "{rules:?}");
    // The scratch database is gone.
    let control = test.databases.control(&test.authorities.system.scope("test")).await.unwrap();
    let left = control
        .query("select 1 from pg_database where datname like current_database() || '%check%'", &[])
        .await
        .unwrap();
    assert!(left.is_empty());
}

#[test]
fn a_manifest_fault_names_line_key_and_remedy() {
    let path = Path::new("rowhouse.toml");
    let unknown = "[app]\nname = \"x\"\ntitle = \"X\"\n\n[entities.leads]\nserch = [\"name\"]\n";
    let text = rowhouse_app::Manifest::parse(unknown, path).unwrap_err().to_string();
    assert!(text.starts_with("rowhouse.toml:6: serch:"), "{text}");
    assert!(text.contains("Did you mean \"search\"?"), "{text}");
    let several = "[app]\nname = \"X!\"\ntitle = \"X\"\n[roles.owner]\ntitle = \"O\"\npermissions = [\"leeds:view\", \"leads:fly\"]\n[entities.leads]\n";
    let text = rowhouse_app::Manifest::parse(several, path).unwrap_err().to_string();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains("Did you mean \"leads\"?"), "{text}");
}

#[test]
fn migration_files_are_judged_by_name_and_content() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("desk");
    scaffold(&target).unwrap();
    for (file, text) in [
        ("0001_again.sql", "select 1;"),
        ("two.sql", "select 1;"),
        ("0003_Big.sql", "select 1;"),
        ("0004_x.shrink.sql", "select 1;"),
        ("0005_empty.sql", " "),
        ("0006_gone.down.sql", "select 1;"),
        ("notes.txt", "x"),
    ] {
        std::fs::write(target.join("migrations").join(file), text).unwrap();
    }
    let Err(AppError::Faults(faults)) = App::load(&target) else { panic!("accepted") };
    assert_eq!(faults.len(), 7, "{faults:#?}");
}

#[tokio::test]
async fn two_schemas_of_one_version_have_one_fingerprint() {
    let test = TestDatabases::start(&[]).await;
    let connection =
        test.databases.system(&test.authorities.system.scope("test"), &test.databases.pool_location()).await.unwrap();
    let app = App::load(&app("solar")).unwrap();
    let mut prints = Vec::new();
    connection
        .batch(&format!("begin; set local search_path = shared; {} commit", app.shared_migrations.migrations[0].sql))
        .await
        .unwrap();
    for schema in ["s_aaaaaaaa", "s_bbbbbbbb"] {
        let provision = app.migrations.provision_sql(schema, "1", "");
        connection.batch(&format!("begin; create schema {schema}; {provision} commit")).await.unwrap();
        prints.push(fingerprint(&connection, schema).await.unwrap());
    }
    assert_eq!(prints[0], prints[1]);
    connection.batch("alter table s_bbbbbbbb.leads add column extra text").await.unwrap();
    assert_ne!(fingerprint(&connection, "s_bbbbbbbb").await.unwrap(), prints[0]);
}

/// Run with `UPDATE_DOCS=1` to write it anew.
#[test]
fn the_published_schema_of_the_manifest_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/manifest.schema.json");
    let text = serde_json::to_string_pretty(&rowhouse_app::Manifest::json_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "run the test with UPDATE_DOCS=1");
}
