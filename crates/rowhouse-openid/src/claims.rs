//! The tokens that clients get: access tokens (RFC 9068) and ID tokens (OpenID Connect Core 1.0).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rowhouse_identity::{CLIENT_TOKEN_SECONDS_MAX, KeyAlgorithm, Org};
use rowhouse_postgres::SystemConnection;
use rowhouse_types::{ClientId, GrantId, SessionId, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::error::OpenIdError;
use crate::grant::Standing;
use crate::scope::{Scope, Scopes};
use crate::service::OpenId;

/// The `typ` of access tokens for clients.
pub(crate) const CLIENT_TOKEN_KIND: &str = "at+jwt";
/// The `typ` of ID tokens.
pub(crate) const ID_TOKEN_KIND: &str = "JWT";
/// How every token of this kind begins: `{"typ":"at+jwt"` in base64.
const CLIENT_TOKEN_BEGIN: &str = "eyJ0eXAiOiJhdCtqd3Qi";
/// Seconds that an access token is good for.
pub(crate) const ACCESS_TOKEN_SECONDS: i64 = 15 * 60;
/// Seconds that an ID token is good for.
const ID_TOKEN_SECONDS: i64 = CLIENT_TOKEN_SECONDS_MAX;

/// Whether a text calls itself an access token for a client. Whether it is one is to be verified.
pub fn is_client_token(text: &str) -> bool {
    text.starts_with(CLIENT_TOKEN_BEGIN)
}

/// One or several audiences.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Several(Vec<String>),
}

/// The claims of an access token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AccessClaims {
    pub(crate) iss: String,
    pub(crate) aud: Audience,
    pub(crate) sub: UserId,
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) jti: Uuid,
    pub(crate) client_id: ClientId,
    pub(crate) scope: String,
    pub(crate) grant: GrantId,
    pub(crate) auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) org: Option<Org>,
}

/// The claims of an ID token.
#[derive(Debug, Serialize)]
struct IdClaims<'a> {
    iss: &'a str,
    aud: ClientId,
    exp: i64,
    iat: i64,
    auth_time: i64,
    sid: SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    at_hash: String,
    #[serde(flatten)]
    person: PersonClaims<'a>,
}

/// What a client may know of a person, by its scopes.
#[derive(Debug, Serialize)]
pub(crate) struct PersonClaims<'a> {
    pub(crate) sub: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    given_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<&'a Org>,
}

impl Standing {
    /// What these scopes tell.
    pub(crate) fn person(&self, scopes: &Scopes) -> PersonClaims<'_> {
        let is_profile = scopes.has(Scope::Profile);
        let shown = |text: &'_ str| is_profile && !text.is_empty();
        let name = [self.first_name.as_str(), &self.last_name].join(" ").trim().to_owned();
        PersonClaims {
            sub: self.user,
            name: Some(name).filter(|name| shown(name)),
            given_name: Some(self.first_name.as_str()).filter(|name| shown(name)),
            family_name: Some(self.last_name.as_str()).filter(|name| shown(name)),
            picture: self.avatar_url.as_deref().filter(|url| shown(url)),
            email: scopes.has(Scope::Email).then_some(self.email.as_str()),
            email_verified: scopes.has(Scope::Email).then_some(self.email_verified),
            org: self.org.as_ref().filter(|_| scopes.has(Scope::Org)),
        }
    }
}

/// The left half of a token's hash: SHA-256 for both of our algorithms.
fn half_hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(token.as_bytes())[..16])
}

impl OpenId {
    /// An access token. What the client itself reads is signed as it can; the service's own API takes ES256
    /// only, as for everybody.
    pub(crate) async fn access_token(
        &self,
        connection: &SystemConnection,
        standing: &Standing,
        scopes: &Scopes,
    ) -> Result<String, OpenIdError> {
        let now = chrono::Utc::now().timestamp();
        let client = standing.client.to_string();
        let is_for_api = scopes.has(Scope::Api);
        let (aud, algorithm) = match is_for_api {
            true => (Audience::Several(vec![client, self.api_audience()]), KeyAlgorithm::Es256),
            false => (Audience::One(client), standing.algorithm),
        };
        let claims = AccessClaims {
            iss: self.issuer.clone(),
            aud,
            sub: standing.user,
            exp: now + ACCESS_TOKEN_SECONDS,
            iat: now,
            jti: Uuid::new_v4(),
            client_id: standing.client,
            scope: scopes.to_string(),
            grant: standing.grant,
            auth_time: standing.auth_time.timestamp(),
            org: standing.org.clone().filter(|_| is_for_api || scopes.has(Scope::Org)),
        };
        Ok(self.identity.sign_claims(connection, algorithm, CLIENT_TOKEN_KIND, &claims).await?)
    }

    /// An ID token beside an access token. The nonce stands in the first one only.
    pub(crate) async fn id_token(
        &self,
        connection: &SystemConnection,
        standing: &Standing,
        scopes: &Scopes,
        access_token: &str,
        is_first: bool,
    ) -> Result<String, OpenIdError> {
        let now = chrono::Utc::now().timestamp();
        let claims = IdClaims {
            iss: &self.issuer,
            aud: standing.client,
            exp: now + ID_TOKEN_SECONDS,
            iat: now,
            auth_time: standing.auth_time.timestamp(),
            sid: standing.session,
            nonce: standing.nonce.as_deref().filter(|_| is_first),
            at_hash: half_hash(access_token),
            person: standing.person(scopes),
        };
        Ok(self.identity.sign_claims(connection, standing.algorithm, ID_TOKEN_KIND, &claims).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_token_is_known_by_its_beginning() {
        let header = URL_SAFE_NO_PAD.encode(format!("{{\"typ\":\"{CLIENT_TOKEN_KIND}\",\"alg\":\"ES256\"}}"));
        assert!(is_client_token(&header));
        assert!(!is_client_token(&URL_SAFE_NO_PAD.encode("{\"typ\":\"JWT\",\"alg\":\"ES256\"}")));
    }

    // OpenID Connect Core 1.0, appendix A.3.
    #[test]
    fn the_hash_of_an_access_token_is_the_standards() {
        assert_eq!(half_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"), "77QmUPtjPfzWtF2AnpK9RQ");
    }
}
