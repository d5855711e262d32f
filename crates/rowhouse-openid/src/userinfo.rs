//! The userinfo endpoint (OpenID Connect Core 1.0, section 5.3).

use rowhouse_identity::IdentityError;
use serde_json::{Value, json};

use crate::error::{OAuthCode, OpenIdError};
use crate::scope::{Scope, Scopes};
use crate::service::OpenId;

impl OpenId {
    /// What a client may know of its person.
    ///
    /// # Errors
    /// `invalid_token`, whatever is wrong with the token; `insufficient_scope`.
    pub async fn userinfo(&self, token: &str) -> Result<Value, OpenIdError> {
        let verified = self.verify_access(token, None).await;
        let (claims, standing) = verified.map_err(|error| match error {
            OpenIdError::Identity(IdentityError::InvalidToken) => {
                OpenIdError::refused(OAuthCode::InvalidToken, "the access token is not good, or has ended")
            }
            error => error,
        })?;
        let scopes = Scopes::requested(&claims.scope);
        if !scopes.has(Scope::OpenId) {
            return Err(OpenIdError::refused(OAuthCode::InsufficientScope, "the access token has no scope openid"));
        }
        Ok(json!(standing.person(&scopes)))
    }
}
