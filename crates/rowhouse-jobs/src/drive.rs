//! Driving one saga: forward step by step, or backwards when a step fails for good.

use std::time::Duration;

use chrono::Utc;
use rowhouse_postgres::{DatabaseError, SystemConnection};
use rowhouse_types::{ApiError, SagaId, TenantId};
use serde::Serialize;
use serde_json::Value;

use crate::engine::{Engine, SagaFailure};
use crate::failpoint::{self, Hit};
use crate::listing::SagaStatus;
use crate::record::{
    Hold, LEASE_SECONDS, SagaRow, StepRecord, lease_renew, saga_hold, saga_insert, saga_load, saga_update,
};
use crate::saga::{Saga, StepError, StepOutcome};

/// Attempts at a step that meets transient failures, in one go: some 0.7 s.
const ATTEMPTS_MAX: u32 = 4;
/// Times a saga waits for a failure to pass before it is turned round, or stands as failed.
const WAITS_MAX: i32 = 12;
/// Longest wait between two of them.
const WAIT_SECONDS_MAX: i32 = 300;

/// Who waits for a saga.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// A request: better an answer soon.
    Caller,
    /// Nobody: it can wait until a failure passes.
    Worker,
}

/// A saga under way.
pub(crate) struct Driven<State> {
    pub(crate) row: SagaRow,
    state: State,
    /// What it was started with; none once it stands in the database.
    pub(crate) input: Option<Value>,
    /// Steps that were done, to be recorded with the next one.
    backlog: Vec<StepRecord>,
    /// Another process may have done more than stands in the database: steps that it was to
    /// record with a later one.
    taken_over: bool,
}

impl<State: Serialize> Driven<State> {
    pub(crate) fn new<S: Saga<State = State>>(
        saga: &S,
        subject: &str,
        tenant: Option<TenantId>,
        state: State,
    ) -> Result<Self, SagaFailure> {
        let input = serde_json::to_value(&state)?;
        let row = SagaRow {
            id: SagaId::generate(),
            definition: saga.name().to_owned(),
            subject: subject.to_owned(),
            tenant,
            status: SagaStatus::Running,
            step: 0,
            undoing: false,
            cancel_requested: false,
            attempts: 0,
            state: input.clone(),
        };
        Ok(Self { row, state, input: Some(input), backlog: Vec::new(), taken_over: false })
    }
}

impl<State> Driven<State> {
    pub(crate) fn recorded(row: SagaRow, state: State) -> Self {
        Self { row, state, input: None, backlog: Vec::new(), taken_over: true }
    }
}

/// Why a step did not happen.
enum Stop {
    Step(StepError),
    Cancelled,
    LeaseLost,
    Crashed,
}

impl<E: Into<StepError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Step(error.into())
    }
}

impl From<Hit> for Stop {
    fn from(hit: Hit) -> Self {
        match hit {
            Hit::Error(error) => Self::Step(error),
            Hit::Crash => Self::Crashed,
        }
    }
}

fn refusal(error: StepError) -> SagaFailure {
    match error {
        StepError::Refused(error) => SagaFailure::Refused(error),
        StepError::Database(error) => SagaFailure::Database(error),
    }
}

fn step_name<S: Saga>(saga: &S, row: &SagaRow) -> Option<&'static str> {
    usize::try_from(row.step).ok().and_then(|at| saga.steps().get(at)).copied()
}

fn newest_step<S: Saga>(saga: &S) -> i32 {
    i32::try_from(saga.steps().len()).unwrap_or(i32::MAX) - 1
}

async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
}

impl Engine {
    /// Drives a saga from where it stands to its end, forward or back.
    pub(crate) async fn advance<S: Saga>(
        &self,
        saga: &S,
        mut driven: Driven<S::State>,
        patience: Patience,
    ) -> Result<S::State, SagaFailure> {
        let _renewal = self.renew(driven.row.id);
        if driven.row.undoing {
            self.take_back(saga, &mut driven).await?;
            return Err(SagaFailure::TakenBack);
        }
        while let Some(step) = step_name(saga, &driven.row) {
            match self.forward(saga, step, &mut driven).await {
                Ok(()) => {}
                Err(Stop::Crashed) => return Err(SagaFailure::Crashed),
                Err(Stop::LeaseLost) => return Err(SagaFailure::LeaseLost),
                Err(Stop::Cancelled) => {
                    driven.row.cancel_requested = true;
                    self.turn_round(saga, &mut driven, None).await?;
                    self.take_back(saga, &mut driven).await?;
                    return Err(SagaFailure::Cancelled);
                }
                Err(Stop::Step(error)) => return Err(self.fail(saga, step, driven, error, patience).await),
            }
        }
        Ok(driven.state)
    }

