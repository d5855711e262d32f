//! Integration tests of the saga engine, on a real server.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod engine;
mod killed;
mod operators;
mod voyage;
