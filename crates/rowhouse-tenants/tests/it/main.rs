//! Integration tests of provisioning, lifecycle and fleet migrations, on a real server.
#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod audit;
mod claim;
mod deletion;
mod demo;
mod drift;
mod fleet;
mod fleet_targets;
mod installation;
mod lifecycle;
mod members;
mod phases;
mod provision;
mod provision_faults;
mod provision_outcome;
mod town;
mod warm_pool;
