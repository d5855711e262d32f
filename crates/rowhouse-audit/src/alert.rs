//! Alerts: counted from the database, so that several processes agree.

use chrono::{DateTime, Utc};
use rowhouse_postgres::{DatabaseResult, SystemConnection, params};
use rowhouse_types::UserId;
use serde::Serialize;
use uuid::Uuid;

use crate::event::SecurityEventKind;

/// More attempts than this within [`WINDOW_SECONDS`] raise an alert (requirement I7).
const ATTEMPTS_MAX: i64 = 5;
const WINDOW_SECONDS: i32 = 60;

/// An alert.
#[derive(Debug, Clone, Serialize)]
pub struct Alert {
    /// Its id.
    pub id: Uuid,
    /// What kind of event raised it.
    pub kind: String,
    /// `low`, `medium` or `high`.
    pub severity: String,
    /// Who or what it is about.
    pub subject: String,
    /// One sentence.
    pub title: String,
    /// How many events it counts.
    pub count: i64,
    /// The first event.
    pub first_at: DateTime<Utc>,
    /// The last event.
    pub last_at: DateTime<Utc>,
    /// When an operator took note.
    pub acknowledged_at: Option<DateTime<Utc>>,
}

/// Raises or updates the alert of a person whose attempts are too many.
pub(crate) async fn raise_if_due(connection: &SystemConnection, user: UserId) -> DatabaseResult<bool> {
    const COUNT: &str = "
        select count(*) from control.security_events
        where kind = $1 and user_id = $2 and occurred_at > now() - make_interval(secs => $3)";
    const RAISE: &str = "
        insert into control.alerts (kind, severity, subject, title, count) values ($1, 'high', $2, $3, $4)
        on conflict (kind, subject) where acknowledged_at is null
        do update set count = greatest(control.alerts.count, excluded.count), last_at = now()";
    let kind = SecurityEventKind::CrossTenantAccessAttempt.as_str();
    let window = f64::from(WINDOW_SECONDS);
    let count = COUNT.replace("$3", &window.to_string());
    let attempts: i64 = connection.query_opt(&count, params![kind, user]).await?.map_or(0, |row| row.get(0));
    if attempts <= ATTEMPTS_MAX {
        return Ok(false);
    }
    let title = format!("A user tried to reach other tenants {attempts} times within {WINDOW_SECONDS} seconds");
    connection.query(RAISE, params![kind, format!("user:{user}"), title, attempts]).await?;
    Ok(true)
}

pub(crate) async fn list(connection: &SystemConnection, limit: u32) -> DatabaseResult<Vec<Alert>> {
    const LIST: &str = "
        select id, kind, severity, subject, title, count, first_at, last_at, acknowledged_at
        from control.alerts order by last_at desc, id limit $1";
    let rows = connection.query(LIST, params![i64::from(limit)]).await?;
    let alert = |row: &rowhouse_postgres::Row| Alert {
        id: row.get(0),
        kind: row.get(1),
        severity: row.get(2),
        subject: row.get(3),
        title: row.get(4),
        count: row.get(5),
        first_at: row.get(6),
        last_at: row.get(7),
        acknowledged_at: row.get(8),
    };
    Ok(rows.iter().map(alert).collect())
}
