//! The token endpoint: a code, or a refresh token, for tokens (RFC 6749; OpenID Connect Core 1.0, sections
//! 3.1.3 and 12).

use rowhouse_audit::SecurityEventKind;
use rowhouse_identity::{Device, LimitedRoute};
use rowhouse_postgres::{Param, SystemConnection, params};
use rowhouse_types::GrantId;
use serde_json::{Value, json};

use crate::claims::ACCESS_TOKEN_SECONDS;
use crate::client::Client;
use crate::client_auth::Credentials;
use crate::code::Code;
use crate::error::{OAuthCode, OpenIdError};
use crate::grant::{Standing, grant_revoke, standing};
use crate::parameters::Parameters;
use crate::pkce;
use crate::refresh_token::RefreshToken;
use crate::scope::{Scope, Scopes};
use crate::service::OpenId;

const CODE_USED: OpenIdError = OpenIdError::invalid_grant("the code is not good any more");
const REFRESH_USED: OpenIdError = OpenIdError::invalid_grant("the refresh token is not good any more");
/// What a grant without a refresh token is kept for: the longest of its tokens, and more.
const SHORT_DAYS: i32 = 1;
/// The same with one. It ends with its session in any case.
const LONG_DAYS: i32 = 90;

impl OpenId {
    /// Answers a request for tokens.
    ///
    /// # Errors
    /// A refusal for the client; limits.
    pub async fn token(&self, header: Option<&str>, form: &[u8], device: &Device) -> Result<Value, OpenIdError> {
        let form = Parameters::parse(form);
        let credentials = Credentials::read(header, &form)?;
        let kind = form.need("grant_type", "grant_type is missing")?;
        let client = self.authenticate_client(&credentials, device).await?;
        let mut connection = self.control("give an OpenID client tokens").await?;
        let outcome = match kind {
            "authorization_code" => self.redeem(&mut connection, &client, &form, device).await,
            "refresh_token" => self.refresh(&mut connection, &client, &form, device).await,
            _ => {
                let description = "grant_type must be authorization_code or refresh_token";
                return Err(OpenIdError::refused(OAuthCode::UnsupportedGrantType, description));
            }
        };
        drop(connection);
        if let Err(OpenIdError::Refused { code: OAuthCode::InvalidGrant, .. }) = &outcome {
            self.identity.count_attempt(LimitedRoute::OAUTH_TOKEN, None, device).await?;
        }
        outcome
    }

    /// A code for tokens.
    async fn redeem(
        &self,
        connection: &mut SystemConnection,
        client: &Client,
        form: &Parameters,
        device: &Device,
    ) -> Result<Value, OpenIdError> {
        const REDEEM: &str = "
            update control.openid_grants
            set redeemed_at = now(), token_hash = $2, rotated_at = now(), expires_at = now() + make_interval(days => $3)
            where id = $1 and redeemed_at is null and revoked_at is null";
        let text = form.need("code", "code is missing")?;
        let redirect_uri = form.need("redirect_uri", "redirect_uri is missing")?;
        let verifier = form.get("code_verifier")?;
        connection.begin().await?;
        let Some(code) = Code::lock(connection, text).await? else {
            return Err(OpenIdError::invalid_grant("the code is not known"));
        };
        self.require_own(&code, client, device)?;
        if code.is_used {
            self.end_reused(connection, code.grant, client, "code", device).await?;
            return Err(CODE_USED);
        }
        if !code.is_young {
            return Err(CODE_USED);
        }
        if code.redirect_uri != redirect_uri {
            return Err(OpenIdError::invalid_grant("redirect_uri is not the one that the code was given for"));
        }
        if !pkce::fits(code.challenge.as_deref(), verifier) {
            return Err(OpenIdError::invalid_grant("code_verifier does not fit"));
        }
        let first = RefreshToken::generate(&self.refresh_keys, code.grant);
        let token_hash = Param::Bytes(code.is_offline.then(|| first.hash().into()));
        let days = if code.is_offline { LONG_DAYS } else { SHORT_DAYS };
        connection.query(REDEEM, params![code.grant, token_hash, days]).await?;
        let standing = standing(connection, code.grant).await?.ok_or(CODE_USED)?;
        let refresh = code.is_offline.then_some(&first);
        let answer = self.tokens(connection, &standing, &standing.scopes, refresh, true).await?;
        connection.commit().await?;
        Ok(answer)
    }

