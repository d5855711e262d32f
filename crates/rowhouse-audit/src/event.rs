//! Security events: what somebody tried that concerns isolation or access.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use rowhouse_types::{TenantId, UserId};
use serde::Serialize;
use uuid::Uuid;

/// The kinds of security events (requirement I7, S1).
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
    /// A refresh token was used twice; its family is revoked.
    TokenReuse,
    /// Somebody signed in.
    SignIn,
    /// Somebody failed to sign in.
    SignInFailed,
}

impl SecurityEventKind {
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
        }
    }
}

/// One event, before it is written.
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
}

/// Which events to list: the newest 50 unless narrowed.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only of this tenant.
    pub tenant: Option<TenantId>,
    /// Only those older than this one.
    pub before: Option<Uuid>,
}
