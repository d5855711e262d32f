//! What a saga is made of.

use rowhouse_postgres::{DatabaseError, SystemConnection};
use rowhouse_types::ApiError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A kind of multi-step operation.
///
/// Every step is idempotent: it may run again after a crash, from its beginning. A step's effect
/// in the control database belongs on `control`, whose transaction also records the step, so
/// that both happen or neither.
pub trait Saga: Send + Sync + 'static {
    /// Input, and what the steps have found out. Kept in the database: no secrets.
    type State: Serialize + DeserializeOwned + Clone + Send + Sync;

    /// The definition's name; never changes, because rows carry it.
    fn name(&self) -> &'static str;

    /// The steps' names in order; at least one.
    fn steps(&self) -> &'static [&'static str];

    /// Whether it can be taken back. One that cannot (a deletion) only goes forward: a failure
    /// waits and is tried again, and in the end stands as failed until an operator retries it.
    fn is_reversible(&self) -> bool {
        true
    }

    /// Does a step. `state` is kept only if the step succeeds.
    fn run(
        &self,
        step: &'static str,
        state: &mut Self::State,
        control: &SystemConnection,
    ) -> impl Future<Output = Result<StepOutcome, StepError>> + Send;

    /// Takes a step back, whether it was done, half done, or not done at all. `state` is what
    /// the last recorded step left, so what a half-done step found out may be missing.
    fn undo(
        &self,
        step: &'static str,
        state: &mut Self::State,
        control: &SystemConnection,
    ) -> impl Future<Output = Result<(), StepError>> + Send;
}

/// How a step went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepOutcome {
    /// Done; recorded before the next begins.
    Done,
    /// Done, with a word about it for operators; recorded before the next begins.
    DoneWith(Value),
    /// Done, but so cheap to repeat that its record is not worth a write of its own: it is
    /// recorded together with the next step.
    Nothing,
    /// The same, with a word about it for operators.
    NothingWith(Value),
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
}

impl From<ApiError> for StepError {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl StepError {
    /// Whether the same step may succeed when tried again: the server was away, two transactions
    /// collided, or a lock could not be had in time.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Refused(_) => false,
            Self::Database(error) => {
                error.is_transient() || matches!(error, DatabaseError::Timeout | DatabaseError::Locked)
            }
        }
    }

    /// Code and message with every cause, for operators.
    pub(crate) fn told(&self) -> Value {
        let (code, error): (&str, &dyn std::error::Error) = match self {
            Self::Refused(error) => (error.code.as_str(), error),
            Self::Database(error) => ("database", error),
        };
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        json!({ "code": code, "message": message })
    }
}
