//! Alerts on repeated attempts to reach other tenants.

use rowhouse_audit::{Actor, Alert, AlertFilter, Audit, EntryFilter, SecurityEvent, SecurityEventKind};
use rowhouse_postgres::params;
use rowhouse_types::{TenantId, UserId};

use crate::{Ground, attempt};

impl Ground {
    async fn record(&self, event: &SecurityEvent, times: usize) {
        for _ in 0..times {
            self.audit.record(event.clone());
        }
        self.audit.flush().await;
    }

    async fn all_alerts(&self) -> Vec<Alert> {
        self.audit.alerts(&AlertFilter::default()).await.unwrap()
    }
}

#[tokio::test]
async fn the_sixth_attempt_within_a_minute_raises_a_high_alert_and_the_fifth_does_not() {
    let ground = Ground::start().await;
    let (user, tenant) = (UserId::generate(), TenantId::generate());
    let attempt = SecurityEvent { ip: Some("192.0.2.7".parse().unwrap()), ..attempt(user, tenant) };
    ground.record(&attempt, 5).await;
    assert!(ground.all_alerts().await.is_empty());
    ground.record(&attempt, 1).await;
    let alerts = ground.all_alerts().await;
    let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
    assert_eq!(alert.severity, "high");
    assert_eq!(alert.kind, "cross_tenant_access_attempt");
    assert_eq!(alert.subject, format!("user:{user}"));
    assert_eq!((alert.user_id, alert.tenant_id), (Some(user.uuid()), Some(tenant.uuid())));
    assert_eq!(alert.ip.as_deref(), Some("192.0.2.7"));
    assert_eq!(alert.count, 6);
    assert!(alert.first_at <= alert.last_at && alert.acknowledged_at.is_none());
}

#[tokio::test]
async fn further_attempts_count_the_open_alert_up() {
    let ground = Ground::start().await;
    let attempt = attempt(UserId::generate(), TenantId::generate());
    ground.record(&attempt, 6).await;
    let first = ground.all_alerts().await.remove(0);
    ground.record(&attempt, 4).await;
    let alerts = ground.all_alerts().await;
    let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
    assert_eq!((alert.id, alert.count), (first.id, 10));
    assert_eq!(alert.first_at, first.first_at);
    assert!(alert.last_at >= first.last_at);
}

#[tokio::test]
async fn attempts_of_different_people_are_not_added_up() {
    let ground = Ground::start().await;
    let tenant = TenantId::generate();
    for _ in 0..4 {
        ground.record(&attempt(UserId::generate(), tenant), 5).await;
    }
    assert!(ground.all_alerts().await.is_empty());
}

#[tokio::test]
async fn other_kinds_of_events_are_not_counted() {
    let ground = Ground::start().await;
    let attempt = attempt(UserId::generate(), TenantId::generate());
    ground.record(&SecurityEvent { kind: SecurityEventKind::PermissionDenied, ..attempt.clone() }, 20).await;
    ground.record(&attempt, 5).await;
    assert!(ground.all_alerts().await.is_empty());
}

#[tokio::test]
async fn attempts_older_than_a_minute_are_not_counted() {
    let ground = Ground::start().await;
    let attempt = attempt(UserId::generate(), TenantId::generate());
    ground.record(&attempt, 5).await;
    let age = "update control.security_events set occurred_at = occurred_at - interval '61 seconds'";
    ground.control().await.batch(age).await.unwrap();
    ground.record(&attempt, 5).await;
    assert!(ground.all_alerts().await.is_empty());
    ground.record(&attempt, 1).await;
    assert_eq!(ground.all_alerts().await[0].count, 6);
}

#[tokio::test]
async fn where_nobody_is_known_the_address_is_counted() {
    let ground = Ground::start().await;
    let from = |ip: &str| SecurityEvent {
        user: None,
        tenant: None,
        ip: Some(ip.parse().unwrap()),
        ..attempt(UserId::generate(), TenantId::generate())
    };
    ground.record(&from("192.0.2.1"), 5).await;
    ground.record(&from("192.0.2.2"), 6).await;
    let alerts = ground.all_alerts().await;
    assert_eq!(alerts.iter().map(|alert| alert.subject.as_str()).collect::<Vec<_>>(), ["ip:192.0.2.2"]);
    assert_eq!((alerts[0].user_id, alerts[0].tenant_id), (None, None));
}

