//! Ctrl-C, as a person presses it at a terminal: the verb ends with its code, nothing is left half
//! done, and the next run works. No test waits for a time: each first sees that the verb is in the
//! middle of its work.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::beside::{Role, Session};
use crate::service::{app_dir, rowhouse, temporary};
use crate::terminal::{Ground, at_terminal, code, piped};

/// What Ctrl-C sends.
const CTRL_C: &str = "\u{3}";

/// A verb at a terminal.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    shown: String,
}

impl Terminal {
    fn open(data_dir: &Path, line: &[String]) -> Self {
        let mut command = at_terminal(data_dir, line);
        // A pager would wait for a key.
        command.env("PSQL_PAGER", "cat");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (keys, screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, keys, screen, shown: String::new() }
    }

    /// Waits until these words are shown, behind all that was waited for before.
    fn until(&mut self, words: &str) {
        let mut bytes = [0; 4096];
        loop {
            if let Some((_, rest)) = self.shown.split_once(words) {
                self.shown = rest.to_owned();
                return;
            }
            let count = self.screen.read(&mut bytes).unwrap();
            assert!(count > 0, "it ended before {words:?}: {}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Its code, and what was shown last.
    fn end(mut self) -> (i32, String) {
        let mut rest = Vec::new();
        self.screen.read_to_end(&mut rest).unwrap();
        self.shown.push_str(&String::from_utf8_lossy(&rest));
        (code(self.child.wait().unwrap()), self.shown)
    }
}

fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|&word| word.to_owned()).collect()
}

fn with_solar(line: &[&str]) -> Vec<String> {
    [words(line), words(&["--app", app_dir("solar").to_str().unwrap()])].concat()
}

fn is_at_rest(data_dir: &Path) -> bool {
    !data_dir.join("postgres/data/postmaster.pid").exists()
}

/// The states of all tenants.
fn statuses(data_dir: &Path) -> Vec<(String, String)> {
    let ran = piped(data_dir, &with_solar(&["tenant", "list", "--limit", "10000", "--json"]));
    let text = |tenant: &Value, key: &str| tenant[key].as_str().unwrap().to_owned();
    let document = ran.document();
    let tenants = document["data"].as_array().unwrap();
    tenants.iter().map(|tenant| (text(tenant, "slug"), text(tenant, "status"))).collect()
}

#[test]
fn seeding_leaves_no_tenant_half_made_and_goes_on() {
    let directory = temporary();
    for (placement, number) in [("pool", 4000), ("schema", 2000)] {
        let directory = directory.path();
        let (tenants, of) = (number.to_string(), format!(" of {number}"));
        let line = ["seed", "demo", "--tenants", &tenants, "--rows", "40000", "--placement", placement];
        let mut terminal = Terminal::open(directory, &with_solar(&line));
        terminal.until(&of);
        terminal.until(&of);
        terminal.press(CTRL_C);
        let (code, shown) = terminal.end();
        assert_eq!(code, 130, "{shown}");
        assert!(shown.contains("interrupted"), "{shown}");
        assert!(is_at_rest(directory), "PostgreSQL ended in order");
        let found = statuses(directory);
        assert!(found.len() < number, "it was interrupted, and yet it made all");
        assert!(found.iter().all(|(_, status)| status == "active"), "{found:?}");
        let more = (found.len() + 3).to_string();
        let line = ["seed", "demo", "--tenants", &more, "--rows", "400", "--placement", placement];
        let again = piped(directory, &with_solar(&line));
        assert_eq!(again.code, 0, "{}", again.errors);
        assert_eq!(statuses(directory).len(), found.len() + 3);
    }
    let mut control = Session::open(directory.path(), "rowhouse_control");
    assert_eq!(control.ask("select count(*) from control.tenants where demo_rows = 0"), ["0"], "each has its rows");
    assert_eq!(control.ask("select count(*) from control.sagas where status <> 'succeeded'"), ["0"]);
}

/// Holds a saga in its last step, presses Ctrl-C, and lets it go on.
#[test]
fn a_tenant_that_is_being_made_is_made_before_the_command_ends() {
    let ground = Ground::start();
    assert_eq!(piped(ground.path(), &with_solar(&["tenant", "list"])).code, 0);
    let mut control = Session::open(ground.path(), "rowhouse_control");
    control.ask("begin; lock table control.invitations in access exclusive mode");
    let line = ["tenant", "create", "--name", "Held", "--slug", "held", "--owner", "held@example.com"];
    let mut terminal = Terminal::open(ground.path(), &with_solar(&line));
    control.until_waiting(Role::Owner, 1);
    terminal.press(CTRL_C);
    terminal.until("bringing to its end");
    control.ask("commit");
    let (code, shown) = terminal.end();
    assert_eq!(code, 130, "{shown}");
    assert_eq!(statuses(ground.path()), [("held".to_owned(), "active".to_owned())]);
    assert_eq!(control.ask("select status from control.sagas"), ["succeeded"]);
    assert_eq!(control.ask("select count(*) from control.invitations"), ["1"]);
}

#[test]
fn whoever_presses_twice_does_not_wait_and_the_tenant_is_made_by_the_next_service() {
    let ground = Ground::start();
    assert_eq!(piped(ground.path(), &with_solar(&["tenant", "list"])).code, 0);
    let mut control = Session::open(ground.path(), "rowhouse_control");
    control.ask("begin; lock table control.invitations in access exclusive mode");
    let line = ["tenant", "create", "--name", "Left", "--slug", "left", "--owner", "left@example.com"];
    let mut terminal = Terminal::open(ground.path(), &with_solar(&line));
    control.until_waiting(Role::Owner, 1);
    terminal.press(CTRL_C);
    terminal.until("bringing to its end");
    terminal.press(CTRL_C);
    let (code, shown) = terminal.end();
    assert_eq!(code, 130, "{shown}");
    control.ask("commit");
    // As if the lease's time had passed: the service takes the operation over at its start.
    control.ask("update control.sagas set lease_until = now()");
    let mut service = Terminal::open(ground.path(), &with_solar(&["serve", "--listen", "127.0.0.1:0"]));
    service.until("is ready on");
    service.press(CTRL_C);
    assert_eq!(service.end().0, 0);
    assert_eq!(statuses(ground.path()), [("left".to_owned(), "active".to_owned())]);
    assert_eq!(control.ask("select count(*) from control.invitations"), ["1"]);
}

/// An app with three tenants in schemas of their own, and a migration that waits there for a lock.
struct Fleet {
    ground: Ground,
    app: String,
    holder: Session,
}

impl Fleet {
    fn start() -> Self {
        let ground = Ground::start();
        let app = ground.path().join("desk").to_str().unwrap().to_owned();
        assert_eq!(piped(ground.path(), &words(&["app", "new", &app])).code, 0);
        let seed = words(&["seed", "demo", "--tenants", "3", "--rows", "30", "--placement", "schema", "--app", &app]);
        let seeded = piped(ground.path(), &seed);
        assert_eq!(seeded.code, 0, "{}", seeded.errors);
        // Not where the pool and the check of the app run it.
        let slow = "do $$ begin
                if current_schema() <> 'app' then perform pg_advisory_xact_lock(4242); end if;
            end $$;
            alter table tickets add column urgency text;";
        std::fs::write(Path::new(&app).join("migrations/0002_urgency.expand.sql"), slow).unwrap();
        let mut holder = Session::open(ground.path(), "rowhouse_data");
        holder.ask("select pg_advisory_lock(4242)");
        Self { ground, app, holder }
    }

