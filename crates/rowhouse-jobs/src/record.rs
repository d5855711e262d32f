//! The rows of a saga. Each change is one statement that writes the saga and its steps together,
//! and only for whoever holds the lease.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use rowhouse_postgres::{DatabaseResult, Param, Row, SystemConnection, params};
use rowhouse_types::{SagaId, TenantId};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::listing::SagaStatus;

/// How long a lease holds; a dead process's saga is taken over after this.
pub(crate) const LEASE_SECONDS: i32 = 30;

/// A saga as the engine drives it.
#[derive(Debug, Clone)]
pub(crate) struct SagaRow {
    pub(crate) id: SagaId,
    pub(crate) definition: String,
    pub(crate) subject: String,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) status: SagaStatus,
    pub(crate) step: i32,
    pub(crate) undoing: bool,
    pub(crate) cancel_requested: bool,
    pub(crate) attempts: i32,
    pub(crate) state: Value,
}

/// A step to be recorded.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StepRecord {
    step: i32,
    name: &'static str,
    status: &'static str,
    attempt: i32,
    started_at: DateTime<Utc>,
    finished_at: DateTime<Utc>,
    error: Option<Value>,
    output: Option<Value>,
}

impl StepRecord {
    /// A step that was done; `row` is the saga before it.
    pub(crate) fn done(name: &'static str, row: &SagaRow, started_at: DateTime<Utc>, output: Option<Value>) -> Self {
        Self { output, ..Self::ended(name, "done", row, started_at) }
    }

    /// A step that failed, or whose taking back failed.
    pub(crate) fn failed(name: &'static str, row: &SagaRow, error: Value) -> Self {
        Self { error: Some(error), ..Self::ended(name, "failed", row, Utc::now()) }
    }

    /// A step that was taken back.
    pub(crate) fn undone(name: &'static str, row: &SagaRow, started_at: DateTime<Utc>) -> Self {
        Self::ended(name, "undone", row, started_at)
    }

    fn ended(name: &'static str, status: &'static str, row: &SagaRow, started_at: DateTime<Utc>) -> Self {
        let (step, attempt) = (row.step, row.attempts + 1);
        Self { step, name, status, attempt, started_at, finished_at: Utc::now(), error: None, output: None }
    }
}

fn steps_json(steps: &[StepRecord]) -> Value {
    serde_json::to_value(steps).expect("a step's record has text keys only")
}

/// Who may drive a new saga.
pub(crate) enum Hold {
    /// This engine, for as long as a lease holds.
    Lease(Uuid),
    /// Any worker, after so many seconds.
    Until(i32),
}

/// Writes a new saga, and the steps that were done together with it.
pub(crate) async fn saga_insert(
    connection: &SystemConnection,
    row: &SagaRow,
    input: &Value,
    hold: Hold,
    steps: &[StepRecord],
) -> DatabaseResult<()> {
    const INSERT: &str = "
        with steps as (
            insert into control.saga_steps (saga_id, number, step, name, status, attempt, started_at, finished_at, error, output)
            select $1, row_number() over (), s.* from jsonb_to_recordset($9) as s (
                step integer, name text, status text, attempt integer, started_at timestamptz, finished_at timestamptz,
                error jsonb, output jsonb))
        insert into control.sagas (
            id, definition, subject, tenant_id, status, step, state, input, lease_owner, lease_until, finished_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $10::uuid, now() + make_interval(secs => $11::integer),
                case when $5 = 'succeeded' then now() end)";
    let (owner, seconds) = match hold {
        Hold::Lease(owner) => (Some(owner), LEASE_SECONDS),
        Hold::Until(seconds) => (None, seconds),
    };
    let values = params![
        row.id,
        row.definition.as_str(),
        row.subject.as_str(),
        row.tenant,
        row.status.as_str(),
        row.step,
        &row.state,
        input,
        steps_json(steps),
        owner,
        seconds
    ];
    connection.query(INSERT, values).await.map(drop)
}

/// Writes where a saga stands together with its steps, and renews its lease; one that has ended
/// or waits gives it back. `error` is kept until another replaces it. False if the lease is
/// somebody else's now; then nothing is written.
pub(crate) async fn saga_update(
    connection: &SystemConnection,
    row: &SagaRow,
    owner: Uuid,
    error: Option<&Value>,
    wait_seconds: Option<i32>,
    steps: &[StepRecord],
) -> DatabaseResult<bool> {
    const UPDATE: &str = "
        with held as (select id from control.sagas where id = $1 and lease_owner = $2 for update),
        steps as (
            insert into control.saga_steps (saga_id, number, step, name, status, attempt, started_at, finished_at, error, output)
            select held.id, (select count(*) from control.saga_steps where saga_id = $1) + row_number() over (), s.*
            from held, jsonb_to_recordset($9) as s (
                step integer, name text, status text, attempt integer, started_at timestamptz, finished_at timestamptz,
                error jsonb, output jsonb))
        update control.sagas set
            status = $3, step = $4, state = $5, undoing = $6, attempts = $7, error = coalesce($8, error), updated_at = now(),
            lease_owner = case when $10::integer is null and not $11 then lease_owner end,
            lease_until = now() + make_interval(secs => coalesce($10::integer, $12::integer)),
            finished_at = case when $11 then now() end
        where id = (select id from held) returning 1";
    let values = params![
        row.id,
        owner,
        row.status.as_str(),
        row.step,
        &row.state,
        row.undoing,
        row.attempts,
        Param::Json(error.map(Cow::Borrowed)),
        steps_json(steps),
        wait_seconds,
        row.status.is_final(),
        LEASE_SECONDS
    ];
    Ok(connection.query_opt(UPDATE, values).await?.is_some())
}

