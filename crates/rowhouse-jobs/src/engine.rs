//! The engine: drives sagas in the calling task, so that a sign-up does not wait for a poller,
//! and takes over those of processes that died.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rowhouse_postgres::{DatabaseError, DatabaseResult, Databases, SystemAuthority, SystemConnection};
use rowhouse_types::{ApiError, SagaId, TenantId};
use serde_json::Value;
use uuid::Uuid;

use crate::failpoint;
use crate::record::{
    LEASE_SECONDS, SagaOut, SagaRow, lease_renew, saga_claim, saga_get, saga_insert, saga_update, sagas_list,
    step_insert,
};
use crate::saga::{Saga, StepError, StepOutcome};

/// Attempts at a step that meets transient failures.
const ATTEMPTS_MAX: u32 = 4;

type Resumed<'a> = Pin<Box<dyn Future<Output = Result<Value, SagaFailure>> + Send + 'a>>;
type Resume = Arc<dyn for<'a> Fn(&'a Engine, SagaRow) -> Resumed<'a> + Send + Sync>;

/// Why a saga did not succeed. What it had done has been taken back, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum SagaFailure {
    /// A step was refused.
    #[error(transparent)]
    Refused(ApiError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Another process has taken the saga over.
    #[error("another process drives this operation now")]
    LeaseLost,
    /// A failpoint of a test.
    #[error("the process died at a failpoint")]
    Crashed,
    /// The saga's state cannot be read by this version.
    #[error("the operation's state cannot be read: {0}")]
    State(#[from] serde_json::Error),
}

impl From<SagaFailure> for ApiError {
    fn from(failure: SagaFailure) -> Self {
        match failure {
            SagaFailure::Refused(error) => error,
            SagaFailure::Database(error) => error.into(),
            SagaFailure::LeaseLost | SagaFailure::Crashed => ApiError::unavailable(failure),
            SagaFailure::State(_) => ApiError::internal(failure),
        }
    }
}

/// Drives sagas. One per process.
pub struct Engine {
    databases: Arc<Databases>,
    authority: SystemAuthority,
    owner: Uuid,
    definitions: Mutex<HashMap<&'static str, Resume>>,
}

impl Engine {
    /// An engine on a migrated control database.
    pub fn new(databases: Arc<Databases>, authority: SystemAuthority) -> Self {
        Self { databases, authority, owner: Uuid::new_v4(), definitions: Mutex::default() }
    }

    /// Makes a definition known, so that its sagas can be taken over.
    pub fn register<S: Saga>(&self, saga: Arc<S>) {
        let name = saga.name();
        let resume: Resume = Arc::new(move |engine, row| {
            let saga = saga.clone();
            Box::pin(async move { engine.drive(&*saga, row, None).await })
        });
        self.definitions.lock().unwrap_or_else(PoisonError::into_inner).insert(name, resume);
    }

    async fn control(&self) -> DatabaseResult<SystemConnection> {
        self.databases.control(&self.authority.scope("drive a saga")).await
    }

    /// Runs a new saga to its end. The first step is recorded together with the saga itself: a
    /// saga whose first step is refused leaves no trace.
    ///
    /// # Errors
    /// What the step said, after everything was taken back.
    pub async fn run<S: Saga>(
        &self,
        saga: &S,
        subject: &str,
        tenant: Option<TenantId>,
        state: S::State,
    ) -> Result<S::State, SagaFailure> {
        let row = SagaRow {
            id: SagaId::generate(),
            definition: saga.name().to_owned(),
            subject: subject.to_owned(),
            status: "running".into(),
            step: 0,
            state: serde_json::to_value(&state)?,
        };
        let ended = self.drive(saga, row, Some((state, tenant))).await?;
        Ok(serde_json::from_value(ended)?)
    }

    /// Drives a saga from where it stands to its end. A new one brings its state in memory, which
    /// may hold what must not be written before the first step has used it.
    async fn drive<S: Saga>(
        &self,
        saga: &S,
        mut row: SagaRow,
        new: Option<(S::State, Option<TenantId>)>,
    ) -> Result<Value, SagaFailure> {
        let mut unwritten = new.is_some();
        let (mut state, tenant) = match new {
            Some(new) => new,
            None => (serde_json::from_value(row.state.clone())?, None),
        };
        let _renewal = self.renew(row.id);
        if row.status == "running" {
            let failure = loop {
                let Some(step) = usize::try_from(row.step).ok().and_then(|at| saga.steps().get(at)) else {
                    return Ok(row.state);
                };
                match self.step(saga, step, &mut row, &mut state, unwritten.then_some(tenant)).await {
                    Ok(()) => unwritten = false,
                    Err(StepError::Crashed) => return Err(SagaFailure::Crashed),
                    Err(error) => break (step, error),
                }
            };
            let (step, error) = failure;
            if unwritten {
                return Err(refusal(error));
            }
            let told = error.to_string();
            row.status = "compensating".into();
            let control = self.control().await?;
            step_insert(&control, row.id, row.step, step, "failed", Some(&told), 0).await?;
            self.write(&control, &row, Some(&told)).await?;
            drop(control);
            self.compensate(saga, &mut row, &mut state).await?;
            return Err(refusal(error));
        }
        self.compensate(saga, &mut row, &mut state).await?;
        Ok(row.state)
    }

    /// Does one step with retries. Its effect on the control database, its record and the saga's
    /// new state are one transaction.
    async fn step<S: Saga>(
        &self,
        saga: &S,
        step: &'static str,
        row: &mut SagaRow,
        state: &mut S::State,
        new: Option<Option<TenantId>>,
    ) -> Result<(), StepError> {
        let mut attempt = 1;
        loop {
            match self.attempt(saga, step, row, state, new).await {
                Err(error) if error.is_transient() && attempt < ATTEMPTS_MAX => {
                    tracing::warn!(saga = saga.name(), step, subject = %row.subject, attempt, %error, "step failed; it is tried again");
                    tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt<S: Saga>(
        &self,
        saga: &S,
        step: &'static str,
        row: &mut SagaRow,
        state: &mut S::State,
        new: Option<Option<TenantId>>,
    ) -> Result<(), StepError> {
        let started = Instant::now();
        failpoint::pass(saga.name(), step, "before", &row.subject)?;
        let mut control = self.control().await?;
        control.begin().await?;
        let outcome = saga.run(step, state, &control).await?;
        let position = row.step;
        let last = usize::try_from(position + 1) == Ok(saga.steps().len());
        let done = SagaRow {
            id: row.id,
            definition: row.definition.clone(),
            subject: row.subject.clone(),
            status: if last { "succeeded".into() } else { "running".into() },
            step: position + 1,
            state: serde_json::to_value(&*state).map_err(|error| StepError::Refused(ApiError::internal(error)))?,
        };
        if outcome == StepOutcome::Nothing && !last && new.is_none() {
            control.rollback().await?;
        } else {
            if let Some(tenant) = new {
                saga_insert(&control, &done, tenant, self.owner).await?;
            }
            let duration_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
            step_insert(&control, row.id, position, step, "done", None, duration_ms).await?;
            self.write(&control, &done, None).await?;
            control.commit().await?;
        }
        *row = done;
        failpoint::pass(saga.name(), step, "after", &row.subject)
    }

    async fn write(&self, control: &SystemConnection, row: &SagaRow, error: Option<&str>) -> DatabaseResult<()> {
        if saga_update(control, row, self.owner, error).await? {
            return Ok(());
        }
        Err(DatabaseError::Driver("the saga's lease was taken by another process".into()))
    }

    /// Takes back the step that failed and every one before it.
    async fn compensate<S: Saga>(&self, saga: &S, row: &mut SagaRow, state: &mut S::State) -> Result<(), SagaFailure> {
        let reached = usize::try_from(row.step).unwrap_or(0).min(saga.steps().len().saturating_sub(1));
        for position in (0..=reached).rev() {
            let Some(step) = saga.steps().get(position) else { continue };
            let started = Instant::now();
            let mut control = self.control().await?;
            control.begin().await?;
            if let Err(error) = saga.undo(step, state, &control).await {
                drop(control);
                return self.give_up(row, step, &error).await;
            }
            row.step = i32::try_from(position).unwrap_or(0) - 1;
            row.status = if position == 0 { "compensated".into() } else { "compensating".into() };
            row.state = serde_json::to_value(&*state)?;
            let duration_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
            step_insert(&control, row.id, row.step + 1, step, "undone", None, duration_ms).await?;
            self.write(&control, row, None).await?;
            control.commit().await?;
        }
        Ok(())
    }

    /// A step that cannot be taken back: transient failures are left to the worker, others to an
    /// operator.
    async fn give_up(&self, row: &mut SagaRow, step: &'static str, error: &StepError) -> Result<(), SagaFailure> {
        tracing::error!(subject = %row.subject, step, %error, "a step cannot be taken back");
        if !error.is_transient() {
            row.status = "failed".into();
        }
        let control = self.control().await?;
        let told = format!("{step} cannot be taken back: {error}");
        self.write(&control, row, Some(&told)).await?;
        Err(SagaFailure::Refused(ApiError::internal(told)))
    }

    /// Keeps the lease while a saga is driven; ends with the value.
    fn renew(&self, id: SagaId) -> Renewal {
        let (databases, authority, owner) = (self.databases.clone(), self.authority.clone(), self.owner);
        let every = Duration::from_secs(u64::try_from(LEASE_SECONDS / 3).unwrap_or(10));
        Renewal(tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let renewed = async {
                    let control = databases.control(&authority.scope("renew a lease")).await?;
                    lease_renew(&control, id, owner).await
                };
                if let Err(error) = renewed.await {
                    tracing::warn!(saga_id = %id, %error, "renew a lease");
                }
            }
        }))
    }

    /// Takes over every saga whose lease has run out, and drives each to its end. Gives how many.
    ///
    /// # Errors
    /// Only if the database cannot be asked; what becomes of a saga stands in its row.
    pub async fn take_over(&self) -> DatabaseResult<usize> {
        let mut count = 0;
        loop {
            let claimed = saga_claim(&self.control().await?, self.owner).await?;
            let Some(row) = claimed else { return Ok(count) };
            let known =
                self.definitions.lock().unwrap_or_else(PoisonError::into_inner).get(row.definition.as_str()).cloned();
            let Some(resume) = known else {
                tracing::warn!(definition = %row.definition, "a saga of an unknown kind waits");
                continue;
            };
            count += 1;
            let (id, subject) = (row.id, row.subject.clone());
            match resume(self, row).await {
                Ok(_) => tracing::info!(saga_id = %id, %subject, "an interrupted operation was brought to its end"),
                Err(error) => {
                    tracing::warn!(saga_id = %id, %subject, %error, "an interrupted operation was taken back")
                }
            }
        }
    }

    /// Looks for sagas to take over, until the future is dropped.
    pub async fn run_worker(&self) {
        loop {
            if let Err(error) = self.take_over().await {
                tracing::debug!(%error, "look for interrupted operations");
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }

    /// The newest sagas.
    pub async fn list(&self, limit: u32) -> DatabaseResult<Vec<SagaOut>> {
        sagas_list(&self.control().await?, limit).await
    }

    /// One saga with its steps.
    pub async fn get(&self, id: SagaId) -> DatabaseResult<Option<SagaOut>> {
        saga_get(&self.control().await?, id).await
    }
}

fn refusal(error: StepError) -> SagaFailure {
    match error {
        StepError::Refused(error) => SagaFailure::Refused(error),
        StepError::Database(error) => SagaFailure::Database(error),
        StepError::Crashed => SagaFailure::Crashed,
    }
}

struct Renewal(tokio::task::JoinHandle<()>);

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.abort();
    }
}
