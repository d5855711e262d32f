//! The process: kill -9, two on one directory, a taken port, PostgreSQL going away, a drain.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::service::{ACME, Service, app_dir, rowhouse, temporary};

fn run(data_dir: &std::path::Path, arguments: &[&str]) -> (i32, String, String) {
    let output = rowhouse(data_dir).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_killed_service_keeps_its_data_and_starts_again() {
    let directory = temporary();
    let mut service = Service::start_in(directory.path().to_owned(), "solar", None);
    let made = service.owner(&ACME).await.post("/api/leads", &json!({ "full_name": "Survivor" })).await;
    assert_eq!(made.status, 201, "{}", made.body);
    service.signal("-KILL");
    service.wait();
    let mut service = Service::start_in(directory.path().to_owned(), "solar", None);
    let found = service.owner(&ACME).await.get(&format!("/api/leads/{}", made.text("/data/id"))).await;
    assert_eq!(found.body["data"], made.body["data"]);
    service.signal("-TERM");
    assert!(service.wait().success(), "SIGTERM is a clean end");
    assert!(!directory.path().join("postgres/data/postmaster.pid").exists(), "PostgreSQL ended in order");
}

#[tokio::test]
async fn a_second_service_on_one_data_directory_is_refused() {
    let service = Service::start("solar");
    let app = app_dir("solar");
    let (code, _, errors) =
        run(&service.data_dir, &["serve", "--listen", "127.0.0.1:0", "--app", app.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(errors.contains("is served already"), "{errors}");
    assert_eq!(service.owner(&ACME).await.get("/api/leads").await.status, 200);
}

#[test]
fn a_taken_port_and_a_directory_that_cannot_be_written_are_named() {
    let directory = temporary();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let app = app_dir("solar");
    let (code, _, errors) = run(directory.path(), &["serve", "--listen", &address, "--app", app.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(errors.contains(&address) && errors.contains("--listen"), "{errors}");
    let (code, _, errors) = run(std::path::Path::new("/proc/nowhere"), &["serve", "--app", app.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(errors.contains("data directory") && errors.contains("--data-dir"), "{errors}");
}

#[test]
fn a_wrong_database_url_is_told_without_its_password() {
    let directory = temporary();
    let app = app_dir("solar");
    for url in ["postgres://me:s3cret@127.0.0.1:1/x", "postgres://me:s3cret@[", "mysql://me:s3cret@h/x"] {
        let (code, _, errors) = run(
            directory.path(),
            &["serve", "--listen", "127.0.0.1:0", "--database-url", url, "--app", app.to_str().unwrap()],
        );
        assert_eq!(code, 1, "{url}");
        assert!(!errors.contains("s3cret"), "{errors}");
        assert!(errors.contains("error: "), "{errors}");
    }
}

#[tokio::test]
async fn an_app_that_can_leak_is_not_served() {
    let directory = temporary();
    let app = directory.path().join("leaky");
    let (code, _, errors) = run(directory.path(), &["app", "new", app.to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    std::fs::write(app.join("migrations/0002_leak.sql"), "create table loose (id uuid primary key);").unwrap();
    let mut serve = rowhouse(directory.path())
        .args(["serve", "--json", "--listen", "127.0.0.1:0", "--app"])
        .arg(&app)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(serve.stdout.take().unwrap()).read_line(&mut said).unwrap();
    if said.contains("\"url\"") {
        serve.kill().unwrap();
        serve.wait().unwrap();
        panic!("it is served: {said}");
    }
    let ended = serve.wait_with_output().unwrap();
    let errors = format!("{said}{}", String::from_utf8(ended.stderr).unwrap());
    assert_eq!(ended.status.code(), Some(1), "{errors}");
    assert!(errors.contains("tenant-id-missing on loose") && errors.contains("fix:"), "{errors}");
}

#[tokio::test]
async fn requests_fail_softly_while_postgresql_is_away_and_recover_by_themselves() {
    let service = Service::start("solar");
    let caller = service.owner(&ACME).await;
    assert_eq!(caller.get("/api/leads?per_page=1").await.status, 200);
    let pid_file = service.data_dir.join("postgres/data/postmaster.pid");
    let pid = std::fs::read_to_string(&pid_file).unwrap().lines().next().unwrap().to_owned();
    // Every backend dies at once; the postmaster recovers by itself.
    let backends = Command::new("pgrep").args(["-P", &pid]).output().unwrap();
    let backends = String::from_utf8(backends.stdout).unwrap();
    assert!(!backends.trim().is_empty());
    // Some may be gone before their turn: the first death makes the postmaster end the others.
    Command::new("kill").arg("-KILL").args(backends.split_whitespace()).status().unwrap();
    let mut refused = 0;
    loop {
        let answer = caller.get("/api/leads?per_page=1").await;
        match answer.status.as_u16() {
            200 => break,
            503 => {
                assert!(answer.retry_after.is_some(), "a 503 says when to come back");
                refused += 1;
            }
            other => panic!("{other}: {}", answer.body),
        }
        assert!(refused < 100_000, "the service did not recover");
    }
}

#[tokio::test]
async fn requests_under_way_are_answered_when_the_service_is_told_to_stop() {
    let mut service = Service::start("solar");
    let caller = service.owner(&ACME).await;
    // One connection each, open before the signal.
    let mut under_way = Vec::new();
    for number in 0..8 {
        let caller = caller.clone();
        let body = json!({ "full_name": format!("Last {number}") });
        under_way.push(tokio::spawn(async move { caller.post("/api/leads", &body).await.status.as_u16() }));
    }
    let mut codes = Vec::new();
    for request in under_way {
        codes.push(request.await.unwrap());
    }
    service.signal("-TERM");
    assert!(service.wait().success());
    assert_eq!(codes, [201; 8]);
}