/// Each process sees three attempts; only the database sees six.
#[tokio::test]
async fn several_processes_agree_on_one_alert() {
    let ground = Ground::start().await;
    let attempt = attempt(UserId::generate(), TenantId::generate());
    let processes: Vec<Audit> =
        (0..6).map(|_| Audit::start(ground.test.databases.clone(), ground.test.authorities.system.clone())).collect();
    for audit in &processes {
        audit.record(attempt.clone());
    }
    for audit in &processes {
        audit.flush().await;
    }
    let alerts = ground.all_alerts().await;
    assert_eq!(alerts.iter().map(|alert| alert.count).collect::<Vec<_>>(), [6]);
}

#[tokio::test]
async fn an_acknowledged_alert_stays_and_the_next_burst_raises_a_new_one() {
    let ground = Ground::start().await;
    let (user, operator) = (UserId::generate(), UserId::generate());
    let by = Actor::operator(operator).in_request("req-7");
    let attempt = attempt(user, TenantId::generate());
    ground.record(&attempt, 6).await;
    let alert = ground.all_alerts().await.remove(0);
    assert!(ground.audit.acknowledge_alert(alert.id, &by).await.unwrap());
    assert!(!ground.audit.acknowledge_alert(alert.id, &by).await.unwrap(), "it is taken note of once");
    let written = ground.audit.entries(&EntryFilter::default()).await.unwrap();
    let [entry] = written.as_slice() else { panic!("{written:?}") };
    assert_eq!((entry.action.as_str(), entry.actor_id), ("acknowledge_alert", Some(operator.uuid())));
    assert_eq!(
        (entry.target.clone(), entry.request_id.as_deref()),
        (Some(format!("alert:{}", alert.id)), Some("req-7"))
    );
    let open = AlertFilter { open: true, ..AlertFilter::default() };
    assert!(ground.audit.alerts(&open).await.unwrap().is_empty());
    ground.record(&attempt, 6).await;
    assert_eq!(ground.audit.alerts(&open).await.unwrap().len(), 1);
    assert_eq!(ground.all_alerts().await.len(), 2);
}

#[tokio::test]
async fn alerts_are_listed_page_by_page_and_a_tenant_reads_its_own_only() {
    let ground = Ground::start().await;
    let (acme, globex) = (TenantId::generate(), TenantId::generate());
    for tenant in [acme, globex, acme] {
        ground.record(&attempt(UserId::generate(), tenant), 6).await;
    }
    let first = ground.audit.alerts(&AlertFilter { limit: Some(2), ..AlertFilter::default() }).await.unwrap();
    let before = first.last().map(|alert| alert.id);
    let second = ground.audit.alerts(&AlertFilter { before, ..AlertFilter::default() }).await.unwrap();
    let tenants: Vec<_> = first.iter().chain(&second).map(|alert| alert.tenant_id.unwrap()).collect();
    assert_eq!(tenants, [acme.uuid(), globex.uuid(), acme.uuid()]);
    let filter = AlertFilter { tenant: Some(globex), ..AlertFilter::default() };
    assert_eq!(ground.audit.alerts(&filter).await.unwrap().len(), 1);
    assert_eq!(ground.audit.alerts_of(&ground.context(acme), &filter).await.unwrap().len(), 2);
}

/// The rule of the alert must reach its index, however many events there are.
#[tokio::test]
async fn counting_attempts_reads_an_index() {
    let ground = Ground::start().await;
    let fill = "
        insert into control.security_events (kind, user_id, occurred_at)
        select (array['sign_in', 'cross_tenant_access_attempt'])[1 + n % 2], gen_random_uuid(), now() - n * interval '1 second'
        from generate_series(1, 20000) n;
        analyze control.security_events";
    let control = ground.control().await;
    control.batch(fill).await.unwrap();
    let explain = "
        explain select count(*) from control.security_events
        where kind = 'cross_tenant_access_attempt' and subject = any($1)
          and occurred_at > clock_timestamp() - interval '2 minutes'";
    let rows = control.query(explain, params![vec!["user:x".to_owned()]]).await.unwrap();
    let plan: String = rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect();
    assert!(plan.contains("security_events_attempts_idx") && !plan.contains("Seq Scan"), "{plan}");
}
