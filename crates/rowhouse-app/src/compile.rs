//! From the catalog and the manifest to the compiled model.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rowhouse_postgres::{SHARED_TARGET, SystemConnection};
use rowhouse_types::did_you_mean;

use crate::catalog::{Catalog, Constraint, Table, TableColumn};
use crate::error::{AppError, Fault};
use crate::fingerprint::fingerprint;
use crate::load::App;
use crate::manifest::{EntitySection, MANIFEST_FILE};
use crate::model::{AppModel, Column, ColumnKind, ConstraintClass, Entity, Relation, TableConstraint};
use crate::rule_expression::allowed_values;
use crate::rule_words::rule_in_words;

/// Columns that the server sets.
const SERVER_SET: [&str; 3] = ["id", "created_at", "updated_at"];

/// Reads the app's tables in one schema, and the shared ones, as the data API will use them.
///
/// # Errors
/// All faults of the manifest against the tables, with suggestions.
pub async fn compile(connection: &SystemConnection, schema: &str, app: &App) -> Result<AppModel, AppError> {
    let catalog = Catalog::read(connection, schema).await?;
    let shared_catalog = Catalog::read(connection, SHARED_TARGET).await?;
    let fingerprint = fingerprint(connection, schema).await?;
    let manifest = &app.manifest;
    let mut compiler = Compiler { app, catalog: &catalog, shared_catalog: &shared_catalog, faults: Vec::new() };
    let entities = compiler.entities(&manifest.entities, false);
    let shared = compiler.entities(&manifest.shared.tables, true);
    if !compiler.faults.is_empty() {
        return Err(AppError::Faults(compiler.faults));
    }
    Ok(AppModel { manifest: Arc::clone(manifest), entities, shared, fingerprint })
}

struct Compiler<'a> {
    app: &'a App,
    catalog: &'a Catalog,
    shared_catalog: &'a Catalog,
    faults: Vec<Fault>,
}

impl Compiler<'_> {
    fn fault(&mut self, key: String, message: String) {
        let file: PathBuf = self.app.directory.join(MANIFEST_FILE);
        self.faults.push(Fault { file, line: None, key, message });
    }

    fn entities(&mut self, sections: &BTreeMap<String, EntitySection>, shared: bool) -> BTreeMap<String, Entity> {
        let catalog = if shared { self.shared_catalog } else { self.catalog };
        let mut entities = BTreeMap::new();
        for (name, section) in sections {
            let key = if shared { format!("shared.tables.{name}") } else { format!("entities.{name}") };
            let Some(table) = catalog.tables.get(name) else {
                let hint = did_you_mean(name, catalog.tables.keys().map(String::as_str));
                self.fault(key, format!("the migrations make no table {name:?}.{hint}"));
                continue;
            };
            self.check_columns(&key, section, table);
            entities.insert(name.clone(), self.entity(name, section, table, shared));
        }
        entities
    }

    /// Every column that the manifest names exists.
    fn check_columns(&mut self, key: &str, section: &EntitySection, table: &Table) {
        let one = |field: &'static str, column: &Option<String>| column.clone().map(|column| (field, column));
        let named = [
            one("title", &section.title),
            one("status", &section.status),
            one("owner", &section.owner),
            one("public", &section.public),
        ];
        let many = section.search.iter().map(|column| ("search", column.clone()));
        let hidden = section.hidden.iter().map(|column| ("hidden", column.clone()));
        for (field, column) in named.into_iter().flatten().chain(many).chain(hidden) {
            let Some(found) = table.column(&column) else {
                let hint = did_you_mean(&column, table.columns.iter().map(|column| column.name.as_str()));
                self.fault(format!("{key}.{field}"), format!("the table has no column {column:?}.{hint}"));
                continue;
            };
            let expected = match field {
                "public" => Some(("boolean", found.base == "bool")),
                "owner" => Some(("uuid", found.base == "uuid")),
                "search" => Some(("a text type", kind_of(found) == ColumnKind::Text)),
                _ => None,
            };
            if let Some((expected, false)) = expected {
                self.fault(
                    format!("{key}.{field}"),
                    format!("column {column:?} is {}, but must be {expected}", found.type_name),
                );
            }
        }
    }

    fn entity(&self, name: &str, section: &EntitySection, table: &Table, shared: bool) -> Entity {
        let visible = |column: &&TableColumn| column.name != "tenant_id" && !section.hidden.contains(&column.name);
        let there = |column: &str| table.column(column).map(|column| column.name.clone());
        let label = section.label.clone().unwrap_or_else(|| in_words(name));
        Entity {
            name: name.to_owned(),
            shared,
            singular: section.singular.clone().unwrap_or_else(|| singular(&label)),
            label,
            columns: table.columns.iter().filter(visible).map(|column| compiled_column(column, table)).collect(),
            relations: if shared { BTreeMap::new() } else { self.relations(name, table) },
            title: section.title.clone(),
            search: section.search.clone(),
            status: section.status.clone(),
            owner: section.owner.clone().or_else(|| there("owner_id")).or_else(|| there("created_by")),
            public: section.public.clone().or_else(|| there("is_public")),
            read_only: section.read_only,
            constraints: table.constraints.iter().map(|constraint| compiled_constraint(constraint, table)).collect(),
        }
    }

    /// To one along the table's own foreign keys, to many along those that point at it.
    fn relations(&self, name: &str, table: &Table) -> BTreeMap<String, Relation> {
        let mut relations = BTreeMap::new();
        for constraint in &table.constraints {
            let Some((column, other_column)) = reference(constraint) else { continue };
            let Some(entity) = constraint.other_table.clone() else { continue };
            let shared = constraint.other_schema.as_deref() == Some(SHARED_TARGET);
            let listed = if shared { &self.app.manifest.shared.tables } else { &self.app.manifest.entities };
            if !listed.contains_key(&entity) {
                continue;
            }
            let relation = column.strip_suffix("_id").unwrap_or(column).to_owned();
            let (column, other_column) = (column.to_owned(), other_column.to_owned());
            relations.insert(
                relation.clone(),
                Relation { name: relation, many: false, entity, shared, column, other_column },
            );
        }
        for (other, other_table) in &self.catalog.tables {
            if !self.app.manifest.entities.contains_key(other) {
                continue;
            }
            let pointing =
                other_table.constraints.iter().filter(|constraint| constraint.other_table.as_deref() == Some(name));
            let pairs: Vec<_> = pointing.filter_map(reference).collect();
            for (column, other_column) in &pairs {
                let relation = if pairs.len() == 1 {
                    other.clone()
                } else {
                    format!("{other}_by_{}", column.strip_suffix("_id").unwrap_or(column))
                };
                let made = Relation {
                    name: relation.clone(),
                    many: true,
                    entity: other.clone(),
                    shared: false,
                    column: (*other_column).to_owned(),
                    other_column: (*column).to_owned(),
                };
                relations.entry(relation).or_insert(made);
            }
        }
        relations
    }
}

