//! The app: manifest, entities from the catalog, completion and the linter.

mod manifest;
mod model;

pub use manifest::Manifest;
pub use model::{AppModel, Column, ColumnKind, ConstraintClass, Entity, Relation, TableConstraint};
