//! The app: its manifest and migrations as files, its entities from the catalog, what is
//! completed and what is refused.
//!
//! **Invariant:** nothing here runs a tenant's SQL; it reads catalogs and writes DDL, in the
//! system scope.

mod catalog;
mod check;
mod compile;
mod completion;
mod error;
mod finding;
mod fingerprint;
mod lint;
mod load;
mod manifest;
mod model;
mod rule_expression;
mod rule_words;
mod scaffold;

pub use check::{CheckReport, check};
pub use compile::compile;
pub use completion::{Completion, POLICY, completion, completion_sql, drop_scoped_views_sql, scoped_view};
pub use error::{AppError, Fault};
pub use finding::{Finding, Severity};
pub use fingerprint::{fingerprint, fingerprint_method, fingerprints};
pub use lint::{RULES, Rule, lint, lint_migrations};
pub use load::App;
pub use manifest::{
    AppSection, EntitySection, MANIFEST_FILE, Manifest, OnboardingSection, PlanSection, RESERVED_ENTITIES, RoleSection,
    SettingKind, SettingSection, SharedSection,
};
pub use model::{AppModel, Column, ColumnKind, ConstraintClass, Entity, Relation, TableConstraint};
pub use scaffold::scaffold;
