//! What a saga is made of.

use rowhouse_postgres::{DatabaseError, SystemConnection};
use rowhouse_types::ApiError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A kind of multi-step operation.
///
/// Every step is idempotent: it may run again after a crash, from its beginning. A step's effect
/// in the control database belongs on `control`, whose transaction also records the step, so
/// that both happen or neither.
pub trait Saga: Send + Sync + 'static {
    /// Input, and what the steps have found out. Kept in the database: no secrets.
    type State: Serialize + DeserializeOwned + Send + Sync;

    /// The definition's name; never changes, because rows carry it.
    fn name(&self) -> &'static str;

    /// The steps' names in order.
    fn steps(&self) -> &'static [&'static str];

    /// Does a step.
    fn run(
        &self,
        step: &'static str,
        state: &mut Self::State,
        control: &SystemConnection,
    ) -> impl Future<Output = Result<StepOutcome, StepError>> + Send;

    /// Takes a step back, whether it was done, half done, or not done at all.
    fn undo(
        &self,
        step: &'static str,
        state: &mut Self::State,
        control: &SystemConnection,
    ) -> impl Future<Output = Result<(), StepError>> + Send;
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    /// Done; recorded before the next begins.
    Done,
    /// There was nothing to do: not worth a commit of its own.
    Nothing,
}

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It was refused; trying again will not help.
    #[error(transparent)]
    Refused(ApiError),
    /// The database failed; transient failures are tried again.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The process "died" here (a failpoint of a test).
    #[error("the process died at a failpoint")]
    Crashed,
}

impl From<ApiError> for StepError {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl StepError {
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}
