//! Security events: what somebody did or tried that concerns isolation or access.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use rowhouse_postgres::{DatabaseResult, Row, SystemConnection, TenantConnection, params};
use rowhouse_types::{PER_PAGE_DEFAULT, PER_PAGE_MAX, TenantId, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::text::{NAME_LENGTH_MAX, TEXT_LENGTH_MAX, bounded, bounded_json};

/// How grave an event or an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Happens every day.
    Low,
    /// Worth a look when it repeats.
    Medium,
    /// Worth a look now.
    High,
}

impl Severity {
    /// The word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// The kinds of security events (requirements I7, S1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityEventKind {
    /// A request named a tenant that its caller has no part in.
    CrossTenantAccessAttempt,
    /// A request without valid credentials on a route that needs them.
    UnauthorizedAccess,
    /// A role did not allow it.
    PermissionDenied,
    /// Anything else that an operator should look at.
    #[default]
    SuspiciousActivity,
    /// A refresh token was used twice; its session is revoked.
    TokenReuse,
    /// Somebody signed in.
    SignIn,
    /// Somebody failed to sign in.
    SignInFailed,
    /// Somebody signed out.
    SignOut,
    /// Somebody went on in another of their tenants.
    TenantSwitch,
    /// Somebody joined a tenant by an invitation.
    InvitationAccepted,
    /// Somebody ended a session of theirs from another device.
    SessionRevoked,
    /// An API key was sent that is unknown, expired or revoked.
    ApiKeyRefused,
    /// An operator signed in; the event's user is the operator.
    OperatorSignIn,
    /// Somebody failed to sign in as an operator.
    OperatorSignInFailed,
    /// Somebody asked for a new password; the event has no user if the address has no account.
    PasswordResetRequested,
    /// Somebody chose a new password by a link in a mail.
    PasswordReset,
    /// Somebody chose a new password, knowing the old one.
    PasswordChanged,
    /// Somebody who is signed in gave a wrong password where it is asked for again.
    PasswordCheckFailed,
    /// Somebody who is signed in has shown once more who they are.
    SteppedUp,
    /// Somebody asked for a link that signs in; the event has no user if the address has no account.
    MagicLinkRequested,
    /// Somebody proved that their address is theirs.
    EmailVerified,
    /// Somebody asked for another address.
    EmailChangeRequested,
    /// Somebody has another address now.
    EmailChanged,
    /// The token of a mail's link was made up, used before or too old.
    LinkRefused,
    /// An account, or what might be one, is locked after too many failures.
    AccountLocked,
    /// A second factor was set up; the event's user may be an operator, here and below.
    MfaEnabled,
    /// A second factor was taken away.
    MfaDisabled,
    /// A code of a second factor was wrong.
    MfaFailed,
    /// Somebody got new recovery codes.
    RecoveryCodesRenewed,
    /// A recovery code was used.
    RecoveryCodeUsed,
    /// A passkey was added; the event's user may be an operator, here and below.
    PasskeyAdded,
    /// A passkey was taken away.
    PasskeyRemoved,
    /// A device was trusted: for a while it stands for the second factor.
    DeviceTrusted,
    /// A passkey's count of signatures fell behind: there may be a copy of it.
    PasskeyCopied,
    /// An OpenID client was refused: it is not known, gave a wrong secret, or asked for what is not its own.
    ClientRefused,
    /// A code that hands a session to another host was made up, used before, too old or of another host.
    HandOffRefused,
    /// An operator took the place of somebody.
    ImpersonationStarted,
    /// An operator gave somebody's place back, or another took it from them.
    ImpersonationEnded,
}

