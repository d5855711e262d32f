//! What the tables promise whoever reads them without going through this crate.

use rowhouse_audit::SecurityEvent;
use rowhouse_postgres::DatabaseError;
use rowhouse_types::{TenantId, UserId};

use crate::{Ground, attempt};

#[tokio::test]
async fn every_table_has_row_level_security_and_the_one_policy() {
    let ground = Ground::start().await;
    let tables = ground.test.control_tables().await;
    let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["alerts", "audit_log", "security_events"]);
    assert!(tables.iter().all(|table| table.keeps_tenants_apart), "{tables:?}");
}

#[tokio::test]
async fn the_service_reads_a_tenants_lines_and_writes_none() {
    let ground = Ground::start().await;
    let (acme, globex) = (TenantId::generate(), TenantId::generate());
    ground.audit.record(attempt(UserId::generate(), acme));
    ground.audit.record(attempt(UserId::generate(), globex));
    ground.audit.record(SecurityEvent::default());
    ground.audit.flush().await;
    let connection = ground.test.databases.tenant_control(&ground.context(acme)).await.unwrap();
    let seen = connection.run("select tenant_id from control.security_events", &[]).await.unwrap();
    assert_eq!(seen.iter().map(|row| TenantId::from_uuid(row.get(0))).collect::<Vec<_>>(), [acme]);
    for refused in [
        "select details from control.security_events",
        "select details from control.audit_log",
        "insert into control.security_events (kind) values ('sign_in')",
        "update control.security_events set kind = 'sign_in'",
        "delete from control.security_events",
        "delete from control.alerts",
        "update control.alerts set acknowledged_at = now()",
        "insert into control.audit_log (actor_kind, action) values ('system', 'x')",
        "delete from control.audit_log",
        "truncate control.audit_log",
    ] {
        let outcome = connection.run(refused, &[]).await;
        assert!(matches!(outcome, Err(DatabaseError::Forbidden)), "{refused}: {outcome:?}");
    }
}
