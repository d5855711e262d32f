//! Integration tests of the scopes, on a real server.
mod isolation;
