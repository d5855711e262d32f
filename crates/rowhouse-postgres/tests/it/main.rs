//! Integration tests of the scopes, on a real server.
#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod isolation;
mod json;
mod lanes;
mod system;
mod tls;
mod wire;
