//! A PostgreSQL of the operator's own, reached as a role that is no superuser.

use crate::service::{DEMOS, NEIGHBOUR, Service, app_dir, rowhouse, temporary};

/// Serves twice on a server that another installation has too: the role of the URL makes roles and
/// databases at the first start, and is not needed for anything else.
#[tokio::test]
async fn a_server_of_ones_own_needs_no_superuser_and_holds_several_installations() {
    let host = Service::start("launchpad");
    host.sql_as_superuser("create role guest_admin login createrole createdb password 'guest-secret'");
    let socket = host.data_dir.join("postgres/run").display().to_string().replace('/', "%2F");
    let url = format!("postgresql://guest_admin:guest-secret@{socket}/postgres");
    let settings = ["--database-url", url.as_str(), "--instance", "guest"];
    let mut service = Service::start_with("solar", &settings);
    assert!(!service.data_dir.join("postgres").exists(), "no server of its own was started");
    for demo in DEMOS.iter().filter(|demo| demo.slug != NEIGHBOUR.slug) {
        let owner = service.owner(demo).await;
        assert_eq!(owner.get("/api/leads?per_page=1").await.status, 200);
    }
    // The bootstrap's role may go once everything stands.
    host.sql_as_superuser("alter role guest_admin nologin");
    service = service.restart("solar", &settings);
    let owner = service.owner(&DEMOS[2]).await;
    assert_eq!(owner.get("/api/leads?per_page=1").await.status, 200);
    let doctor =
        rowhouse(&service.data_dir).args(["doctor", "--json", "--app"]).arg(app_dir("solar")).args(settings).output();
    let told = String::from_utf8(doctor.unwrap().stdout).unwrap();
    assert!(told.contains("\"success\":true"), "{told}");
}

/// A role that may not make roles is told what it lacks, and nothing is left half-made.
#[test]
fn a_role_that_may_too_little_is_told_so() {
    let host = Service::start("launchpad");
    host.sql_as_superuser("create role weak login password 'weak-secret'");
    let socket = host.data_dir.join("postgres/run").display().to_string().replace('/', "%2F");
    let url = format!("postgresql://weak:weak-secret@{socket}/postgres");
    let directory = temporary();
    let output = rowhouse(directory.path())
        .args(["serve", "--listen", "127.0.0.1:0", "--instance", "weak", "--database-url", &url, "--app"])
        .arg(app_dir("solar"))
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("alter role \"weak\" createrole createdb") && !errors.contains("weak-secret"), "{errors}");
    let left = "select count(*) from pg_roles where rolname like 'weak\\_%'";
    assert_eq!(host.sql_as_superuser(left), "0");
}
