//! The product as its users meet it: the real program, over HTTP and the command line.
#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod api_keys;
mod audit;
mod auth;
mod beside;
mod browser;
mod clerk;
mod clerk_peer;
mod command_line;
mod disconnect;
mod domains;
mod drain;
mod external;
mod gate;
mod impersonation;
mod interrupt;
mod invitations;
mod isolation;
mod layers;
mod limit;
mod long_url;
mod mail_links;
mod members;
mod mfa;
mod migrate;
mod openapi;
mod paging;
mod pooler;
mod process;
mod records;
mod roles;
mod service;
mod sessions;
mod sql;
mod sql_source;
mod terminal;
