//! The rows of a saga.

use chrono::{DateTime, Utc};
use rowhouse_postgres::{DatabaseResult, Row, SystemConnection, params};
use rowhouse_types::{SagaId, TenantId};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// How long a lease holds; a dead process's saga is taken over after this.
pub(crate) const LEASE_SECONDS: i32 = 30;

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
    /// `running`, `succeeded`, `compensating`, `compensated` or `failed`.
    pub status: String,
    /// What went wrong.
    pub error: Option<String>,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Its steps so far; only where one saga is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<SagaStepOut>,
}

/// A step that was done, failed or was taken back.
#[derive(Debug, Clone, Serialize)]
pub struct SagaStepOut {
    /// Its name.
    pub name: String,
    /// `done`, `failed` or `undone`.
    pub outcome: String,
    /// What went wrong.
    pub error: Option<String>,
    /// How long it took.
    pub duration_ms: i64,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
}

/// A saga as the engine drives it.
pub(crate) struct SagaRow {
    pub(crate) id: SagaId,
    pub(crate) definition: String,
    pub(crate) subject: String,
    pub(crate) status: String,
    pub(crate) step: i32,
    pub(crate) state: Value,
}

pub(crate) async fn saga_insert(
    connection: &SystemConnection,
    row: &SagaRow,
    tenant: Option<TenantId>,
    owner: Uuid,
) -> DatabaseResult<()> {
    const INSERT: &str = "
        insert into control.sagas (id, definition, subject, tenant_id, status, step, state, lease_owner, lease_until)
        values ($1, $2, $3, $4, 'running', $5, $6, $7, now() + make_interval(secs => 30))";
    let values = params![row.id, &row.definition, &row.subject, tenant, row.step, &row.state, owner];
    connection.query(INSERT, values).await.map(drop)
}

/// Writes where a saga stands and renews its lease. False if the lease is somebody else's now.
pub(crate) async fn saga_update(
    connection: &SystemConnection,
    row: &SagaRow,
    owner: Uuid,
    error: Option<&str>,
) -> DatabaseResult<bool> {
    const UPDATE: &str = "
        update control.sagas set status = $3, step = $4, state = $5, error = coalesce($6, error), updated_at = now(),
               lease_until = now() + make_interval(secs => 30),
               finished_at = case when $3 in ('succeeded', 'compensated', 'failed') then now() end
        where id = $1 and lease_owner = $2 returning 1";
    let values = params![row.id, owner, &row.status, row.step, &row.state, error];
    Ok(connection.query_opt(UPDATE, values).await?.is_some())
}

pub(crate) async fn lease_renew(connection: &SystemConnection, id: SagaId, owner: Uuid) -> DatabaseResult<()> {
    const RENEW: &str = "
        update control.sagas set lease_until = now() + make_interval(secs => 30) where id = $1 and lease_owner = $2";
    connection.query(RENEW, params![id, owner]).await.map(drop)
}

/// Takes over one saga whose lease has run out.
pub(crate) async fn saga_claim(connection: &SystemConnection, owner: Uuid) -> DatabaseResult<Option<SagaRow>> {
    const CLAIM: &str = "
        update control.sagas set lease_owner = $1, lease_until = now() + make_interval(secs => 30)
        where id = (select id from control.sagas where status in ('running', 'compensating') and lease_until < now()
                    order by lease_until limit 1 for update skip locked)
        returning id, definition, subject, status, step, state";
    Ok(connection.query_opt(CLAIM, params![owner]).await?.map(|row| saga_row(&row)))
}

fn saga_row(row: &Row) -> SagaRow {
    SagaRow {
        id: SagaId::from_uuid(row.get(0)),
        definition: row.get(1),
        subject: row.get(2),
        status: row.get(3),
        step: row.get(4),
        state: row.get(5),
    }
}

pub(crate) async fn step_insert(
    connection: &SystemConnection,
    id: SagaId,
    position: i32,
    name: &str,
    outcome: &str,
    error: Option<&str>,
    duration_ms: i64,
) -> DatabaseResult<()> {
    const INSERT: &str = "
        insert into control.saga_steps (saga_id, position, name, outcome, error, duration_ms) values ($1, $2, $3, $4, $5, $6)";
    connection.query(INSERT, params![id, position, name, outcome, error, duration_ms]).await.map(drop)
}

const COLUMNS: &str = "id, definition, subject, tenant_id, status, error, created_at, finished_at";

fn saga_out(row: &Row) -> SagaOut {
    SagaOut {
        id: SagaId::from_uuid(row.get(0)),
        kind: row.get(1),
        subject: row.get(2),
        tenant_id: row.get::<_, Option<Uuid>>(3).map(TenantId::from_uuid),
        status: row.get(4),
        error: row.get(5),
        created_at: row.get(6),
        finished_at: row.get(7),
        steps: Vec::new(),
    }
}

pub(crate) async fn sagas_list(connection: &SystemConnection, limit: u32) -> DatabaseResult<Vec<SagaOut>> {
    let sql = format!("select {COLUMNS} from control.sagas order by id desc limit $1");
    let rows = connection.query(&sql, params![i64::from(limit)]).await?;
    Ok(rows.iter().map(saga_out).collect())
}

pub(crate) async fn saga_get(connection: &SystemConnection, id: SagaId) -> DatabaseResult<Option<SagaOut>> {
    const STEPS: &str = "
        select name, outcome, error, duration_ms, finished_at from control.saga_steps where saga_id = $1 order by id limit 1000";
    let sql = format!("select {COLUMNS} from control.sagas where id = $1");
    let Some(row) = connection.query_opt(&sql, params![id]).await? else { return Ok(None) };
    let mut saga = saga_out(&row);
    for row in connection.query(STEPS, params![id]).await? {
        saga.steps.push(SagaStepOut {
            name: row.get(0),
            outcome: row.get(1),
            error: row.get(2),
            duration_ms: row.get(3),
            finished_at: row.get(4),
        });
    }
    Ok(Some(saga))
}
