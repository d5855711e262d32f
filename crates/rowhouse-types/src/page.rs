//! The pagination block of the envelope.

use serde::{Deserialize, Serialize};

/// Records on a page when the caller names no number.
pub const PER_PAGE_DEFAULT: u32 = 50;
/// Most records a page may have.
pub const PER_PAGE_MAX: u32 = 200;

/// Where a page lies in its list. Page fields are null when the list was walked by cursor,
/// totals when they were not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pagination {
    /// The page's number, from 1.
    pub page: Option<u32>,
    /// Records on a page.
    pub per_page: u32,
    /// Records in the whole list.
    pub total: Option<u64>,
    /// Pages in the whole list.
    pub total_pages: Option<u64>,
    /// Whether records follow.
    pub has_next: bool,
    /// Whether records precede.
    pub has_prev: bool,
    /// Give it as `cursor=` to read on after this page.
    pub cursor: Option<String>,
}
