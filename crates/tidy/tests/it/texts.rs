//! Rules of all files: their names, and what must not stand in them.

use std::path::Path;

use crate::tree::{Text, paths, read, root, texts};
use crate::{Finding, judge};

/// The rules' names.
pub(crate) const RULES: &[&str] = &[
    "file names",
    "no machine's path",
    "no leftover",
    "links lead somewhere",
    "ARCHITECTURE.md is a map",
    "named tests exist",
];

/// Words that name nothing.
const BANNED_NAMES: &[&str] = &["util", "utils", "common", "manager", "managers", "helper", "helpers", "data", "misc"];

/// Texts that belong to one machine or to a registry. In halves, so that this file is clean.
const BANNED_TEXTS: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "is a path of one machine"),
    (concat!("/fa", "rm/"), "is a path of one machine"),
    (concat!("/home/", "runner"), "is a path of one machine"),
    (concat!("registry.", "npmjs.org"), "is a registry's host: the plain client knows where to fetch"),
    (concat!("files.", "pythonhosted.org"), "is a registry's host: the plain client knows where to fetch"),
    (concat!("py", "pi.org"), "is a registry's host: the plain client knows where to fetch"),
    (concat!("static.", "crates.io"), "is a registry's host: the plain client knows where to fetch"),
    (concat!("index.", "crates.io"), "is a registry's host: the plain client knows where to fetch"),
    (concat!("deb.", "debian.org"), "is a registry's host: the plain client knows where to fetch"),
    (concat!("proxy.", "golang.org"), "is a registry's host: the plain client knows where to fetch"),
];

/// Marks of unfinished work. A debt that is meant says of which kind it is, such as `…-scale`.
const LEFTOVERS: &[&str] = &[concat!("FIX", "ME"), concat!("TO", "DO"), concat!("X", "XX")];

const ARCHITECTURE_LINES_MAX: usize = 300;

/// The list of what a standard asks and the tests behind it, and where those are.
const CHECKLIST: &str = "docs/asvs.md";
const SUITES: &[(&str, &str)] =
    &[("identity::", "crates/rowhouse-identity/tests/it"), ("service::", "crates/rowhouse/tests/it")];

/// Lock files are written by their tools, with hosts in them.
fn is_lock(path: &str) -> bool {
    path.ends_with(".lock") || path.ends_with("package-lock.json")
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

fn all_texts() -> impl Iterator<Item = Text> {
    paths().into_iter().filter(|path| !is_lock(path)).filter_map(read)
}

/// The banned word in a path, if there is one: whole words between separators.
fn banned_word(path: &str) -> Option<&'static str> {
    let mut words = path.split(['/', '_', '-', '.']);
    words.find_map(|word| BANNED_NAMES.iter().find(|banned| word.eq_ignore_ascii_case(banned)).copied())
}

/// Offsets of marks that stand as words of their own and do not say of which kind they are.
fn leftovers(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for mark in LEFTOVERS {
        for (offset, _) in text.match_indices(mark) {
            let before = text[..offset].chars().next_back();
            let after = text[offset + mark.len()..].chars().next();
            let is_word = !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric);
            if is_word && after != Some('-') {
                found.push((offset, *mark));
            }
        }
    }
    found
}

/// Targets of the links `[text](target)` and images in a Markdown text, without their anchors.
fn link_targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (offset, _) in text.match_indices("](") {
        let rest = &text[offset + 2..];
        let Some(end) = rest.find([')', '\n']) else { continue };
        let target = rest[..end].split('#').next().unwrap_or_default();
        let elsewhere = target.contains("://") || target.starts_with("mailto:") || target.is_empty();
        if rest[end..].starts_with(')') && !elsewhere {
            found.push((offset, target));
        }
    }
    found
}

#[test]
fn names_say_what_is_in_a_file() {
    let mut findings = Vec::new();
    // In documents the words may be what people call the thing, such as the data API.
    for path in paths().into_iter().filter(|path| !path.starts_with("docs/")) {
        if let Some(word) = banned_word(&path) {
            findings.push(Finding::new(path, format!("{word:?} names nothing; name the file after its subject")));
        }
    }
    judge(RULES[0], &findings);
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    let mut findings = Vec::new();
    for Text { path, text } in all_texts() {
        for (banned, why) in BANNED_TEXTS {
            for (offset, _) in text.match_indices(banned) {
                let message = format!("line {}: {banned} {why}; remove it", line_of(&text, offset));
                findings.push(Finding::new(&path, message));
            }
        }
    }
    judge(RULES[1], &findings);
}

