//! What commands print. Results go to stdout (tables for people, one JSON document with
//! `--json`); messages, progress and errors go to stderr.
#![expect(clippy::print_stderr, reason = "this is the one place that prints")]

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use rowhouse_types::{ApiError, ErrorCode};
use serde_json::{Value, json};

use crate::settings::SettingsError;

/// How results are printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// One JSON document instead of text.
    pub(crate) json: bool,
    /// No messages but errors.
    pub(crate) quiet: bool,
}

impl Output {
    /// Whether progress may be drawn: only for a person at a terminal.
    pub(crate) fn interactive(self) -> bool {
        !self.json && !self.quiet && std::io::stderr().is_terminal() && std::env::var_os("CI").is_none()
    }

    /// A result: the data with `--json`, else the text made from it.
    pub(crate) fn result(self, data: &Value, text: impl FnOnce() -> String) {
        if self.json {
            print(&json!({ "success": true, "data": data }).to_string());
        } else {
            let text = text();
            if !text.is_empty() {
                print(text.trim_end());
            }
        }
    }

    /// A message for the person, on stderr.
    pub(crate) fn message(self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// The end of a command that failed.
    pub(crate) fn failure(self, error: &anyhow::Error) {
        let wrong_use = error.is::<SettingsError>().then_some(ErrorCode::InvalidRequest);
        let code = error.downcast_ref::<ApiError>().map(|api| api.code).or(wrong_use);
        let code = code.map_or("failed", ErrorCode::as_str);
        self.refusal(code, &chain(error));
        eprintln!("error: {}", chain(error));
    }

    /// The document of a command that failed; text for people goes to stderr beside it.
    pub(crate) fn refusal(self, code: &str, message: &str) {
        if self.json {
            print(
                &json!({ "success": false, "error": { "code": code, "message": message, "details": [] } }).to_string(),
            );
        }
    }
}

/// Writes a line to stdout. A reader that has seen enough (`| head`) closes the pipe; that is no
/// fault, and what it did not read is not missed.
fn print(line: &str) {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => panic!("cannot write to stdout: {error}"),
        Ok(()) | Err(_) => {}
    }
}

/// The whole chain of causes, without repeating a cause that the text above it already tells.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\n  because: ");
        }
        text.push_str(&cause);
    }
    text
}

/// A table without lines, as wide as the terminal.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
