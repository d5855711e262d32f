//! The routes, one file per domain. HTTP only: rules live in the domain crates.

pub(crate) mod admin;
pub(crate) mod api_keys;
pub(crate) mod auth;
pub(crate) mod clerk;
pub(crate) mod documents;
pub(crate) mod domains;
pub(crate) mod email;
pub(crate) mod hand_off;
pub(crate) mod health;
pub(crate) mod impersonation;
pub(crate) mod invitations;
pub(crate) mod magic_link;
pub(crate) mod members;
pub(crate) mod mfa;
pub(crate) mod mfa_policy;
pub(crate) mod password;
pub(crate) mod profile;
pub(crate) mod records;
pub(crate) mod roles;
pub(crate) mod session_policy;
pub(crate) mod sessions;
pub(crate) mod step_up;
pub(crate) mod tenants;
