//! Recording and listing security events.

use rowhouse_audit::{EventFilter, SecurityEvent, SecurityEventKind};
use rowhouse_postgres::params;
use rowhouse_types::{TenantId, UserId};
use serde_json::json;

use crate::{Ground, attempt};

#[tokio::test]
async fn an_event_is_written_with_everything_known_about_it() {
    let ground = Ground::start().await;
    let (user, tenant) = (UserId::generate(), TenantId::generate());
    ground.audit.record(SecurityEvent {
        resource: Some("/api/leads".into()),
        method: Some("GET".into()),
        ip: Some("2001:db8::7".parse().unwrap()),
        user_agent: Some("curl/8".into()),
        request_id: Some("req-1".into()),
        details: json!({ "role": "viewer" }),
        ..attempt(user, tenant)
    });
    ground.audit.flush().await;
    let events = ground.audit.events(&EventFilter::default()).await.unwrap();
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(event.kind, "cross_tenant_access_attempt");
    assert_eq!(event.severity, "medium");
    assert_eq!(event.user_id, Some(user.uuid()));
    assert_eq!(event.tenant_id, Some(tenant.uuid()));
    assert_eq!(event.attempted_tenant.as_deref(), Some("globex"));
    assert_eq!(event.resource.as_deref(), Some("/api/leads"));
    assert_eq!(event.method.as_deref(), Some("GET"));
    assert_eq!(event.ip.as_deref(), Some("2001:db8::7"));
    assert_eq!(event.user_agent.as_deref(), Some("curl/8"));
    assert_eq!(event.request_id.as_deref(), Some("req-1"));
    assert_eq!(event.details, Some(json!({ "role": "viewer" })));
}

#[tokio::test]
async fn every_kind_can_be_written_and_found_by_its_name() {
    let ground = Ground::start().await;
    for kind in SecurityEventKind::ALL {
        ground.audit.record(SecurityEvent { kind, ..SecurityEvent::default() });
    }
    ground.audit.flush().await;
    for kind in SecurityEventKind::ALL {
        let filter = EventFilter { kind: Some(kind), ..EventFilter::default() };
        let found = ground.audit.events(&filter).await.unwrap();
        assert_eq!(found.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), [kind.as_str()]);
        assert_eq!(found[0].severity, kind.severity().as_str());
    }
}

/// PostgreSQL takes no NUL in a text: a request for `?tenant_id=%00` must not make the line, and
/// with it a whole batch, unwritable.
#[tokio::test]
async fn what_a_client_sends_cannot_make_a_line_unwritable() {
    let ground = Ground::start().await;
    ground.audit.record(SecurityEvent {
        attempted_tenant: Some("acme\0".into()),
        resource: Some(format!("/{}", "x".repeat(100_000))),
        user_agent: Some("a\r\nb".into()),
        details: json!({ "given": "\0" }),
        ..attempt(UserId::generate(), TenantId::generate())
    });
    ground.audit.flush().await;
    assert_eq!(ground.audit.dropped(), 0);
    let events = ground.audit.events(&EventFilter::default()).await.unwrap();
    assert_eq!(events[0].attempted_tenant.as_deref(), Some("acme\u{fffd}"));
    assert_eq!(events[0].resource.as_ref().unwrap().len(), 200);
    assert_eq!(events[0].user_agent.as_deref(), Some("a\u{fffd}\u{fffd}b"));
}

#[tokio::test]
async fn a_line_that_the_database_refuses_is_lost_alone_and_counted() {
    let ground = Ground::start().await;
    ground
        .control()
        .await
        .batch("alter table control.security_events add check (resource <> '/refused')")
        .await
        .unwrap();
    let user = UserId::generate();
    for number in 0..100 {
        let resource = if number == 41 { "/refused".to_owned() } else { format!("/{number}") };
        let event = SecurityEvent { kind: SecurityEventKind::PermissionDenied, user: Some(user), ..Default::default() };
        ground.audit.record(SecurityEvent { resource: Some(resource), ..event });
    }
    ground.audit.flush().await;
    assert_eq!(ground.audit.dropped(), 1);
    let filter = EventFilter { limit: Some(200), ..EventFilter::default() };
    assert_eq!(ground.audit.events(&filter).await.unwrap().len(), 99);
}

