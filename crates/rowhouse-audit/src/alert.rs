//! Alerts: counted from the database, so that several processes agree; one open alert for each
//! subject, brought up to date rather than repeated.

use chrono::{DateTime, Utc};
use rowhouse_postgres::{DatabaseResult, Row, SystemConnection, TenantConnection, params};
use rowhouse_types::TenantId;
use serde::Serialize;
use uuid::Uuid;

use crate::event::page_limit;

/// An alert.
#[derive(Debug, Clone, Serialize)]
pub struct Alert {
    /// Its id; ordered by time.
    pub id: Uuid,
    /// What kind of event or condition raised it.
    pub kind: String,
    /// `low`, `medium` or `high`.
    pub severity: String,
    /// Who or what it is about: `user:…`, `ip:…` or `target:…`.
    pub subject: String,
    /// The person, if known.
    pub user_id: Option<Uuid>,
    /// The tenant they worked in.
    pub tenant_id: Option<Uuid>,
    /// The address they last came from.
    pub ip: Option<String>,
    /// One sentence.
    pub title: String,
    /// How many events it counts, from the first one on; of a condition, how many looks found it.
    pub count: i64,
    /// The first event.
    pub first_at: DateTime<Utc>,
    /// The last event.
    pub last_at: DateTime<Utc>,
    /// When an operator took note.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// When a look found its condition no more.
    pub ended_at: Option<DateTime<Utc>>,
}

impl Alert {
    fn from_row(row: &Row) -> Self {
        Self {
            id: row.get(0),
            kind: row.get(1),
            severity: row.get(2),
            subject: row.get(3),
            user_id: row.get(4),
            tenant_id: row.get(5),
            ip: row.get(6),
            title: row.get(7),
            count: row.get(8),
            first_at: row.get(9),
            last_at: row.get(10),
            acknowledged_at: row.get(11),
            ended_at: row.get(12),
        }
    }
}

/// Raises or updates the alerts of subjects with more than 5 attempts within any 60 seconds of
/// the time looked at (requirement I7). Gives the subjects of alerts that are new.
///
/// Must run after the events were committed: of two processes that write at the same time, the
/// one that looks last then sees the events of both.
pub(crate) async fn raise(
    connection: &SystemConnection,
    subjects: Vec<String>,
    seconds_back: i64,
) -> DatabaseResult<Vec<String>> {
    const RAISE: &str = "
        with counted as (
            select e.subject, e.user_id, e.tenant_id, e.ip, e.occurred_at,
                   count(*) over minute as attempts, min(e.occurred_at) over minute as first_at
            from control.security_events e
            where e.kind = 'cross_tenant_access_attempt' and e.subject = any($1)
              and e.occurred_at > clock_timestamp() - make_interval(secs => $2::int8::float8)
            window minute as (partition by e.subject order by e.occurred_at
                              range between interval '60 seconds' preceding and current row)
        ), due as (
            select distinct on (subject) subject, user_id, tenant_id, ip, attempts, first_at, occurred_at as last_at
            from counted where attempts > 5 order by subject, occurred_at desc
        )
        insert into control.alerts as a
            (kind, severity, subject, user_id, tenant_id, ip, title, count, first_at, last_at)
        select 'cross_tenant_access_attempt', 'high', subject, user_id, tenant_id, ip,
               case when user_id is null then 'An address' else 'A user' end
                   || ' tried to reach other tenants more than 5 times within 60 seconds',
               attempts, first_at, last_at
        from due
        on conflict (kind, subject) where acknowledged_at is null do update set
            tenant_id = coalesce(excluded.tenant_id, a.tenant_id),
            ip = coalesce(excluded.ip, a.ip),
            last_at = greatest(a.last_at, excluded.last_at),
            count = (select count(*) from control.security_events e
                     where e.kind = a.kind and e.subject = a.subject and e.occurred_at >= a.first_at)
        returning subject, xmax = 0";
    let rows = connection.query(RAISE, params![subjects, seconds_back]).await?;
    Ok(rows.iter().filter(|row| row.get(1)).map(|row| row.get(0)).collect())
}

/// Which alerts to list: the 50 raised last unless narrowed.
#[derive(Debug, Clone, Default)]
pub struct AlertFilter {
    /// Only of this tenant.
    pub tenant: Option<TenantId>,
    /// Only those that no operator has taken note of.
    pub open: bool,
    /// Only those older than this one: the last of the page before.
    pub before: Option<Uuid>,
    /// How many at most; bounded by 201.
    pub limit: Option<u32>,
}

macro_rules! list_alerts {
    ($tenant:literal) => {
        concat!(
            "select id, kind, severity, subject, user_id, tenant_id, ip, title, count, first_at, last_at, acknowledged_at,
                    ended_at
             from control.alerts
             where ",
            $tenant,
            " and (acknowledged_at is null or not $2) and ($3::uuid is null or id < $3)
             order by id desc limit $4"
        )
    };
}

const LIST_ALL: &str = list_alerts!("$1::uuid is null");
const LIST_OF_TENANT: &str = list_alerts!("tenant_id = $1");

pub(crate) async fn list(connection: &SystemConnection, filter: &AlertFilter) -> DatabaseResult<Vec<Alert>> {
    let AlertFilter { tenant, open, before, limit } = filter;
    let sql = if tenant.is_some() { LIST_OF_TENANT } else { LIST_ALL };
    let rows = connection.query(sql, params![*tenant, *open, *before, page_limit(*limit)]).await?;
    Ok(rows.iter().map(Alert::from_row).collect())
}

/// A tenant's own; whatever tenant the filter names.
pub(crate) async fn list_of_tenant(connection: &TenantConnection, filter: &AlertFilter) -> DatabaseResult<Vec<Alert>> {
    let AlertFilter { tenant: _, open, before, limit } = filter;
    let values = params![connection.tenant(), *open, *before, page_limit(*limit)];
    Ok(connection.run(LIST_OF_TENANT, values).await?.iter().map(Alert::from_row).collect())
}

/// Closes an alert; the next one of its subject is a new one. Gives whether it was open.
pub(crate) async fn acknowledge(connection: &SystemConnection, alert: Uuid) -> DatabaseResult<bool> {
    const CLOSE: &str = "
        update control.alerts set acknowledged_at = now() where id = $1 and acknowledged_at is null returning 1";
    Ok(connection.query_opt(CLOSE, params![alert]).await?.is_some())
}
