//! A tenant, as the registry knows it.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use rowhouse_postgres::{Location, Row, TenantAuthority, TenantContext};
use rowhouse_types::{Slug, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// The word in the database, the API and the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(UnknownWord { given: text.to_owned(), allowed: &[$($word),*] }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// A word that is not one of the allowed ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} must be one of {}", allowed.join(", "))]
pub struct UnknownWord {
    given: String,
    allowed: &'static [&'static str],
}

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
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// The columns that [`Tenant::from_row`] reads, in order.
pub(crate) const TENANT_COLUMNS: &str =
    "id, name, slug, status, plan, placement, cluster, database, schema, created_at";

impl Tenant {
    pub(crate) fn from_row(row: &Row) -> Option<Self> {
        let (slug, status, placement): (String, String, String) = (row.get(2), row.get(3), row.get(5));
        let (cluster, database, schema): (String, String, String) = (row.get(6), row.get(7), row.get(8));
        Some(Self {
            id: TenantId::from_uuid(row.get::<_, Uuid>(0)),
            name: row.get(1),
            slug: slug.parse().ok()?,
            status: status.parse().ok()?,
            plan: row.get(4),
            placement: placement.parse().ok()?,
            location: Location::new(&cluster, &database, &schema),
            created_at: row.get(9),
        })
    }

    /// Chooses this tenant; the authority is the caller's word that the request may.
    pub fn context(&self, authority: &TenantAuthority) -> TenantContext {
        authority.context(self.id, self.location.clone())
    }
}
