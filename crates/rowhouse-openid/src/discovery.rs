//! What the provider offers (OpenID Connect Discovery 1.0, RFC 8414).

use serde_json::{Value, json};

use crate::scope::Scope;
use crate::service::OpenId;

impl OpenId {
    /// The document.
    pub fn configuration(&self) -> Value {
        let scopes = Scope::ALL.map(Scope::as_str);
        let methods = ["client_secret_basic", "client_secret_post"];
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": self.at("/oauth/authorize"),
            "token_endpoint": self.at("/oauth/token"),
            "userinfo_endpoint": self.at("/oauth/userinfo"),
            "revocation_endpoint": self.at("/oauth/revoke"),
            "introspection_endpoint": self.at("/oauth/introspect"),
            "end_session_endpoint": self.at("/oauth/logout"),
            "jwks_uri": self.at("/.well-known/jwks.json"),
            "scopes_supported": scopes,
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256"],
            "token_endpoint_auth_methods_supported": [methods[0], methods[1], "none"],
            "revocation_endpoint_auth_methods_supported": [methods[0], methods[1], "none"],
            "introspection_endpoint_auth_methods_supported": methods,
            "code_challenge_methods_supported": ["S256"],
            "prompt_values_supported": ["none", "login", "consent"],
            "claims_supported": [
                "iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "sid", "name", "given_name",
                "family_name", "picture", "email", "email_verified", "org"
            ],
            "claims_parameter_supported": false,
            "request_parameter_supported": false,
            "request_uri_parameter_supported": false,
            "authorization_response_iss_parameter_supported": true,
        })
    }
}
