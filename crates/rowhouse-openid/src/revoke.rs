//! Token revocation (RFC 7009). A token stands for what a person let the client do: all of it ends.

use rowhouse_identity::{Device, IdentityError, TokenCheck};
use rowhouse_postgres::params;
use rowhouse_types::GrantId;

use crate::claims::{AccessClaims, CLIENT_TOKEN_KIND};
use crate::client_auth::Credentials;
use crate::error::{OAuthCode, OpenIdError};
use crate::parameters::Parameters;
use crate::refresh_token::RefreshToken;
use crate::service::OpenId;

impl OpenId {
    /// Ends what a token stands for. One that is not known is as good as ended.
    ///
    /// # Errors
    /// A refusal for the client, also if the token is another's; limits.
    pub async fn revoke(&self, header: Option<&str>, form: &[u8], device: &Device) -> Result<(), OpenIdError> {
        const REVOKE: &str = "
            update control.openid_grants set revoked_at = coalesce(revoked_at, now()) where id = $1 and client_id = $2
            returning 1";
        const OTHERS: &str = "select 1 from control.openid_grants where id = $1";
        let form = Parameters::parse(form);
        let credentials = Credentials::read(header, &form)?;
        let token = form.need("token", "token is missing")?;
        let client = self.authenticate_client(&credentials, device).await?;
        let Some(grant) = self.grant_of(token).await? else { return Ok(()) };
        let connection = self.control("revoke an OpenID client's token").await?;
        let revoked = connection.query_opt(REVOKE, params![grant, client.id]).await?;
        if revoked.is_none() && connection.query_opt(OTHERS, params![grant]).await?.is_some() {
            let description = "the token is another client's";
            return Err(OpenIdError::refused(OAuthCode::UnauthorizedClient, description));
        }
        self.standings.forget(&grant).await;
        Ok(())
    }

    async fn grant_of(&self, token: &str) -> Result<Option<GrantId>, OpenIdError> {
        if let Some(refresh) = RefreshToken::read(&self.refresh_keys, token) {
            return Ok(Some(refresh.grant));
        }
        let check = TokenCheck { kind: CLIENT_TOKEN_KIND, audience: None, may_be_over: true };
        match self.identity.verify_claims::<AccessClaims>(token, check).await {
            Ok(claims) => Ok(Some(claims.grant)),
            Err(IdentityError::InvalidToken) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
