//! People who are signed in, by a token or a browser's cookie, whatever the tenant.
//!
//! Must never let a tenant's host act on an account, where scripts of the tenant's run, nor an operator
//! who works in the person's place.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use rowhouse_audit::Actor;
use rowhouse_identity::{Claims, Tokens, WebSession, is_api_key};
use rowhouse_types::{ApiError, ErrorCode};

use crate::browser::{CookieOut, SessionOut, web_session};
use crate::envelope::Failure;
use crate::gate::{bearer, claims, facts};
use crate::state::ServerState;
use crate::trace::{Facts, SharedFacts};

/// Notes who asks, and who does it in their place, for the log and the audit.
pub(crate) fn note(facts: &Facts, claims: &Claims) {
    let _ = facts.user.set(claims.user);
    if let Some(act) = &claims.act {
        let _ = facts.operator.set(act.sub);
    }
}

/// Refuses an operator in a person's place what only that person may do.
pub(crate) fn require_own_session(facts: &Facts) -> Result<(), Failure> {
    if facts.operator.get().is_none() {
        return Ok(());
    }
    Err(Failure(ApiError::permission_denied("An operator in somebody's place may not do this: it is theirs alone.")))
}

/// Somebody who is signed in, on whatever host: for what no script of a tenant's could misuse.
pub(crate) struct SignedIn {
    pub(crate) claims: Arc<Claims>,
    /// The cookie, of a browser.
    pub(crate) web: Option<Arc<WebSession>>,
    facts: SharedFacts,
}

/// A person at work on their own account. A tenant's host is not the place for it.
pub(crate) struct Person(SignedIn);

impl std::ops::Deref for Person {
    type Target = SignedIn;
    fn deref(&self) -> &SignedIn {
        &self.0
    }
}

impl SignedIn {
    /// As the audit log names them, with this request.
    pub(crate) fn actor(&self) -> Actor {
        let operator = self.claims.act.as_ref().map(|act| act.sub);
        Actor::user(self.claims.user).in_request(&self.facts.request_id).in_place_by(operator)
    }

    /// Refuses an operator in the person's place.
    pub(crate) fn require_own_session(&self) -> Result<(), Failure> {
        require_own_session(&self.facts)
    }

    /// New tokens of this session, or what goes with its cookie: a browser gets no tokens.
    pub(crate) async fn give(&self, state: &ServerState, tokens: Tokens) -> SessionOut {
        let Some(web) = &self.web else { return SessionOut::Tokens(tokens.into()) };
        state.identity.forget_web_session(web).await;
        SessionOut::Cookie(CookieOut::again(state, web, tokens.tenant))
    }
}

impl FromRequestParts<ServerState> for SignedIn {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Self, Failure> {
        let web = web_session(parts, state).await?;
        let claims = match &web {
            Some(web) => web.claims.clone(),
            None => {
                let token = bearer(&parts.headers)?;
                if is_api_key(token) {
                    return Err(Failure(ApiError::unauthenticated(
                        "This is a person's own: an API key does not open it. Sign in.",
                    )));
                }
                claims(state, token).await?
            }
        };
        let facts = facts(parts);
        note(&facts, &claims);
        Ok(Self { claims, web, facts })
    }
}

impl FromRequestParts<ServerState> for Person {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Self, Failure> {
        let signed_in = SignedIn::from_request_parts(parts, state).await?;
        if signed_in.web.as_ref().is_some_and(|web| web.is_on_tenants_host()) {
            return Err(Failure(ApiError::permission_denied(
                "This is of your account: do it on the sign-in host, not on an organisation's.",
            )));
        }
        signed_in.require_own_session()?;
        Ok(Self(signed_in))
    }
}

/// Whoever is here: nobody too, and nobody by what is not good any more.
impl OptionalFromRequestParts<ServerState> for Person {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Option<Self>, Failure> {
        match <Self as FromRequestParts<ServerState>>::from_request_parts(parts, state).await {
            Ok(person) => Ok(Some(person)),
            Err(Failure(error)) if error.code == ErrorCode::Unauthenticated => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}
