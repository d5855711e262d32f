//! `rowhouse migrate … --target`: each verb looks at and changes what it names, and nothing else.

use std::path::Path;

use serde_json::{Value, json};

use crate::beside::Session;
use crate::terminal::{Ground, Ran, piped};

/// A new app on a server of its own.
struct Desk {
    ground: Ground,
    app: String,
}

impl Desk {
    fn start() -> Self {
        let ground = Ground::start();
        let app = ground.path().join("desk").to_str().unwrap().to_owned();
        let desk = Self { ground, app };
        assert_eq!(desk.piped(&["app", "new", &desk.app]).code, 0);
        desk
    }

    fn piped(&self, line: &[&str]) -> Ran {
        let line: Vec<String> = line.iter().map(|&word| word.to_owned()).collect();
        piped(self.ground.path(), &line)
    }

    fn migrate(&self, line: &str) -> Ran {
        let line: Vec<&str> = line.split(' ').collect();
        self.piped(&[&["migrate"], line.as_slice(), &["--json", "--app", &self.app]].concat())
    }

    /// What a verb that succeeds gives.
    fn told(&self, line: &str) -> Value {
        let ran = self.migrate(line);
        assert_eq!(ran.code, 0, "{line}: {}{}", ran.out, ran.errors);
        ran.document()["data"].clone()
    }

    /// The kinds of the targets that a verb names, with one of their texts.
    fn kinds(&self, line: &str, key: &str) -> Vec<(String, Value)> {
        let told = self.told(line);
        let targets = told.as_array().unwrap();
        targets.iter().map(|target| (target["kind"].as_str().unwrap().to_owned(), target[key].clone())).collect()
    }

    fn file(&self, name: &str, sql: &str) {
        std::fs::write(Path::new(&self.app).join("migrations").join(name), sql).unwrap();
    }

    fn control(&self) -> Session {
        Session::open(self.ground.path(), "rowhouse_control")
    }

    /// As if the program were newer than the control database.
    fn put_control_back(&self) {
        self.control().ask(
            "begin;
             delete from rowhouse._migrations where target = 'control' and name = 'identity_0003_refresh_grace';
             alter table control.sessions drop column rotated_at;
             commit",
        );
    }
}

fn is(kind: &str, text: impl Into<Value>) -> (String, Value) {
    (kind.to_owned(), text.into())
}

const BEHIND: [&str; 1] = ["identity_0003_refresh_grace"];

#[test]
fn where_nothing_was_made_yet_each_target_is_told_and_made_by_itself() {
    let desk = Desk::start();
    let (control, pool) = ([is("control", "")], [is("pool", "")]);
    let both = [is("control", ""), is("pool", "")];
    for _ in 0..2 {
        for look in ["plan", "up --dry-run"] {
            assert_eq!(desk.kinds(&format!("{look} --target control"), "release"), control);
            assert_eq!(desk.kinds(&format!("{look} --target tenants"), "release"), pool);
            assert_eq!(desk.kinds(look, "release"), both);
        }
        assert_eq!(desk.kinds("status --target control", "state"), [is("control", "behind")]);
        assert_eq!(desk.told("status --target tenants"), json!([]));
        assert_eq!(desk.kinds("status --verify", "state"), [is("control", "behind")]);
    }
    assert_eq!(desk.control().ask("select count(*) from pg_namespace where nspname = 'control'"), ["0"]);
    for refused in ["up --target tenants", "down --target tenants", "down --dry-run"] {
        let ran = desk.migrate(refused);
        assert_eq!(ran.code, 1, "{refused}");
        assert!(ran.errors.contains("rowhouse migrate up --target control"), "{refused}: {}", ran.errors);
    }
    let planned = desk.told("plan --target control")[0]["pending"].clone();
    assert_eq!(desk.told("up --target control")["applied"], planned);
    assert_eq!(desk.told("plan --target control"), json!([]));
    assert_eq!(desk.kinds("plan", "pending"), [is("pool", vec!["0001_init"])]);
    assert_eq!(desk.told("up --target tenants")["failed"], json!({}));
    assert_eq!(desk.told("plan"), json!([]));
    for verify in ["", " --verify"] {
        assert_eq!(desk.kinds(&format!("status{verify}"), "state"), [is("control", "current"), is("pool", "current")]);
        assert_eq!(desk.kinds(&format!("status --target control{verify}"), "state"), [is("control", "current")]);
        assert_eq!(desk.kinds(&format!("status --target tenants{verify}"), "state"), [is("pool", "current")]);
    }
}

