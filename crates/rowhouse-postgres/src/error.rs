//! What can go wrong in the database, sorted by what the caller can do about it.

use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::ErrorResponseBody;
use rowhouse_types::{ApiError, ErrorCode};
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

/// What a database operation gives.
pub type DatabaseResult<T> = Result<T, DatabaseError>;

/// The kind of a violated constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstraintKind {
    /// A unique key or exclusion constraint.
    Unique,
    /// A reference to a row that is absent, or a row that is still referenced.
    ForeignKey,
    /// A check.
    Check,
    /// A column that must have a value.
    NotNull,
}

/// A violated constraint. Holds names only: values in the server's message may be another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// Its kind.
    pub kind: ConstraintKind,
    /// Its table.
    pub table: String,
    /// Its column, where the server names one.
    pub column: Option<String>,
    /// Its name, where it has one.
    pub name: Option<String>,
}

/// A database error by class. The display text is safe to log: it never carries row values.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The server cannot be reached, is starting or stopping, or no connection came free.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// The statement ran longer than allowed.
    #[error("the statement took longer than allowed")]
    Timeout,
    /// Somebody else held a lock for longer than the statement may wait.
    #[error("somebody else holds a lock that it needs, and did not give it back in time")]
    Locked,
    /// Two transactions collided; the same work may succeed when tried again.
    #[error("two transactions collided")]
    Collision,
    /// A constraint was violated.
    #[error("constraint violated: {0:?}")]
    Constraint(Constraint),
    /// A value cannot be read as its type; the number of the parameter, if the server told.
    #[error("a value cannot be read as its type (parameter {parameter:?}, {code})")]
    Value {
        /// Counted from 1.
        parameter: Option<usize>,
        /// The SQLSTATE.
        code: String,
    },
    /// Refused by a grant or a row-level policy.
    #[error("refused by a grant or a row-level policy")]
    Forbidden,
    /// The app raised an exception of its own (`raise exception`, SQLSTATE P0001).
    #[error("refused by the app's own rule")]
    Raised(String),
    /// Anything else; a fault of ours or of the app's SQL.
    #[error("SQLSTATE {code}: {message}")]
    Other {
        /// The SQLSTATE.
        code: String,
        /// The server's primary message.
        message: String,
        /// Where in the statement, in characters from 1.
        position: Option<u32>,
    },
    /// The driver's own complaint (wrong parameter or column type).
    #[error("driver: {0}")]
    Driver(String),
}

impl DatabaseError {
    /// Whether trying the same again, shortly, may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Collision)
    }
}

/// What the server said of a failure.
#[derive(Debug, Default)]
pub(crate) struct ServerError {
    code: String,
    message: String,
    context: Option<String>,
    table: Option<String>,
    column: Option<String>,
    constraint: Option<String>,
    position: Option<u32>,
}

impl ServerError {
    /// Reads it from the server's own message ("Error and Notice Message Fields").
    pub(crate) fn read(body: &ErrorResponseBody) -> Self {
        let mut error = Self::default();
        let mut fields = body.fields();
        while let Ok(Some(field)) = fields.next() {
            let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'W' => error.context = Some(text),
                b't' => error.table = Some(text),
                b'c' => error.column = Some(text),
                b'n' => error.constraint = Some(text),
                b'P' => error.position = text.parse().ok(),
                _ => {}
            }
        }
        error
    }

    fn of_driver(error: &DbError) -> Self {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Self {
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            context: text(error.where_()),
            table: text(error.table()),
            column: text(error.column()),
            constraint: text(error.constraint()),
            position: match error.position() {
                Some(ErrorPosition::Original(position)) => Some(*position),
                _ => None,
            },
        }
    }
}

impl From<ServerError> for DatabaseError {
    fn from(error: ServerError) -> Self {
        let ServerError { code, message, context, table, column, constraint: name, position } = error;
        let constraint = |kind| {
            Self::Constraint(Constraint {
                kind,
                table: table.clone().unwrap_or_default(),
                column: column.clone(),
                name: name.clone(),
            })
        };
        let class = code.get(..2).unwrap_or_default();
        match SqlState::from_code(&code) {
            SqlState::UNIQUE_VIOLATION | SqlState::EXCLUSION_VIOLATION => constraint(ConstraintKind::Unique),
            SqlState::FOREIGN_KEY_VIOLATION => constraint(ConstraintKind::ForeignKey),
            SqlState::CHECK_VIOLATION => constraint(ConstraintKind::Check),
            SqlState::NOT_NULL_VIOLATION => constraint(ConstraintKind::NotNull),
            SqlState::QUERY_CANCELED => Self::Timeout,
            SqlState::LOCK_NOT_AVAILABLE => Self::Locked,
            SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => Self::Collision,
            SqlState::INTERNAL_ERROR if is_of_a_changing_catalog(&message) => Self::Collision,
            SqlState::INSUFFICIENT_PRIVILEGE => Self::Forbidden,
            SqlState::RAISE_EXCEPTION => Self::Raised(message),
            // 57P0x: shutting down or starting; 08: connection; 53: out of connections or memory;
            // 3D000: the database is gone (a tenant that moved or was deleted).
            SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::CANNOT_CONNECT_NOW => {
                Self::Unavailable(message)
            }
            _ if matches!(class, "08" | "53") => Self::Unavailable(message),
            _ if class == "22" => Self::Value { parameter: parameter_number(context.as_deref()), code },
            _ => Self::Other { code, message, position },
        }
    }
}

/// What a query of the catalogs meets when somebody drops a table or view that it has just read of:
/// the functions that spell out definitions look at the newest state, not at the query's own.
fn is_of_a_changing_catalog(message: &str) -> bool {
    message.starts_with("could not open relation with OID") || message.starts_with("cache lookup failed for")
}

/// Reads "unnamed portal parameter $3 = '…'" (PostgreSQL's context line of a bind error).
fn parameter_number(context: Option<&str>) -> Option<usize> {
    let (_, rest) = context?.split_once("parameter $")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        use std::error::Error as _;
        if let Some(db) = error.as_db_error() {
            return ServerError::of_driver(db).into();
        }
        if error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()) {
            return Self::Unavailable(error.to_string());
        }
        let text = match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        if text.contains("connecting to server") || text.contains("timeout") {
            Self::Unavailable(text)
        } else {
            Self::Driver(text)
        }
    }
}

/// The mapping for errors that no domain has given a better meaning.
impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        match &error {
            DatabaseError::Unavailable(_) => ApiError::unavailable(error),
            DatabaseError::Timeout => ApiError::new(
                ErrorCode::Timeout,
                "The statement took longer than allowed. Narrow the filter or ask for fewer records.",
            )
            .with_source(error),
            DatabaseError::Locked => {
                ApiError::new(ErrorCode::Timeout, "Somebody else is changing the same data. Try again in a moment.")
                    .with_source(error)
            }
            DatabaseError::Collision => {
                ApiError::conflict("Somebody else changed the same data at this moment. Try again.").with_source(error)
            }
            DatabaseError::Forbidden => ApiError::not_found().with_source(error),
            DatabaseError::Constraint(_)
            | DatabaseError::Value { .. }
            | DatabaseError::Raised(_)
            | DatabaseError::Other { .. }
            | DatabaseError::Driver(_) => ApiError::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_parameter_from_the_servers_context() {
        assert_eq!(parameter_number(Some("unnamed portal parameter $3 = '...'")), Some(3));
        assert_eq!(parameter_number(Some("portal \"x\" parameter $12")), Some(12));
        assert_eq!(parameter_number(Some("PL/pgSQL function f()")), None);
        assert_eq!(parameter_number(None), None);
    }
}
