//! Every verb of the command line in a pipe, with `--json`, at a terminal and under Ctrl-C. The
//! verbs are read from the program's own help, so that a new one fails here until it has a line.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::service::{app_dir, rowhouse, temporary};

/// How a verb behaves in a line that is right.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It prints its result and ends.
    Ends,
    /// It serves until it is told to stop: tests of their own.
    Serves,
    /// Another program prints: no `--json`.
    Hands,
}

/// The verbs in an order in which each finds what it needs, with arguments that are right. `{n}`
/// is the name of the round, `{d}` a directory, `{key}` and `{client}` are what the verbs before list.
const VERBS: &[(&str, &[&str], Kind)] = &[
    ("app new", &["{d}/desk{n}"], Kind::Ends),
    ("app check", &[], Kind::Ends),
    ("app describe", &[], Kind::Ends),
    ("openapi", &[], Kind::Ends),
    ("seed demo", &["--tenants", "2", "--rows", "20"], Kind::Ends),
    ("tenant create", &["--name", "Made", "--slug", "made-{n}", "--owner", "made-{n}@example.com"], Kind::Ends),
    ("tenant list", &[], Kind::Ends),
    ("tenant show", &["made-{n}"], Kind::Ends),
    ("tenant suspend", &["made-{n}", "--reason", "late"], Kind::Ends),
    ("tenant reactivate", &["made-{n}"], Kind::Ends),
    ("tenant delete", &["made-{n}", "--confirm", "made-{n}"], Kind::Ends),
    ("migrate plan", &[], Kind::Ends),
    ("migrate down", &[], Kind::Ends),
    ("migrate up", &[], Kind::Ends),
    ("migrate status", &["--verify"], Kind::Ends),
    ("operator create", &["operator-{n}@example.com"], Kind::Ends),
    ("operator list", &[], Kind::Ends),
    ("operator reset-mfa", &["operator-{n}@example.com"], Kind::Ends),
    ("user reset-mfa", &["owner-0001@demo.example"], Kind::Ends),
    ("keys rotate", &["--algorithm", "es256"], Kind::Ends),
    ("keys list", &[], Kind::Ends),
    ("keys retire", &["{key}", "--now"], Kind::Ends),
    ("oauth-client create", &["--name", "Made {n}", "--redirect-uri", "https://{n}.example/callback"], Kind::Ends),
    ("oauth-client list", &[], Kind::Ends),
    ("oauth-client rotate-secret", &["{client}"], Kind::Ends),
    ("oauth-client delete", &["{client}"], Kind::Ends),
    ("mail list", &[], Kind::Ends),
    ("token", &["--tenant", "demo-0001"], Kind::Ends),
    ("doctor", &[], Kind::Ends),
    ("db status", &[], Kind::Ends),
    ("db stop", &["--data-dir", "{d}/idle"], Kind::Ends),
    ("db psql", &["--", "-c", "select 40 + 2"], Kind::Hands),
    ("db start", &[], Kind::Serves),
    ("serve", &[], Kind::Serves),
    ("dev", &[], Kind::Serves),
];

/// What must be given to each verb that needs something, and the words that ask for it.
const NEEDS: &[(&str, &str)] = &[
    ("app new", "<DIRECTORY>"),
    ("tenant create", "--name <NAME>"),
    ("tenant show", "<TENANT>"),
    ("tenant suspend", "<TENANT>"),
    ("tenant reactivate", "<TENANT>"),
    ("tenant delete", "<TENANT>"),
    ("operator create", "<EMAIL>"),
    ("operator reset-mfa", "<EMAIL>"),
    ("user reset-mfa", "<EMAIL>"),
    ("keys retire", "<KEY>"),
    ("oauth-client create", "--name <NAME>"),
    ("oauth-client rotate-secret", "<CLIENT>"),
    ("oauth-client delete", "<CLIENT>"),
    ("token", "--tenant <TENANT>"),
];

/// A data directory whose PostgreSQL runs as long as the test, so that no verb has to start it.
pub(crate) struct Ground {
    directory: TempDir,
    server: Child,
}

