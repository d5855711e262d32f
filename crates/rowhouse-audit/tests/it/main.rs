//! Integration tests of the audit, on a real server.
#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod alert;
mod condition;
mod entry;
mod event;
mod schema;

use rowhouse_audit::{Audit, SecurityEvent, SecurityEventKind};
use rowhouse_postgres::{SystemConnection, TenantContext};
use rowhouse_testkit::TestDatabases;
use rowhouse_types::{TenantId, UserId};

/// Databases of its own with a running audit.
struct Ground {
    test: TestDatabases,
    audit: Audit,
}

impl Ground {
    async fn start() -> Self {
        let test = TestDatabases::start(&[rowhouse_audit::CONTROL_MIGRATIONS]).await;
        let audit = Audit::start(test.databases.clone(), test.authorities.system.clone());
        Self { test, audit }
    }

    async fn control(&self) -> SystemConnection {
        self.test.databases.control(&self.test.authorities.system.scope("test")).await.unwrap()
    }

    fn context(&self, tenant: TenantId) -> TenantContext {
        self.test.authorities.tenant.context(tenant, self.test.databases.pool_location())
    }
}

/// An attempt of a person to reach a tenant that is not theirs.
fn attempt(user: UserId, tenant: TenantId) -> SecurityEvent {
    SecurityEvent {
        kind: SecurityEventKind::CrossTenantAccessAttempt,
        user: Some(user),
        tenant: Some(tenant),
        attempted_tenant: Some("globex".into()),
        ..SecurityEvent::default()
    }
}
