//! Sagas: multi-step operations that are recorded, idempotent, resumable and compensated.
//! Killed between any two steps, a saga goes on in another process or is taken back.

mod engine;
mod failpoint;
mod record;
mod saga;

pub use engine::{Engine, SagaFailure};
pub use failpoint::{Failpoint, set_failpoint};
pub use record::{SagaOut, SagaStepOut};
pub use saga::{Saga, StepError, StepOutcome};

/// The control database's tables of this crate.
pub const CONTROL_MIGRATIONS: &[(&str, &str)] = &[("jobs_0001_sagas", include_str!("../migrations/0001_sagas.sql"))];
