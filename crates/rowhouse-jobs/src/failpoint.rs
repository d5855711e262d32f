//! Failpoints: places where tests make a saga fail or the process die, named
//! `<saga>-<step>-<before|unrecorded|after>`, and `<saga>-<step>-undo-<before|unrecorded>` on the
//! way back. *Unrecorded* lies between a step's effect and its record, so dying there repeats the
//! step; *after* lies behind its record, where the last step's saga cannot fail any more.
//! `ROWHOUSE_FAILPOINTS=name=kill,name=error` sets them for a process; [`set_failpoint`] for one
//! subject within a test. With none set, passing one costs an atomic read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use rowhouse_types::{ApiError, ErrorCode};

use crate::saga::{Saga, StepError};

/// What happens at a failpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// The process aborts.
    Kill,
    /// The step fails for good.
    Error,
    /// The engine stops as if the process had died, without recording anything.
    Crash,
}

/// How the engine goes on after a failpoint that was set.
pub(crate) enum Hit {
    Error(StepError),
    Crash,
}

static FROM_ENVIRONMENT: LazyLock<HashMap<String, Failpoint>> = LazyLock::new(|| {
    let text = std::env::var("ROWHOUSE_FAILPOINTS").unwrap_or_default();
    let mut set = HashMap::new();
    for part in text.split([',', ';']).map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some((name, "kill")) => drop(set.insert(name.to_owned(), Failpoint::Kill)),
            Some((name, "error")) => drop(set.insert(name.to_owned(), Failpoint::Error)),
            _ => tracing::error!(part, "ROWHOUSE_FAILPOINTS is name=kill or name=error, with commas between"),
        }
    }
    set
});

type Registered = HashMap<(String, String), Failpoint>;
static REGISTERED: LazyLock<Mutex<Registered>> = LazyLock::new(Mutex::default);
/// Entries of `REGISTERED`, so that passing needs no lock where nothing is set.
static REGISTERED_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Makes a saga about `subject` meet this at the named failpoint, once.
pub fn set_failpoint(name: &str, subject: &str, action: Failpoint) {
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    registered.insert((name.to_owned(), subject.to_owned()), action);
    REGISTERED_COUNT.store(registered.len(), Ordering::Release);
}

/// Every failpoint of a definition on its way forward, for tests that try them all.
pub fn failpoint_names<S: Saga>(saga: &S) -> Vec<String> {
    let names = |step: &&str| ["before", "unrecorded", "after"].map(|place| format!("{}-{step}-{place}", saga.name()));
    saga.steps().iter().flat_map(names).collect()
}

/// Passes the failpoint `<saga>-<step>-<place>`.
pub(crate) fn pass(saga: &str, step: &str, place: &str, subject: &str) -> Result<(), Hit> {
    if REGISTERED_COUNT.load(Ordering::Acquire) == 0 && FROM_ENVIRONMENT.is_empty() {
        return Ok(());
    }
    let name = format!("{saga}-{step}-{place}");
    let registered = {
        let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        let action = registered.remove(&(name.clone(), subject.to_owned()));
        REGISTERED_COUNT.store(registered.len(), Ordering::Release);
        action
    };
    match registered.or_else(|| FROM_ENVIRONMENT.get(&name).copied()) {
        None => Ok(()),
        Some(Failpoint::Kill) => std::process::abort(),
        Some(Failpoint::Crash) => Err(Hit::Crash),
        Some(Failpoint::Error) => {
            let error = ApiError::new(ErrorCode::Internal, format!("failpoint {name}"));
            Err(Hit::Error(StepError::Refused(error)))
        }
    }
}
