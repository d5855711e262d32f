//! The audit's service: recording, which never waits, and reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rowhouse_postgres::{DatabaseResult, Databases, SystemAuthority, SystemConnection, TenantContext};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::actor::Actor;
use crate::alert::{self, Alert, AlertFilter};
use crate::entry::{self, AuditEntry, EntryFilter, RecordedEntry};
use crate::event::{self, EventFilter, RecordedEvent, SecurityEvent};
use crate::writer::{Line, Message, Writer};

/// Lines that wait for the database; more are dropped and counted.
const QUEUE_MAX: usize = 10_000;
/// Longest wait for the writer at shut-down: with the database gone it would never end.
const FLUSH_MAX: Duration = Duration::from_secs(10);

/// The audit, to record to and to read from. Cloning shares it.
#[derive(Clone)]
pub struct Audit {
    queue: mpsc::Sender<Message>,
    dropped: Arc<AtomicU64>,
    databases: Arc<Databases>,
    authority: SystemAuthority,
}

impl Audit {
    /// Starts the writer on the running runtime. It ends when the last clone is dropped and all
    /// is written.
    pub fn start(databases: Arc<Databases>, authority: SystemAuthority) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer::new(databases.clone(), authority.clone(), dropped.clone());
        tokio::spawn(writer.run(waiting));
        Self { queue, dropped, databases, authority }
    }

    /// Records a security event.
    pub fn record(&self, event: SecurityEvent) {
        metrics::counter!("rowhouse_security_events_total", "kind" => event.kind.as_str()).increment(1);
        self.push(Line::Event(Box::new(event.bounded())));
    }

    /// Records a line of the audit log of what changes nothing: it may be lost under load. A deed
    /// that changes something is recorded by [`AuditEntry::write`], in its own transaction.
    pub fn log(&self, entry: AuditEntry) {
        self.push(Line::Entry(Box::new(entry)));
    }

    fn push(&self, line: Line) {
        // The id is made here, so that ids of one process are in the order of what happened.
        let message = Message::Line { id: Uuid::now_v7(), recorded: Instant::now(), line };
        if self.queue.try_send(message).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("rowhouse_audit_dropped_total").increment(1);
        }
    }

    /// How many lines were lost since the start: the queue was full, or they could not be written.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything recorded before is written, or lost, but at most 10 seconds.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        let flushed = async {
            if self.queue.send(Message::Flush(done)).await.is_ok() {
                // The writer is gone only when the process ends.
                drop(written.await);
            }
        };
        if tokio::time::timeout(FLUSH_MAX, flushed).await.is_err() {
            tracing::error!("write the audit: the database did not take all lines in time");
        }
    }

    async fn control(&self, purpose: &'static str) -> DatabaseResult<SystemConnection> {
        self.databases.control(&self.authority.scope(purpose)).await
    }

    /// Alerts for operators, the newest first, page by page.
    pub async fn alerts(&self, filter: &AlertFilter) -> DatabaseResult<Vec<Alert>> {
        alert::list(&self.control("list alerts").await?, filter).await
    }

    /// Security events for operators, the newest first, page by page.
    pub async fn events(&self, filter: &EventFilter) -> DatabaseResult<Vec<RecordedEvent>> {
        event::list(&self.control("list security events").await?, filter).await
    }

    /// The audit log for operators, the newest first, page by page.
    pub async fn entries(&self, filter: &EntryFilter) -> DatabaseResult<Vec<RecordedEntry>> {
        entry::list(&self.control("list the audit log").await?, filter).await
    }

    /// A tenant's alerts, under its policies.
    pub async fn alerts_of(&self, context: &TenantContext, filter: &AlertFilter) -> DatabaseResult<Vec<Alert>> {
        alert::list_of_tenant(&self.databases.tenant_control(context).await?, filter).await
    }

    /// A tenant's security events, under its policies.
    pub async fn events_of(&self, context: &TenantContext, filter: &EventFilter) -> DatabaseResult<Vec<RecordedEvent>> {
        event::list_of_tenant(&self.databases.tenant_control(context).await?, filter).await
    }

    /// What was done to a tenant, under its policies.
    pub async fn entries_of(
        &self,
        context: &TenantContext,
        filter: &EntryFilter,
    ) -> DatabaseResult<Vec<RecordedEntry>> {
        entry::list_of_tenant(&self.databases.tenant_control(context).await?, filter).await
    }

    /// An operator takes note of an alert; its subject's next burst raises a new one. Gives
    /// whether there was such an open alert.
    pub async fn acknowledge_alert(&self, alert: Uuid, operator: &Actor) -> DatabaseResult<bool> {
        let mut connection = self.control("acknowledge an alert").await?;
        connection.begin().await?;
        let was_open = alert::acknowledge(&connection, alert).await?;
        if was_open {
            operator.did("acknowledge_alert").on("alert", alert).write(&connection).await?;
        }
        connection.commit().await?;
        Ok(was_open)
    }
}