#[test]
fn a_control_database_that_is_behind_is_told_left_alone_and_brought_forward_as_named() {
    let desk = Desk::start();
    desk.told("up");
    desk.file("0002_urgency.expand.sql", "alter table tickets add column urgency text;");
    desk.put_control_back();
    let (control, pool) = (is("control", BEHIND.to_vec()), is("pool", vec!["0002_urgency.expand"]));
    for look in ["plan", "up --dry-run"] {
        assert_eq!(desk.kinds(look, "pending"), [control.clone(), pool.clone()]);
        assert_eq!(desk.kinds(&format!("{look} --target control"), "pending"), std::slice::from_ref(&control));
        assert_eq!(desk.kinds(&format!("{look} --target tenants"), "pending"), std::slice::from_ref(&pool));
    }
    assert_eq!(desk.kinds("status", "state"), [is("control", "behind"), is("pool", "behind")]);
    let refused = desk.migrate("up --target tenants");
    assert_eq!(refused.code, 1);
    assert!(refused.errors.contains(BEHIND[0]), "{}", refused.errors);
    assert_eq!(desk.told("up --target control"), json!({ "applied": BEHIND }));
    assert_eq!(desk.kinds("plan", "pending"), std::slice::from_ref(&pool), "the tenants' targets were left alone");
    desk.put_control_back();
    assert_eq!(desk.told("up --target all")["applied"], json!(BEHIND));
    assert_eq!(desk.told("plan"), json!([]));
    assert_eq!(desk.told("up --target all")["applied"], json!([]));
}

#[test]
fn a_changed_control_database_is_found_where_it_is_looked_for() {
    let desk = Desk::start();
    desk.told("up");
    desk.control().ask("alter table control.users add column by_hand text");
    assert_eq!(desk.kinds("status", "state"), [is("control", "current"), is("pool", "current")], "as recorded");
    for look in ["status --verify", "status --verify --target control"] {
        let ran = desk.migrate(look);
        assert_eq!(ran.code, 1, "{look}");
        assert_eq!(ran.document()["data"][0]["state"], "drifted", "{look}");
    }
    assert_eq!(desk.kinds("status --verify --target tenants", "state"), [is("pool", "current")]);
}

#[test]
fn only_what_was_applied_to_tenants_targets_is_taken_back() {
    let desk = Desk::start();
    desk.file("0002_urgency.expand.sql", "alter table tickets add column urgency text;");
    desk.file("0002_urgency.expand.down.sql", "alter table tickets drop column urgency;");
    desk.told("up");
    // Not applied: it is not put there to be taken back.
    desk.file("0003_mood.expand.sql", "alter table tickets add column mood text;");
    desk.file("0003_mood.expand.down.sql", "alter table tickets drop column mood;");
    for dry_run in ["", " --dry-run"] {
        let refused = desk.migrate(&format!("down --target control{dry_run}"));
        assert_eq!(refused.code, 1);
        assert!(refused.errors.contains("no way back"), "{}", refused.errors);
    }
    for which in ["tenants", "all"] {
        let told = desk.told(&format!("down --dry-run --target {which}"));
        assert_eq!(told, json!({ "migration": "0002_urgency.expand" }));
        let taken = desk.told(&format!("down --target {which}"));
        assert_eq!((&taken["migrated"], &taken["failed"]), (&json!(1), &json!({})));
        let pending = vec!["0002_urgency.expand", "0003_mood.expand"];
        assert_eq!(desk.kinds("plan", "pending"), [is("pool", pending)]);
        let mut data = Session::open(desk.ground.path(), "rowhouse_data");
        let columns = "select count(*) from information_schema.columns where column_name in ('urgency', 'mood')";
        assert_eq!(data.ask(columns), ["0"]);
        desk.told("up");
        if which == "tenants" {
            desk.told("down");
        }
    }
}
