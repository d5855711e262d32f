//! The OpenAPI document against the service: schemathesis makes requests from the one and compares
//! the answers of the other.

use std::process::Command;

use crate::service::{ACME, Service};

/// Checks that a document alone cannot meet: it does not know the rules of the app's tables (a
/// text of one character at least), nor that page and cursor exclude each other.
const EXCLUDED: &str = "positive_data_acceptance";

#[tokio::test]
async fn answers_are_what_the_document_says() {
    // Set by the test command, which installs it; without it there is nothing to run.
    let Some(program) = std::env::var_os("ROWHOUSE_SCHEMATHESIS") else { return };
    let service = Service::start("solar");
    let token = service.owner(&ACME).await.token.unwrap();
    let output = Command::new(program)
        .arg("run")
        .arg(format!("{}/api/openapi.json", service.url))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", "all", "--exclude-checks", EXCLUDED, "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", "5", "--seed", "1", "--no-color", "--request-timeout", "30"])
        // Signing out would end the session that all other requests use; operators have a token of
        // their own; a table that is only read shares its route with those that are written.
        .args(["--exclude-path-regex", "^/api/(auth/sign-out|admin|operators|panel_models)|^/metrics"])
        .current_dir(&service.data_dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
