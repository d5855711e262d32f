//! A row of a result, from either of the two ways to the server: the ordinary driver, or the
//! tenants' own connection.

use std::sync::Arc;

use tokio_postgres::types::{FromSql, Type};

use crate::json::{Form, write_text};

/// A column of a result.
#[derive(Debug)]
pub(crate) struct Column {
    /// The name as a JSON key, with its colon.
    key: Box<[u8]>,
    ty: Type,
    form: Form,
}

impl Column {
    pub(crate) fn new(name: &str, ty: Type) -> Self {
        let mut key = Vec::with_capacity(name.len() + 3);
        write_text(name, &mut key);
        key.push(b':');
        Self { key: key.into(), form: Form::of(&ty), ty }
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(crate) fn ty(&self) -> &Type {
        &self.ty
    }

    /// How its values are written as JSON.
    pub(crate) fn form(&self) -> &Form {
        &self.form
    }
}

/// The values of all rows of a result, one after the other: each with its length before it, which
/// is negative for null.
#[derive(Debug)]
struct Block {
    columns: Arc<[Column]>,
    bytes: Vec<u8>,
}

/// A row. Values are read by their place, from 0.
///
/// The rows of a result share its memory, which is freed with the last of them.
#[derive(Debug, Clone)]
pub struct Row {
    block: Arc<Block>,
    start: usize,
}

/// A result that is being received.
pub(crate) struct Rows {
    columns: Arc<[Column]>,
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Rows {
    /// With room for so many bytes.
    pub(crate) fn new(columns: Arc<[Column]>, room: usize) -> Self {
        Self { columns, bytes: Vec::with_capacity(room), starts: Vec::new() }
    }

    /// Adds a row: its values as the protocol's DataRow has them, each with its length.
    pub(crate) fn push(&mut self, values: &[u8]) {
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(values);
    }

    pub(crate) fn finish(self) -> Vec<Row> {
        let block = Arc::new(Block { columns: self.columns, bytes: self.bytes });
        self.starts.into_iter().map(|start| Row { block: block.clone(), start }).collect()
    }

    /// The same of the driver's rows.
    pub(crate) fn of_driver(rows: &[tokio_postgres::Row]) -> Vec<Row> {
        let Some(first) = rows.first() else { return Vec::new() };
        let columns = first.columns().iter().map(|column| Column::new(column.name(), column.type_().clone()));
        let mut result = Self::new(columns.collect(), 0);
        for row in rows {
            result.starts.push(result.bytes.len());
            for index in 0..row.len() {
                let value: Option<Raw<'_>> = row.get(index);
                // The server's own limit for a value is 1 GB.
                let length = value.as_ref().map_or(-1, |raw| i32::try_from(raw.0.len()).unwrap_or(i32::MAX));
                result.bytes.extend_from_slice(&length.to_be_bytes());
                result.bytes.extend_from_slice(value.map_or(&[], |raw| raw.0));
            }
        }
        result.finish()
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
    /// The value at a place.
    ///
    /// Must be asked for as a type that the column has; anything else is a fault of ours, and
    /// panics.
    pub fn get<'a, I: Place, T: FromSql<'a>>(&'a self, index: I) -> T {
        let index = index.place();
        let (column, value) = self.values().nth(index).expect("the statement has this column");
        assert!(T::accepts(column.ty()), "column {index} is of type {}", column.ty());
        T::from_sql_nullable(column.ty(), value).expect("the server sends what its type says")
    }

    /// Every column with its value's bytes.
    pub(crate) fn values(&self) -> Values<'_> {
        Values { columns: self.block.columns.iter(), rest: &self.block.bytes[self.start..] }
    }
}

/// The values of a row, in their order.
pub(crate) struct Values<'a> {
    columns: std::slice::Iter<'a, Column>,
    rest: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = (&'a Column, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.rest.split_first_chunk()?;
        let column = self.columns.next()?;
        let (value, rest) = match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) => rest.split_at_checked(length).map(|(value, rest)| (Some(value), rest))?,
            Err(_) => (None, rest),
        };
        self.rest = rest;
        Some((column, value))
    }
}
