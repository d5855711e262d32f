//! The data API: from a request's words to one tenant-bound statement, and rows to JSON.
//!
//! **Invariant:** every statement on a tenant's table names the tenant itself (`tenant_id = $1`)
//! beside row-level security. **Invariant:** identifiers come from the compiled model, values are
//! always parameters: text of a request never becomes text of a statement.

mod body;
mod counts;
mod cursor;
mod fault;
mod filter;
mod include;
mod list;
mod query;
mod read;
mod scope;
mod sort;
mod statement;
mod value;
mod write;

use std::sync::Arc;

use rowhouse_app::{AppModel, Entity};
use rowhouse_postgres::{Databases, TenantContext};
use rowhouse_types::{ApiError, Grants, Signer, UserId, did_you_mean};

pub use list::ListAnswer;
pub use read::RecordAnswer;

/// Who asks, as the gate has found out.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The tenant.
    pub context: &'a TenantContext,
    /// The person; none for a program.
    pub user: Option<UserId>,
    /// What the caller's role may do.
    pub grants: &'a Grants,
}

/// The data API.
pub struct Records {
    databases: Arc<Databases>,
    cursors: Signer,
}

impl Records {
    /// The data API over these databases; cursors are signed, so that nobody else makes them.
    pub fn new(databases: Arc<Databases>, cursors: Signer) -> Self {
        Self { databases, cursors }
    }
}

/// The entity of this name, or the refusal that lists what there is.
fn entity_of<'a>(model: &'a AppModel, name: &str) -> Result<&'a Entity, ApiError> {
    model.entity(name).ok_or_else(|| {
        let known = || model.entities.keys().chain(model.shared.keys()).map(String::as_str);
        let hint = did_you_mean(name, known());
        ApiError::new(rowhouse_types::ErrorCode::NotFound, format!("There is no entity of this name.{hint}"))
    })
}
