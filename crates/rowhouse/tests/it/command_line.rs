//! The command line's contract: results on stdout, messages on stderr, exit codes, JSON.

use serde_json::Value;

use crate::service::{Service, app_dir, rowhouse, temporary};

struct Ran {
    code: i32,
    out: String,
    errors: String,
}

fn run(arguments: &[&str]) -> Ran {
    run_beside(Service::shared(), arguments)
}

fn run_beside(service: &Service, arguments: &[&str]) -> Ran {
    let output = rowhouse(&service.data_dir).args(arguments).arg("--app").arg(app_dir("solar")).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), errors: text(output.stderr) }
}

#[test]
fn every_verb_gives_one_json_document_beside_a_running_service() {
    // Its own: other tests' tenants come and go, which "status --verify" would report.
    let service = Service::start("solar");
    for arguments in [
        vec!["tenant", "list"],
        vec!["tenant", "show", "acme"],
        vec!["migrate", "status"],
        vec!["migrate", "status", "--verify"],
        vec!["migrate", "plan"],
        vec!["migrate", "up"],
        vec!["migrate", "up", "--dry-run"],
        vec!["migrate", "up", "--target", "control"],
        vec!["app", "check"],
        vec!["app", "describe"],
        vec!["operator", "list"],
        vec!["mail", "list"],
        vec!["keys", "list"],
        vec!["oauth-client", "list"],
        vec!["token", "--tenant", "acme"],
        vec!["db", "status"],
        vec!["doctor"],
        vec!["openapi"],
    ] {
        let human = run_beside(&service, &arguments);
        assert_eq!(human.code, 0, "{arguments:?}: {}{}", human.out, human.errors);
        assert!(!human.out.is_empty(), "{arguments:?}");
        let mut with_json = arguments.clone();
        with_json.push("--json");
        let machine = run_beside(&service, &with_json);
        let document: Value =
            serde_json::from_str(&machine.out).unwrap_or_else(|_| panic!("{arguments:?}: {}", machine.out));
        assert_eq!(document["success"], true, "{arguments:?}");
    }
}

#[test]
fn mail_settings_are_judged_together_and_their_password_is_never_told() {
    let service = Service::shared();
    let wrong =
        ["mail", "list", "--smtp-url", "smtp://ann:s3cret@mail.example.com?tls=none", "--mail-language", "deutsch"];
    let ran = run_beside(service, &wrong);
    assert_eq!(ran.code, 2, "{}", ran.errors);
    for words in ["--smtp-url must not send a password without TLS", "--mail-language \"deutsch\"", "needs --mail-from"]
    {
        assert!(ran.errors.contains(words), "{words}: {}", ran.errors);
    }
    assert!(!ran.errors.contains("s3cret"));
    // Nobody listens there: the doctor tells, and tells no password.
    let url = "smtps://ann:s3cret@127.0.0.1:1";
    let ran = run_beside(service, &["doctor", "--smtp-url", url, "--mail-from", "Solar <noreply@solar.example>"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("FAILED  mail") && ran.out.contains("127.0.0.1:1: connect: "), "{}", ran.out);
    assert!(!ran.out.contains("s3cret") && !ran.errors.contains("s3cret"));
}

#[test]
fn failures_say_what_to_do_and_exit_with_one_and_wrong_use_with_two() {
    for (arguments, code, words) in [
        (vec!["tenant", "show", "acmee"], 1, "Did you mean \"acme\"?"),
        (vec!["tenant", "create", "--name", "X", "--slug", "WWW!"], 1, "--slug"),
        (vec!["tenant", "create", "--name", "X", "--slug", "acme"], 1, "is taken"),
        (vec!["tenant", "create", "--name", "X", "--plan", "gold"], 1, "known are"),
        (vec!["tenant", "delete", "acme"], 1, "--confirm acme"),
        (vec!["token", "--tenant", "acme", "--as", "nobody@example.com"], 1, "no member"),
        (vec!["operator", "create", "nobody"], 1, "e-mail address"),
        (vec!["tenants"], 2, "tenant"),
        (vec!["tenant", "list", "--limt", "3"], 2, "--limit"),
        (vec!["tenant", "list", "--listen", "nowhere"], 2, "127.0.0.1:8080"),
    ] {
        let ran = run(&arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.errors);
        assert!(ran.errors.contains(words), "{arguments:?}: {}", ran.errors);
        assert!(ran.out.is_empty(), "{arguments:?}: {}", ran.out);
    }
}

#[test]
fn a_failure_with_json_is_a_document_too() {
    let ran = run(&["tenant", "show", "nobody", "--json"]);
    assert_eq!(ran.code, 1);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["success"], false);
    assert_eq!(document["error"]["code"], "not_found");
}

