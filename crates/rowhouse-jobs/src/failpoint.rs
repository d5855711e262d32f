//! Failpoints: places where tests make a saga fail or the process die, named
//! `<saga>-<step>-<before|after>`. `ROWHOUSE_FAILPOINTS=name=kill;name=error` sets them for a
//! process; [`set_failpoint`] for one subject within a test.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use rowhouse_types::{ApiError, ErrorCode};

use crate::saga::StepError;

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

static FROM_ENVIRONMENT: LazyLock<HashMap<String, Failpoint>> = LazyLock::new(|| {
    let text = std::env::var("ROWHOUSE_FAILPOINTS").unwrap_or_default();
    let parse = |part: &str| {
        let (name, action) = part.split_once('=')?;
        let action = match action {
            "kill" => Failpoint::Kill,
            "error" => Failpoint::Error,
            _ => return None,
        };
        Some((name.to_owned(), action))
    };
    text.split(';').filter_map(parse).collect()
});

type Registered = Mutex<HashMap<(String, String), Failpoint>>;
static REGISTERED: LazyLock<Registered> = LazyLock::new(Mutex::default);

/// Makes a saga about `subject` meet this at the named failpoint, once.
pub fn set_failpoint(name: &str, subject: &str, action: Failpoint) {
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    registered.insert((name.to_owned(), subject.to_owned()), action);
}

pub(crate) fn pass(saga: &str, step: &str, when: &str, subject: &str) -> Result<(), StepError> {
    let name = format!("{saga}-{step}-{when}");
    let registered = {
        let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        if registered.is_empty() { None } else { registered.remove(&(name.clone(), subject.to_owned())) }
    };
    match registered.or_else(|| FROM_ENVIRONMENT.get(&name).copied()) {
        None => Ok(()),
        Some(Failpoint::Kill) => std::process::abort(),
        Some(Failpoint::Crash) => Err(StepError::Crashed),
        Some(Failpoint::Error) => {
            Err(StepError::Refused(ApiError::new(ErrorCode::Internal, format!("failpoint {name}"))))
        }
    }
}
