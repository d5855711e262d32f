//! Lines of the audit log: what operators and the system did.

use rowhouse_postgres::{DatabaseResult, SystemConnection, params};
use rowhouse_types::{TenantId, UserId};
use serde_json::{Value, json};

/// One line, before it is written.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    actor_kind: &'static str,
    actor: Option<UserId>,
    action: &'static str,
    tenant: Option<TenantId>,
    details: Value,
}

impl AuditEntry {
    /// Something an operator did.
    pub fn by_operator(operator: UserId, action: &'static str) -> Self {
        Self { actor_kind: "operator", actor: Some(operator), action, tenant: None, details: json!({}) }
    }

    /// Something the system or its command line did.
    pub fn by_system(action: &'static str) -> Self {
        Self { actor_kind: "system", actor: None, action, tenant: None, details: json!({}) }
    }

    /// Names the tenant it was done to.
    #[must_use]
    pub fn on_tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Adds details; never secrets or personal data.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// Writes the line in the caller's own transaction, so that the deed and its record are one.
    pub async fn write(&self, connection: &SystemConnection) -> DatabaseResult<()> {
        const INSERT: &str = "
            insert into control.audit_log (actor_kind, actor_id, action, tenant_id, details)
            values ($1, $2, $3, $4, $5)";
        let values = params![self.actor_kind, self.actor, self.action, self.tenant, &self.details];
        connection.query(INSERT, values).await.map(drop)
    }
}
