//! Verifying session tokens: RS256 by Clerk's keys, of one issuer, for our pages.
//!
//! Must never let a token choose how it is verified, nor tell its sender why it is refused.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::claims::{ClaimsError, Parties, SessionClaims, WireClaims};
use crate::jwks::{Jwks, JwksError};

/// Seconds by which Clerk's clock and ours may differ; what Clerk's own libraries allow.
const LEEWAY_SECONDS: u64 = 5;
/// Verified tokens that are remembered, and for how long at most.
const TOKENS_MAX: u64 = 100_000;
const TOKEN_REMEMBERED: Duration = Duration::from_secs(300);
/// Longest token and key id that are looked at.
const TOKEN_LENGTH_MAX: usize = 8 << 10;
const KEY_ID_LENGTH_MAX: usize = 200;

/// Why a token is refused.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Malformed, forged, over, or not one of Clerk's session tokens.
    #[error("the token is not valid")]
    Invalid(#[source] Option<jsonwebtoken::errors::Error>),
    /// Signed by Clerk, but not for us.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// It cannot be told now.
    #[error(transparent)]
    Keys(#[from] JwksError),
}

/// Verifies the session tokens of one instance of Clerk.
pub(crate) struct TokenVerifier {
    jwks: Jwks,
    parties: Parties,
    validation: Validation,
    verified: Cache<[u8; 32], Arc<SessionClaims>>,
}

impl TokenVerifier {
    pub(crate) fn new(issuer: &str, jwks_url: String, parties: Parties) -> Result<Self, JwksError> {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&[issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_SECONDS;
        // Session tokens name no audience; the pages they are for stand in azp.
        validation.validate_aud = false;
        let verified = Cache::builder().max_capacity(TOKENS_MAX).time_to_live(TOKEN_REMEMBERED).build();
        Ok(Self { jwks: Jwks::new(jwks_url)?, parties, validation, verified })
    }

    pub(crate) async fn check(&self) -> Result<(), JwksError> {
        self.jwks.fetch().await.map(drop)
    }

    pub(crate) async fn verify(&self, token: &str) -> Result<Arc<SessionClaims>, TokenError> {
        if token.len() > TOKEN_LENGTH_MAX {
            return Err(TokenError::Invalid(None));
        }
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let claims = match self.verified.get(&digest) {
            Some(claims) => claims,
            None => {
                let claims = Arc::new(self.verify_anew(token).await?);
                self.verified.insert(digest, claims.clone());
                claims
            }
        };
        let leeway = i64::try_from(LEEWAY_SECONDS).unwrap_or_default();
        if claims.expires_at.saturating_add(leeway) < chrono::Utc::now().timestamp() {
            return Err(TokenError::Invalid(None));
        }
        Ok(claims)
    }

    async fn verify_anew(&self, token: &str) -> Result<SessionClaims, TokenError> {
        let invalid = |error| TokenError::Invalid(Some(error));
        let header = decode_header(token).map_err(invalid)?;
        let id = header.kid.filter(|id| id.len() <= KEY_ID_LENGTH_MAX).ok_or(TokenError::Invalid(None))?;
        if header.alg != Algorithm::RS256 {
            return Err(TokenError::Invalid(None));
        }
        let key = self.jwks.key(&id).await?.ok_or(TokenError::Invalid(None))?;
        let claims = decode::<WireClaims>(token, &key, &self.validation).map_err(invalid)?.claims;
        let claims = claims.judge(&self.parties)?;
        if claims.issued_at > chrono::Utc::now().timestamp().saturating_add_unsigned(LEEWAY_SECONDS) {
            return Err(TokenError::Invalid(None));
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    /// Verifies by one that reaches no keys.
    fn verify(token: &str) -> Result<Arc<SessionClaims>, TokenError> {
        static VERIFIER: LazyLock<TokenVerifier> = LazyLock::new(|| {
            let url = "http://127.0.0.1:1/jwks.json".to_owned();
            TokenVerifier::new("https://clerk.example.com", url, Parties::default()).expect("a verifier")
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(VERIFIER.verify(token))
    }

    fn token(header: &str, claims: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encode(header), encode(claims), encode("signature"))
    }

    #[test]
    fn only_a_token_that_names_a_key_and_our_algorithm_has_keys_fetched() {
        for header in [
            "{}",
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"none","kid":"ins_1"}"#,
            r#"{"alg":"HS256","kid":"ins_1"}"#,
            r#"{"alg":"ES256","kid":"ins_1"}"#,
            &format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(201)),
        ] {
            assert!(matches!(verify(&token(header, "{}")), Err(TokenError::Invalid(_))), "{header}");
        }
        let fetched = verify(&token(r#"{"alg":"RS256","kid":"ins_1"}"#, "{}"));
        assert!(matches!(fetched, Err(TokenError::Keys(JwksError::Fetch(_)))), "{fetched:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_refused(text in any::<String>(), header in any::<String>(), claims in any::<String>()) {
            prop_assert!(verify(&text).is_err());
            prop_assert!(verify(&token(&header, &claims)).is_err());
        }
    }
}
