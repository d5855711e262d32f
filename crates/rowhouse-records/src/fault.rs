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
    // The developer's comment on the constraint, or a simple rule in words.
    let own = known.and_then(|constraint| constraint.message.as_deref());
    let each = |code: &'static str, message: &str| {
        columns.iter().map(|column| FieldError::new(column.clone(), code, message)).collect::<Vec<_>>()
    };
    match violated.kind {
        ConstraintKind::Unique => {
            let named = if columns.is_empty() { "value".to_owned() } else { columns.join(", ") };
            let message = own.map_or(format!("Another record has the same {named} already."), sentence);
            ApiError::conflict(message).with_details(each("taken", "is taken"))
        }
        // The constraint of another table: the record is still in use there.
        ConstraintKind::ForeignKey if violated.table != entity.name => ApiError::conflict(format!(
            "The record is still used by {}. Remove or change those first.",
            violated.table.replace('_', " ")
        )),
        ConstraintKind::ForeignKey => validation(each("not_found", own.unwrap_or("there is no such record"))),
        ConstraintKind::NotNull => validation(each("required", "is required")),
        ConstraintKind::Check => {
            let rule = known.filter(|constraint| constraint.kind == ConstraintClass::Check);
            let rule = rule.and_then(|constraint| constraint.expression.as_deref());
            let unsaid = || rule.map_or("is not allowed".to_owned(), |rule| format!("breaks the rule {rule}"));
            let message = own.map_or_else(unsaid, str::to_owned);
            let mut error = validation(each("not_allowed", &message));
            // What is said of several fields stands for itself.
            if let (Some(own), false) = (own, columns.len() == 1) {
                error.message = sentence(own).into();
            }
            error
        }
    }
}

/// With a capital and a full stop, unless the app's developer ended it otherwise.
fn sentence(words: &str) -> String {
    let words = words.trim();
    let mut letters = words.chars();
    // A column's name stays as it is.
    let is_name = words.split_whitespace().next().is_some_and(|word| word.contains('_'));
    let first = letters.next().filter(|_| !is_name).map(|first| first.to_uppercase().collect::<String>());
    let begun = first.map_or(words.to_owned(), |first| first + letters.as_str());
    if begun.ends_with(['.', '!', '?']) { begun } else { begun + "." }
}

fn validation(faults: Vec<FieldError>) -> ApiError {
    if faults.is_empty() {
        return ApiError::new(ErrorCode::ValidationFailed, "The record breaks a rule of its table.");
    }
    ApiError::validation(faults)
}
