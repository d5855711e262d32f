//! Clerk as the identity provider: people sign in there, and its organisations are the tenants.
//!
//! A request's session token is verified by Clerk's published keys (`token.rs`); what Clerk tells by
//! webhooks (`event.rs`) is applied to people, tenants and memberships here, where everything else
//! finds them as if they had been made here. A token of somebody who has not been told of yet is as
//! good: what it says is signed, so nobody waits for a webhook.
//!
//! **Invariant:** Clerk's deliveries may come twice, late and in any order; the outcome is the same.
//! **Invariant:** what was deleted at Clerk, or here, does not come back by a late delivery.

mod backend;
mod claims;
mod clerk_id;
mod error;
mod event;
mod invite;
mod jwks;
mod organization;
mod part;
mod person;
mod seen;
mod service;
mod signature;
mod token;
mod webhook;

pub use backend::BackendError;
pub use claims::{ActiveOrganization, ClaimsError, Parties, PartyError, SessionClaims};
pub use clerk_id::{ClerkSessionId, OfferId, OrganizationId, PartId, PersonId};
pub use error::ClerkError;
pub use event::{Event, EventError, Offer, OfferState, Organization, Part, Person};
pub use invite::InvitedOut;
pub use jwks::JwksError;
pub use service::{BackendSettings, Clerk, ClerkServices, ClerkSettings};
pub use signature::{SecretError, SignatureError, SignedHeaders, WebhookSecrets};
pub use token::TokenError;
pub use webhook::Received;