/// The two columns that a foreign key joins, without `tenant_id`.
fn reference(constraint: &Constraint) -> Option<(&str, &str)> {
    if constraint.kind != 'f' || constraint.other_schema.as_deref() == Some("rowhouse") {
        return None;
    }
    let pairs = constraint.columns.iter().zip(&constraint.other_columns);
    let mut own = pairs.filter(|(column, _)| *column != "tenant_id");
    match (own.next(), own.next()) {
        (Some((column, other)), None) => Some((column, other)),
        _ => None,
    }
}

fn kind_of(column: &TableColumn) -> ColumnKind {
    let kind = match column.base.as_str() {
        _ if column.is_enum => ColumnKind::Enum,
        "uuid" => ColumnKind::Uuid,
        "text" | "varchar" | "bpchar" | "citext" | "name" => ColumnKind::Text,
        "bool" => ColumnKind::Boolean,
        "int2" => ColumnKind::SmallInt,
        "int4" => ColumnKind::Integer,
        "int8" => ColumnKind::BigInt,
        "float4" => ColumnKind::Real,
        "float8" => ColumnKind::Double,
        "numeric" => ColumnKind::Numeric,
        "date" => ColumnKind::Date,
        "time" => ColumnKind::Time,
        "timestamp" => ColumnKind::Timestamp,
        "timestamptz" => ColumnKind::Timestamptz,
        "interval" => ColumnKind::Interval,
        "json" => ColumnKind::Json,
        "jsonb" => ColumnKind::Jsonb,
        "bytea" => ColumnKind::Bytea,
        _ => ColumnKind::Other,
    };
    if column.is_array { ColumnKind::Array(Box::new(kind)) } else { kind }
}

fn compiled_column(column: &TableColumn, table: &Table) -> Column {
    let single_check = |constraint: &&Constraint| constraint.kind == 'c' && constraint.columns == [column.name.clone()];
    let from_check =
        table.constraints.iter().filter(single_check).find_map(|constraint| allowed_values(&constraint.definition));
    let kind = kind_of(column);
    let allowed = match kind {
        ColumnKind::Enum => Some(column.enum_values.clone()),
        ColumnKind::Text => from_check,
        _ => None,
    };
    let length =
        column.type_name.strip_prefix("character varying(").or_else(|| column.type_name.strip_prefix("character("));
    Column {
        name: column.name.clone(),
        type_name: column.type_name.clone(),
        kind,
        nullable: !column.not_null,
        has_default: column.default.is_some(),
        read_only: column.generated || column.identity || SERVER_SET.contains(&column.name.as_str()),
        allowed,
        length_max: length.and_then(|rest| rest.trim_end_matches(')').parse().ok()),
        comment: column.comment.clone(),
    }
}

fn compiled_constraint(constraint: &Constraint, table: &Table) -> (String, TableConstraint) {
    let kind = match constraint.kind {
        'f' => ConstraintClass::ForeignKey,
        'c' => ConstraintClass::Check,
        'x' => ConstraintClass::Exclusion,
        _ => ConstraintClass::Unique,
    };
    let columns = constraint.columns.iter().filter(|column| *column != "tenant_id").cloned().collect();
    let expression = (kind == ConstraintClass::Check).then(|| constraint.definition.clone());
    let is_time = |name: &str| {
        let base = table.column(name).map(|column| column.base.as_str());
        matches!(base, Some("date" | "time" | "timetz" | "timestamp" | "timestamptz"))
    };
    let comment = constraint.comment.clone().filter(|comment| !comment.trim().is_empty());
    let message = comment.or_else(|| rule_in_words(expression.as_deref()?, is_time));
    (constraint.name.clone(), TableConstraint { kind, columns, expression, message })
}

/// `work_orders` gives "Work orders".
fn in_words(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A plain guess at the singular of an English plural; the manifest can say better.
fn singular(label: &str) -> String {
    if let Some(stem) = label.strip_suffix("ies") {
        return format!("{stem}y");
    }
    label.strip_suffix('s').filter(|stem| !stem.ends_with('s')).unwrap_or(label).to_owned()
}
