//! The platform's own migrations: what every data database and the control database carry
//! before any domain or app adds to them.

use crate::cluster::RoleNames;
use crate::migrate::{Migration, MigrationSet};
use crate::quote_identifier;

/// The target's name of the platform's set in a data database's ledger.
pub const PLATFORM_TARGET: &str = "rowhouse";
/// The target's name of the control set.
pub const CONTROL_TARGET: &str = "control";
/// The target's name of the shared tables' set.
pub const SHARED_TARGET: &str = "shared";

const PLATFORM: &[(&str, &str)] =
    &[("platform_0001_platform", include_str!("../migrations/platform/0001_platform.sql"))];
const CONTROL: &[(&str, &str)] = &[("control_0001_base", include_str!("../migrations/control/0001_base.sql"))];

impl MigrationSet {
    /// A set from texts built into the program, with `{owner}`, `{service}` and `{reader}`
    /// replaced by the roles' quoted names.
    pub fn embedded(files: &[(&str, &str)], roles: &RoleNames) -> Self {
        let replace = |sql: &str| {
            sql.replace("{owner}", &quote_identifier(&roles.owner()))
                .replace("{service}", &quote_identifier(&roles.service()))
                .replace("{reader}", &quote_identifier(&roles.reader()))
        };
        let migrations = files.iter().map(|(name, sql)| Migration::new(name, &replace(sql), None)).collect();
        Self { migrations }
    }

    /// What every data database carries beside the app's tables.
    pub fn platform(roles: &RoleNames) -> Self {
        Self::embedded(PLATFORM, roles)
    }

    /// The control database's set: its ground, then the domains' files in the order given.
    pub fn control(domains: &[&[(&str, &str)]], roles: &RoleNames) -> Self {
        let files: Vec<_> = CONTROL.iter().chain(domains.iter().copied().flatten()).copied().collect();
        Self::embedded(&files, roles)
    }
}
