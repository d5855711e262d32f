//! Lines of the audit log: what operators, people and the system did.

use chrono::{DateTime, Utc};
use rowhouse_postgres::{DatabaseResult, Row, SystemConnection, TenantConnection, params};
use rowhouse_types::TenantId;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::actor::Actor;
use crate::event::page_limit;
use crate::text::{TEXT_LENGTH_MAX, bounded, bounded_json};

/// One line, before it is written: [`Actor::did`] begins it.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    actor: Actor,
    action: &'static str,
    target: Option<String>,
    tenant: Option<TenantId>,
    details: Value,
}

impl AuditEntry {
    pub(crate) fn new(actor: Actor, action: &'static str) -> Self {
        Self { actor, action, target: None, tenant: None, details: json!({}) }
    }

    /// Names what it was done to, by kind and id: `alert:018f…`.
    #[must_use]
    pub fn on(mut self, kind: &str, id: impl std::fmt::Display) -> Self {
        self.target = Some(bounded(&format!("{kind}:{id}"), TEXT_LENGTH_MAX));
        self
    }

    /// Names the tenant it was done to.
    #[must_use]
    pub fn on_tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Adds details; never secrets or personal data.
    #[must_use]
    pub fn with_details(mut self, mut details: Value) -> Self {
        bounded_json(&mut details);
        self.details = details;
        self
    }

    /// Writes the line in the caller's own transaction, so that the deed and its record are one.
    pub async fn write(&self, connection: &SystemConnection) -> DatabaseResult<()> {
        insert(connection, vec![self.line(Uuid::now_v7(), 0.0)]).await
    }

    /// The line of a batch, for [`insert`].
    pub(crate) fn line(&self, id: Uuid, age_seconds: f64) -> Value {
        json!({
            "id": id,
            "age_seconds": age_seconds,
            "actor_kind": self.actor.kind,
            "actor_id": self.actor.id,
            "action": self.action,
            "target": self.target,
            "tenant_id": self.tenant,
            "request_id": self.actor.request_id,
            "operator_id": self.actor.operator,
            "details": self.details,
        })
    }
}

/// Writes one line in the caller's own transaction; the same as [`AuditEntry::write`].
pub async fn audit_write(connection: &SystemConnection, entry: &AuditEntry) -> DatabaseResult<()> {
    entry.write(connection).await
}

/// Writes many lines in the caller's own transaction, with one statement.
pub async fn entries_write(connection: &SystemConnection, entries: &[AuditEntry]) -> DatabaseResult<()> {
    if entries.is_empty() {
        return Ok(());
    }
    insert(connection, entries.iter().map(|entry| entry.line(Uuid::now_v7(), 0.0)).collect()).await
}

/// Writes a batch; a line that is there already is left.
pub(crate) async fn insert(connection: &SystemConnection, lines: Vec<Value>) -> DatabaseResult<()> {
    const INSERT: &str = "
        insert into control.audit_log
            (id, occurred_at, actor_kind, actor_id, action, target, tenant_id, request_id, details, operator_id)
        select e.id, clock_timestamp() - make_interval(secs => e.age_seconds), e.actor_kind, e.actor_id, e.action,
               e.target, e.tenant_id, e.request_id, e.details, e.operator_id
        from jsonb_to_recordset($1) as e(
            id uuid, age_seconds float8, actor_kind text, actor_id uuid, action text, target text, tenant_id uuid,
            request_id text, details jsonb, operator_id uuid)
        on conflict (id) do nothing";
    connection.query(INSERT, params![Value::Array(lines)]).await.map(drop)
}

/// One line as it was written.
#[derive(Debug, Clone, Serialize)]
pub struct RecordedEntry {
    /// Its id; ordered by time.
    pub id: Uuid,
    /// When.
    pub occurred_at: DateTime<Utc>,
    /// `operator`, `user`, `key` or `system`.
    pub actor_kind: String,
    /// Which operator, person or API key.
    pub actor_id: Option<Uuid>,
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub target: Option<String>,
    /// The tenant it was done to.
    pub tenant_id: Option<Uuid>,
    /// The request that it was part of.
    pub request_id: Option<String>,
    /// What else is known; for operators only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// The operator who did it in the person's place.
    pub operator_id: Option<Uuid>,
}

impl RecordedEntry {
    fn from_row(row: &Row) -> Self {
        Self {
            id: row.get(0),
            occurred_at: row.get(1),
            actor_kind: row.get(2),
            actor_id: row.get(3),
            action: row.get(4),
            target: row.get(5),
            tenant_id: row.get(6),
            request_id: row.get(7),
            details: row.get(8),
            operator_id: row.get(9),
        }
    }
}

/// Which lines to list: the newest 50 unless narrowed.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    /// Only of this tenant.
    pub tenant: Option<TenantId>,
    /// Only those older than this one: the last of the page before.
    pub before: Option<Uuid>,
    /// How many at most; bounded by 201.
    pub limit: Option<u32>,
}

macro_rules! list_entries {
    ($details:literal, $tenant:literal) => {
        concat!(
            "select id, occurred_at, actor_kind, actor_id, action, target, tenant_id, request_id, ",
            $details,
            ", operator_id from control.audit_log
             where ",
            $tenant,
            " and ($2::uuid is null or id < $2)
             order by id desc limit $3"
        )
    };
}

const LIST_ALL: &str = list_entries!("details", "$1::uuid is null");
const LIST_ABOUT_TENANT: &str = list_entries!("details", "tenant_id = $1");
const LIST_OF_TENANT: &str = list_entries!("null::jsonb", "tenant_id = $1");

pub(crate) async fn list(connection: &SystemConnection, filter: &EntryFilter) -> DatabaseResult<Vec<RecordedEntry>> {
    let EntryFilter { tenant, before, limit } = filter;
    let sql = if tenant.is_some() { LIST_ABOUT_TENANT } else { LIST_ALL };
    let rows = connection.query(sql, params![*tenant, *before, page_limit(*limit)]).await?;
    Ok(rows.iter().map(RecordedEntry::from_row).collect())
}

/// A tenant's own; whatever tenant the filter names.
pub(crate) async fn list_of_tenant(
    connection: &TenantConnection,
    filter: &EntryFilter,
) -> DatabaseResult<Vec<RecordedEntry>> {
    let EntryFilter { tenant: _, before, limit } = filter;
    let values = params![connection.tenant(), *before, page_limit(*limit)];
    Ok(connection.run(LIST_OF_TENANT, values).await?.iter().map(RecordedEntry::from_row).collect())
}
