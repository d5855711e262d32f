//! Rules of Rust source files. They read tokens and functions, not text, so that a word in a
//! string or a comment breaks nothing.

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::Visit;

use crate::tree::{Text, texts};
use crate::{Finding, judge};

/// The rules' names.
pub(crate) const RULES: &[&str] = &[
    "file opens with its purpose",
    "file length",
    "function length",
    "no mod.rs",
    "no bare allow",
    "no skipped test",
    "no unfinished code",
    "no sleep in tests",
    "types do no IO",
];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

fn sources() -> Vec<Text> {
    texts(&[".rs"])
}

/// Applies a rule that looks at one file's tokens.
fn judge_tokens(rule: &str, applies: impl Fn(&str) -> bool, find: impl Fn(&[TokenTree]) -> Option<String>) {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| applies(&source.path)) {
        for (line, message) in windows(tokens(source), &find) {
            findings.push(Finding::new(&source.path, format!("line {line}: {message}")));
        }
    }
    judge(rule, &findings);
}

fn tokens(source: &Text) -> TokenStream {
    source.text.parse().unwrap_or_else(|error| panic!("{} is not Rust: {error}", source.path))
}

/// Calls `find` with the rest of every group from each of its tokens on.
fn windows(stream: TokenStream, find: &impl Fn(&[TokenTree]) -> Option<String>) -> Vec<(usize, String)> {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut found = Vec::new();
    for (index, tree) in trees.iter().enumerate() {
        if let Some(message) = find(&trees[index..]) {
            found.push((tree.span().start().line, message));
        }
        if let TokenTree::Group(group) = tree {
            found.extend(windows(group.stream(), find));
        }
    }
    found
}

fn ident(tree: Option<&TokenTree>) -> Option<String> {
    match tree {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

fn is_punct(tree: Option<&TokenTree>, wanted: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// The first word of an attribute `#[word …]` or `#![word …]`, and all words in it.
fn attribute(rest: &[TokenTree]) -> Option<Vec<String>> {
    if !is_punct(rest.first(), '#') {
        return None;
    }
    let inner = if is_punct(rest.get(1), '!') { rest.get(2) } else { rest.get(1) };
    let Some(TokenTree::Group(group)) = inner else { return None };
    let mut words = Vec::new();
    collect_words(group.stream(), &mut words);
    Some(words)
}

fn collect_words(stream: TokenStream, words: &mut Vec<String>) {
    for tree in stream {
        match tree {
            TokenTree::Ident(ident) => words.push(ident.to_string()),
            TokenTree::Group(group) => collect_words(group.stream(), words),
            _ => {}
        }
    }
}

/// The lines of every function, from its signature to its last brace.
fn function_lengths(text: &str) -> Vec<(String, usize)> {
    struct Functions(Vec<(String, usize)>);
    impl Functions {
        fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
            let lines = block.span().end().line - signature.span().start().line + 1;
            self.0.push((signature.ident.to_string(), lines));
        }
    }
    impl<'ast> Visit<'ast> for Functions {
        fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
            self.add(&function.sig, &function.block);
            syn::visit::visit_item_fn(self, function);
        }
        fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
            self.add(&function.sig, &function.block);
            syn::visit::visit_impl_item_fn(self, function);
        }
        fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
            if let Some(block) = &function.default {
                self.add(&function.sig, block);
            }
            syn::visit::visit_trait_item_fn(self, function);
        }
    }
    let mut functions = Functions(Vec::new());
    functions.visit_file(&syn::parse_file(text).expect("the file compiles, so it parses"));
    functions.0
}

/// Tokens of `std::word`.
fn std_module(rest: &[TokenTree]) -> Option<String> {
    let is_std = ident(rest.first()).is_some_and(|word| word == "std");
    (is_std && is_punct(rest.get(1), ':') && is_punct(rest.get(2), ':')).then(|| ident(rest.get(3))).flatten()
}

#[test]
fn every_file_opens_with_its_purpose() {
    let silent = sources().into_iter().filter(|source| !source.text.starts_with("//!"));
    let message = "begin it with //! lines: what it is for and what it must never do";
    judge(RULES[0], &silent.map(|source| Finding::new(source.path, message)).collect::<Vec<_>>());
}

