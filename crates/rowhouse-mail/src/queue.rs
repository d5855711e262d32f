//! The rows of mails: queued in the transaction of the deed, claimed for the time that an attempt
//! may take, and written only by whoever holds the claim.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use rowhouse_postgres::{DatabaseResult, Row, SystemConnection, params};
use rowhouse_types::TenantId;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::message::Mail;

/// Rows that one statement removes.
const PRUNE_MAX: i32 = 1000;
/// Days that is told what became of a mail.
const KEPT_DAYS: i32 = 30;
/// Most lines of a list: a page of 200 and one more, to tell whether there is another.
const LIST_MAX: u32 = 201;

/// A mail to be sent, as it was claimed.
pub(crate) struct MailRow {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) recipient: String,
    pub(crate) sealed_content: Vec<u8>,
    pub(crate) attempts: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) claim: Uuid,
}

/// Where a mail stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MailStatus {
    /// It is yet to be sent.
    Waiting,
    /// A server took it, or it was kept as a file.
    Sent,
    /// It was given up; the error tells why.
    Failed,
}

impl MailStatus {
    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "sent" => Self::Sent,
            "failed" => Self::Failed,
            _ => Self::Waiting,
        }
    }
}

/// What is known of a mail; never what it says.
#[derive(Debug, Clone, Serialize)]
pub struct MailOut {
    /// Its id; ordered by time.
    pub id: Uuid,
    /// The tenant in whose name it is.
    pub tenant_id: Option<Uuid>,
    /// The person.
    pub user_id: Option<Uuid>,
    /// Which message.
    pub kind: String,
    /// To which address.
    pub recipient: String,
    /// Where it stands.
    pub status: MailStatus,
    /// How often it was tried.
    pub attempts: i32,
    /// What went wrong last.
    pub error: Option<String>,
    /// When it is tried next, while it waits.
    pub due_at: DateTime<Utc>,
    /// When it is given up.
    pub expires_at: DateTime<Utc>,
    /// When it was queued.
    pub created_at: DateTime<Utc>,
    /// When it was sent or given up.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Which mails to list: the 50 queued last unless narrowed.
#[derive(Debug, Clone, Default)]
pub struct MailFilter {
    /// Only those that stand here.
    pub status: Option<MailStatus>,
    /// Only those to this address.
    pub recipient: Option<String>,
    /// Only those of this tenant.
    pub tenant: Option<TenantId>,
    /// Only those older than this one: the last of the page before.
    pub before: Option<Uuid>,
    /// How many at most; bounded by 201.
    pub limit: Option<u32>,
}

pub(crate) async fn mail_insert(
    connection: &SystemConnection,
    id: Uuid,
    mail: &Mail,
    sealed_content: &[u8],
    is_sent: bool,
) -> DatabaseResult<()> {
    const INSERT: &str = "
        insert into control.mails (id, tenant_id, user_id, kind, recipient, sealed_content, expires_at)
        select $1::uuid, $2::uuid, $3::uuid, $4::text, $5::text, $6::bytea, now() + make_interval(secs => $7::bigint)
        where $8::boolean";
    let values = params![
        id,
        mail.brand.as_ref().map(|brand| brand.tenant),
        mail.user,
        mail.message.kind().as_str(),
        mail.to.as_str(),
        sealed_content,
        lasts(mail),
        is_sent
    ];
    connection.query(INSERT, values).await.map(drop)
}

pub(crate) async fn mails_insert(
    connection: &SystemConnection,
    mails: &[(Uuid, &Mail, Vec<u8>)],
) -> DatabaseResult<()> {
    const INSERT: &str = "
        insert into control.mails (id, tenant_id, user_id, kind, recipient, sealed_content, expires_at)
        select m.id, m.tenant_id, m.user_id, m.kind, m.recipient, decode(m.sealed_content, 'base64'),
               now() + make_interval(secs => m.lasts)
        from jsonb_to_recordset($1) as m (
            id uuid, tenant_id uuid, user_id uuid, kind text, recipient text, sealed_content text, lasts bigint)";
    if mails.is_empty() {
        return Ok(());
    }
    let row = |(id, mail, sealed_content): &(Uuid, &Mail, Vec<u8>)| {
        json!({
            "id": id,
            "tenant_id": mail.brand.as_ref().map(|brand| brand.tenant),
            "user_id": mail.user,
            "kind": mail.message.kind().as_str(),
            "recipient": mail.to.as_str(),
            "sealed_content": STANDARD.encode(sealed_content),
            "lasts": lasts(mail),
        })
    };
    connection.query(INSERT, params![Value::Array(mails.iter().map(row).collect())]).await.map(drop)
}

fn lasts(mail: &Mail) -> i64 {
    i64::try_from(mail.message.lasts().as_secs()).unwrap_or(i64::from(i32::MAX))
}

/// Takes mails that are due, those first whose time is over first: a sign-in link does not wait
/// behind a thousand invitations. They are due again after the lease, should the process die.
pub(crate) async fn mails_claim(
    connection: &SystemConnection,
    lease: Duration,
    limit: usize,
) -> DatabaseResult<Vec<MailRow>> {
    const CLAIM: &str = "
        with due as materialized (
            select id from control.mails where status = 'waiting' and due_at <= now()
            order by expires_at limit $3 for update skip locked)
        update control.mails m
        set claim = $1, attempts = attempts + 1, due_at = now() + make_interval(secs => $2::bigint)
        from due where m.id = due.id
        returning m.id, m.kind, m.recipient, m.sealed_content, m.attempts, m.created_at";
    let claim = Uuid::new_v4();
    let (lease, limit) = (i64::try_from(lease.as_secs()).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(1));
    let rows = connection.query(CLAIM, params![claim, lease, limit]).await?;
    Ok(rows
        .iter()
        .map(|row| MailRow {
            id: row.get(0),
            kind: row.get(1),
            recipient: row.get(2),
            sealed_content: row.get(3),
            attempts: row.get(4),
            created_at: row.get(5),
            claim,
        })
        .collect())
}

/// Writes that a mail was sent, and forgets what it said. False if the claim is somebody else's.
pub(crate) async fn mail_sent(connection: &SystemConnection, row: &MailRow) -> DatabaseResult<bool> {
    const SENT: &str = "
        update control.mails
        set status = 'sent', sealed_content = null, error = null, claim = null, finished_at = now()
        where id = $1 and claim = $2 returning 1";
    Ok(connection.query_opt(SENT, params![row.id, row.claim]).await?.is_some())
}

/// Writes that an attempt failed. The mail is tried again after `pause`, or sooner if its time would
/// be half over by then; without a pause, or with no time left, it is given up. Gives where it
/// stands, nothing if the claim is somebody else's.
pub(crate) async fn mail_failed(
    connection: &SystemConnection,
    row: &MailRow,
    error: &str,
    pause: Option<Duration>,
) -> DatabaseResult<Option<MailStatus>> {
    const FAILED: &str = "
        with held as (
            select id, due, $4 is null or due >= expires_at as ends
            from control.mails, lateral (
                select now() + greatest(interval '5 seconds',
                    least($4::bigint * interval '1 millisecond', (expires_at - now()) / 2)) as due) as next
            where id = $1 and claim = $2 for update of mails)
        update control.mails m
        set error = $3, claim = null, due_at = held.due,
            status = case when held.ends then 'failed' else 'waiting' end,
            sealed_content = case when held.ends then null else m.sealed_content end,
            finished_at = case when held.ends then now() end
        from held where m.id = held.id returning m.status";
    let pause = pause.map(|pause| i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
    let row = connection.query_opt(FAILED, params![row.id, row.claim, error, pause]).await?;
    Ok(row.map(|row| MailStatus::read(row.get::<_, &str>(0))))
}

/// Gives up what nobody was able to send in time: the service was not running. Gives their kinds.
pub(crate) async fn mails_expire(connection: &SystemConnection) -> DatabaseResult<Vec<String>> {
    const EXPIRE: &str = "
        update control.mails
        set status = 'failed', sealed_content = null, claim = null, finished_at = now(),
            error = coalesce(error, 'it could not be sent in time')
        where status = 'waiting' and due_at <= now() and expires_at <= now()
        returning kind";
    Ok(connection.query(EXPIRE, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Removes some of the mails that ended 30 days ago. Gives whether there may be more.
pub(crate) async fn mails_prune(connection: &SystemConnection) -> DatabaseResult<bool> {
    const PRUNE: &str = "
        delete from control.mails where id in (
            select id from control.mails where finished_at < now() - make_interval(days => $1) limit $2::integer)
        returning 1";
    let removed = connection.query(PRUNE, params![KEPT_DAYS, PRUNE_MAX]).await?.len();
    Ok(i32::try_from(removed).is_ok_and(|removed| removed == PRUNE_MAX))
}

pub(crate) async fn mails_list(connection: &SystemConnection, filter: &MailFilter) -> DatabaseResult<Vec<MailOut>> {
    const LIST: &str = "
        select id, tenant_id, user_id, kind, recipient, status, attempts, error, due_at, expires_at, created_at, finished_at
        from control.mails
        where ($1::text is null or status = $1) and ($2::text is null or recipient = $2)
          and ($3::uuid is null or tenant_id = $3) and ($4::uuid is null or id < $4)
        order by id desc limit $5";
    let MailFilter { status, recipient, tenant, before, limit } = filter;
    let values = params![
        status.map(MailStatus::as_str),
        recipient.as_deref(),
        *tenant,
        *before,
        i64::from(limit.unwrap_or(50).min(LIST_MAX))
    ];
    Ok(connection.query(LIST, values).await?.iter().map(read).collect())
}

fn read(row: &Row) -> MailOut {
    MailOut {
        id: row.get(0),
        tenant_id: row.get(1),
        user_id: row.get(2),
        kind: row.get(3),
        recipient: row.get(4),
        status: MailStatus::read(row.get::<_, &str>(5)),
        attempts: row.get(6),
        error: row.get(7),
        due_at: row.get(8),
        expires_at: row.get(9),
        created_at: row.get(10),
        finished_at: row.get(11),
    }
}
