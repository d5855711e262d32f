//! Signing out at a client's wish (OpenID Connect RP-Initiated Logout 1.0).
//!
//! Must never send anybody to an address that the client did not register for it.

use rowhouse_identity::{Claims, IdentityError, TokenCheck};
use rowhouse_types::{ClientId, SessionId, UserId};
use serde::Deserialize;

use crate::claims::ID_TOKEN_KIND;
use crate::client::{Client, client_get};
use crate::error::OpenIdError;
use crate::parameters::Parameters;
use crate::redirect_uri;
use crate::service::OpenId;

/// Where the person's browser goes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoggedOut {
    /// To the client.
    Client(String),
    /// To a page of ours that tells that they are signed out.
    Done,
    /// To a page of ours that asks whether they want to sign out: the client has not shown that it knows
    /// them. After that to this address, if there is one.
    Ask(Option<String>),
}

/// What an ID token of ours tells here.
#[derive(Debug, Deserialize)]
pub(crate) struct Hint {
    pub(crate) aud: ClientId,
    pub(crate) sub: UserId,
    sid: SessionId,
}

impl OpenId {
    /// Signs out whom an ID token names, or asks whoever is here.
    ///
    /// # Errors
    /// `invalid_request`, to be told to who is here: a hint that is none of ours, an address that is none of
    /// the client's. Then nobody is signed out.
    pub async fn logout(&self, query: &[u8], person: Option<&Claims>) -> Result<LoggedOut, OpenIdError> {
        let parameters = Parameters::parse(query);
        let hint = match parameters.get("id_token_hint")? {
            Some(token) => Some(self.read_hint(token).await?),
            None => None,
        };
        let client = self.client_of_logout(&parameters, hint.as_ref()).await?;
        let to = address(client.as_ref(), &parameters)?;
        let Some(hint) = hint else {
            return Ok(match (person, to) {
                (Some(_), to) => LoggedOut::Ask(to),
                (None, Some(to)) => LoggedOut::Client(to),
                (None, None) => LoggedOut::Done,
            });
        };
        let claims =
            Claims { user: hint.sub, email: String::new(), session: hint.sid, org: None, expires_at: 0, act: None };
        self.identity.sign_out(&claims).await?;
        Ok(to.map_or(LoggedOut::Done, LoggedOut::Client))
    }

    pub(crate) async fn read_hint(&self, token: &str) -> Result<Hint, OpenIdError> {
        // An ID token is kept for this longer than it is good for anything else.
        let check = TokenCheck { kind: ID_TOKEN_KIND, audience: None, may_be_over: true };
        self.identity.verify_claims(token, check).await.map_err(|error| match error {
            IdentityError::InvalidToken => OpenIdError::invalid_request("id_token_hint is no ID token of ours"),
            error => error.into(),
        })
    }

    /// The client that the hint or the request names; both must agree.
    async fn client_of_logout(
        &self,
        parameters: &Parameters,
        hint: Option<&Hint>,
    ) -> Result<Option<Client>, OpenIdError> {
        let named = parameters.get("client_id")?.map(str::to_owned);
        let hinted = hint.map(|hint| hint.aud.to_string());
        if let (Some(named), Some(hinted)) = (&named, &hinted)
            && named != hinted
        {
            return Err(OpenIdError::invalid_request("client_id is not the client of id_token_hint"));
        }
        let Some(id) = hinted.or(named) else { return Ok(None) };
        let connection = self.control("sign out at an OpenID client's wish").await?;
        let client = client_get(&connection, &id).await?;
        Ok(Some(client.ok_or(OpenIdError::invalid_request("client_id is not known here"))?))
    }
}

/// Where the request wants the person to be sent.
fn address(client: Option<&Client>, parameters: &Parameters) -> Result<Option<String>, OpenIdError> {
    let Some(given) = parameters.get("post_logout_redirect_uri")? else { return Ok(None) };
    let is_known = client.is_some_and(|client| redirect_uri::fits(&client.post_logout_redirect_uris, given));
    if !is_known {
        return Err(OpenIdError::invalid_request("post_logout_redirect_uri is none that the client has registered"));
    }
    let Some(state) = parameters.get("state")? else { return Ok(Some(given.to_owned())) };
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("state", state).finish();
    let separator = if given.contains('?') { '&' } else { '?' };
    Ok(Some(format!("{given}{separator}{query}")))
}
