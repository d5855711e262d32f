//! Integration tests of provisioning, lifecycle and fleet migrations, on a real server.
#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod fleet;
mod installation;
mod provision;
mod provision_faults;
mod provision_outcome;
mod town;
