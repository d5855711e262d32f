//! Integration tests of the app crate, on a real server.
#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod apps;
mod rule_words;
mod rules;
