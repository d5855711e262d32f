//! The engine: starts sagas, drives them in the calling task, so that a sign-up does not wait
//! for a poller, and shows them to operators.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rowhouse_postgres::{DatabaseError, DatabaseResult, Databases, SystemAuthority, SystemConnection};
use rowhouse_types::{ApiError, SagaId, TenantId};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::drive::{Driven, Patience};
use crate::listing::{ListSagas, SagaOut, SagaStatus, saga_get, sagas_list};
use crate::record::{Hold, SagaRow, saga_cancel, saga_insert, saga_retry};
use crate::saga::Saga;

/// Why a saga did not succeed. What it had done has been taken back, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum SagaFailure {
    /// A step was refused.
    #[error(transparent)]
    Refused(ApiError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// An operator cancelled it.
    #[error("the operation was cancelled")]
    Cancelled,
    /// It was being taken back already, and now has been.
    #[error("the operation was taken back")]
    TakenBack,
    /// It stopped halfway. It goes on by itself, or waits for an operator.
    #[error("operation {0} stopped halfway; it goes on by itself, or waits for an operator")]
    Unfinished(SagaId),
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
            SagaFailure::Cancelled | SagaFailure::TakenBack => {
                ApiError::conflict("The operation was cancelled, and what it had done was taken back.")
            }
            SagaFailure::LeaseLost | SagaFailure::Crashed | SagaFailure::Unfinished(_) => {
                ApiError::unavailable(failure)
            }
            SagaFailure::State(_) => ApiError::internal(failure),
        }
    }
}

/// A saga that stands in the database under this engine's lease, to be driven next.
pub struct StartedSaga<S: Saga> {
    pub(crate) driven: Driven<S::State>,
}

impl<S: Saga> StartedSaga<S> {
    /// The saga's id.
    pub fn id(&self) -> SagaId {
        self.driven.row.id
    }
}

pub(crate) type Resumed<'a> = Pin<Box<dyn Future<Output = Result<(), SagaFailure>> + Send + 'a>>;

/// A definition without its types, so that sagas of every kind can be taken over.
pub(crate) trait Definition: Send + Sync {
    fn is_reversible(&self) -> bool;
    fn resume<'a>(&'a self, engine: &'a Engine, row: SagaRow) -> Resumed<'a>;
}

struct Registered<S>(Arc<S>);

impl<S: Saga> Definition for Registered<S> {
    fn is_reversible(&self) -> bool {
        self.0.is_reversible()
    }

    fn resume<'a>(&'a self, engine: &'a Engine, row: SagaRow) -> Resumed<'a> {
        Box::pin(async move {
            let state = serde_json::from_value(row.state.clone())?;
            engine.advance(&*self.0, Driven::recorded(row, state), Patience::Worker).await.map(drop)
        })
    }
}

/// Drives sagas. One per process.
pub struct Engine {
    databases: Arc<Databases>,
    authority: SystemAuthority,
    pub(crate) owner: Uuid,
    definitions: RwLock<HashMap<&'static str, Arc<dyn Definition>>>,
    pub(crate) nudged: Notify,
}

impl Engine {
    /// An engine on a migrated control database.
    pub fn new(databases: Arc<Databases>, authority: SystemAuthority) -> Self {
        let (owner, definitions, nudged) = (Uuid::new_v4(), RwLock::default(), Notify::new());
        Self { databases, authority, owner, definitions, nudged }
    }

    /// Makes a definition known, so that its sagas can be taken over.
    pub fn register<S: Saga>(&self, saga: Arc<S>) {
        let mut definitions = self.definitions.write().unwrap_or_else(PoisonError::into_inner);
        definitions.insert(saga.name(), Arc::new(Registered(saga)));
    }