impl Ground {
    pub(crate) fn start() -> Self {
        let directory = temporary();
        let mut server = rowhouse(directory.path())
            .args(["db", "start", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("db start said {line:?}"));
        assert_eq!(ready["data"]["running"], true);
        Self { directory, server }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The whole line of a verb, for one round.
    pub(crate) fn line(&self, verb: &str, arguments: &[&str], round: &str) -> Vec<String> {
        let directory = self.path().to_str().unwrap();
        let fill = |text: &&str| match *text {
            "{key}" => self.first(&["keys", "list"]),
            "{client}" => self.first(&["oauth-client", "list"]),
            text => text.replace("{n}", round).replace("{d}", directory),
        };
        let app = app_dir("solar").to_str().unwrap().to_owned();
        let mut line: Vec<String> = verb.split(' ').map(str::to_owned).collect();
        // Before the verb's own: those of psql come behind "--".
        line.extend(["--app".to_owned(), app]);
        line.extend(arguments.iter().map(fill));
        line
    }

    /// The id of the first that a verb lists.
    fn first(&self, verb: &[&str]) -> String {
        let listed = rowhouse(self.path()).args(verb).args(["--json", "--app"]).arg(app_dir("solar")).output().unwrap();
        let document: Value = serde_json::from_slice(&listed.stdout).unwrap();
        document["data"][0]["id"].as_str().unwrap_or_else(|| panic!("{document}")).to_owned()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// What a run gave.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) errors: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: code(output.status), out: text(output.stdout), errors: text(output.stderr) }
    }

    /// The one document on stdout, and nothing beside it.
    pub(crate) fn document(&self) -> Value {
        let mut lines = self.out.lines();
        let line = lines.next().unwrap_or_else(|| panic!("nothing on stdout; stderr: {}", self.errors));
        assert_eq!(lines.next(), None, "more than one line: {}", self.out);
        serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))
    }
}

/// The code as a shell tells it: also of a process that a signal ended.
pub(crate) fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

/// Runs a line without a terminal. Fails if it reads its input: without a terminal nobody answers.
pub(crate) fn piped(data_dir: &Path, line: &[String]) -> Ran {
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(b"yes\nyes\nyes\n").unwrap();
    input.rewind().unwrap();
    let mut command = rowhouse(data_dir);
    // Without a session's terminal nothing can be asked behind the back of stdin either.
    let ran = Ran::of(command.args(line).stdin(input.try_clone().unwrap()).output().unwrap());
    assert_eq!(input.stream_position().unwrap(), 0, "{line:?} read an answer from its input");
    for text in [&ran.out, &ran.errors] {
        assert!(!text.contains('\u{1b}'), "{line:?} wrote control codes into a pipe: {text:?}");
    }
    ran
}

/// Runs a line at a terminal of its own, and gives what is shown there.
fn shown(data_dir: &Path, line: &[String], environment: &[(&str, &str)]) -> Ran {
    let mut command = at_terminal(data_dir, line);
    Ran::of(command.envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap())
}

/// `script` gives the program a terminal, and its exit code back.
pub(crate) fn at_terminal(data_dir: &Path, line: &[String]) -> Command {
    let quoted: Vec<String> = line.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    let program = env!("CARGO_BIN_EXE_rowhouse");
    let mut command = rowhouse(data_dir);
    let inner = format!("exec setpriv --pdeathsig KILL -- '{program}' {}", quoted.join(" "));
    let mut script = Command::new("script");
    script.args(["-qec", &inner, "/dev/null"]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    command.env_clear();
    script.env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("CI");
    script
}

/// Whether a text has codes of colour or weight: `ESC [ … m`.
fn is_coloured(text: &str) -> bool {
    text.split("\u{1b}[")
        .skip(1)
        .any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
}

/// The names under "Commands:" in a help text.
fn commands_in(help: &str) -> Vec<String> {
    let list = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.trim().is_empty());
    // A description that is wrapped is indented further than a name.
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.map(|line| line.split_whitespace().next().unwrap().to_owned()).filter(|name| name != "help").collect()
}

/// Every verb, as the program's help tells it.
fn verbs() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(path) = open.pop() {
        let line: Vec<String> = std::iter::once("help".to_owned()).chain(path.iter().cloned()).collect();
        let help = piped(Path::new("/nonexistent"), &line);
        assert_eq!(help.code, 0, "{line:?}: {}", help.errors);
        let below = commands_in(&help.out);
        if below.is_empty() {
            found.insert(path.join(" "));
        }
        open.extend(below.into_iter().map(|name| path.iter().cloned().chain([name]).collect()));
    }
    found
}

/// The verbs that end, with their lines for one round.
fn lines_that_end(ground: &Ground, round: &str) -> impl Iterator<Item = (&'static str, Vec<String>)> {
    let ending = VERBS.iter().filter(|(_, _, kind)| *kind == Kind::Ends);
    ending.map(move |(verb, arguments, _)| (*verb, ground.line(verb, arguments, round)))
}

#[test]
fn the_verbs_of_the_program_are_those_of_these_tests() {
    let known: BTreeSet<String> = VERBS.iter().map(|(verb, ..)| (*verb).to_owned()).collect();
    assert_eq!(verbs(), known, "give a new verb a line in VERBS, and in NEEDS if it needs something");
}