#[test]
fn no_mark_of_unfinished_work_reaches_main() {
    let mut findings = Vec::new();
    for Text { path, text } in all_texts() {
        for (offset, mark) in leftovers(&text) {
            let line = line_of(&text, offset);
            let message = format!("line {line}: {mark} says that something is unfinished; finish it, or open an issue");
            findings.push(Finding::new(&path, message));
        }
    }
    judge(RULES[2], &findings);
}

#[test]
fn links_in_documents_lead_to_files_that_exist() {
    let mut findings = Vec::new();
    for Text { path, text } in texts(&[".md"]) {
        let directory = Path::new(&path).parent().expect("a file is in a directory").to_owned();
        for (offset, target) in link_targets(&text) {
            if !root().join(&directory).join(target).exists() {
                let message = format!("line {}: there is no {target}; mend the link", line_of(&text, offset));
                findings.push(Finding::new(&path, message));
            }
        }
    }
    judge(RULES[3], &findings);
}

#[test]
fn the_map_of_the_code_stays_short() {
    let map = read("ARCHITECTURE.md".into()).expect("it is text");
    let lines = map.text.lines().count();
    let message = format!("has {lines} lines, {ARCHITECTURE_LINES_MAX} at most; move detail to the crate it is about");
    let findings = if lines > ARCHITECTURE_LINES_MAX { vec![Finding::new(map.path, message)] } else { Vec::new() };
    judge(RULES[4], &findings);
}

/// The tests that a text names in backticks, each with its line and its file's path.
fn named_tests(text: &str) -> Vec<(usize, String, &str)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in line.split('`').skip(1).step_by(2) {
            let named = SUITES.iter().find_map(|(suite, place)| Some((place, word.strip_prefix(suite)?)));
            let Some((place, (module, test))) = named.and_then(|(place, rest)| Some((place, rest.split_once("::")?)))
            else {
                continue;
            };
            found.push((index + 1, format!("{place}/{module}.rs"), test));
        }
    }
    found
}

#[test]
fn tests_that_the_checklist_names_exist() {
    let Text { path, text } = read(CHECKLIST.into()).expect("it is text");
    let named = named_tests(&text);
    assert!(named.len() > 50, "the checklist names {} tests only", named.len());
    let missing = named.into_iter().filter(|(_, file, test)| {
        let found = root().join(file).exists().then(|| read(file.clone())).flatten();
        !found.is_some_and(|file| file.text.contains(&format!("fn {test}(")))
    });
    let finding = |(line, file, test)| Finding::new(&path, format!("line {line}: there is no {test} in {file}"));
    judge(RULES[5], &missing.map(finding).collect::<Vec<_>>());
}

#[test]
fn named_tests_are_read_from_backticks() {
    let text = "| `identity::limit::locks`, `service::auth::signs_in` | `other::x::y` identity::a::b |";
    let names =
        |text| named_tests(text).into_iter().map(|(_, file, test)| format!("{file} {test}")).collect::<Vec<_>>();
    let (one, two) = ("crates/rowhouse-identity/tests/it/limit.rs locks", "crates/rowhouse/tests/it/auth.rs signs_in");
    assert_eq!(names(text), [one, two]);
}

#[test]
fn banned_names_are_whole_words() {
    assert_eq!(banned_word("crates/x/src/string_utils.rs"), Some("utils"));
    assert_eq!(banned_word("crates/x/src/database.rs"), None);
}

#[test]
fn marks_are_whole_words_and_kinds_are_let_through() {
    let mark = LEFTOVERS[1];
    assert_eq!(leftovers(&format!("// {mark}: later")).len(), 1);
    assert_eq!(leftovers(&format!("// {mark}-scale: one lock per process; mTO{mark}S")).len(), 0);
}

#[test]
fn links_are_read_without_anchors_and_web_addresses_are_left_out() {
    let text = "[a](docs/a.md#b) ![c](d.svg) [e](https://example.com) [f](#g)";
    let targets: Vec<&str> = link_targets(text).into_iter().map(|(_, target)| target).collect();
    assert_eq!(targets, ["docs/a.md", "d.svg"]);
}
