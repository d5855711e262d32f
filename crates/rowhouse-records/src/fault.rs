//! Errors of the database, told as faults of the request: which field, and what to do. Never a
//! value, never the server's own text.

use rowhouse_app::{ConstraintClass, Entity};
use rowhouse_postgres::{Constraint, ConstraintKind, DatabaseError};
use rowhouse_types::{ApiError, ErrorCode, FieldError};

use crate::statement::Builder;

/// A failed read.
pub(crate) fn of_read(error: DatabaseError, builder: &Builder) -> ApiError {
    match &error {
        DatabaseError::Value { parameter, .. } => {
            let field = parameter.and_then(|number| builder.field(number)).unwrap_or("query").to_owned();
            ApiError::invalid(format!("{field}: the value cannot be read as the field's type."))
                .with_details(vec![FieldError::new(field, "invalid_parameter", "cannot be read as the field's type")])
                .with_source(error)
        }
        _ => error.into(),
    }
}

/// A failed write.
pub(crate) fn of_write(error: DatabaseError, entity: &Entity, builder: &Builder) -> ApiError {
    match &error {
        DatabaseError::Value { parameter, .. } => {
            let field = parameter.and_then(|number| builder.field(number)).unwrap_or("body").to_owned();
            let fault = FieldError::new(field, "invalid", "cannot be read as the field's type, or is out of its range");
            ApiError::validation(vec![fault]).with_source(error)
        }
        DatabaseError::Constraint(violated) => of_constraint(violated, entity).with_source(error),
        DatabaseError::Raised(message) => ApiError::new(ErrorCode::ValidationFailed, message.clone()),
        // The check of the policy: the row would not be the caller's tenant's.
        DatabaseError::Forbidden => ApiError::not_found().with_source(error),
        _ => error.into(),
    }
}

fn of_constraint(violated: &Constraint, entity: &Entity) -> ApiError {
    let known = violated.name.as_ref().and_then(|name| entity.constraints.get(name));
    let columns: Vec<String> = match (&violated.column, known) {
        (Some(column), _) => vec![column.clone()],
        (None, Some(constraint)) => constraint.columns.clone(),
        (None, None) => Vec::new(),
    };
    let each = |code: &'static str, message: &str| {
        columns.iter().map(|column| FieldError::new(column.clone(), code, message)).collect::<Vec<_>>()
    };
    match violated.kind {
        ConstraintKind::Unique => {
            let named = if columns.is_empty() { "value".to_owned() } else { columns.join(", ") };
            ApiError::conflict(format!("Another record has the same {named} already."))
                .with_details(each("taken", "is taken"))
        }
        // The constraint of another table: the record is still in use there.
        ConstraintKind::ForeignKey if violated.table != entity.name => ApiError::conflict(format!(
            "The record is still used by {}. Remove or change those first.",
            violated.table.replace('_', " ")
        )),
        ConstraintKind::ForeignKey => validation(each("not_found", "there is no such record")),
        ConstraintKind::NotNull => validation(each("required", "is required")),
        ConstraintKind::Check => {
            let rule = known.filter(|constraint| constraint.kind == ConstraintClass::Check);
            let rule = rule.and_then(|constraint| constraint.expression.as_deref());
            let message = rule.map_or("is not allowed".to_owned(), |rule| format!("breaks the rule {rule}"));
            validation(each("not_allowed", &message))
        }
    }
}

fn validation(faults: Vec<FieldError>) -> ApiError {
    if faults.is_empty() {
        return ApiError::new(ErrorCode::ValidationFailed, "The record breaks a rule of its table.");
    }
    ApiError::validation(faults)
}