/// What a step learns before it begins, in its own transaction.
pub(crate) struct Held {
    /// The lease is the caller's.
    pub(crate) leased: bool,
    /// No other step of the saga is running: not in a process that lost its lease, nor in a
    /// session of one that died, which the server may end only after its last statement.
    pub(crate) locked: bool,
    /// An operator wants it taken back.
    pub(crate) cancel_requested: bool,
}

/// Takes the saga's lock for the running transaction and tells whether the lease is held. None if
/// there is no such saga.
pub(crate) async fn saga_hold(connection: &SystemConnection, id: SagaId, owner: Uuid) -> DatabaseResult<Option<Held>> {
    const HOLD: &str = "
        select coalesce(lease_owner = $2, false), pg_try_advisory_xact_lock(hashtextextended('rowhouse saga ' || id, 0)),
               cancel_requested
        from control.sagas where id = $1";
    let row = connection.query_opt(HOLD, params![id, owner]).await?;
    Ok(row.map(|row| Held { leased: row.get(0), locked: row.get(1), cancel_requested: row.get(2) }))
}

pub(crate) async fn lease_renew(connection: &SystemConnection, id: SagaId, owner: Uuid) -> DatabaseResult<()> {
    const RENEW: &str = "
        update control.sagas set lease_until = now() + make_interval(secs => $3::integer) where id = $1 and lease_owner = $2";
    connection.query(RENEW, params![id, owner, LEASE_SECONDS]).await.map(drop)
}

/// The columns that [`saga_row`] reads, in order.
const DRIVEN: &str = "id, definition, subject, tenant_id, status, step, undoing, cancel_requested, attempts, state";

/// Takes over one saga of a known definition that nobody drives.
pub(crate) async fn saga_claim(
    connection: &SystemConnection,
    owner: Uuid,
    definitions: Vec<String>,
) -> DatabaseResult<Option<SagaRow>> {
    let claim = format!(
        "update control.sagas set lease_owner = $1, lease_until = now() + make_interval(secs => $3::integer),
                status = case when undoing then 'compensating' else 'running' end
         where id = (select id from control.sagas
                     where status in ('queued', 'running', 'waiting', 'compensating') and lease_until <= now()
                       and definition = any($2)
                     order by lease_until limit 1 for update skip locked)
         returning {DRIVEN}"
    );
    let row = connection.query_opt(&claim, params![owner, definitions, LEASE_SECONDS]).await?;
    Ok(row.as_ref().map(saga_row))
}

/// A saga as it is recorded now.
pub(crate) async fn saga_load(connection: &SystemConnection, id: SagaId) -> DatabaseResult<Option<SagaRow>> {
    let load = format!("select {DRIVEN} from control.sagas where id = $1");
    Ok(connection.query_opt(&load, params![id]).await?.as_ref().map(saga_row))
}

fn saga_row(row: &Row) -> SagaRow {
    SagaRow {
        id: SagaId::from_uuid(row.get(0)),
        definition: row.get(1),
        subject: row.get(2),
        tenant: row.get::<_, Option<Uuid>>(3).map(TenantId::from_uuid),
        status: SagaStatus::of_row(row, 4),
        step: row.get(5),
        undoing: row.get(6),
        cancel_requested: row.get(7),
        attempts: row.get(8),
        state: row.get(9),
    }
}

/// Gives a stuck or waiting saga to whoever comes next. False if it is neither.
pub(crate) async fn saga_retry(connection: &SystemConnection, id: SagaId) -> DatabaseResult<bool> {
    const RETRY: &str = "
        update control.sagas set status = case when undoing then 'compensating' else 'queued' end, attempts = 0,
               lease_owner = null, lease_until = now(), finished_at = null, updated_at = now()
        where id = $1 and status in ('failed', 'waiting') returning 1";
    Ok(connection.query_opt(RETRY, params![id]).await?.is_some())
}

/// Asks for a saga to be taken back. Whoever drives it notices at its next step; one that nobody
/// drives is free for the next worker at once. False if it has ended or goes backwards already.
pub(crate) async fn saga_cancel(connection: &SystemConnection, id: SagaId) -> DatabaseResult<bool> {
    const CANCEL: &str = "
        update control.sagas set cancel_requested = true, updated_at = now(),
               lease_until = case when lease_owner is null then now() else lease_until end
        where id = $1 and status in ('queued', 'running', 'waiting') and not undoing returning 1";
    Ok(connection.query_opt(CANCEL, params![id]).await?.is_some())
}