    /// Does one step, again if it meets a failure that may pass.
    async fn forward<S: Saga>(&self, saga: &S, step: &'static str, driven: &mut Driven<S::State>) -> Result<(), Stop> {
        let mut attempt = 1;
        loop {
            let error = match self.attempt(saga, step, driven).await {
                Err(Stop::Step(error)) if error.is_transient() => error,
                outcome => return outcome,
            };
            // A commit may have arrived although its answer did not: then the step is done.
            if matches!(self.catch_up(driven).await, Ok(true)) {
                return Ok(());
            }
            if attempt == ATTEMPTS_MAX {
                return Err(Stop::Step(error));
            }
            tracing::warn!(saga = saga.name(), step, subject = %driven.row.subject, attempt, %error, "step failed; it is tried again");
            pause(attempt).await;
            attempt += 1;
        }
    }

    /// Whether the database is ahead of what this task knows; then takes over what it says.
    async fn catch_up<State: serde::de::DeserializeOwned>(
        &self,
        driven: &mut Driven<State>,
    ) -> Result<bool, SagaFailure> {
        let found = saga_load(&self.control().await?, driven.row.id).await?;
        let Some(row) = found.filter(|row| row.step > driven.row.step && !row.undoing) else { return Ok(false) };
        *driven = Driven::recorded(row.clone(), serde_json::from_value(row.state)?);
        Ok(true)
    }

    /// One attempt at a step: its effect on the control database, its record and the saga's new
    /// state are one transaction.
    async fn attempt<S: Saga>(&self, saga: &S, step: &'static str, driven: &mut Driven<S::State>) -> Result<(), Stop> {
        failpoint::pass(saga.name(), step, "before", &driven.row.subject)?;
        let mut control = self.control().await?;
        control.begin().await?;
        match self.within(&control, saga, step, driven).await {
            Ok(next) => {
                control.commit().await?;
                *driven = next;
                match failpoint::pass(saga.name(), step, "after", &driven.row.subject) {
                    // It has succeeded; there is nothing left that could fail.
                    Err(Hit::Error(_)) if driven.row.status == SagaStatus::Succeeded => Ok(()),
                    passed => Ok(passed?),
                }
            }
            Err(stop) => {
                // If this fails too, dropping the connection closes it, which rolls back.
                if let Err(error) = control.rollback().await {
                    tracing::debug!(%error, "roll a step back");
                }
                Err(stop)
            }
        }
    }

    async fn within<S: Saga>(
        &self,
        control: &SystemConnection,
        saga: &S,
        step: &'static str,
        driven: &Driven<S::State>,
    ) -> Result<Driven<S::State>, Stop> {
        let started_at = Utc::now();
        if driven.input.is_none() && self.hold(control, driven.row.id).await? {
            return Err(Stop::Cancelled);
        }
        let mut state = driven.state.clone();
        let outcome = saga.run(step, &mut state, control).await?;
        failpoint::pass(saga.name(), step, "unrecorded", &driven.row.subject)?;
        let mut row = driven.row.clone();
        row.step += 1;
        row.attempts = 0;
        row.state = serde_json::to_value(&state).map_err(ApiError::internal)?;
        let last = step_name(saga, &row).is_none();
        row.status = if last { SagaStatus::Succeeded } else { SagaStatus::Running };
        let (worth_it, output) = match outcome {
            StepOutcome::Nothing => (false, None),
            StepOutcome::NothingWith(output) => (false, Some(output)),
            StepOutcome::Done => (true, None),
            StepOutcome::DoneWith(output) => (true, Some(output)),
        };
        let record_now = worth_it || last || driven.input.is_some();
        let (mut backlog, taken_over) = (driven.backlog.clone(), driven.taken_over);
        backlog.push(StepRecord::done(step, &driven.row, started_at, output));
        if !record_now {
            return Ok(Driven { row, state, input: None, backlog, taken_over });
        }
        match &driven.input {
            Some(input) => {
                let hold = if last { Hold::Until(0) } else { Hold::Lease(self.owner) };
                saga_insert(control, &row, input, hold, &backlog).await?;
            }
            None => self.write(control, &row, None, None, &backlog).await?,
        }
        Ok(Driven { row, state, input: None, backlog: Vec::new(), taken_over })
    }

