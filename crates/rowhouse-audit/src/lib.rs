//! Security events, the alerts raised from them, and the audit log.
//!
//! **Invariant:** recording never slows or fails the request that it is about; what cannot be
//! kept is counted in a metric. **Invariant:** a tenant reads its own lines only, under the same
//! policies as its records.

mod actor;
mod alert;
mod audit;
mod condition;
mod entry;
mod event;
mod text;
mod writer;

pub use actor::Actor;
pub use alert::{Alert, AlertFilter};
pub use audit::Audit;
pub use condition::{Condition, conditions_record};
pub use entry::{AuditEntry, EntryFilter, RecordedEntry, audit_write, entries_write};
pub use event::{EventFilter, RecordedEvent, SecurityEvent, SecurityEventKind, Severity};

/// The control database's tables of this crate.
pub const CONTROL_MIGRATIONS: &[(&str, &str)] = &[
    ("audit_0001_audit", include_str!("../migrations/0001_audit.sql")),
    ("audit_0002_subjects", include_str!("../migrations/0002_subjects.sql")),
    ("audit_0003_conditions", include_str!("../migrations/0003_conditions.sql")),
    ("audit_0004_operators_in_place", include_str!("../migrations/0004_operators_in_place.sql")),
];