    fn open(&mut self, verb: &[&str]) -> Terminal {
        let line = [words(verb), words(&["--app", &self.app])].concat();
        let terminal = Terminal::open(self.ground.path(), &line);
        self.holder.until_waiting(Role::Owner, 1);
        terminal
    }

    /// Lets go of the lock; every target is whole, and the next run brings all forward.
    fn finish(mut self) {
        self.holder.ask("select pg_advisory_unlock(4242)");
        let run = |verb: &[&str]| {
            let ran = piped(self.ground.path(), &[words(verb), words(&["--json", "--app", &self.app])].concat());
            assert_eq!(ran.code, 0, "{verb:?}: {}{}", ran.out, ran.errors);
            ran.document()
        };
        let up = run(&["migrate", "up"]);
        assert_eq!(up["data"]["failed"], json!({}), "{up}");
        let status = run(&["migrate", "status", "--verify"]);
        let targets = status["data"].as_array().unwrap();
        assert!(targets.len() >= 4, "{status}");
        assert!(targets.iter().all(|target| target["state"] == "current"), "{status}");
        let missing = "select count(*) from information_schema.tables t where table_name = 'tickets' and not exists (
            select 1 from information_schema.columns c
            where (c.table_schema, c.table_name) = (t.table_schema, t.table_name) and c.column_name = 'urgency')";
        assert_eq!(self.holder.ask(missing), ["0"]);
    }
}