#[test]
fn in_a_pipe_a_result_is_plain_text_and_with_json_one_document() {
    let ground = Ground::start();
    for (verb, line) in lines_that_end(&ground, "pipe") {
        let ran = piped(ground.path(), &line);
        assert_eq!(ran.code, 0, "{verb}: {}{}", ran.out, ran.errors);
        assert!(!ran.out.trim().is_empty(), "{verb} says nothing");
        assert!(serde_json::from_str::<Value>(&ran.out).is_err() || verb == "openapi", "{verb}: {}", ran.out);
    }
    for (verb, mut line) in lines_that_end(&ground, "json") {
        line.push("--json".into());
        let ran = piped(ground.path(), &line);
        assert_eq!(ran.code, 0, "{verb}: {}{}", ran.out, ran.errors);
        let document = ran.document();
        assert_eq!(document["success"], true, "{verb}");
        assert!(document.get("data").is_some(), "{verb}: {document}");
    }
}

#[test]
fn at_a_terminal_a_result_is_the_same_without_colour_where_it_is_refused() {
    let ground = Ground::start();
    for (verb, line) in lines_that_end(&ground, "tty") {
        let ran = shown(ground.path(), &line, &[("NO_COLOR", "1")]);
        assert_eq!(ran.code, 0, "{verb}: {}", ran.out);
        assert!(!ran.out.trim().is_empty(), "{verb} says nothing");
        assert!(!is_coloured(&ran.out), "{verb} has colours in spite of NO_COLOR: {:?}", ran.out);
    }
    for (verb, mut line) in lines_that_end(&ground, "ttyjson") {
        line.push("--json".into());
        let ran = shown(ground.path(), &line, &[]);
        assert_eq!(ran.code, 0, "{verb}: {}", ran.out);
        // stderr is shown beside stdout here; the document is a line of its own and plain.
        let documents = ran.out.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
        assert_eq!(documents, 1, "{verb}: {}", ran.out);
    }
}

#[test]
fn psql_speaks_for_itself_and_has_no_json() {
    let ground = Ground::start();
    let (verb, arguments, _) = VERBS.iter().find(|(_, _, kind)| *kind == Kind::Hands).unwrap();
    let line = ground.line(verb, arguments, "");
    let ran = piped(ground.path(), &line);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    assert!(ran.out.contains("42"), "{}", ran.out);
    let mut with_json = line;
    with_json.insert(0, "--json".into());
    let ran = piped(ground.path(), &with_json);
    assert_eq!(ran.code, 2);
    let document = ran.document();
    assert_eq!(document["error"]["code"], "invalid_request");
    assert!(document["error"]["message"].as_str().unwrap().contains("--csv"), "{document}");
}

