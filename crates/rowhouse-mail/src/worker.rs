//! The worker: takes mails that are due, tries each, and writes down what became of it.
//!
//! A process may die between a server's "taken" and the row that says so: then the mail is due
//! again when its lease ends, and is sent a second time, with the same Message-ID. Each such death
//! sends at most one duplicate; nothing is ever lost.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rowhouse_postgres::{DatabaseError, DatabaseResult};
use rowhouse_types::EmailAddress;

use crate::error::{DeliveryError, Verdict};
use crate::mailer::Mailer;
use crate::queue::{self, MailRow, MailStatus};

/// Mails that a process sends at a time.
const AT_A_TIME: usize = 4;
/// How often it looks for mails of other processes.
const INTERVAL: Duration = Duration::from_secs(2);
/// How much longer than an attempt a claim holds: time to write down what became of it.
const LEASE_MARGIN: Duration = Duration::from_secs(60);
/// How long it is tried to write that down while the database is away.
const SETTLE_MAX: Duration = Duration::from_secs(45);
/// First and longest pause between attempts of one mail that the server does not take.
const PAUSE_MIN: Duration = Duration::from_secs(10);
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);
/// Longest pause of a mail that met a dead server, and between two looks whether it is back.
const AWAY_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long mails that are being sent may take when the process is to end.
const GRACE: Duration = Duration::from_secs(10);
/// How often rows of long ago are removed.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Longest error that is kept, in characters.
const ERROR_LENGTH_MAX: usize = 300;

/// What an attempt told of the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Met {
    Answer,
    Nobody,
}

/// While the server is away one mail at a time finds out whether it is back; the others keep their
/// turn and their attempts.
struct Pace {
    away: bool,
    may_claim: bool,
    pause: Duration,
}

impl Pace {
    fn new() -> Self {
        Self { away: false, may_claim: true, pause: INTERVAL }
    }

    fn note(&mut self, met: Met) {
        match met {
            Met::Answer if self.away => {
                tracing::info!("mails are sent again");
                *self = Self::new();
            }
            Met::Answer => {}
            Met::Nobody if self.away => {
                self.may_claim = false;
                self.pause = (self.pause * 2).min(AWAY_PAUSE_MAX);
            }
            Met::Nobody => {
                tracing::warn!("mails cannot be sent now; they wait");
                *self = Self { away: true, may_claim: false, pause: INTERVAL };
            }
        }
    }

    fn room(&self, running: usize) -> usize {
        let most = if self.away { 1 } else { AT_A_TIME };
        if self.may_claim { most.saturating_sub(running) } else { 0 }
    }
}

impl Mailer {
    /// Sends what is due, until nothing is or the server is away. Gives how many were tried.
    ///
    /// # Errors
    /// Only if the database cannot be asked; what becomes of a mail stands in its row.
    pub async fn deliver_due(&self) -> DatabaseResult<usize> {
        let (mut running, mut tried, mut met) = (FuturesUnordered::new(), 0, Met::Answer);
        loop {
            if met == Met::Answer {
                running.extend(self.take(AT_A_TIME - running.len()).await?.into_iter().map(|row| self.send(row)));
            }
            let Some(outcome) = running.next().await else { return Ok(tried) };
            tried += 1;
            if outcome == Met::Nobody {
                met = outcome;
            }
        }
    }