    /// Makes sure that nobody else works on the saga. True if it is to be cancelled.
    async fn hold(&self, control: &SystemConnection, id: SagaId) -> Result<bool, Stop> {
        let held = saga_hold(control, id, self.owner).await?;
        match held {
            Some(held) if held.leased && held.locked => Ok(held.cancel_requested),
            // A session that died in the middle of a statement ends with it; that passes.
            Some(held) if held.leased => Err(DatabaseError::Collision.into()),
            _ => Err(Stop::LeaseLost),
        }
    }

    async fn write(
        &self,
        control: &SystemConnection,
        row: &SagaRow,
        error: Option<&Value>,
        wait_seconds: Option<i32>,
        steps: &[StepRecord],
    ) -> Result<(), Stop> {
        let written = saga_update(control, row, self.owner, error, wait_seconds, steps).await?;
        if written { Ok(()) } else { Err(Stop::LeaseLost) }
    }

    /// What becomes of a saga whose step failed: it waits, is taken back, or stands as failed.
    async fn fail<S: Saga>(
        &self,
        saga: &S,
        step: &'static str,
        mut driven: Driven<S::State>,
        error: StepError,
        patience: Patience,
    ) -> SagaFailure {
        if driven.input.is_some() {
            return refusal(error);
        }
        let told = error.told();
        let record = StepRecord::failed(step, &driven.row, told.clone());
        let may_pass = match (saga.is_reversible(), &error) {
            (true, error) => error.is_transient() && patience == Patience::Worker,
            (false, StepError::Refused(_)) => false,
            // What cannot be taken back is tried again whatever the database said.
            (false, StepError::Database(_)) => true,
        };
        if may_pass && driven.row.attempts < WAITS_MAX {
            tracing::warn!(saga_id = %driven.row.id, step, %error, "an operation waits until a failure passes");
            return self.settle(&mut driven.row, SagaStatus::Waiting, &told, record).await;
        }
        if !saga.is_reversible() {
            tracing::error!(saga_id = %driven.row.id, step, %error, "an operation is stuck; an operator must look at it");
            let settled = self.settle(&mut driven.row, SagaStatus::Failed, &told, record).await;
            return if let StepError::Refused(error) = error { SagaFailure::Refused(error) } else { settled };
        }
        if let Err(failure) = self.turn_round(saga, &mut driven, Some((told, record))).await {
            return failure;
        }
        match self.take_back(saga, &mut driven).await {
            Ok(()) => refusal(error),
            Err(failure) => failure,
        }
    }

    /// Records that a saga goes backwards from here on.
    async fn turn_round<S: Saga>(
        &self,
        saga: &S,
        driven: &mut Driven<S::State>,
        failed: Option<(Value, StepRecord)>,
    ) -> Result<(), SagaFailure> {
        if driven.taken_over {
            driven.row.step = newest_step(saga);
        }
        driven.row.undoing = true;
        driven.row.attempts = 0;
        driven.row.status = SagaStatus::Compensating;
        let (error, record) = failed.unzip();
        let mut steps = std::mem::take(&mut driven.backlog);
        steps.extend(record);
        let control = self.control().await?;
        self.write(&control, &driven.row, error.as_ref(), None, &steps)
            .await
            .map_err(|stop| self.stopped(stop, &driven.row))
    }

