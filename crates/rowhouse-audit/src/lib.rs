//! Security events, the alerts raised from them, and the audit log.
//!
//! **Invariant:** recording never slows or fails the request that it is about; what cannot be
//! kept is counted in a metric.

mod alert;
mod entry;
mod event;
mod writer;

pub use alert::Alert;
pub use entry::AuditEntry;
pub use event::{EventFilter, RecordedEvent, SecurityEvent, SecurityEventKind};
pub use writer::Audit;

/// The control database's tables of this crate.
pub const CONTROL_MIGRATIONS: &[(&str, &str)] = &[("audit_0001_audit", include_str!("../migrations/0001_audit.sql"))];