    /// A code is its client's only.
    fn require_own(&self, code: &Code, client: &Client, device: &Device) -> Result<(), OpenIdError> {
        if code.client == client.id {
            return Ok(());
        }
        let details = json!({ "client_id": client.id, "why": "the code of another client" });
        self.record(SecurityEventKind::ClientRefused, None, None, device, details);
        Err(OpenIdError::invalid_grant("the code is not known"))
    }

    /// A refresh token for the next one.
    ///
    /// One that comes again within ten seconds is of a client whose answer was lost: it gets the same one
    /// again. One that comes later was stolen from somebody: the grant ends for both.
    async fn refresh(
        &self,
        connection: &mut SystemConnection,
        client: &Client,
        form: &Parameters,
        device: &Device,
    ) -> Result<Value, OpenIdError> {
        const ROTATE: &str = "
            update control.openid_grants set token_hash = $3, rotated_at = now()
            where id = $1 and client_id = $4 and token_hash = $2 and revoked_at is null and expires_at > now()
            returning 1";
        const LOST: &str = "
            select client_id = $3, token_hash = $2 and rotated_at > now() - interval '10 seconds', token_hash = $4
            from control.openid_grants where id = $1 and token_hash is not null for update";
        let text = form.need("refresh_token", "refresh_token is missing")?;
        let used = RefreshToken::read(&self.refresh_keys, text);
        let used = used.ok_or(OpenIdError::invalid_grant("the refresh token is not known"))?;
        let next = used.next(&self.refresh_keys);
        connection.begin().await?;
        let values = params![used.grant, used.hash(), next.hash(), client.id];
        if connection.query_opt(ROTATE, values).await?.is_none() {
            let row = connection.query_opt(LOST, params![used.grant, next.hash(), client.id, used.hash()]).await?;
            let Some(row) = row else { return Err(REFRESH_USED) };
            let (is_own, is_lost, is_newest): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
            if !is_own {
                let details = json!({ "client_id": client.id, "why": "the refresh token of another client" });
                self.record(SecurityEventKind::ClientRefused, None, None, device, details);
                return Err(OpenIdError::invalid_grant("the refresh token is not known"));
            }
            // It was never used: the grant has ended otherwise.
            if is_newest {
                return Err(REFRESH_USED);
            }
            if !is_lost {
                self.end_reused(connection, used.grant, client, "refresh_token", device).await?;
                return Err(REFRESH_USED);
            }
        }
        let standing = standing(connection, used.grant).await?.ok_or(REFRESH_USED)?;
        let scopes = standing.scopes.narrowed(form.get("scope")?)?;
        let answer = self.tokens(connection, &standing, &scopes, Some(&next), false).await?;
        connection.commit().await?;
        Ok(answer)
    }

    async fn tokens(
        &self,
        connection: &SystemConnection,
        standing: &Standing,
        scopes: &Scopes,
        refresh: Option<&RefreshToken>,
        is_first: bool,
    ) -> Result<Value, OpenIdError> {
        let access_token = self.access_token(connection, standing, scopes).await?;
        let mut answer = json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": ACCESS_TOKEN_SECONDS,
            "scope": scopes.to_string(),
        });
        if scopes.has(Scope::OpenId) {
            answer["id_token"] = json!(self.id_token(connection, standing, scopes, &access_token, is_first).await?);
        }
        if let Some(refresh) = refresh {
            answer["refresh_token"] = json!(refresh.expose());
        }
        Ok(answer)
    }

    /// Ends the grant of a code or token that came a second time.
    async fn end_reused(
        &self,
        connection: &mut SystemConnection,
        grant: GrantId,
        client: &Client,
        what: &str,
        device: &Device,
    ) -> Result<(), OpenIdError> {
        let ended = grant_revoke(connection, grant).await?;
        connection.commit().await?;
        self.standings.forget(&grant).await;
        if let Some((user, tenant)) = ended {
            let details = json!({ "client_id": client.id, "of": what });
            self.record(SecurityEventKind::TokenReuse, Some(user), tenant, device, details);
        }
        Ok(())
    }
}
