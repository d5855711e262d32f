//! The tenant registry, placements, provisioning, lifecycle, and migrations over all of them.

mod demo;
mod fleet;
mod lifecycle;
mod migrate;
mod place;
mod provision;
mod registry;
mod rows;
mod service;
mod target;
mod tenant;
mod warm;

pub use demo::DemoTenant;
pub use fleet::{FleetProgress, FleetReport, TargetPlan, TargetState};
pub use lifecycle::{ListTenants, TenantPage};
pub use migrate::migrate_control;
pub use provision::{Provision, ProvisionOwner, Provisioned};
pub use service::{Tenants, TenantsError, TenantsSettings};
pub use target::{Target, TargetKind};
pub use tenant::{Placement, Tenant, TenantStatus};

/// The control database's tables of this crate.
pub const CONTROL_MIGRATIONS: &[(&str, &str)] =
    &[("tenants_0001_tenants", include_str!("../migrations/0001_tenants.sql"))];