#[test]
fn a_tenant_is_made_suspended_reactivated_and_deleted() {
    for placement in ["pool", "schema", "database"] {
        let slug = format!("cli-{placement}");
        let made = run(&[
            "tenant",
            "create",
            "--name",
            "Made",
            "--slug",
            &slug,
            "--owner",
            "cli@example.com",
            "--placement",
            placement,
        ]);
        assert_eq!(made.code, 0, "{}", made.errors);
        assert!(made.out.contains("/invite/rh_inv_"), "{}", made.out);
        assert!(run(&["tenant", "suspend", &slug]).out.contains("suspended"));
        assert!(run(&["tenant", "reactivate", &slug]).out.contains("active"));
        assert_eq!(run(&["tenant", "delete", &slug, "--confirm", &slug]).code, 0);
        assert_eq!(run(&["tenant", "list", "--search", &slug, "--json"]).out.trim(), "{\"success\":true,\"data\":[]}");
    }
}

#[test]
fn a_new_app_works_from_the_first_command() {
    let directory = temporary();
    let app = directory.path().join("desk");
    let run = |arguments: &[&str]| {
        let output = rowhouse(directory.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let app = app.to_str().unwrap();
    assert!(run(&["app", "new", app]).contains("Next: rowhouse dev"));
    assert!(run(&["app", "check", "--app", app]).contains("nothing in this schema can leak"));
    assert!(run(&["app", "describe", "--app", app]).contains("include=tickets: many of tickets"));
    assert!(run(&["seed", "demo", "--app", app, "--tenants", "2", "--rows", "100"]).contains("2 tenants"));
    assert!(run(&["tenant", "list", "--app", app]).contains("demo-0002"));
}

#[test]
fn telling_what_a_migration_would_do_changes_nothing() {
    let directory = temporary();
    let app = directory.path().join("desk");
    let run = |arguments: &[&str]| {
        let output = rowhouse(directory.path()).args(arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["data"].clone()
    };
    let path = app.to_str().unwrap();
    run(&["app", "new", path]);
    // Also where nothing was made yet.
    assert_eq!(run(&["migrate", "plan", "--app", path]).as_array().unwrap().len(), 2, "the control database too");
    run(&["seed", "demo", "--tenants", "1", "--rows", "10", "--placement", "schema", "--app", path]);
    let added = "alter table tickets add column urgency text;";
    std::fs::write(app.join("migrations/0002_urgency.expand.sql"), added).unwrap();
    for look in [vec!["migrate", "plan"], vec!["migrate", "up", "--dry-run"], vec!["migrate", "status"]] {
        let targets = run(&[look.as_slice(), &["--target", "tenants", "--app", path]].concat());
        let targets = targets.as_array().unwrap();
        assert_eq!(targets.len(), 2, "the shared tables and the tenant's own: {targets:?}");
        for target in targets {
            let behind = target["state"] == "behind" || target["pending"] == serde_json::json!(["0002_urgency.expand"]);
            assert!(behind, "{look:?}: {target}");
        }
    }
    run(&["migrate", "up", "--app", path]);
    assert_eq!(run(&["migrate", "plan", "--app", path]), serde_json::json!([]));
}