#[test]
fn files_are_short() {
    let mut findings = Vec::new();
    for Text { path, text } in texts(&[".rs", ".ts", ".tsx", ".py", ".js", ".mjs"]) {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            let message =
                format!("has {lines} lines, {FILE_LINES_MAX} at most; move its second subject to a file of its own");
            findings.push(Finding::new(path, message));
        }
    }
    judge(RULES[1], &findings);
}

#[test]
fn functions_are_short() {
    let mut findings = Vec::new();
    for source in sources() {
        for (name, lines) in function_lengths(&source.text) {
            if lines > FUNCTION_LINES_MAX {
                let message =
                    format!("has {lines} lines, {FUNCTION_LINES_MAX} at most; give its parts names of their own");
                findings.push(Finding::new(format!("{} fn {name}", source.path), message));
            }
        }
    }
    judge(RULES[2], &findings);
}

#[test]
fn modules_are_files_named_after_them() {
    let files = sources().into_iter().filter(|source| source.path.ends_with("/mod.rs"));
    let message = "name it after its module: foo.rs beside foo/";
    judge(RULES[3], &files.map(|source| Finding::new(source.path, message)).collect::<Vec<_>>());
}

#[test]
fn lints_are_expected_with_a_reason_not_allowed() {
    judge_tokens(
        RULES[4],
        |_| true,
        |rest| {
            let words = attribute(rest)?;
            let is_conditional = words.first().is_some_and(|word| word == "cfg_attr");
            let is_allow = words.first().is_some_and(|word| word == "allow");
            let allows = is_allow || (is_conditional && words.iter().any(|word| word == "allow"));
            allows.then(|| "write #[expect(…, reason = \"…\")]: it fails when it is no longer needed".to_owned())
        },
    );
}

#[test]
fn no_test_is_skipped() {
    judge_tokens(
        RULES[5],
        |_| true,
        |rest| {
            let words = attribute(rest)?;
            let skipped = words.first().is_some_and(|word| word == "ignore");
            skipped.then(|| "a test that does not run proves nothing: mend it or delete it".to_owned())
        },
    );
}

#[test]
fn nothing_is_left_unfinished() {
    judge_tokens(
        RULES[6],
        |_| true,
        |rest| {
            let name = ident(rest.first())?;
            let unfinished = ["todo", "unimplemented", "dbg"].contains(&name.as_str()) && is_punct(rest.get(1), '!');
            unfinished
                .then(|| format!("{name}! never reaches main: write it, or return an error that says what is missing"))
        },
    );
}

#[test]
fn tests_wait_for_a_state_and_never_for_a_time() {
    let in_tests = |path: &str| path.contains("/tests/");
    judge_tokens(RULES[7], in_tests, |rest| {
        let sleeps = ident(rest.first()).is_some_and(|word| word == "sleep");
        let called = matches!(rest.get(1), Some(TokenTree::Group(_)));
        (sleeps && called)
            .then(|| "wait until a state is reached, with a deadline; a sleep is too short somewhere".to_owned())
    });
}

#[test]
fn the_types_do_no_io() {
    let in_types = |path: &str| path.starts_with("crates/rowhouse-types/src/");
    judge_tokens(RULES[8], in_types, |rest| {
        let module = std_module(rest)?;
        let does_io = ["fs", "net", "process", "env", "thread", "os"].contains(&module.as_str());
        does_io
            .then(|| format!("std::{module} has no place in rowhouse-types: let the caller do it and pass the value"))
    });
}

#[test]
fn function_lengths_count_from_the_signature_to_the_last_brace() {
    let text = "//! x\n/// doc\n#[test]\nfn a(\n    x: u8,\n) {\n    fn b() {}\n}\nimpl X {\n    fn c() {\n    }\n}\n";
    let expected = [("a".to_owned(), 5), ("b".to_owned(), 1), ("c".to_owned(), 2)];
    assert_eq!(function_lengths(text), expected);
}

#[test]
fn attributes_are_found_in_any_depth_and_words_in_strings_are_not() {
    let text = "mod x { fn y() { #![allow(dead_code)] let z = \"#[allow(dead_code)]\"; } }";
    let source = Text { path: "x.rs".into(), text: text.into() };
    let found = windows(tokens(&source), &|rest: &[TokenTree]| attribute(rest).map(|words| words.join(" ")));
    assert_eq!(found, [(1, "allow dead_code".to_owned())]);
}
