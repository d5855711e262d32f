//! Test servers and fixtures: a real PostgreSQL per test program, and databases of its own for
//! each test. Never a dependency of the product.

mod control_table;
mod server;

pub use control_table::ControlTable;
pub use server::{TestDatabases, server_settings};
