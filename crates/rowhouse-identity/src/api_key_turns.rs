//! How many requests an API key may make in a minute, over all processes.
//!
//! Each process counts for itself, and brings its count to the database when it looks a key up again,
//! which it does every second that the key is used: so no request waits for a row that others write,
//! and what several processes let through too much is of that second. Only keys with a limit pay.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{KeyId, TenantId};

use crate::error::IdentityError;

const SECONDS: i64 = 60;
const ENTRIES_MAX: u64 = 100_000;
/// What is kept of a key that is not used: its minute is over by then.
const KEPT: Duration = Duration::from_secs(120);

/// The turns of all keys.
pub(crate) struct KeyTurns(Cache<KeyId, Arc<Turns>>);

impl KeyTurns {
    pub(crate) fn new() -> Self {
        Self(Cache::builder().max_capacity(ENTRIES_MAX).time_to_idle(KEPT).build())
    }

    /// Those of a key with a limit, with what other processes have counted.
    pub(crate) async fn of_key(
        &self,
        connection: &SystemConnection,
        tenant: TenantId,
        key: KeyId,
    ) -> Result<Arc<Turns>, IdentityError> {
        // A process whose clock is behind must not take another's count of the next minute away.
        const COUNT: &str = "
            update control.api_keys
            set minute_requests = case when minute < $3 then 0 else minute_requests end
                                  + case when minute > $3 then 0 else $4::int4 end,
                minute = greatest(minute, $3)
            where tenant_id = $1 and id = $2 returning minute, minute_requests";
        let turns = self.0.get_with(key, || Arc::new(Turns::default()));
        let (minute, count) = turns.to_report(chrono::Utc::now().timestamp());
        let row = connection.query_opt(COUNT, params![tenant, key, minute, count]).await?;
        if let Some(row) = row {
            turns.learn(row.get(0), row.get(1));
        }
        Ok(turns)
    }
}

/// What one key has used of a minute.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    number: i64,
    taken: i32,
    reported: i32,
    /// What other processes have reported.
    elsewhere: i32,
}

impl Minute {
    fn roll(&mut self, now: i64) {
        let number = now.div_euclid(SECONDS);
        if self.number != number {
            *self = Self { number, ..Self::default() };
        }
    }
}

impl Turns {
    /// Takes a turn now, in seconds since 1970.
    ///
    /// # Errors
    /// The seconds until there are turns again.
    pub(crate) fn take(&self, limit: i32, now: i64) -> Result<(), u32> {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        minute.roll(now);
        if minute.taken.saturating_add(minute.elsewhere) >= limit {
            return Err(u32::try_from(SECONDS - now.rem_euclid(SECONDS)).unwrap_or(1));
        }
        minute.taken += 1;
        Ok(())
    }

    /// The minute, and the turns in it that nobody else knows of yet.
    fn to_report(&self, now: i64) -> (i64, i32) {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        minute.roll(now);
        let count = minute.taken - minute.reported;
        minute.reported = minute.taken;
        (minute.number, count)
    }

    /// What all processes have reported of a minute.
    fn learn(&self, number: i64, total: i32) {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if minute.number == number {
            minute.elsewhere = total.saturating_sub(minute.reported).max(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_turns_and_the_next_as_many_again() {
        let turns = Turns::default();
        assert_eq!([(); 3].map(|()| turns.take(3, 130)), [Ok(()); 3]);
        assert_eq!(turns.take(3, 130), Err(50));
        assert_eq!(turns.take(3, 179), Err(1));
        assert_eq!(turns.take(3, 180), Ok(()));
    }

    #[test]
    fn turns_that_were_taken_elsewhere_count_once_they_are_known() {
        let turns = Turns::default();
        turns.take(5, 60).unwrap();
        turns.take(5, 61).unwrap();
        assert_eq!(turns.to_report(61), (1, 2));
        assert_eq!(turns.to_report(62), (1, 0), "each is told once");
        turns.learn(1, 4);
        turns.take(5, 63).unwrap();
        assert_eq!(turns.take(5, 64), Err(56));
        turns.learn(0, 100);
        turns.take(6, 65).expect("what is of another minute is not counted");
        assert_eq!(turns.to_report(120), (2, 0), "what is of the last minute neither");
        turns.take(1, 121).unwrap();
    }
}
