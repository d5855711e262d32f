//! The data API: from a request's words to one tenant-bound statement, and rows to JSON.
