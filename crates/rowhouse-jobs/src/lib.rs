//! Sagas: multi-step operations that are recorded, idempotent, resumable and compensated.
//! Killed between any two steps, a saga goes on in another process or is taken back.
//!
//! **Invariant:** a step's effect on the control database and its record are one transaction.
//! **Invariant:** no two processes work on the same saga at the same time: a step begins only
//! under the saga's lease and its advisory lock.

mod drive;
mod engine;
mod failpoint;
mod listing;
mod record;
mod saga;
mod worker;

pub use engine::{Engine, SagaFailure, StartedSaga};
pub use failpoint::{Failpoint, failpoint_names, set_failpoint};
pub use listing::{ListSagas, SagaOut, SagaStatus, SagaStepOut, UnknownStatus};
pub use saga::{Saga, StepError, StepOutcome};

/// The control database's tables of this crate.
pub const CONTROL_MIGRATIONS: &[(&str, &str)] = &[("jobs_0001_sagas", include_str!("../migrations/0001_sagas.sql"))];