#[test]
fn a_migration_of_the_fleet_ends_at_once_and_goes_on() {
    let mut fleet = Fleet::start();
    let mut terminal = fleet.open(&["migrate", "up"]);
    terminal.press(CTRL_C);
    let (code, shown) = terminal.end();
    assert_eq!(code, 130, "{shown}");
    assert!(shown.contains("interrupted"), "{shown}");
    fleet.finish();
}

#[test]
fn a_service_that_is_still_starting_ends_at_once_and_in_order() {
    for verb in ["serve", "dev"] {
        let mut fleet = Fleet::start();
        let mut terminal = fleet.open(&[verb, "--listen", "127.0.0.1:0"]);
        terminal.press(CTRL_C);
        let (code, shown) = terminal.end();
        assert_eq!(code, 0, "{verb}: {shown}");
        assert!(!shown.contains("is ready"), "{verb}: {shown}");
        fleet.finish();
    }
}

#[test]
fn the_very_first_start_can_be_interrupted() {
    let directory = temporary();
    let line = with_solar(&["dev", "--listen", "127.0.0.1:0", "--rows", "30"]);
    let mut terminal = Terminal::open(directory.path(), &line);
    while !directory.path().join("postgres/data.unfinished").exists() {
        assert!(terminal.child.try_wait().unwrap().is_none(), "it ended before it made its server");
    }
    terminal.press(CTRL_C);
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(is_at_rest(directory.path()));
    let mut terminal = Terminal::open(directory.path(), &line);
    terminal.until("Ctrl-C stops everything");
    terminal.press(CTRL_C);
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn serving_ends_in_order_and_keeps_what_it_has() {
    let directory = temporary();
    let line = with_solar(&["dev", "--listen", "127.0.0.1:0", "--rows", "30"]);
    for _ in 0..2 {
        let mut terminal = Terminal::open(directory.path(), &line);
        terminal.until("Ctrl-C stops everything");
        terminal.press(CTRL_C);
        let (code, shown) = terminal.end();
        assert_eq!(code, 0, "{shown}");
        assert!(shown.contains("stopping"), "{shown}");
        assert!(is_at_rest(directory.path()), "PostgreSQL ended in order");
    }
    let slugs: Vec<String> = statuses(directory.path()).into_iter().map(|(slug, _)| slug).collect();
    assert_eq!(slugs, ["acme", "globex", "initech"]);
    let mut terminal = Terminal::open(directory.path(), &words(&["db", "start"]));
    terminal.until("Ctrl-C stops it");
    terminal.press(CTRL_C);
    assert_eq!(terminal.end().0, 0);
    assert!(is_at_rest(directory.path()));
}

/// Ctrl-C in psql takes back a statement. The server under it must not go away.
#[test]
fn in_psql_it_takes_back_a_statement_only() {
    let directory = temporary();
    let mut terminal = Terminal::open(directory.path(), &words(&["db", "psql"]));
    terminal.until("=>");
    terminal.press("select pg_sleep(1000000);\n");
    let mut beside = Session::open(directory.path(), "rowhouse_data");
    const ASLEEP: &str = "select count(*) from pg_stat_activity where state = 'active' and wait_event = 'PgSleep'";
    while beside.ask(ASLEEP) != ["1"] {}
    terminal.press(CTRL_C);
    terminal.until("canceling statement due to user request");
    terminal.until("=>");
    terminal.press("select 40 + 2 as sum;\n");
    terminal.until("42");
    drop(beside);
    terminal.press("\\q\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(is_at_rest(directory.path()));
}

/// `db stop` ends the server of `db start`, and of nobody else.
#[test]
fn a_server_in_the_foreground_is_stopped_from_beside() {
    let ground = Ground::start();
    let stopped = piped(ground.path(), &words(&["db", "stop"]));
    assert_eq!(stopped.code, 0, "{}", stopped.errors);
    while !is_at_rest(ground.path()) {}
    let mut service = rowhouse(ground.path());
    let line = with_solar(&["dev", "--json", "--listen", "127.0.0.1:0", "--rows", "30"]);
    let mut service: Command = {
        service.args(&line).stdout(Stdio::piped()).stderr(Stdio::null());
        service
    };
    let mut service = service.spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(service.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let refused = piped(ground.path(), &words(&["db", "stop"]));
    assert_eq!(refused.code, 1);
    assert!(refused.errors.contains("rowhouse serve"), "{}", refused.errors);
    service.kill().unwrap();
    service.wait().unwrap();
}
