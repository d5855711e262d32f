//! Browsers: whose cookie a request brings, and who signs in to get one in place of tokens.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use chrono::{DateTime, Utc};
use rowhouse_identity::{NewWebSession, Tokens, WebHost, WebSession};
use rowhouse_types::{ApiError, TenantId};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::client::device;
use crate::cookie;
use crate::csrf::{require_own_page, require_same_origin};
use crate::envelope::Failure;
use crate::host::{host_name, host_of, slug_of_host};
use crate::routes::auth::TokensOut;
use crate::state::{ServerSettings, ServerState};

/// `cookie` asks for a cookie in place of tokens. A header of our own: pages of other hosts cannot send it.
const SESSION: HeaderName = HeaderName::from_static("x-rowhouse-session");

/// The host that a request names.
pub(crate) fn web_host<'a>(parts: &'a Parts, settings: &ServerSettings) -> WebHost<'a> {
    let host = host_of(parts);
    WebHost { name: host_name(host), tenant: slug_of_host(host, &settings.base_domain) }
}

/// What the request's cookie stands for, if it proves itself by one. A token or key is what counts
/// where both are sent: browsers add cookies by themselves.
pub(crate) async fn web_session(parts: &Parts, state: &ServerState) -> Result<Option<Arc<WebSession>>, Failure> {
    if parts.headers.contains_key(AUTHORIZATION) || state.clerk.is_some() {
        return Ok(None);
    }
    let Some(secret) = cookie::read(&parts.headers, &state.settings)? else { return Ok(None) };
    let host = web_host(parts, &state.settings);
    let web = state.identity.verify_cookie(secret, host, || device(state, parts)).await?;
    if !parts.method.is_safe() {
        require_own_page(parts, state, &web)?;
    }
    Ok(Some(web))
}

/// What a sign-in gives: tokens, or what goes with a cookie.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum SessionOut {
    Tokens(TokensOut),
    Cookie(CookieOut),
}

/// What goes with a cookie.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CookieOut {
    /// `cookie`.
    session: &'static str,
    /// What unsafe requests send as `X-CSRF-Token`.
    csrf_token: String,
    /// When the session ends, however much it is used.
    ends_at: String,
    /// The organisation that the session is in.
    tenant_id: Option<String>,
    /// If it was asked for and may be: what stands for the second factor on this device, for 30 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_token: Option<String>,
}

impl CookieOut {
    fn new(csrf_token: String, ends_at: DateTime<Utc>, tenant: Option<TenantId>) -> Self {
        let tenant_id = tenant.map(|tenant| tenant.to_string());
        Self { session: "cookie", csrf_token, ends_at: ends_at.to_rfc3339(), tenant_id, device_token: None }
    }

    /// For somebody who has a cookie already, of which the session has gone on in another tenant.
    pub(crate) fn again(state: &ServerState, web: &WebSession, tenant: Option<TenantId>) -> Self {
        let ends_at = DateTime::from_timestamp(web.claims.expires_at, 0).unwrap_or_default();
        Self::new(state.identity.csrf_token(web), ends_at, tenant)
    }
}

/// How whoever signs in will hold the session; asked before anything is opened.
pub(crate) enum Holding {
    /// Tokens, in the answer's body.
    Tokens,
    /// A cookie of this host.
    Cookie(CookieAsk),
}

/// Who asks for a cookie.
pub(crate) struct CookieAsk {
    host: String,
    tenant: Option<String>,
    /// The cookie that the browser has.
    replaced: Option<SecretString>,
}

impl FromRequestParts<ServerState> for Holding {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Self, Failure> {
        let Some(asked) = parts.headers.get(SESSION) else { return Ok(Self::Tokens) };
        if asked != "cookie" {
            return Err(Failure(ApiError::invalid("X-Rowhouse-Session is cookie, or is not sent.")));
        }
        require_same_origin(parts, &state.settings)?;
        let WebHost { name, tenant } = web_host(parts, &state.settings);
        // Of several nobody knows which is ours; all are overwritten or end by themselves.
        let replaced = cookie::read(&parts.headers, &state.settings).ok().flatten().map(SecretString::from);
        Ok(Self::Cookie(CookieAsk { host: name.to_owned(), tenant: tenant.map(str::to_owned), replaced }))
    }
}

impl Holding {
    /// The tenant to sign in to: the one that is named, else the one whose host it is.
    pub(crate) fn tenant(&self, named: Option<String>) -> Option<String> {
        match self {
            Self::Tokens => named,
            Self::Cookie(ask) => named.or_else(|| ask.tenant.clone()),
        }
    }

    /// Refuses a cookie for a tenant's host where nobody knows yet which tenant it will be.
    pub(crate) fn require_sign_in_host(&self) -> Result<(), Failure> {
        match self {
            Self::Cookie(CookieAsk { tenant: Some(_), .. }) => {
                Err(Failure(ApiError::invalid("Ask for this cookie on the sign-in host, and hand the session off.")))
            }
            _ => Ok(()),
        }
    }

    /// Gives the session to who has signed in: the body, and a cookie to set.
    pub(crate) async fn give(
        self,
        state: &ServerState,
        tokens: Tokens,
    ) -> Result<(SessionOut, Option<HeaderValue>), Failure> {
        let Self::Cookie(ask) = self else { return Ok((SessionOut::Tokens(tokens.into()), None)) };
        let host = WebHost { name: &ask.host, tenant: ask.tenant.as_deref() };
        let opened = state.identity.open_web_session(tokens.session, host, ask.replaced.as_ref()).await?;
        let NewWebSession { secret, csrf_token, ends_at } = opened;
        let cookie = cookie::set(&secret, ends_at, &state.settings);
        let device_token = tokens.device_token.map(|token| token.expose_secret().to_owned());
        let given = CookieOut { device_token, ..CookieOut::new(csrf_token, ends_at, tokens.tenant) };
        Ok((SessionOut::Cookie(given), cookie))
    }
}
