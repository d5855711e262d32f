//! PostgreSQL for everyone above: the managed server, connection pools, the tenant and system
//! scopes that alone run SQL, and the migration runner.
//!
//! **Invariant:** no other crate depends on a PostgreSQL driver, so no statement runs outside
//! a scope. **Invariant:** a [`TenantContext`] is made only by a [`TenantAuthority`] and a
//! [`SystemScope`] only by a [`SystemAuthority`]; both are handed out once, at connect.

mod authority;
mod bootstrap;
mod cluster;
mod connection;
mod databases;
mod error;
mod json;
mod lanes;
mod managed;
mod migrate;
mod param;
mod platform;
mod probe;
mod quick;
mod row;
mod server_url;
mod sql_text;
mod system;
mod tenant;
mod text_form;
mod tls;
mod wire;

pub use authority::{Authorities, Location, SystemAuthority, SystemScope, TenantAuthority, TenantContext};
pub use bootstrap::{Bootstrapped, bootstrap};
pub use cluster::{ClusterSettings, PoolLimits, RoleNames};
pub use databases::{Databases, PoolState};
pub use error::{Constraint, ConstraintKind, DatabaseError, DatabaseResult};
pub use json::write_row;
pub use managed::{BinariesError, ManagedError, ManagedServer, PostgresBinaries};
pub use migrate::{
    AppliedMigration, Migration, MigrationError, MigrationPhase, MigrationSet, MigrationStep, applied_migrations,
    apply_alone, apply_migrations, give_way_pause, gives_way, ledgers, migration_preamble, revert_migration,
    revert_migration_with, wait_for_target,
};
pub use param::{Param, Untyped};
pub use platform::{CONTROL_TARGET, PLATFORM_TARGET, SHARED_TARGET};
pub use probe::{ProbeFinding, probe};
pub use quick::Access;
pub use row::{Place, Row};
pub use server_url::is_on_this_machine;
pub use system::SystemConnection;
pub use tenant::{Statement, TenantConnection, TenantTx};
pub use text_form::text_of;

pub use tokio_postgres::types::Type;

/// Quotes an identifier for use in SQL.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text as an SQL literal; only for statements that take no parameters (DDL).
pub fn quote_literal(text: &str) -> String {
    let quoted = format!("'{}'", text.replace('\'', "''"));
    if text.contains('\\') { format!("E{}", quoted.replace('\\', "\\\\")) } else { quoted }
}
