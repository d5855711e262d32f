//! Pages of the platform's own lists: read on after the last item of the page before.

use std::str::FromStr;

use axum::http::Uri;
use rowhouse_types::{ApiError, PER_PAGE_DEFAULT, PER_PAGE_MAX, Pagination, did_you_mean};
use serde::Serialize;
use serde_json::{Value, json};

use crate::envelope::{Answer, Failure};
use crate::gate::query_pairs;

/// The parameters of every such list, for its documentation.
pub(crate) const LIMIT: (&str, &str) = ("limit", "At most so many; 50 by default, 200 at most.");
pub(crate) const CURSOR: (&str, &str) = ("cursor", "Read on after a page: its pagination.cursor.");

/// Which page was asked for. A cursor names the last item of the page before.
pub(crate) struct PageQuery<C> {
    limit: u32,
    pub(crate) cursor: Option<C>,
}

impl<C: FromStr> PageQuery<C> {
    /// Reads a list's query. `own` is given each parameter that is not a page's; `documented` are all
    /// that the list knows.
    ///
    /// # Errors
    /// 400 for an unknown parameter, a limit out of bounds, a cursor of no page, or whatever `own`
    /// refuses.
    pub(crate) fn read(
        uri: &Uri,
        documented: &[(&str, &str)],
        mut own: impl FnMut(&str, String) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let mut page = Self { limit: PER_PAGE_DEFAULT, cursor: None };
        for (name, value) in query_pairs(uri.query()) {
            match name.as_str() {
                "limit" => page.limit = limit(&value)?,
                "cursor" => page.cursor = Some(value.parse().map_err(|_| no_cursor())?),
                _ if documented.iter().any(|(known, _)| *known == name) => own(&name, value)?,
                _ => {
                    let hint = did_you_mean(&name, documented.iter().map(|(known, _)| *known));
                    return Err(Failure(ApiError::invalid(format!("Unknown parameter {name:?}.{hint}"))));
                }
            }
        }
        Ok(page)
    }

    /// How many items to read: one more than asked for tells whether more follow.
    pub(crate) fn to_read(&self) -> u32 {
        self.limit + 1
    }

    /// The answer with at most as many items as were asked for; `cursor_of` names an item.
    pub(crate) fn answer<T: Serialize>(self, mut items: Vec<T>, cursor_of: impl Fn(&T) -> String) -> Answer<Value> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_next = items.len() > limit;
        items.truncate(limit);
        let pagination = Pagination {
            per_page: self.limit,
            has_next,
            has_prev: self.cursor.is_some(),
            cursor: items.last().filter(|_| has_next).map(cursor_of),
            ..Pagination::default()
        };
        Answer::ok(json!(items)).paged(pagination)
    }
}

/// Reads a list's limit.
pub(crate) fn limit(text: &str) -> Result<u32, Failure> {
    let parsed = text.parse().ok().filter(|limit| (1..=PER_PAGE_MAX).contains(limit));
    parsed.ok_or_else(|| Failure(ApiError::invalid("limit must be a number from 1 to 200.")))
}

fn no_cursor() -> Failure {
    Failure(ApiError::invalid("cursor must be the pagination.cursor of a page of this list."))
}
