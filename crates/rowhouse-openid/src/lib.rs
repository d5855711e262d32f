//! Rowhouse as an OpenID provider: other programs (clients) sign people in here, by the authorization
//! code flow of OpenID Connect Core 1.0 with PKCE (RFC 7636), and get tokens that tell who they are and in
//! which tenant.
//!
//! **Invariant:** nobody is sent to an address that their client did not register, letter for letter.
//! **Invariant:** a grant ends with the session that it was given in; a code or refresh token that comes a
//! second time ends what the first gave.
//! **Invariant:** codes, refresh tokens and secrets are kept hashed only.

mod authorize;
mod claims;
mod client;
mod client_auth;
mod code;
mod consent;
mod discovery;
mod error;
mod grant;
mod introspect;
mod logout;
mod parameters;
mod pkce;
mod redirect_uri;
mod refresh_token;
mod request;
mod revoke;
mod scope;
mod secret;
mod service;
mod token;
mod userinfo;

pub use authorize::{Authorized, Decision, PendingOut};
pub use claims::is_client_token;
pub use client::{ClientOut, ClientPage, ClientPatch, MadeClient, NewClient};
pub use consent::{ConsentOut, ConsentPage};
pub use error::{OAuthCode, OpenIdError};
pub use grant::ClientAccess;
pub use logout::LoggedOut;
pub use service::{OpenId, OpenIdServices};