    /// Lets a saga wait, or stand as failed.
    async fn settle(&self, row: &mut SagaRow, status: SagaStatus, error: &Value, record: StepRecord) -> SagaFailure {
        row.attempts += 1;
        row.status = status;
        let seconds = WAIT_SECONDS_MAX.min(1 << row.attempts.clamp(0, 16));
        let wait = (status == SagaStatus::Waiting).then_some(seconds);
        let control = match self.control().await {
            Ok(control) => control,
            Err(error) => return error.into(),
        };
        match self.write(&control, row, Some(error), wait, &[record]).await {
            Ok(()) => SagaFailure::Unfinished(row.id),
            Err(stop) => self.stopped(stop, row),
        }
    }

    fn stopped(&self, stop: Stop, row: &SagaRow) -> SagaFailure {
        match stop {
            Stop::Step(error) => refusal(error),
            Stop::LeaseLost => SagaFailure::LeaseLost,
            Stop::Crashed => SagaFailure::Crashed,
            Stop::Cancelled => SagaFailure::Unfinished(row.id),
        }
    }

    /// Takes back the step that failed and every one before it.
    async fn take_back<S: Saga>(&self, saga: &S, driven: &mut Driven<S::State>) -> Result<(), SagaFailure> {
        driven.row.step = driven.row.step.min(newest_step(saga));
        while let Some(step) = step_name(saga, &driven.row) {
            let mut attempt = 1;
            let stop = loop {
                match self.undo(saga, step, driven).await {
                    Ok(()) => break None,
                    Err(Stop::Step(error)) if error.is_transient() && attempt < ATTEMPTS_MAX => {
                        pause(attempt).await;
                        attempt += 1;
                    }
                    Err(stop) => break Some(stop),
                }
            };
            match stop {
                None => {}
                Some(Stop::Step(error)) => {
                    let waits = error.is_transient() && driven.row.attempts < WAITS_MAX;
                    let status = if waits { SagaStatus::Waiting } else { SagaStatus::Failed };
                    tracing::error!(saga_id = %driven.row.id, step, %error, "a step could not be taken back");
                    let record = StepRecord::failed(step, &driven.row, error.told());
                    return Err(self.settle(&mut driven.row, status, &error.told(), record).await);
                }
                Some(stop) => return Err(self.stopped(stop, &driven.row)),
            }
        }
        Ok(())
    }

    /// Takes one step back. Its effect and its record are one transaction.
    async fn undo<S: Saga>(&self, saga: &S, step: &'static str, driven: &mut Driven<S::State>) -> Result<(), Stop> {
        failpoint::pass(saga.name(), step, "undo-before", &driven.row.subject)?;
        let started_at = Utc::now();
        let mut control = self.control().await?;
        control.begin().await?;
        self.hold(&control, driven.row.id).await?;
        let mut state = driven.state.clone();
        saga.undo(step, &mut state, &control).await?;
        failpoint::pass(saga.name(), step, "undo-unrecorded", &driven.row.subject)?;
        let mut row = driven.row.clone();
        row.step -= 1;
        row.attempts = 0;
        row.state = serde_json::to_value(&state).map_err(ApiError::internal)?;
        row.status = match (row.step, row.cancel_requested) {
            (0.., _) => SagaStatus::Compensating,
            (_, true) => SagaStatus::Cancelled,
            (_, false) => SagaStatus::Compensated,
        };
        let record = StepRecord::undone(step, &driven.row, started_at);
        self.write(&control, &row, None, None, &[record]).await?;
        control.commit().await?;
        (driven.row, driven.state) = (row, state);
        Ok(())
    }

    /// Marks a saga as stuck that cannot even be driven: its state cannot be read, or a step
    /// panicked.
    pub(crate) async fn give_up(&self, mut row: SagaRow, error: &Value) -> SagaFailure {
        row.status = SagaStatus::Failed;
        row.attempts += 1;
        let written = async {
            let control = self.control().await?;
            self.write(&control, &row, Some(error), None, &[]).await
        };
        match written.await {
            Ok(()) => SagaFailure::Unfinished(row.id),
            Err(stop) => self.stopped(stop, &row),
        }
    }

    /// Keeps the lease while a saga is driven; ends with the value.
    fn renew(&self, id: SagaId) -> Renewal {
        let ((databases, authority), owner) = (self.databases(), self.owner);
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
}

struct Renewal(tokio::task::JoinHandle<()>);

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.abort();
    }
}
