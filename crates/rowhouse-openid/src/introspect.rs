//! Token introspection (RFC 7662): a client that keeps a secret asks what one of its own tokens is worth.

use rowhouse_identity::{Device, IdentityError};
use rowhouse_postgres::params;
use serde_json::{Value, json};

use crate::client::Client;
use crate::client_auth::Credentials;
use crate::error::{OAuthCode, OpenIdError};
use crate::grant::standing;
use crate::parameters::Parameters;
use crate::refresh_token::RefreshToken;
use crate::scope::Scope;
use crate::service::OpenId;

impl OpenId {
    /// What a token is worth. One of another client is worth as little as one that nobody made.
    ///
    /// # Errors
    /// A refusal for the client; limits.
    pub async fn introspect(&self, header: Option<&str>, form: &[u8], device: &Device) -> Result<Value, OpenIdError> {
        let form = Parameters::parse(form);
        let credentials = Credentials::read(header, &form)?;
        let token = form.need("token", "token is missing")?;
        let client = self.authenticate_client(&credentials, device).await?;
        if client.is_public() {
            let description = "a client without a secret may not ask";
            return Err(OpenIdError::refused(OAuthCode::UnauthorizedClient, description));
        }
        let known = match RefreshToken::read(&self.refresh_keys, token) {
            Some(refresh) => self.introspect_refresh(&client, &refresh).await?,
            None => self.introspect_access(&client, token).await?,
        };
        Ok(known.unwrap_or_else(|| json!({ "active": false })))
    }

    async fn introspect_access(&self, client: &Client, token: &str) -> Result<Option<Value>, OpenIdError> {
        let (claims, standing) = match self.verify_access(token, None).await {
            Ok(verified) => verified,
            Err(OpenIdError::Identity(IdentityError::InvalidToken)) => return Ok(None),
            Err(error) => return Err(error),
        };
        if claims.client_id != client.id {
            return Ok(None);
        }
        let mut answer = json!({ "active": true, "token_type": "Bearer", "username": standing.email });
        for (name, value) in json!(claims).as_object().into_iter().flatten().filter(|(name, _)| *name != "grant") {
            answer[name] = value.clone();
        }
        Ok(Some(answer))
    }

    async fn introspect_refresh(&self, client: &Client, token: &RefreshToken) -> Result<Option<Value>, OpenIdError> {
        const NEWEST: &str = "
            select floor(extract(epoch from expires_at))::int8 from control.openid_grants
            where id = $1 and token_hash = $2 and client_id = $3";
        let connection = self.control("introspect a refresh token").await?;
        let newest = connection.query_opt(NEWEST, params![token.grant, token.hash(), client.id]).await?;
        let Some(row) = newest else { return Ok(None) };
        let Some(standing) = standing(&connection, token.grant).await? else { return Ok(None) };
        let mut answer = json!({
            "active": true,
            "iss": self.issuer,
            "sub": standing.user,
            "client_id": client.id,
            "scope": standing.scopes.to_string(),
            "username": standing.email,
            "exp": row.get::<_, i64>(0),
        });
        if let Some(org) = standing.org.filter(|_| standing.scopes.has(Scope::Org)) {
            answer["org"] = json!(org);
        }
        Ok(Some(answer))
    }
}
