//! A tenant, as the registry knows it.

use chrono::{DateTime, Utc};
use rowhouse_postgres::{Location, Row, TenantAuthority, TenantContext};
use rowhouse_types::{Slug, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::words::words;

words! {
    /// Where a tenant's rows live.
    Placement {
        /// Shared tables.
        Pool = "pool",
        /// A schema of its own.
        Schema = "schema",
        /// A database of its own.
        Database = "database",
    }
}

words! {
    /// What may be done with a tenant now.
    TenantStatus {
        /// Being set up.
        Provisioning = "provisioning",
        /// Served.
        Active = "active",
        /// Refused until reactivated.
        Suspended = "suspended",
        /// Being deleted.
        Deleting = "deleting",
        /// Gone; its id and slug stay taken.
        Archived = "archived",
    }
}

/// A tenant.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name, for people.
    pub name: String,
    /// Its name in URLs.
    pub slug: Slug,
    /// What may be done with it.
    pub status: TenantStatus,
    /// Its plan's key.
    pub plan: String,
    /// Where its rows live, by kind.
    pub placement: Placement,
    /// Where exactly.
    pub location: Location,
    /// Hosts of its own.
    pub domains: Vec<String>,
    /// Switches beside the plan's.
    pub features: Value,
    /// Limits beside the plan's.
    pub limits: Value,
    /// The app's settings as the tenant has set them.
    pub settings: Value,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// The columns that [`Tenant::from_row`] reads, in order.
pub(crate) const TENANT_COLUMNS: &str = "id, name, slug, status, plan, placement, cluster, database, schema, \
                                         domains, features, limits, settings, created_at";

impl Tenant {
    /// None for a row of a newer version: a placement or status this one does not know must not
    /// be served by it.
    pub(crate) fn from_row(row: &Row) -> Option<Self> {
        Some(Self {
            id: TenantId::from_uuid(row.get::<_, Uuid>(0)),
            name: row.get(1),
            slug: row.get::<_, &str>(2).parse().ok()?,
            status: row.get::<_, &str>(3).parse().ok()?,
            plan: row.get(4),
            placement: row.get::<_, &str>(5).parse().ok()?,
            location: Location::new(row.get(6), row.get(7), row.get(8)),
            domains: row.get(9),
            features: row.get(10),
            limits: row.get(11),
            settings: row.get(12),
            created_at: row.get(13),
        })
    }

    /// Chooses this tenant; the authority is the caller's word that the request may.
    pub fn context(&self, authority: &TenantAuthority) -> TenantContext {
        authority.context(self.id, self.location.clone())
    }
}
