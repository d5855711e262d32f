//! A row of a result, from either of the two ways to the server: the ordinary driver, or the
//! tenants' own connection.

use std::sync::Arc;

use bytes::Bytes;
use tokio_postgres::types::{FromSql, Type};

use crate::json::write_text;

/// A column of a result.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// The name as a JSON key, with its colon.
    key: Box<[u8]>,
    ty: Type,
}

impl Column {
    pub(crate) fn new(name: &str, ty: Type) -> Self {
        Self { key: json_key(name).into(), ty }
    }

    pub(crate) fn ty(&self) -> &Type {
        &self.ty
    }
}

fn json_key(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 3);
    write_text(name, &mut key);
    key.push(b':');
    key
}

/// A row. Values are read by their place, from 0.
#[derive(Debug, Clone)]
pub struct Row(Source);

#[derive(Debug, Clone)]
enum Source {
    Driver(Arc<tokio_postgres::Row>),
    /// The columns, and each value's length and bytes as they came.
    Wire(Arc<[Column]>, Bytes),
}

impl From<tokio_postgres::Row> for Row {
    fn from(row: tokio_postgres::Row) -> Self {
        Self(Source::Driver(Arc::new(row)))
    }
}

/// What a value is read by: a number, so that reading by name, which costs a search, cannot
/// become a habit.
pub trait Place {
    #[doc(hidden)]
    fn place(self) -> usize;
}

impl Place for usize {
    fn place(self) -> usize {
        self
    }
}

/// A value's bytes as the server sent them.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl Row {
    pub(crate) fn of_wire(columns: Arc<[Column]>, values: Bytes) -> Self {
        Self(Source::Wire(columns, values))
    }

    /// The value at a place.
    ///
    /// Must be asked for as a type that the column has; anything else is a fault of ours, and
    /// panics.
    pub fn get<'a, I: Place, T: FromSql<'a>>(&'a self, index: I) -> T {
        let index = index.place();
        match &self.0 {
            Source::Driver(row) => row.get(index),
            Source::Wire(columns, _) => {
                let ty = columns.get(index).expect("the statement has this column").ty();
                assert!(T::accepts(ty), "column {index} is of type {ty}");
                let value = self.values().nth(index).and_then(|(_, raw)| raw);
                T::from_sql_nullable(ty, value).expect("the server sends what its type says")
            }
        }
    }

    /// Writes a column's name as a JSON key, with its colon.
    pub(crate) fn write_key(&self, index: usize, out: &mut Vec<u8>) {
        match &self.0 {
            Source::Driver(row) => out.extend_from_slice(&json_key(row.columns()[index].name())),
            Source::Wire(columns, _) => out.extend_from_slice(&columns[index].key),
        }
    }

    /// Every column's type and bytes.
    pub(crate) fn values(&self) -> Values<'_> {
        match &self.0 {
            Source::Driver(row) => Values::Driver { row, index: 0 },
            Source::Wire(columns, bytes) => Values::Wire { columns, rest: bytes },
        }
    }
}

/// The values of a row, in their order.
pub(crate) enum Values<'a> {
    Driver { row: &'a tokio_postgres::Row, index: usize },
    Wire { columns: &'a [Column], rest: &'a [u8] },
}

impl<'a> Iterator for Values<'a> {
    type Item = (&'a Type, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Driver { row, index } => {
                let row: &'a tokio_postgres::Row = row;
                let column = row.columns().get(*index)?;
                let raw: Option<Raw<'a>> = row.get(*index);
                *index += 1;
                Some((column.type_(), raw.map(|raw| raw.0)))
            }
            Self::Wire { columns, rest } => {
                let (column, others) = columns.split_first()?;
                let (length, after) = rest.split_at_checked(4)?;
                let length = i32::from_be_bytes(length.try_into().ok()?);
                // A negative length is null.
                let (raw, after) = match usize::try_from(length) {
                    Ok(length) => after.split_at_checked(length).map(|(raw, after)| (Some(raw), after))?,
                    Err(_) => (None, after),
                };
                (*columns, *rest) = (others, after);
                Some((column.ty(), raw))
            }
        }
    }
}