impl SecurityEventKind {
    /// Every kind.
    pub const ALL: [Self; 38] = [
        Self::CrossTenantAccessAttempt,
        Self::UnauthorizedAccess,
        Self::PermissionDenied,
        Self::SuspiciousActivity,
        Self::TokenReuse,
        Self::SignIn,
        Self::SignInFailed,
        Self::SignOut,
        Self::TenantSwitch,
        Self::InvitationAccepted,
        Self::SessionRevoked,
        Self::ApiKeyRefused,
        Self::OperatorSignIn,
        Self::OperatorSignInFailed,
        Self::PasswordResetRequested,
        Self::PasswordReset,
        Self::PasswordChanged,
        Self::PasswordCheckFailed,
        Self::SteppedUp,
        Self::MagicLinkRequested,
        Self::EmailVerified,
        Self::EmailChangeRequested,
        Self::EmailChanged,
        Self::LinkRefused,
        Self::AccountLocked,
        Self::MfaEnabled,
        Self::MfaDisabled,
        Self::MfaFailed,
        Self::RecoveryCodesRenewed,
        Self::RecoveryCodeUsed,
        Self::PasskeyAdded,
        Self::PasskeyRemoved,
        Self::PasskeyCopied,
        Self::DeviceTrusted,
        Self::ClientRefused,
        Self::HandOffRefused,
        Self::ImpersonationStarted,
        Self::ImpersonationEnded,
    ];

    /// The word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CrossTenantAccessAttempt => "cross_tenant_access_attempt",
            Self::UnauthorizedAccess => "unauthorized_access",
            Self::PermissionDenied => "permission_denied",
            Self::SuspiciousActivity => "suspicious_activity",
            Self::TokenReuse => "token_reuse",
            Self::SignIn => "sign_in",
            Self::SignInFailed => "sign_in_failed",
            Self::SignOut => "sign_out",
            Self::TenantSwitch => "tenant_switch",
            Self::InvitationAccepted => "invitation_accepted",
            Self::SessionRevoked => "session_revoked",
            Self::ApiKeyRefused => "api_key_refused",
            Self::OperatorSignIn => "operator_sign_in",
            Self::OperatorSignInFailed => "operator_sign_in_failed",
            Self::PasswordResetRequested => "password_reset_requested",
            Self::PasswordReset => "password_reset",
            Self::PasswordChanged => "password_changed",
            Self::PasswordCheckFailed => "password_check_failed",
            Self::SteppedUp => "stepped_up",
            Self::MagicLinkRequested => "magic_link_requested",
            Self::EmailVerified => "email_verified",
            Self::EmailChangeRequested => "email_change_requested",
            Self::EmailChanged => "email_changed",
            Self::LinkRefused => "link_refused",
            Self::AccountLocked => "account_locked",
            Self::MfaEnabled => "mfa_enabled",
            Self::MfaDisabled => "mfa_disabled",
            Self::MfaFailed => "mfa_failed",
            Self::RecoveryCodesRenewed => "recovery_codes_renewed",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::PasskeyAdded => "passkey_added",
            Self::PasskeyRemoved => "passkey_removed",
            Self::PasskeyCopied => "passkey_copied",
            Self::DeviceTrusted => "device_trusted",
            Self::ClientRefused => "client_refused",
            Self::HandOffRefused => "hand_off_refused",
            Self::ImpersonationStarted => "impersonation_started",
            Self::ImpersonationEnded => "impersonation_ended",
        }
    }

    /// How grave one such event is by itself.
    pub const fn severity(self) -> Severity {
        match self {
            Self::TokenReuse | Self::PasskeyCopied => Severity::High,
            Self::CrossTenantAccessAttempt
            | Self::SuspiciousActivity
            | Self::OperatorSignInFailed
            | Self::PasswordCheckFailed
            | Self::EmailChanged
            | Self::AccountLocked
            | Self::MfaDisabled
            | Self::PasskeyRemoved
            | Self::MfaFailed
            | Self::RecoveryCodeUsed
            | Self::HandOffRefused
            | Self::ImpersonationStarted => Severity::Medium,
            Self::UnauthorizedAccess
            | Self::PermissionDenied
            | Self::SignIn
            | Self::SignInFailed
            | Self::SignOut
            | Self::TenantSwitch
            | Self::InvitationAccepted
            | Self::SessionRevoked
            | Self::ClientRefused
            | Self::ApiKeyRefused
            | Self::PasswordResetRequested
            | Self::PasswordReset
            | Self::PasswordChanged
            | Self::SteppedUp
            | Self::MagicLinkRequested
            | Self::EmailVerified
            | Self::EmailChangeRequested
            | Self::LinkRefused
            | Self::OperatorSignIn
            | Self::MfaEnabled
            | Self::PasskeyAdded
            | Self::DeviceTrusted
            | Self::RecoveryCodesRenewed
            | Self::ImpersonationEnded => Severity::Low,
        }
    }
}

