//! What "current" means for a place that carries the app's tables.

use rowhouse_app::{App, fingerprint_method};
use rowhouse_postgres::{MigrationSet, RoleNames};
use uuid::Uuid;

/// The version of this crate, with whose code completion changes.
pub(crate) const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// The app's release and the platform's: a target is current if it is on both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// The app's.
    pub(crate) release: String,
    /// The program's version and eight digits over the platform's own migrations and its way to
    /// take fingerprints: a new program may bring tables, complete the app's otherwise, or look at
    /// more of them, although the app stays as it is.
    pub(crate) platform: String,
}

impl Version {
    pub(crate) fn of(app: &App, roles: &RoleNames) -> Self {
        let mut sums = String::new();
        for migration in MigrationSet::platform(roles).migrations {
            sums.push_str(migration.checksum());
        }
        sums.push_str(fingerprint_method());
        Self { release: app.release(), platform: platform(&sums) }
    }

    /// What "current" means for the control database.
    pub(crate) fn of_control() -> Self {
        Self { release: PROGRAM.to_owned(), platform: platform(fingerprint_method()) }
    }

    /// Twelve digits that no other version of any app has.
    pub(crate) fn digits(&self, app: &App) -> String {
        let text = format!("{}@{}@{}", app.manifest.app.name, self.release, self.platform);
        Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).simple().to_string()[..12].to_owned()
    }
}

fn platform(sums: &str) -> String {
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, sums.as_bytes()).simple().to_string();
    format!("{PROGRAM}+{}", &digest[..8])
}