    pub(crate) fn definition(&self, name: &str) -> Option<Arc<dyn Definition>> {
        self.definitions.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn known(&self) -> Vec<String> {
        let definitions = self.definitions.read().unwrap_or_else(PoisonError::into_inner);
        definitions.keys().map(|name| (*name).to_owned()).collect()
    }

    pub(crate) async fn control(&self) -> DatabaseResult<SystemConnection> {
        self.databases.control(&self.authority.scope("drive a saga")).await
    }

    pub(crate) fn databases(&self) -> (Arc<Databases>, SystemAuthority) {
        (self.databases.clone(), self.authority.clone())
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
        self.advance(saga, Driven::new(saga, subject, tenant, state)?, Patience::Caller).await
    }

    /// Writes a new saga within the caller's transaction, leased to this engine. Drive it after
    /// the commit; if nobody does, a worker takes it over when the lease runs out.
    pub async fn start<S: Saga>(
        &self,
        connection: &SystemConnection,
        saga: &S,
        subject: &str,
        tenant: Option<TenantId>,
        state: S::State,
    ) -> Result<StartedSaga<S>, SagaFailure> {
        let mut driven = Driven::new(saga, subject, tenant, state)?;
        if let Some(input) = driven.input.take() {
            saga_insert(connection, &driven.row, &input, Hold::Lease(self.owner), &[]).await?;
        }
        Ok(StartedSaga { driven })
    }

    /// Drives a started saga to its end, in the calling task.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn drive<S: Saga>(&self, saga: &S, started: StartedSaga<S>) -> Result<S::State, SagaFailure> {
        self.advance(saga, started.driven, Patience::Caller).await
    }

    /// Writes a new saga within the caller's transaction, for the next worker. [`Self::nudge`]
    /// after the commit makes this process's worker look at once.
    pub async fn enqueue<S: Saga>(
        &self,
        connection: &SystemConnection,
        saga: &S,
        subject: &str,
        tenant: Option<TenantId>,
        state: S::State,
    ) -> Result<SagaId, SagaFailure> {
        self.enqueue_after(Duration::ZERO, connection, saga, subject, tenant, state).await
    }

    /// The same for a saga that begins no sooner than after `delay`.
    pub async fn enqueue_after<S: Saga>(
        &self,
        delay: Duration,
        connection: &SystemConnection,
        saga: &S,
        subject: &str,
        tenant: Option<TenantId>,
        state: S::State,
    ) -> Result<SagaId, SagaFailure> {
        let mut driven = Driven::new(saga, subject, tenant, state)?;
        driven.row.status = SagaStatus::Queued;
        let seconds = i32::try_from(delay.as_secs()).unwrap_or(i32::MAX);
        saga_insert(connection, &driven.row, &driven.row.state, Hold::Until(seconds), &[]).await?;
        Ok(driven.row.id)
    }

    /// Makes this process's worker look for work now.
    pub fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// Sagas, the newest first.
    pub async fn list(&self, list: &ListSagas) -> DatabaseResult<Vec<SagaOut>> {
        sagas_list(&self.control().await?, list).await
    }

    /// One saga with its steps.
    pub async fn get(&self, id: SagaId) -> DatabaseResult<Option<SagaOut>> {
        saga_get(&self.control().await?, id).await
    }

    /// Lets a stuck or waiting saga go on: a worker takes it up.
    ///
    /// # Errors
    /// Not found, or a conflict if it is neither stuck nor waiting.
    pub async fn retry(&self, id: SagaId) -> Result<(), ApiError> {
        let control = self.control().await?;
        if !saga_retry(&control, id).await? {
            let saga = saga_get(&control, id).await?.ok_or_else(ApiError::not_found)?;
            let status = saga.status.as_str();
            return Err(ApiError::conflict(format!(
                "The operation is {status}; only one that failed or waits is retried."
            )));
        }
        self.nudge();
        Ok(())
    }

    /// Asks for a saga to be taken back: whoever drives it turns round at its next step.
    ///
    /// # Errors
    /// Not found, or a conflict if it has ended, goes backwards already, or cannot be taken back.
    pub async fn cancel(&self, id: SagaId) -> Result<(), ApiError> {
        let control = self.control().await?;
        let saga = saga_get(&control, id).await?.ok_or_else(ApiError::not_found)?;
        if self.definition(&saga.kind).is_some_and(|definition| !definition.is_reversible()) {
            return Err(ApiError::conflict("This operation only goes forward; it cannot be cancelled."));
        }
        if !saga_cancel(&control, id).await? {
            let status = saga.status.as_str();
            return Err(ApiError::conflict(format!("The operation is {status}; it cannot be cancelled any more.")));
        }
        self.nudge();
        Ok(())
    }
}