    /// Sends mails until `shutdown` is ready; then ends those it is sending, within ten seconds.
    /// Dropping it instead loses nothing, but may send a mail twice.
    pub async fn run_worker(&self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        let (mut running, mut pace, mut pruned) = (FuturesUnordered::new(), Pace::new(), None);
        loop {
            let room = pace.room(running.len());
            match self.take(room).await {
                Ok(rows) => running.extend(rows.into_iter().map(|row| self.send(row))),
                Err(error) => tracing::debug!(%error, "look for mails to send"),
            }
            if pruned.is_none_or(|at: Instant| at.elapsed() > PRUNE_INTERVAL) {
                pruned = Some(Instant::now());
                if let Err(error) = self.prune().await {
                    tracing::debug!(%error, "remove mails of long ago");
                }
            }
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(met) = running.next() => pace.note(met),
                () = self.0.nudged.notified(), if !pace.away => {}
                () = tokio::time::sleep(pace.pause) => pace.may_claim = true,
            }
        }
        let ended = async { while running.next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            tracing::warn!("mails were still being sent at the end; they are sent again, perhaps twice");
        }
    }

    /// Gives up what is too late and claims what is due.
    async fn take(&self, room: usize) -> DatabaseResult<Vec<MailRow>> {
        if room == 0 {
            return Ok(Vec::new());
        }
        let connection = self.control("send mails").await?;
        let expired = queue::mails_expire(&connection).await?;
        if !expired.is_empty() {
            tracing::warn!(count = expired.len(), "mails were given up: they could not be sent in time");
        }
        for kind in expired {
            count(kind, "failed");
        }
        let lease = self.0.settings.attempt_max + LEASE_MARGIN;
        queue::mails_claim(&connection, lease, room).await
    }

    async fn prune(&self) -> DatabaseResult<()> {
        let connection = self.control("remove mails of long ago").await?;
        while queue::mails_prune(&connection).await? {}
        Ok(())
    }

    /// Tries one mail and writes down what became of it.
    async fn send(&self, row: MailRow) -> Met {
        match self.attempt(&row).await {
            Ok(()) => {
                count(row.kind.clone(), "sent");
                tracing::info!(mail_id = %row.id, kind = row.kind, recipient = masked(&row), attempts = row.attempts, "a mail was sent");
                self.settle(&row, None).await;
                Met::Answer
            }
            Err(error) => {
                self.settle(&row, Some(&error)).await;
                if error.verdict == Verdict::Away { Met::Nobody } else { Met::Answer }
            }
        }
    }

    /// Writes down what became of a mail, for as long as its claim surely holds.
    async fn settle(&self, row: &MailRow, failure: Option<&DeliveryError>) {
        let started = Instant::now();
        let mut pause = Duration::from_millis(200);
        loop {
            match self.write_down(row, failure).await {
                Err(error) if may_pass(&error) && started.elapsed() + pause < SETTLE_MAX => {
                    tracing::debug!(mail_id = %row.id, %error, "write down what became of a mail: will try again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                Err(error) => {
                    tracing::error!(mail_id = %row.id, %error, "write down what became of a mail: it may be sent twice");
                    return;
                }
                Ok(()) => return,
            }
        }
    }

    async fn write_down(&self, row: &MailRow, failure: Option<&DeliveryError>) -> DatabaseResult<()> {
        let connection = self.control("send mails").await?;
        let Some(error) = failure else {
            if !queue::mail_sent(&connection, row).await? {
                tracing::warn!(mail_id = %row.id, "a mail took longer than its claim: it may be sent twice");
            }
            return Ok(());
        };
        let detail = bounded(&error.for_row());
        let status = queue::mail_failed(&connection, row, &detail, pause(error.verdict, row.attempts)).await?;
        let (reason, recipient) = (error.for_log(), masked(row));
        if status == Some(MailStatus::Failed) {
            count(row.kind.clone(), "failed");
            tracing::error!(mail_id = %row.id, kind = row.kind, recipient, attempts = row.attempts, reason, "a mail was given up");
        } else {
            count(row.kind.clone(), "deferred");
            tracing::warn!(mail_id = %row.id, kind = row.kind, recipient, attempts = row.attempts, reason, "a mail was not sent; it waits");
        }
        Ok(())
    }
}

/// The pause before the next attempt: doubled each time, up to a quarter more or less, so that
/// mails that failed together do not all come back together. None: there is no next one.
fn pause(verdict: Verdict, attempts: i32) -> Option<Duration> {
    let most = match verdict {
        Verdict::Away => AWAY_PAUSE_MAX,
        Verdict::Deferred => PAUSE_MAX,
        Verdict::Refused => return None,
    };
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(16);
    let pause = PAUSE_MIN.saturating_mul(1 << doublings).min(most);
    Some(pause.mul_f64(rand::random_range(0.75..1.25)))
}

/// Whether the same may succeed later without anybody's doing.
fn may_pass(error: &DatabaseError) -> bool {
    error.is_transient() || matches!(error, DatabaseError::Timeout | DatabaseError::Locked)
}

fn masked(row: &MailRow) -> String {
    row.recipient.parse::<EmailAddress>().map_or_else(|_| "…".into(), |address| address.masked())
}

/// A server's words as one bounded line.
fn bounded(text: &str) -> String {
    text.chars().take(ERROR_LENGTH_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn count(kind: String, outcome: &'static str) {
    metrics::counter!("rowhouse_mails_total", "kind" => kind, "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_vary() {
        for (attempts, seconds) in [(1, 10.0), (2, 20.0), (5, 160.0), (8, 900.0), (1000, 900.0)] {
            let pauses: Vec<f64> =
                (0..50).map(|_| pause(Verdict::Deferred, attempts).unwrap().as_secs_f64() / seconds).collect();
            assert!(pauses.iter().all(|part| (0.75..1.25).contains(part)), "{attempts}: {pauses:?}");
            assert!(pauses.iter().any(|part| *part != pauses[0]));
        }
        assert!(pause(Verdict::Away, 1000).unwrap() < AWAY_PAUSE_MAX * 2);
        assert_eq!(pause(Verdict::Refused, 1), None);
    }
}
