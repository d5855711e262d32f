//! Test servers and fixtures: a real PostgreSQL per test program, and databases of its own for
//! each test. Never a dependency of the product.

mod control_table;
mod dns;
mod server;

pub use control_table::ControlTable;
pub use dns::TestDns;
pub use server::{TestDatabases, server_settings};