/// One event, before it is written. Texts of clients may be given as they are.
#[derive(Debug, Clone, Default)]
pub struct SecurityEvent {
    /// What kind.
    pub kind: SecurityEventKind,
    /// Who, if known.
    pub user: Option<UserId>,
    /// The tenant that the caller really worked in.
    pub tenant: Option<TenantId>,
    /// The tenant that was named, as the request gave it.
    pub attempted_tenant: Option<String>,
    /// The path.
    pub resource: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// The client's program.
    pub user_agent: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// What else is to be known, as an object; never secrets or personal data.
    pub details: Value,
}

impl SecurityEvent {
    /// Bounds every text, so that nothing a client sends can make the line unwritable.
    pub(crate) fn bounded(mut self) -> Self {
        for (text, length_max) in [
            (&mut self.attempted_tenant, NAME_LENGTH_MAX),
            (&mut self.resource, TEXT_LENGTH_MAX),
            (&mut self.method, NAME_LENGTH_MAX),
            (&mut self.user_agent, TEXT_LENGTH_MAX),
            (&mut self.request_id, NAME_LENGTH_MAX),
        ] {
            *text = text.as_deref().map(|text| bounded(text, length_max));
        }
        bounded_json(&mut self.details);
        self
    }

    /// Who is counted for alerts; the same as the column `subject`.
    pub(crate) fn subject(&self) -> Option<String> {
        let of_ip = || self.ip.map(|ip| format!("ip:{ip}"));
        self.user.map(|user| format!("user:{user}")).or_else(of_ip)
    }

    /// The line of a batch, for [`insert`].
    pub(crate) fn line(&self, id: Uuid, age_seconds: f64) -> Value {
        let details = if self.details.is_null() { json!({}) } else { self.details.clone() };
        json!({
            "id": id,
            "age_seconds": age_seconds,
            "kind": self.kind.as_str(),
            "severity": self.kind.severity().as_str(),
            "user_id": self.user,
            "tenant_id": self.tenant,
            "attempted_tenant": self.attempted_tenant,
            "resource": self.resource,
            "method": self.method,
            "ip": self.ip,
            "user_agent": self.user_agent,
            "request_id": self.request_id,
            "details": details,
        })
    }
}

/// Writes a batch. A line that is there already is left: a commit whose answer was lost is
/// repeated. Times are the database's, so that processes with wrong clocks agree on windows.
pub(crate) async fn insert(connection: &SystemConnection, lines: Vec<Value>) -> DatabaseResult<()> {
    const INSERT: &str = "
        insert into control.security_events
            (id, occurred_at, kind, severity, user_id, tenant_id, attempted_tenant, resource, method, ip, user_agent,
             request_id, details)
        select e.id, clock_timestamp() - make_interval(secs => e.age_seconds), e.kind, e.severity, e.user_id,
               e.tenant_id, e.attempted_tenant, e.resource, e.method, e.ip, e.user_agent, e.request_id, e.details
        from jsonb_to_recordset($1) as e(
            id uuid, age_seconds float8, kind text, severity text, user_id uuid, tenant_id uuid, attempted_tenant text,
            resource text, method text, ip text, user_agent text, request_id text, details jsonb)
        on conflict (id) do nothing";
    connection.query(INSERT, params![Value::Array(lines)]).await.map(drop)
}

