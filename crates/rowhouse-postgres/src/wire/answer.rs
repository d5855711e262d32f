//! What the server answers to one message, while it arrives.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{DatabaseError, DatabaseResult};
use crate::row::{Column, Row, Rows};

/// The results of a message's statements.
pub(super) type Results = Vec<Vec<Row>>;

/// A statement that the server knows by name.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) name: Box<str>,
    pub(super) types: Box<[u32]>,
    pub(super) columns: Arc<[Column]>,
}

/// Where whoever asked finds the outcome.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<DatabaseResult<Results>>>>);

impl Slot {
    pub(super) fn take(&self) -> Option<DatabaseResult<Results>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, outcome: DatabaseResult<Results>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// An answer that is owed, or arriving.
#[derive(Default)]
pub(super) struct Answer {
    results: Results,
    /// The rows so far of the statement that is being answered.
    rows: Option<Rows>,
    /// Of each statement its columns, as far as they are known.
    columns: Vec<Option<Arc<[Column]>>>,
    /// Statements that this answer prepares, in their order.
    fresh: VecDeque<(Box<str>, Prepared)>,
    error: Option<DatabaseError>,
    slot: Slot,
}

impl Answer {
    pub(super) fn new(statements: usize) -> Self {
        Self { results: Vec::with_capacity(statements), columns: Vec::with_capacity(statements), ..Self::default() }
    }

    pub(super) fn slot(&self) -> Slot {
        self.slot.clone()
    }

    /// A statement that the server knows.
    pub(super) fn expect_known(&mut self, columns: Arc<[Column]>) {
        self.columns.push(Some(columns));
    }

    /// A statement that the same message prepares.
    pub(super) fn expect_fresh(&mut self, sql: &str, prepared: Prepared) {
        self.fresh.push_back((sql.into(), prepared));
        self.columns.push(None);
    }

    /// The next statement that was to be prepared stands with its columns: only now may the next
    /// request rely on it.
    pub(super) fn prepared(&mut self, columns: Arc<[Column]>) -> Option<(Box<str>, Prepared)> {
        // A simple query describes its rows too; they are discarded.
        let (sql, prepared) = self.fresh.pop_front()?;
        if let Some(place) = self.columns.iter_mut().find(|columns| columns.is_none()) {
            *place = Some(columns.clone());
        }
        Some((sql, Prepared { columns, ..prepared }))
    }

    /// Adds a row. `arrived` is how much of the answer is there, for most of them all of it.
    pub(super) fn row(&mut self, values: &[u8], arrived: usize) {
        if self.rows.is_none() {
            let columns = self.columns.get(self.results.len()).cloned().flatten();
            // Nobody wants the rows of a simple query, or of a request that was dropped.
            let Some(columns) = columns.filter(|_| !self.slot.is_abandoned()) else { return };
            self.rows = Some(Rows::new(columns, arrived));
        }
        if let Some(rows) = &mut self.rows {
            rows.push(values);
        }
    }

    pub(super) fn next_statement(&mut self) {
        if self.results.len() < self.columns.len() {
            self.results.push(self.rows.take().map(Rows::finish).unwrap_or_default());
        }
    }

    /// The first error is the cause; what follows is skipped by the server up to the Sync.
    pub(super) fn fail(&mut self, error: DatabaseError) {
        self.error.get_or_insert(error);
    }

    /// Gives the outcome to whoever asked, and the names of the statements that were not prepared
    /// after all.
    pub(super) fn finish(self) -> impl Iterator<Item = Box<str>> {
        self.slot.put(self.error.map_or(Ok(self.results), Err));
        self.fresh.into_iter().map(|(_, prepared)| prepared.name)
    }
}
