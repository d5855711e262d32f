//! Sagas as operators see them.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use rowhouse_postgres::{DatabaseResult, Row, SystemConnection, params};
use rowhouse_types::{PER_PAGE_DEFAULT, SagaId, TenantId};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// Steps of one saga that are shown; what happened first is what an operator asks about.
const STEPS_SHOWN_MAX: i64 = 1000;

/// Where a saga stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SagaStatus {
    /// To be begun by a worker.
    Queued,
    /// Driven, or to be taken over when its lease runs out.
    Running,
    /// A step failed for a reason that may pass; it is tried again later.
    Waiting,
    /// What it has done is being taken back.
    Compensating,
    /// Done.
    Succeeded,
    /// Failed; everything was taken back.
    Compensated,
    /// Cancelled; everything was taken back.
    Cancelled,
    /// Stuck: a step, or taking one back, failed for good. An operator may retry it.
    Failed,
}

impl SagaStatus {
    const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Waiting,
        Self::Compensating,
        Self::Succeeded,
        Self::Compensated,
        Self::Cancelled,
        Self::Failed,
    ];

    /// The word in the database and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Compensating => "compensating",
            Self::Succeeded => "succeeded",
            Self::Compensated => "compensated",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more happens to it by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Compensated | Self::Cancelled | Self::Failed)
    }

    pub(crate) fn of_row(row: &Row, column: usize) -> Self {
        row.get::<_, &str>(column).parse().expect("the table's check allows known words only")
    }
}

/// A word that is no saga's status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no status of an operation")]
pub struct UnknownStatus(String);

impl FromStr for SagaStatus {
    type Err = UnknownStatus;

    fn from_str(word: &str) -> Result<Self, UnknownStatus> {
        let known = Self::ALL.into_iter().find(|status| status.as_str() == word);
        known.ok_or_else(|| UnknownStatus(word.to_owned()))
    }
}

/// A saga as operators see it.
#[derive(Debug, Clone, Serialize)]
pub struct SagaOut {
    /// Its id.
    pub id: SagaId,
    /// Its definition.
    pub kind: String,
    /// What it is about, in a word: a slug.
    pub subject: String,
    /// The tenant.
    pub tenant_id: Option<TenantId>,
    /// Where it stands.
    pub status: SagaStatus,
    /// The number of the step to be done next, from 0, or to be taken back next.
    pub step: i32,
    /// Attempts that failed since the last step that succeeded.
    pub attempts: i32,
    /// What went wrong: `{code, message}`.
    pub error: Option<Value>,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When something happened last.
    pub updated_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// What happened so far, in order; only where one saga is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<SagaStepOut>,
}

/// A step that was done, failed or was taken back.
#[derive(Debug, Clone, Serialize)]
pub struct SagaStepOut {
    /// Its name.
    pub name: String,
    /// `done`, `failed` or `undone`.
    pub status: String,
    /// Which attempt it was, from 1.
    pub attempt: i32,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// What went wrong: `{code, message}`.
    pub error: Option<Value>,
    /// What it said about itself.
    pub output: Option<Value>,
}

/// Which sagas to list.
#[derive(Debug, Clone)]
pub struct ListSagas {
    /// Of this status.
    pub status: Option<SagaStatus>,
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// Older than this one.
    pub before: Option<SagaId>,
    /// At most so many.
    pub limit: u32,
}

impl Default for ListSagas {
    fn default() -> Self {
        Self { status: None, tenant: None, before: None, limit: PER_PAGE_DEFAULT }
    }
}

const COLUMNS: &str =
    "id, definition, subject, tenant_id, status, step, attempts, error, created_at, updated_at, finished_at";

fn saga_out(row: &Row) -> SagaOut {
    SagaOut {
        id: SagaId::from_uuid(row.get(0)),
        kind: row.get(1),
        subject: row.get(2),
        tenant_id: row.get::<_, Option<Uuid>>(3).map(TenantId::from_uuid),
        status: SagaStatus::of_row(row, 4),
        step: row.get(5),
        attempts: row.get(6),
        error: row.get(7),
        created_at: row.get(8),
        updated_at: row.get(9),
        finished_at: row.get(10),
        steps: Vec::new(),
    }
}

/// Sagas, the newest first.
pub(crate) async fn sagas_list(connection: &SystemConnection, list: &ListSagas) -> DatabaseResult<Vec<SagaOut>> {
    let sql = format!(
        "select {COLUMNS} from control.sagas
         where ($1::text is null or status = $1) and ($2::uuid is null or tenant_id = $2) and ($3::uuid is null or id < $3)
         order by id desc limit $4"
    );
    let values = params![list.status.map(SagaStatus::as_str), list.tenant, list.before, i64::from(list.limit)];
    Ok(connection.query(&sql, values).await?.iter().map(saga_out).collect())
}

/// One saga with its steps.
pub(crate) async fn saga_get(connection: &SystemConnection, id: SagaId) -> DatabaseResult<Option<SagaOut>> {
    const STEPS: &str = "
        select name, status, attempt, started_at, finished_at, error, output from control.saga_steps
        where saga_id = $1 order by number limit $2";
    let sql = format!("select {COLUMNS} from control.sagas where id = $1");
    let Some(row) = connection.query_opt(&sql, params![id]).await? else { return Ok(None) };
    let mut saga = saga_out(&row);
    for row in connection.query(STEPS, params![id, STEPS_SHOWN_MAX]).await? {
        saga.steps.push(SagaStepOut {
            name: row.get(0),
            status: row.get(1),
            attempt: row.get(2),
            started_at: row.get(3),
            finished_at: row.get(4),
            error: row.get(5),
            output: row.get(6),
        });
    }
    Ok(Some(saga))
}
