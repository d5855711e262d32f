//! Alerts of conditions: of what is so, and stays so until somebody changes it, rather than of
//! what happens. Whoever looks tells all that it finds; what it told before and finds no more has
//! ended.

use rowhouse_postgres::{DatabaseResult, SystemConnection, params};
use serde_json::{Value, json};

use crate::event::Severity;

/// What a look found to be wrong.
#[derive(Debug, Clone)]
pub struct Condition {
    /// What it is about: `target:…`.
    pub subject: String,
    /// How it is wrong: another state of the same subject is another condition.
    pub state: String,
    /// One sentence for operators.
    pub title: String,
}

/// Records all conditions of a kind that a look has found, within the caller's transaction. Gives
/// the subjects of alerts that are new.
///
/// A subject has one open alert, which is brought up to date. One that an operator has taken note
/// of is not raised again while it lasts, but is when its state has changed, or when it has ended
/// and is back. Nobody may record conditions of the same kind at the same time.
pub async fn conditions_record(
    connection: &SystemConnection,
    kind: &str,
    severity: Severity,
    found: &[Condition],
) -> DatabaseResult<Vec<String>> {
    const END: &str = "
        update control.alerts a set ended_at = now()
        where a.kind = $1 and a.ended_at is null and not exists (
            select 1 from jsonb_to_recordset($2) as found (subject text, state text)
            where found.subject = a.subject and found.state = a.state)";
    const RAISE: &str = "
        insert into control.alerts as a (kind, severity, subject, state, title, count)
        select $1, $2, subject, state, title, 1
        from jsonb_to_recordset($3) as found (subject text, state text, title text)
        where not exists (
            select 1 from control.alerts noted
            where noted.kind = $1 and noted.subject = found.subject and noted.state = found.state
              and noted.ended_at is null and noted.acknowledged_at is not null)
        on conflict (kind, subject) where acknowledged_at is null do update set
            state = excluded.state, title = excluded.title, ended_at = null, last_at = now(), count = a.count + 1
        returning subject, xmax = 0";
    let lines = found
        .iter()
        .map(|Condition { subject, state, title }| json!({ "subject": subject, "state": state, "title": title }));
    let found = Value::Array(lines.collect());
    connection.query(END, params![kind, &found]).await?;
    let rows = connection.query(RAISE, params![kind, severity.as_str(), &found]).await?;
    let raised: Vec<String> = rows.iter().filter(|row| row.get(1)).map(|row| row.get(0)).collect();
    let number = u64::try_from(raised.len()).unwrap_or(u64::MAX);
    metrics::counter!("rowhouse_alerts_total", "kind" => kind.to_owned()).increment(number);
    Ok(raised)
}