/// One event as it was written.
#[derive(Debug, Clone, Serialize)]
pub struct RecordedEvent {
    /// Its id; ordered by time.
    pub id: Uuid,
    /// When.
    pub occurred_at: DateTime<Utc>,
    /// What kind.
    pub kind: String,
    /// How grave: `low`, `medium` or `high`.
    pub severity: String,
    /// Who.
    pub user_id: Option<Uuid>,
    /// The tenant that the caller really worked in.
    pub tenant_id: Option<Uuid>,
    /// The tenant that was named.
    pub attempted_tenant: Option<String>,
    /// The path.
    pub resource: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// The client's address.
    pub ip: Option<String>,
    /// The client's program.
    pub user_agent: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// What else is known; for operators only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

impl RecordedEvent {
    fn from_row(row: &Row) -> Self {
        Self {
            id: row.get(0),
            occurred_at: row.get(1),
            kind: row.get(2),
            severity: row.get(3),
            user_id: row.get(4),
            tenant_id: row.get(5),
            attempted_tenant: row.get(6),
            resource: row.get(7),
            method: row.get(8),
            ip: row.get(9),
            user_agent: row.get(10),
            request_id: row.get(11),
            details: row.get(12),
        }
    }
}

/// Which events to list: the newest 50 unless narrowed.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only of this tenant.
    pub tenant: Option<TenantId>,
    /// Only of this person.
    pub user: Option<UserId>,
    /// Only of this kind.
    pub kind: Option<SecurityEventKind>,
    /// Only those older than this one: the last of the page before.
    pub before: Option<Uuid>,
    /// How many at most; bounded by 201.
    pub limit: Option<u32>,
}

/// The bound of a page, and one more, which tells whether another follows.
pub(crate) fn page_limit(limit: Option<u32>) -> i64 {
    i64::from(limit.unwrap_or(PER_PAGE_DEFAULT).clamp(1, PER_PAGE_MAX + 1))
}

macro_rules! list_events {
    ($details:literal, $tenant:literal) => {
        concat!(
            "select id, occurred_at, kind, severity, user_id, tenant_id, attempted_tenant, resource, method, ip,
                    user_agent, request_id, ",
            $details,
            " from control.security_events
             where ",
            $tenant,
            " and ($2::uuid is null or user_id = $2) and ($3::text is null or kind = $3)
              and ($4::uuid is null or id < $4)
             order by id desc limit $5"
        )
    };
}

// Several statements rather than one with "or": the tenant's index must stay in reach.
const LIST_ALL: &str = list_events!("details", "$1::uuid is null");
const LIST_ABOUT_TENANT: &str = list_events!("details", "tenant_id = $1");
const LIST_OF_TENANT: &str = list_events!("null::jsonb", "tenant_id = $1");

pub(crate) async fn list(connection: &SystemConnection, filter: &EventFilter) -> DatabaseResult<Vec<RecordedEvent>> {
    let EventFilter { tenant, user, kind, before, limit } = filter;
    let sql = if tenant.is_some() { LIST_ABOUT_TENANT } else { LIST_ALL };
    let values = params![*tenant, *user, kind.map(SecurityEventKind::as_str), *before, page_limit(*limit)];
    Ok(connection.query(sql, values).await?.iter().map(RecordedEvent::from_row).collect())
}

/// A tenant's own; whatever tenant the filter names.
pub(crate) async fn list_of_tenant(
    connection: &TenantConnection,
    filter: &EventFilter,
) -> DatabaseResult<Vec<RecordedEvent>> {
    let EventFilter { tenant: _, user, kind, before, limit } = filter;
    let kind = kind.map(SecurityEventKind::as_str);
    let values = params![connection.tenant(), *user, kind, *before, page_limit(*limit)];
    Ok(connection.run(LIST_OF_TENANT, values).await?.iter().map(RecordedEvent::from_row).collect())
}
