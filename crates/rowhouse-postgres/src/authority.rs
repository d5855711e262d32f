//! Who may say for which tenant SQL runs. Both authorities are capabilities: values that
//! cannot be made outside this crate and are handed out once, when the databases connect.

use std::sync::Arc;

use rowhouse_types::TenantId;

/// The capability to open a tenant's transactions. The composition root gives it to the gate,
/// the job runner and the command line, nobody else.
#[derive(Clone, Debug)]
pub struct TenantAuthority(());

/// The capability to work across tenants.
#[derive(Clone, Debug)]
pub struct SystemAuthority(());

/// Both capabilities, as [`crate::Databases::open`] hands them out.
#[derive(Debug)]
pub struct Authorities {
    /// For whoever resolves a tenant from a request, a job or a command.
    pub tenant: TenantAuthority,
    /// For work that spans tenants.
    pub system: SystemAuthority,
}

impl Authorities {
    pub(crate) fn new() -> Self {
        Self { tenant: TenantAuthority(()), system: SystemAuthority(()) }
    }
}

/// Where a tenant's rows live. The same for every tenant of the pool placement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The cluster's name in the directory.
    pub cluster: Arc<str>,
    /// The database.
    pub database: Arc<str>,
    /// The schema of the app's tables.
    pub schema: Arc<str>,
}

impl Location {
    /// A location from its three names.
    pub fn new(cluster: &str, database: &str, schema: &str) -> Self {
        Self { cluster: cluster.into(), database: database.into(), schema: schema.into() }
    }
}

/// Proof that somebody with the authority chose this tenant. The only thing that opens a
/// tenant transaction.
///
/// ```compile_fail
/// // A context cannot be written down by hand: its fields are private.
/// let location = rowhouse_postgres::Location::new("local", "rowhouse_data", "app");
/// let context = rowhouse_postgres::TenantContext { tenant: rowhouse_types::TenantId::generate(), location };
/// ```
///
/// ```compile_fail
/// // Nor can the capability that makes it.
/// let authority = rowhouse_postgres::TenantAuthority(());
/// ```
///
/// ```compile_fail
/// // A tenant's connection opens with a context only; an id is not enough.
/// async fn open(databases: &rowhouse_postgres::Databases, tenant: rowhouse_types::TenantId) {
///     let _ = databases.tenant(&tenant).await;
/// }
/// ```
#[derive(Clone, Debug)]
pub struct TenantContext {
    tenant: TenantId,
    location: Location,
}

impl TenantAuthority {
    /// Chooses the tenant. The caller vouches that whoever asks has a right to it.
    pub fn context(&self, tenant: TenantId, location: Location) -> TenantContext {
        TenantContext { tenant, location }
    }
}

impl TenantContext {
    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Where its rows live.
    pub fn location(&self) -> &Location {
        &self.location
    }
}

/// Proof that work across tenants was meant, and what for. The purpose stands in the log of
/// every connection that it opens.
///
/// ```compile_fail
/// let scope = rowhouse_postgres::SystemScope { purpose: "look around" };
/// ```
#[derive(Clone, Debug)]
pub struct SystemScope {
    purpose: &'static str,
}

impl SystemAuthority {
    /// A scope for one purpose, in words: "migrate", "provision", "sign in".
    pub fn scope(&self, purpose: &'static str) -> SystemScope {
        SystemScope { purpose }
    }
}

impl SystemScope {
    /// What the scope was taken for.
    pub fn purpose(&self) -> &'static str {
        self.purpose
    }
}
