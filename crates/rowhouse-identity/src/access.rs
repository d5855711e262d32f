//! Access: a person's role in a tenant and what it may do, looked up by every request and
//! therefore cached, briefly.
//!
//! Must never give a role more than the built-in matrix, the tenant's own people or the app's manifest
//! name, in this order: what a tenant has made itself holds no more when an app's new release brings a
//! role of the same name. A role that nobody knows may do nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use moka::sync::Cache;
use rowhouse_types::{Grants, RoleKey, SessionId, TenantId, UserId};

use crate::remembered::Remembered;
use crate::role::{RoleSource, permissions_read};

/// How long a process does not write again that a member is at work: somewhat more than the statement
/// leaves between two writes, so that each that is sent also writes.
const SEEN_NOTED: Duration = Duration::from_secs(5 * 60);
const SEEN_MAX: u64 = 100_000;

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
    /// Who was noted to be at work where.
    pub(crate) seen: Cache<(UserId, TenantId), ()>,
}

impl AccessCaches {
    pub(crate) fn new() -> Self {
        let seen = Cache::builder().max_capacity(SEEN_MAX).time_to_live(SEEN_NOTED).build();
        Self { memberships: Remembered::new(), sessions: Remembered::new(), seen }
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

    /// What a role of every app or of this one may do; none for one that nobody knows, or knows any
    /// more (removed from the manifest).
    pub(crate) fn grants(&self, role: &RoleKey) -> Option<Arc<Grants>> {
        self.grants.get(role).cloned()
    }

    /// What a role may do in a tenant, whose own role of this name holds these permissions, if it has
    /// one.
    pub(crate) fn grants_in_tenant(&self, role: &RoleKey, own: Option<&[String]>) -> Option<Arc<Grants>> {
        match own.filter(|_| !role.is_built_in()) {
            Some(own) => Some(Arc::new(Grants::new(permissions_read(own)))),
            None => self.grants(role),
        }
    }

    /// All that every tenant has: the built-in ones, strongest first, then the app's by name.
    pub(crate) fn all(&self) -> Vec<(RoleKey, RoleSource, Arc<Grants>)> {
        let built_in = RoleKey::BUILT_IN.iter().map(|role| (RoleKey::new(*role), RoleSource::BuiltIn));
        let mut of_app: Vec<_> = self.grants.keys().filter(|role| !role.is_built_in()).cloned().collect();
        of_app.sort();
        let all = built_in.chain(of_app.into_iter().map(|role| (role, RoleSource::App)));
        all.filter_map(|(role, source)| Some((role.clone(), source, self.grants(&role)?))).collect()
    }
}
