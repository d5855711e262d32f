//! The writer: a bounded queue and one task that writes what is in it, many lines at a time.

use std::sync::Arc;
use std::time::Duration;

use rowhouse_postgres::{DatabaseResult, Databases, SystemAuthority, SystemConnection, params};
use rowhouse_types::{PER_PAGE_DEFAULT, UserId};
use tokio::sync::{mpsc, oneshot};

use crate::alert::{self, Alert};
use crate::entry::AuditEntry;
use crate::event::{EventFilter, RecordedEvent, SecurityEvent, SecurityEventKind};

/// Lines that wait for the database; more are dropped and counted.
const QUEUE_MAX: usize = 10_000;
/// Lines of one transaction.
const BATCH_MAX: usize = 500;
/// Attempts at a batch before it is dropped and counted.
const ATTEMPTS_MAX: u32 = 5;

enum Message {
    Event(Box<SecurityEvent>),
    Entry(Box<AuditEntry>),
    Flush(oneshot::Sender<()>),
}

/// The audit, to record to and to read from. Cloning shares it.
#[derive(Clone)]
pub struct Audit {
    queue: mpsc::Sender<Message>,
    databases: Arc<Databases>,
    authority: SystemAuthority,
}

impl Audit {
    /// Starts the writer on the running runtime.
    pub fn start(databases: Arc<Databases>, authority: SystemAuthority) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(write_all(waiting, databases.clone(), authority.clone()));
        Self { queue, databases, authority }
    }

    /// Records a security event.
    pub fn record(&self, event: SecurityEvent) {
        metrics::counter!("rowhouse_security_events_total", "kind" => event.kind.as_str()).increment(1);
        self.push(Message::Event(Box::new(event)));
    }

    /// Records a line of the audit log that is not part of a transaction.
    pub fn log(&self, entry: AuditEntry) {
        self.push(Message::Entry(Box::new(entry)));
    }

    fn push(&self, message: Message) {
        if self.queue.try_send(message).is_err() {
            metrics::counter!("rowhouse_audit_dropped_total").increment(1);
        }
    }

    /// Waits until everything recorded before is written.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            // The writer is gone only when the process ends.
            let _ = written.await;
        }
    }

    /// Alerts, the newest first.
    pub async fn alerts(&self, limit: u32) -> DatabaseResult<Vec<Alert>> {
        let connection = self.databases.control(&self.authority.scope("list alerts")).await?;
        alert::list(&connection, limit).await
    }

    /// Security events, the newest first.
    pub async fn events(&self, filter: &EventFilter) -> DatabaseResult<Vec<RecordedEvent>> {
        const LIST: &str = "
            select id, occurred_at, kind, user_id, tenant_id, attempted_tenant, resource, method, ip, user_agent, request_id
            from control.security_events
            where ($1::uuid is null or tenant_id = $1) and ($2::uuid is null or id < $2)
            order by id desc limit $3";
        let connection = self.databases.control(&self.authority.scope("list security events")).await?;
        let limit = i64::from(PER_PAGE_DEFAULT);
        let rows = connection.query(LIST, params![filter.tenant, filter.before, limit]).await?;
        let event = |row: &rowhouse_postgres::Row| RecordedEvent {
            id: row.get(0),
            occurred_at: row.get(1),
            kind: row.get(2),
            user_id: row.get(3),
            tenant_id: row.get(4),
            attempted_tenant: row.get(5),
            resource: row.get(6),
            method: row.get(7),
            ip: row.get(8),
            user_agent: row.get(9),
            request_id: row.get(10),
        };
        Ok(rows.iter().map(event).collect())
    }
}

async fn write_all(mut waiting: mpsc::Receiver<Message>, databases: Arc<Databases>, authority: SystemAuthority) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let mut flushed = Vec::new();
        let mut lines = Vec::new();
        for message in batch.drain(..) {
            match message {
                Message::Flush(done) => flushed.push(done),
                line => lines.push(line),
            }
        }
        write_batch(&lines, &databases, &authority).await;
        for done in flushed {
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
    }
}

async fn write_batch(lines: &[Message], databases: &Databases, authority: &SystemAuthority) {
    if lines.is_empty() {
        return;
    }
    for attempt in 1..=ATTEMPTS_MAX {
        let outcome = async {
            let mut connection = databases.control(&authority.scope("write the audit")).await?;
            connection.begin().await?;
            insert(&connection, lines).await?;
            connection.commit().await
        };
        match outcome.await {
            Ok(()) => return,
            Err(error) if attempt == ATTEMPTS_MAX => {
                tracing::error!(%error, lines = lines.len(), "write the audit: lines are lost");
                metrics::counter!("rowhouse_audit_dropped_total").increment(lines.len() as u64);
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200 << attempt)).await,
        }
    }
}

async fn insert(connection: &SystemConnection, lines: &[Message]) -> DatabaseResult<()> {
    const EVENT: &str = "
        insert into control.security_events (kind, user_id, tenant_id, attempted_tenant, resource, method, ip, user_agent, request_id)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let mut suspects: Vec<UserId> = Vec::new();
    for line in lines {
        match line {
            Message::Event(event) => {
                let ip = event.ip.map(|ip| ip.to_string());
                let values = params![
                    event.kind.as_str(),
                    event.user,
                    event.tenant,
                    event.attempted_tenant.as_deref(),
                    event.resource.as_deref(),
                    event.method.as_deref(),
                    ip.as_deref(),
                    event.user_agent.as_deref(),
                    event.request_id.as_deref()
                ];
                connection.query(EVENT, values).await?;
                let crossing = event.kind == SecurityEventKind::CrossTenantAccessAttempt;
                suspects.extend(event.user.filter(|user| crossing && !suspects.contains(user)));
            }
            Message::Entry(entry) => entry.write(connection).await?,
            Message::Flush(_) => {}
        }
    }
    for user in suspects {
        if alert::raise_if_due(connection, user).await? {
            metrics::counter!("rowhouse_alerts_total", "kind" => "cross_tenant_access_attempt").increment(1);
            tracing::warn!(user_id = %user, "alert: repeated cross-tenant access attempts");
        }
    }
    Ok(())
}
