//! The compiled model: what the data API knows of an app's tables, read from the catalog once
//! per schema version and shared by every tenant. A tenant differs by its schema's name only,
//! so memory stays flat from ten tenants to ten thousand.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::manifest::Manifest;

/// An app as it is served: its manifest and its tables.
#[derive(Debug, Clone, Serialize)]
pub struct AppModel {
    /// The manifest.
    #[serde(skip)]
    pub manifest: Arc<Manifest>,
    /// Tenant tables that the manifest lists, by table name.
    pub entities: BTreeMap<String, Entity>,
    /// Reference tables of schema `shared` that the manifest lists, by table name.
    pub shared: BTreeMap<String, Entity>,
    /// SHA-256 over the catalog of the app's schema, in hexadecimal: equal for every target
    /// that is on this version.
    pub fingerprint: String,
}

/// A table as the data API offers it.
#[derive(Debug, Clone, Serialize)]
pub struct Entity {
    /// The table's name, which is the entity's name.
    pub name: String,
    /// True for a table of schema `shared`: no `tenant_id`, read-only.
    pub shared: bool,
    /// Plural, for people.
    pub label: String,
    /// Singular, for people.
    pub singular: String,
    /// The columns in the table's order, without `tenant_id` and without hidden ones.
    pub columns: Vec<Column>,
    /// What `include=` can follow, by name.
    pub relations: BTreeMap<String, Relation>,
    /// The column that names a record to people.
    pub title: Option<String>,
    /// Columns that `q=` searches.
    pub search: Vec<String>,
    /// The status or stage column.
    pub status: Option<String>,
    /// The column of scope *own*.
    pub owner: Option<String>,
    /// The column of scope *public*.
    pub public: Option<String>,
    /// No writes through the API.
    pub read_only: bool,
    /// Every foreign key, unique key and check of the table by constraint name, so that a
    /// violation can be told as a fault of the right field.
    pub constraints: BTreeMap<String, TableConstraint>,
}

/// A column of an entity.
#[derive(Debug, Clone, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as PostgreSQL writes it: `numeric(12,2)`, `text`, `lead_status`.
    pub type_name: String,
    /// Its type as the data API treats it.
    pub kind: ColumnKind,
    /// May be null.
    pub nullable: bool,
    /// Has a default, so a new record may leave it out.
    pub has_default: bool,
    /// Set by the server: `id`, `created_at`, `updated_at`, generated and identity columns.
    pub read_only: bool,
    /// The only values allowed, from an enum or a `check (x in (…))`.
    pub allowed: Option<Vec<String>>,
    /// Longest text, from `varchar(n)`.
    pub length_max: Option<u32>,
    /// The column's comment, for people.
    pub comment: Option<String>,
}

/// How the data API reads, writes, compares and documents a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// `uuid`
    Uuid,
    /// `text`, `varchar`, `char`, `citext`, `name`
    Text,
    /// `boolean`
    Boolean,
    /// `smallint`
    SmallInt,
    /// `integer`
    Integer,
    /// `bigint`
    BigInt,
    /// `real`
    Real,
    /// `double precision`
    Double,
    /// `numeric`
    Numeric,
    /// `date`
    Date,
    /// `time`
    Time,
    /// `timestamp`
    Timestamp,
    /// `timestamp with time zone`
    Timestamptz,
    /// `interval`
    Interval,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// `bytea`, base64 in JSON
    Bytea,
    /// An enum type.
    Enum,
    /// An array of any of the others.
    Array(Box<ColumnKind>),
    /// Anything else: its text form, both ways.
    Other,
}

impl ColumnKind {
    /// Whether comparisons of this kind are leakproof in PostgreSQL: only then may they be an
    /// index condition beside a row-level policy (measured).
    pub fn leakproof(&self) -> bool {
        matches!(
            self,
            Self::Uuid
                | Self::Text
                | Self::Boolean
                | Self::SmallInt
                | Self::Integer
                | Self::BigInt
                | Self::Real
                | Self::Double
                | Self::Date
                | Self::Time
                | Self::Timestamp
                | Self::Timestamptz
                | Self::Interval
        )
    }
}

/// What `include=` follows.
#[derive(Debug, Clone, Serialize)]
pub struct Relation {
    /// The name in `include=`: the foreign key's column without `_id` for one, the other
    /// table's name for many.
    pub name: String,
    /// One record or a list.
    pub many: bool,
    /// The other entity.
    pub entity: String,
    /// Whether the other entity is a shared table.
    pub shared: bool,
    /// The column of this table that takes part.
    pub column: String,
    /// The column of the other table that must equal it.
    pub other_column: String,
}

/// A constraint, as far as errors need it.
#[derive(Debug, Clone, Serialize)]
pub struct TableConstraint {
    /// `unique`, `foreign_key`, `check` or `exclusion`.
    pub kind: ConstraintClass,
    /// Its columns without `tenant_id`.
    pub columns: Vec<String>,
    /// For a check: its expression as PostgreSQL prints it.
    pub expression: Option<String>,
    /// What to tell a person who broke it: the constraint's comment, else a simple check in words.
    /// Of one column, it goes on from the column's name.
    pub message: Option<String>,
}

/// The class of a constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConstraintClass {
    /// Unique or primary key.
    Unique,
    /// Foreign key.
    ForeignKey,
    /// Check.
    Check,
    /// Exclusion.
    Exclusion,
}

impl Entity {
    /// A visible column by name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The names of the visible columns.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }
}

impl AppModel {
    /// An entity or shared table by name.
    pub fn entity(&self, name: &str) -> Option<&Entity> {
        self.entities.get(name).or_else(|| self.shared.get(name))
    }
}
