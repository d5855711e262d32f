//! The tenant registry, placements, provisioning, lifecycle, and migrations over all of them.
//!
//! **Invariant:** every place that carries the app's tables stands in `control.targets`, and
//! what it is recorded to be was read from its real schema. **Invariant:** making and deleting a
//! tenant are sagas: whatever dies in between, in the end it is done or nothing of it is left.

mod claim;
mod control;
mod delete;
mod demo;
mod drift;
mod fleet;
mod lifecycle;
mod members;
mod migrate;
mod place;
mod provision;
mod provision_saga;
mod registry;
mod rows;
mod service;
mod target;
mod template;
mod tenant;
mod version;
mod warm;
mod way;
mod words;

pub use claim::Description;
pub use control::{control_plan, control_status, migrate_control};
pub use demo::DemoTenant;
pub use fleet::{FleetProgress, FleetReport, TargetPlan, TargetState, first_plan};
pub use lifecycle::{ListTenants, TenantPage};
pub use provision::{Provision, ProvisionOwner, Provisioned};
pub use service::{Tenants, TenantsError, TenantsSettings};
pub use target::{Fingerprint, Target, TargetKind, TargetStatus};
pub use tenant::{Placement, Tenant, TenantStatus};
pub use words::UnknownWord;

/// The control database's tables of this crate.
pub const CONTROL_MIGRATIONS: &[(&str, &str)] = &[
    ("tenants_0001_tenants", include_str!("../migrations/0001_tenants.sql")),
    ("tenants_0002_changed_targets", include_str!("../migrations/0002_changed_targets.sql")),
];
