//! The writer: one task that takes what waits in the queue and writes it, many lines at a time.
//!
//! While the database is away lines wait, as many as the queue holds. A line that the database
//! refuses is lost alone: it never takes others of its batch along.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rowhouse_postgres::{DatabaseError, DatabaseResult, Databases, SystemAuthority};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::alert;
use crate::entry::{self, AuditEntry};
use crate::event::{self, SecurityEvent, SecurityEventKind};

/// Lines of one transaction.
const BATCH_MAX: usize = 500;
/// First and longest pause before the database is tried again.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// What is looked at before a batch's oldest event: the minute of the rule, and a margin for
/// the time that writing takes.
const LOOK_BACK_SECONDS: u64 = 120;

/// What is recorded.
pub(crate) enum Line {
    Event(Box<SecurityEvent>),
    Entry(Box<AuditEntry>),
}

/// What the writer is sent.
pub(crate) enum Message {
    Line { id: Uuid, recorded: Instant, line: Line },
    Flush(oneshot::Sender<()>),
}

struct Waiting {
    id: Uuid,
    recorded: Instant,
    line: Line,
}

pub(crate) struct Writer {
    databases: Arc<Databases>,
    authority: SystemAuthority,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    pub(crate) fn new(databases: Arc<Databases>, authority: SystemAuthority, dropped: Arc<AtomicU64>) -> Self {
        Self { databases, authority, dropped }
    }

    /// Works until every sender is gone.
    pub(crate) async fn run(self, mut queue: mpsc::Receiver<Message>) {
        let mut messages = Vec::with_capacity(BATCH_MAX);
        while queue.recv_many(&mut messages, BATCH_MAX).await > 0 {
            let mut flushed = Vec::new();
            let mut lines = Vec::with_capacity(messages.len());
            for message in messages.drain(..) {
                match message {
                    Message::Line { id, recorded, line } => lines.push(Waiting { id, recorded, line }),
                    Message::Flush(done) => flushed.push(done),
                }
            }
            self.write(&lines, &queue).await;
            for done in flushed {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
        }
    }

    /// Writes a batch, then looks whether it is a reason for an alert.
    async fn write(&self, lines: &[Waiting], queue: &mpsc::Receiver<Message>) {
        let mut parts = vec![lines];
        let mut lost = None;
        while let Some(part) = parts.pop() {
            match self.persist(queue, || self.insert(part)).await {
                Ok(()) => {}
                Err(error) if part.len() <= 1 => {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                    metrics::counter!("rowhouse_audit_dropped_total").increment(1);
                    lost = Some(error);
                }
                Err(_) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        if let Some(error) = lost {
            tracing::error!(%error, dropped = self.dropped.load(Ordering::Relaxed), "write the audit: lines are lost");
        }
        match self.persist(queue, || self.raise(lines)).await {
            Ok(raised) => {
                for subject in raised {
                    metrics::counter!("rowhouse_alerts_total", "kind" => "cross_tenant_access_attempt").increment(1);
                    tracing::warn!(subject, "alert: repeated cross-tenant access attempts");
                }
            }
            Err(error) => tracing::error!(%error, "look for alerts"),
        }
    }

    /// Tries again as long as the database is away and the process is not about to end.
    async fn persist<T, F: Future<Output = DatabaseResult<T>>>(
        &self,
        queue: &mpsc::Receiver<Message>,
        attempt: impl Fn() -> F,
    ) -> DatabaseResult<T> {
        let mut pause = PAUSE_MIN;
        loop {
            match attempt().await {
                Err(error) if may_pass(&error) && !queue.is_closed() => {
                    tracing::debug!(%error, "write the audit: will try again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                outcome => return outcome,
            }
        }
    }

    async fn insert(&self, lines: &[Waiting]) -> DatabaseResult<()> {
        let (mut events, mut entries) = (Vec::new(), Vec::new());
        for Waiting { id, recorded, line } in lines {
            let age_seconds = recorded.elapsed().as_secs_f64();
            match line {
                Line::Event(event) => events.push(event.line(*id, age_seconds)),
                Line::Entry(entry) => entries.push(entry.line(*id, age_seconds)),
            }
        }
        self.insert_lines(events, entries).await
    }

    async fn insert_lines(&self, events: Vec<Value>, entries: Vec<Value>) -> DatabaseResult<()> {
        if events.is_empty() && entries.is_empty() {
            return Ok(());
        }
        let mut connection = self.databases.control(&self.authority.scope("write the audit")).await?;
        connection.begin().await?;
        if !events.is_empty() {
            event::insert(&connection, events).await?;
        }
        if !entries.is_empty() {
            entry::insert(&connection, entries).await?;
        }
        connection.commit().await
    }

    async fn raise(&self, lines: &[Waiting]) -> DatabaseResult<Vec<String>> {
        let (subjects, seconds_back) = suspects(lines);
        if subjects.is_empty() {
            return Ok(Vec::new());
        }
        let connection = self.databases.control(&self.authority.scope("raise alerts")).await?;
        alert::raise(&connection, subjects, seconds_back).await
    }
}

/// Whether the same may succeed later without anybody's doing.
fn may_pass(error: &DatabaseError) -> bool {
    error.is_transient() || matches!(error, DatabaseError::Timeout | DatabaseError::Locked)
}

/// Whose attempts are to be counted, and how far back.
fn suspects(lines: &[Waiting]) -> (Vec<String>, i64) {
    let mut subjects = Vec::new();
    let mut seconds_back = 0;
    for Waiting { recorded, line, .. } in lines {
        let Line::Event(event) = line else { continue };
        if event.kind != SecurityEventKind::CrossTenantAccessAttempt {
            continue;
        }
        seconds_back = seconds_back.max(recorded.elapsed().as_secs());
        subjects.extend(event.subject());
    }
    subjects.sort_unstable();
    subjects.dedup();
    (subjects, i64::try_from(seconds_back + LOOK_BACK_SECONDS).unwrap_or(i64::MAX))
}
