//! Test servers and fixtures: a real PostgreSQL per test program, and databases of its own for
//! each test. Never a dependency of the product.

mod server;

pub use server::{TestDatabases, server_settings};
