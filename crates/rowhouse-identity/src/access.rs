//! Access: a person's role in a tenant and what it may do, looked up by every request and
//! therefore cached, briefly.
//!
//! Must never give a role more than the built-in matrix or the app's manifest names; a role that
//! nobody knows may do nothing.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rowhouse_types::{Grants, RoleKey, SessionId, TenantId, UserId};

use crate::remembered::Remembered;

/// A person's part in a tenant.
#[derive(Debug, Clone)]
pub struct Access {
    /// The role.
    pub role: RoleKey,
    /// What it may do.
    pub grants: Arc<Grants>,
    /// When the person must have a second factor here, if they have none and must.
    pub mfa_due_at: Option<DateTime<Utc>>,
}

impl Access {
    /// Whether the person may do nothing here before they have set up a second factor.
    pub fn is_mfa_overdue(&self) -> bool {
        self.mfa_due_at.is_some_and(|due| due <= Utc::now())
    }
}

/// The caches of what every request asks for.
pub(crate) struct AccessCaches {
    pub(crate) memberships: Remembered<(UserId, TenantId), Option<Arc<Access>>>,
    /// Whether a session is alive.
    pub(crate) sessions: Remembered<SessionId, bool>,
}

impl AccessCaches {
    pub(crate) fn new() -> Self {
        Self { memberships: Remembered::new(), sessions: Remembered::new() }
    }
}

/// What each role may do: the built-in ones and the app's.
pub(crate) struct Roles {
    grants: HashMap<RoleKey, Arc<Grants>>,
}

impl Roles {
    pub(crate) fn new(of_app: HashMap<RoleKey, Grants>) -> Self {
        let mut grants: HashMap<RoleKey, Arc<Grants>> =
            of_app.into_iter().map(|(role, grants)| (role, Arc::new(grants))).collect();
        for role in RoleKey::BUILT_IN {
            if let Some(built_in) = Grants::built_in(role) {
                grants.insert(RoleKey::new(role), Arc::new(built_in));
            }
        }
        Self { grants }
    }

    /// What a role may do; none for one that nobody knows, or knows any more (removed from the
    /// manifest).
    pub(crate) fn grants(&self, role: &RoleKey) -> Option<Arc<Grants>> {
        self.grants.get(role).cloned()
    }
}