#[tokio::test]
async fn events_are_listed_newest_first_page_by_page_in_the_order_in_which_they_happened() {
    let ground = Ground::start().await;
    for number in 0..130 {
        ground.audit.record(SecurityEvent { resource: Some(format!("/{number:03}")), ..SecurityEvent::default() });
    }
    ground.audit.flush().await;
    let mut seen = Vec::new();
    let mut filter = EventFilter { limit: Some(60), ..EventFilter::default() };
    loop {
        let page = ground.audit.events(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 60);
        filter.before = Some(last.id);
        seen.extend(page.into_iter().filter_map(|event| event.resource));
    }
    let expected: Vec<String> = (0..130).rev().map(|number| format!("/{number:03}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_page_has_fifty_events_by_default_and_two_hundred_and_one_at_most() {
    let ground = Ground::start().await;
    for _ in 0..210 {
        ground.audit.record(SecurityEvent::default());
    }
    ground.audit.flush().await;
    assert_eq!(ground.audit.events(&EventFilter::default()).await.unwrap().len(), 50);
    let filter = EventFilter { limit: Some(100_000), ..EventFilter::default() };
    assert_eq!(ground.audit.events(&filter).await.unwrap().len(), 201, "one more tells whether more follow");
}

#[tokio::test]
async fn a_tenant_reads_its_own_events_only_and_no_details() {
    let ground = Ground::start().await;
    let (acme, globex) = (TenantId::generate(), TenantId::generate());
    for tenant in [acme, globex] {
        ground
            .audit
            .record(SecurityEvent { details: json!({ "only": "operators" }), ..attempt(UserId::generate(), tenant) });
    }
    ground.audit.record(SecurityEvent::default());
    ground.audit.flush().await;
    // Whatever tenant the filter names.
    let filter = EventFilter { tenant: Some(globex), ..EventFilter::default() };
    let seen = ground.audit.events_of(&ground.context(acme), &filter).await.unwrap();
    assert_eq!(seen.iter().map(|event| event.tenant_id).collect::<Vec<_>>(), [Some(acme.uuid())]);
    assert_eq!(seen[0].details, None);
    let about = ground.audit.events(&filter).await.unwrap();
    assert_eq!(about.iter().map(|event| event.tenant_id).collect::<Vec<_>>(), [Some(globex.uuid())]);
    let of_user = EventFilter { user: about[0].user_id.map(UserId::from_uuid), ..EventFilter::default() };
    assert_eq!(ground.audit.events(&of_user).await.unwrap().len(), 1);
}

/// The database stalls: recording goes on at once, the queue fills, the rest is counted, and
/// when the database goes on what waited is written.
#[tokio::test]
async fn recording_never_waits_for_the_database_and_counts_what_it_drops() {
    const RECORDED: u64 = 12_000;
    let ground = Ground::start().await;
    let mut stalled = ground.control().await;
    stalled.begin().await.unwrap();
    stalled.query("lock table control.security_events in access exclusive mode", &[]).await.unwrap();
    // Recording is no async function: it could not wait.
    for _ in 0..RECORDED {
        ground.audit.record(SecurityEvent::default());
    }
    let dropped = ground.audit.dropped();
    assert!(dropped > 0, "the queue has a bound");
    stalled.commit().await.unwrap();
    ground.audit.flush().await;
    let count = "select count(*) from control.security_events";
    let written: i64 = ground.control().await.query_opt(count, &[]).await.unwrap().unwrap().get(0);
    assert_eq!(u64::try_from(written).unwrap() + dropped, RECORDED);
    assert_eq!(ground.audit.dropped(), dropped);
}

/// The connection breaks while a batch is under way: the batch is written once all the same.
#[tokio::test]
async fn a_batch_survives_the_loss_of_its_connection() {
    const WAITING: &str = "
        select pid from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query ilike '%control.security_events%'";
    let ground = Ground::start().await;
    let mut stalled = ground.control().await;
    stalled.begin().await.unwrap();
    stalled.query("lock table control.security_events in access exclusive mode", &[]).await.unwrap();
    ground.audit.record(SecurityEvent::default());
    let observer = ground.control().await;
    let pid: i32 = loop {
        if let Some(row) = observer.query_opt(WAITING, &[]).await.unwrap() {
            break row.get(0);
        }
    };
    observer.query("select pg_terminate_backend($1)", params![pid]).await.unwrap();
    stalled.commit().await.unwrap();
    ground.audit.flush().await;
    assert_eq!(ground.audit.events(&EventFilter::default()).await.unwrap().len(), 1);
    assert_eq!(ground.audit.dropped(), 0);
}
