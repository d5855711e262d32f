//! Requests that are expected to be quick, on connections that they share.

use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use rowhouse_types::TenantId;

use crate::authority::TenantContext;
use crate::cluster::ConnectAs;
use crate::databases::{Databases, Entry, checkout};
use crate::error::{DatabaseError, DatabaseResult};
use crate::lanes::Boarding;
use crate::row::Row;
use crate::tenant::{Setting, Statement, TenantConnection};

/// Statements that are remembered as too slow for a lane.
const SLOW_MAX: u64 = 10_000;
/// For so long.
const SLOW_REMEMBERED: Duration = Duration::from_secs(60);
/// What a quick request does: nobody who reads waits behind somebody who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing but rows comes of it.
    Read,
    /// It changes rows of the tenant's, and nothing that a rollback would leave.
    Write,
}

/// Statements that were too slow for a lane, for a while: hashes of tenant and text.
pub(crate) struct SlowStatements(moka::sync::Cache<u64, ()>);

impl SlowStatements {
    pub(crate) fn new() -> Self {
        Self(moka::sync::Cache::builder().max_capacity(SLOW_MAX).time_to_live(SLOW_REMEMBERED).build())
    }

    fn contains(&self, key: u64) -> bool {
        // Counted first: in most installations nothing is slow.
        self.0.entry_count() > 0 && self.0.contains_key(&key)
    }

    fn add(&self, key: u64) {
        self.0.insert(key, ());
        // The count is brought up to date.
        self.0.run_pending_tasks();
    }
}

impl Databases {
    /// Runs statements that are expected to take a few milliseconds, in one transaction of the
    /// tenant's and one round trip, where its rows live. Like [`TenantConnection::run_all`], but
    /// on a connection that other requests use at the same time. What takes longer than expected
    /// is rolled back and run again on one of its own.
    ///
    /// # Errors
    /// As [`Self::tenant`] and the statements'.
    pub async fn run_quick(
        &self,
        context: &TenantContext,
        access: Access,
        statements: &[Statement<'_>],
    ) -> DatabaseResult<Vec<Vec<Row>>> {
        let location = context.location();
        let cluster = self.cluster(&location.cluster)?;
        let permit = self.tenant_permit(context.tenant(), &cluster).await?;
        let setting = Setting::new(context.tenant(), location);
        let entry = self.pool(&cluster, location, ConnectAs::Service);
        let slow = slow_key(context.tenant(), statements);
        if !self.slow.contains(slow) {
            match run_on_lane(&entry, access, &setting, statements).await? {
                Some(Err(DatabaseError::Timeout | DatabaseError::Locked)) => self.slow.add(slow),
                Some(outcome) => return outcome,
                None => {}
            }
        }
        let connection = TenantConnection::new(checkout(&entry).await?, permit, setting, location);
        let outcome = connection.run_all(statements).await;
        entry.writes.set_used(connection.commits_at_once());
        outcome
    }
}

/// Runs statements on a connection that others use too; nothing if none has room.
async fn run_on_lane(
    entry: &Entry,
    access: Access,
    setting: &Setting,
    statements: &[Statement<'_>],
) -> DatabaseResult<Option<DatabaseResult<Vec<Vec<Row>>>>> {
    let lanes = entry.lanes(access);
    let ride = match lanes.board(|| entry.has_room()) {
        Boarding::Ride(ride) => ride,
        Boarding::Open => lanes.add(checkout(entry).await?),
        Boarding::Full => return Ok(None),
    };
    let outcome = setting.run_on_lane(ride.connection(), statements).await;
    entry.writes.set_used(ride.connection().commits_at_once());
    Ok(outcome)
}

fn slow_key(tenant: TenantId, statements: &[Statement<'_>]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    tenant.hash(&mut hasher);
    for statement in statements {
        statement.sql.hash(&mut hasher);
    }
    hasher.finish()
}
