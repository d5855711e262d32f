//! The worker: takes over the sagas of processes that died, and those that wait.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use rowhouse_postgres::DatabaseResult;
use serde_json::json;

use crate::engine::{Engine, SagaFailure};
use crate::record::{SagaRow, saga_claim};

/// Sagas a worker drives at a time.
const AT_A_TIME: usize = 4;
/// How often a worker looks for sagas of other processes.
const INTERVAL: Duration = Duration::from_secs(5);

impl Engine {
    /// Takes over every saga that nobody drives, one after the other, and drives each to its end.
    /// Gives how many.
    ///
    /// # Errors
    /// Only if the database cannot be asked; what becomes of a saga stands in its row.
    pub async fn take_over(&self) -> DatabaseResult<usize> {
        let mut count = 0;
        while let Some(row) = self.claim().await? {
            count += 1;
            self.resume(row).await;
        }
        Ok(count)
    }

    /// Drives queued, waiting and abandoned sagas, until `shutdown` is ready; then ends those it
    /// is driving. Dropping it instead is safe: another process goes on.
    pub async fn run_worker(&self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut driven = FuturesUnordered::new();
        loop {
            while driven.len() < AT_A_TIME {
                match self.claim().await {
                    Ok(Some(row)) => driven.push(self.resume(row)),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(%error, "look for operations to take over");
                        break;
                    }
                }
            }
            tokio::select! {
                () = &mut shutdown => break,
                () = self.nudged.notified() => {}
                Some(()) = driven.next() => {}
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
        while driven.next().await.is_some() {}
    }

    async fn claim(&self) -> DatabaseResult<Option<SagaRow>> {
        saga_claim(&self.control().await?, self.owner, self.known()).await
    }

    /// Drives a claimed saga to its end. What becomes of it stands in its row.
    async fn resume(&self, row: SagaRow) {
        let Some(definition) = self.definition(&row.definition) else { return };
        let (id, subject, kept) = (row.id, row.subject.clone(), row.clone());
        // A step that panics must not end the worker, nor be tried for ever.
        let outcome = AssertUnwindSafe(definition.resume(self, row)).catch_unwind().await;
        match outcome {
            Ok(Ok(())) => tracing::info!(saga_id = %id, %subject, "an operation was brought to its end"),
            Ok(Err(SagaFailure::State(error))) => {
                let told = json!({ "code": "state", "message": error.to_string() });
                let failure = self.give_up(kept, &told).await;
                tracing::error!(saga_id = %id, %subject, %error, %failure, "an operation's state cannot be read");
            }
            Ok(Err(failure)) => tracing::warn!(saga_id = %id, %subject, %failure, "an operation did not succeed"),
            Err(_) => {
                let told = json!({ "code": "panic", "message": "a step panicked; see the log" });
                let failure = self.give_up(kept, &told).await;
                tracing::error!(saga_id = %id, %subject, %failure, "a step of an operation panicked");
            }
        }
    }
}