/// A verb that needs something asks for it by its flag and ends; it never waits for an answer.
#[test]
fn what_is_missing_is_named_and_never_asked_for() {
    let directory = temporary();
    let needs: BTreeMap<_, _> = NEEDS.iter().copied().collect();
    for (verb, arguments, _) in VERBS {
        let is_needed = |argument: &&str| {
            ["{n}", "{key}", "{client}", "@"].iter().any(|mark| argument.contains(mark)) || *argument == "--tenant"
        };
        let needed = arguments.iter().any(is_needed);
        assert_eq!(needs.contains_key(verb), needed, "{verb} stands in NEEDS if it needs something");
    }
    for (verb, words) in NEEDS {
        let line: Vec<String> = verb.split(' ').map(str::to_owned).collect();
        let ran = piped(directory.path(), &line);
        assert_eq!(ran.code, 2, "{verb}: {}", ran.errors);
        assert!(ran.errors.contains(words), "{verb}: {}", ran.errors);
        assert_eq!(ran.out, "", "{verb}");
        let at_terminal = shown(directory.path(), &line, &[]);
        assert_eq!(at_terminal.code, 2, "{verb}: {}", at_terminal.out);
        let ran = piped(directory.path(), &[line, vec!["--json".into()]].concat());
        assert_eq!(ran.code, 2, "{verb}");
        let document = ran.document();
        assert_eq!(document["error"]["code"], "invalid_request");
        assert!(document["error"]["message"].as_str().unwrap().contains(words), "{verb}: {document}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "wrong use starts nothing");
}

#[test]
fn colour_is_for_terminals_that_can_and_want_it() {
    let directory = temporary();
    let help = vec!["help".to_owned()];
    let misspelt = vec!["tenant".to_owned(), "lst".to_owned()];
    for line in [&help, &misspelt] {
        assert!(is_coloured(&shown(directory.path(), line, &[]).out), "{line:?}");
        for refusal in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let ran = shown(directory.path(), line, &[refusal]);
            assert!(!is_coloured(&ran.out), "{line:?} with {refusal:?}: {:?}", ran.out);
        }
        // Fails on any control code.
        piped(directory.path(), line);
    }
}

/// Log lines for people have colours, and go where they are not wanted as easily as help does.
#[test]
fn log_lines_are_coloured_at_a_terminal_only() {
    let ground = Ground::start();
    let mut line = ground.line("app check", &[], "");
    line.extend(["--log-format", "pretty"].map(str::to_owned));
    let loud = [("ROWHOUSE_LOG", "debug")];
    assert!(is_coloured(&shown(ground.path(), &line, &loud).out));
    let refused = shown(ground.path(), &line, &[loud[0], ("NO_COLOR", "1")]).out;
    assert!(refused.contains("DEBUG") && !is_coloured(&refused), "{refused:?}");
    let piped = Ran::of(rowhouse(ground.path()).args(&line).envs(loud).output().unwrap());
    assert!(piped.errors.contains("DEBUG") && !piped.errors.contains('\u{1b}'), "{:?}", piped.errors);
}

#[test]
fn a_slip_of_the_fingers_gets_a_suggestion() {
    let ground = Ground::start();
    let app = app_dir("solar").to_str().unwrap().to_owned();
    let seeded = piped(ground.path(), &ground.line("seed demo", &["--tenants", "1", "--rows", "10"], ""));
    assert_eq!(seeded.code, 0, "{}", seeded.errors);
    let misspelt_app = app.replace("solar", "solra");
    let known: Vec<(&[&str], i32, &str)> = vec![
        (&["tennant", "list"], 2, "'tenant'"),
        (&["tenant", "craete"], 2, "'create'"),
        (&["migrate", "staus"], 2, "'status'"),
        (&["tenant", "list", "--serach", "x"], 2, "'--search'"),
        (&["serve", "--lisen", "127.0.0.1:0"], 2, "'--listen'"),
        (&["seed", "demo", "--placement", "shema"], 2, "'schema'"),
        (&["tenant", "show", "demo-001"], 1, "Did you mean \"demo-0001\"?"),
        (&["tenant", "delete", "dem-0001"], 1, "Did you mean \"demo-0001\"?"),
        (&["token", "--tenant", "demo-00001"], 1, "Did you mean \"demo-0001\"?"),
        (&["db", "psql", "--tenant", "demo-001"], 1, "Did you mean \"demo-0001\"?"),
        (&["app", "check", "--app", "{app}"], 1, "Did you mean \"solar\"?"),
        (&["serve", "--app", "{app}"], 1, "Did you mean \"solar\"?"),
        (&["openapi", "--app", "{app}"], 1, "Did you mean \"solar\"?"),
    ];
    for (arguments, code, words) in known {
        let mut line: Vec<String> = arguments.iter().map(|word| word.replace("{app}", &misspelt_app)).collect();
        if !arguments.contains(&"--app") {
            line.extend(["--app".to_owned(), app.clone()]);
        }
        let ran = piped(ground.path(), &line);
        assert_eq!(ran.code, code, "{line:?}: {}", ran.errors);
        assert!(ran.errors.contains(words), "{line:?}: {}", ran.errors);
        if arguments.contains(&"psql") {
            continue;
        }
        let ran = piped(ground.path(), &[vec!["--json".into()], line.clone()].concat());
        assert!(ran.document()["error"]["message"].as_str().unwrap().contains(words), "{line:?}: {}", ran.out);
    }
}

#[test]
fn an_entity_that_is_misspelt_in_a_manifest_gets_a_suggestion() {
    let ground = Ground::start();
    let app: PathBuf = ground.path().join("desk");
    let line = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    assert_eq!(piped(ground.path(), &line(&["app", "new", app.to_str().unwrap()])).code, 0);
    let manifest = app.join("rowhouse.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    assert!(text.contains("[entities.tickets]"), "{text}");
    std::fs::write(&manifest, text.replace("tickets", "tickest")).unwrap();
    let ran = piped(ground.path(), &line(&["app", "check", "--app", app.to_str().unwrap()]));
    assert_eq!(ran.code, 1);
    assert!(ran.errors.contains("Did you mean \"tickets\"?"), "{}", ran.errors);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let ground = Ground::start();
    for (verb, line) in lines_that_end(&ground, "shut") {
        // The reader is gone before anything is written.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = Ran::of(rowhouse(ground.path()).args(&line).stdout(writer).output().unwrap());
        assert_eq!((ran.code, ran.errors.contains("panicked")), (0, false), "{verb}: {}", ran.errors);
    }
}
