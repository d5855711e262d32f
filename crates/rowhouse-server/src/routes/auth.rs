//! Sign-up, sign-in and what a session may do with itself.

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::response::IntoResponse;
use chrono::DateTime;
use rowhouse_identity::{DeviceTrust, JWKS_SECONDS, LimitedRoute, SignIn, Tokens};
use rowhouse_tenants::{Placement, Provision, ProvisionOwner};
use rowhouse_types::{ApiError, EmailAddress, FieldError, Slug};
use schemars::{JsonSchema, schema_for};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::members::project;
use crate::body::JsonBody;
use crate::browser::{Holding, SessionOut};
use crate::client::device;
use crate::cookie;
use crate::envelope::{Answer, Failure};
use crate::gate::{Person, SignedIn, visitor};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let public = |path, operation| RouteDoc::new(Method::POST, path, operation, Access::Public);
    let opening = |path, operation| public(path, operation).opens_session();
    let person = |method, path, operation| RouteDoc::new(method, path, operation, Access::Person);
    routes.add(
        opening("/api/auth/sign-up", "sign_up")
            .summary("Make an account and an organisation, and sign in to it.")
            .body(schema_for!(SignUpIn).to_value())
            .answers(201, schema_for!(SignedUpOut).to_value())
            .refuses(&[400, 403, 409, 413, 415, 422]),
        sign_up,
    );
    routes.add(
        opening("/api/auth/sign-in", "sign_in")
            .summary("Sign in with e-mail address and password.")
            .body(schema_for!(SignInIn).to_value())
            .answers(200, schema_for!(SessionOut).to_value())
            .refuses(&[400, 401, 403, 413, 415, 422]),
        sign_in,
    );
    routes.add(
        public("/api/auth/refresh", "refresh_tokens")
            .summary("Exchange a refresh token for new tokens; each is good once, and for ten seconds more for whoever lost the answer.")
            .body(schema_for!(RefreshIn).to_value())
            .answers(200, schema_for!(TokensOut).to_value())
            .refuses(&[400, 401, 413, 415, 422]),
        refresh,
    );
    routes.add(person(Method::POST, "/api/auth/sign-out", "sign_out").summary("End this session."), sign_out);
    routes.add(
        person(Method::POST, "/api/auth/switch", "switch_tenant")
            .summary("New tokens for another organisation of the caller.")
            .body(schema_for!(SwitchIn).to_value())
            .answers(200, schema_for!(SessionOut).to_value())
            .refuses(&[400, 413, 415, 422]),
        switch,
    );
    routes.add(
        opening("/api/auth/invitations/accept", "accept_invitation")
            .summary("Join an organisation by an invitation's token; a new person gives a password.")
            .body(schema_for!(AcceptIn).to_value())
            .answers(200, schema_for!(SessionOut).to_value())
            .refuses(&[400, 401, 403, 404, 409, 413, 415, 422]),
        accept_invitation,
    );
    routes.add(
        person(Method::POST, "/api/auth/invitations/join", "join_tenant")
            .summary("Join an organisation by an invitation of the caller's own address, and go on in it.")
            .body(schema_for!(JoinIn).to_value())
            .answers(200, schema_for!(SessionOut).to_value())
            .refuses(&[400, 404, 413, 415, 422]),
        join_tenant,
    );
    routes.add(person(Method::GET, "/api/auth/me", "get_me").summary("The caller and their organisations."), get_me);
    routes.add(
        RouteDoc::new(Method::GET, "/.well-known/jwks.json", "get_jwks", Access::Public)
            .summary("The public keys that verify access tokens.")
            .bare("application/json"),
        get_jwks,
    );
    routes.add(
        public("/api/operators/sign-in", "sign_in_operator")
            .summary("Sign in as an operator of the service.")
            .body(schema_for!(OperatorSignInIn).to_value())
            .answers(200, json!({ "type": "object" }))
            .refuses(&[400, 401, 403, 413, 415, 422]),
        sign_in_operator,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SignUpIn {
    email: String,
    password: String,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
    company_name: String,
    slug: Option<String>,
    plan: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SignInIn {
    email: String,
    password: String,
    /// Id or slug of the organisation to sign in to.
    tenant: Option<String>,
    /// Six digits of the authenticator app, a recovery code, or the proof of a passkey; for accounts with a
    /// second factor.
    #[serde(alias = "recovery_code")]
    totp: Option<String>,
    /// In the place of `totp`: what an earlier sign-in on this device gave.
    device_token: Option<String>,
    /// Whether this device is to stand for the second factor for 30 days.
    #[serde(default)]
    trust_device: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RefreshIn {
    refresh_token: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SwitchIn {
    /// Id or slug.
    tenant: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AcceptIn {
    token: String,
    password: String,
    /// Six digits of the authenticator app, or a recovery code; for accounts with a second factor.
    #[serde(alias = "recovery_code")]
    totp: Option<String>,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JoinIn {
    token: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OperatorSignInIn {
    email: String,
    password: String,
    /// Six digits of the authenticator app, or a recovery code; for accounts with a second factor.
    #[serde(alias = "recovery_code")]
    totp: Option<String>,
}

/// What a sign-in gives.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TokensOut {
    access_token: String,
    refresh_token: String,
    token_type: &'static str,
    /// Seconds the access token is good for.
    expires_in: i64,
    /// If it was asked for and may be: what stands for the second factor on this device, for 30 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_token: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SignedUpOut {
    user: Value,
    tenant: Value,
    #[serde(flatten)]
    session: SessionOut,
}

impl From<Tokens> for TokensOut {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            token_type: "Bearer",
            expires_in: tokens.expires_in,
            device_token: tokens.device_token.map(|token| token.expose_secret().to_owned()),
        }
    }
}

/// The address, or its fault added to the list.
pub(crate) fn email(text: &str, faults: &mut Vec<FieldError>) -> Option<EmailAddress> {
    text.parse().map_err(|error: _| faults.push(FieldError::new("email", "invalid", fault(&error)))).ok()
}

fn fault(error: &impl std::error::Error) -> String {
    error.to_string()
}

async fn sign_up(
    State(state): State<ServerState>,
    parts: Parts,
    holding: Holding,
    JsonBody(body): JsonBody<SignUpIn>,
) -> Result<Answer<SignedUpOut>, Failure> {
    holding.require_sign_in_host()?;
    let mut faults = Vec::new();
    let email = email(&body.email, &mut faults);
    if let Err(error) = rowhouse_identity::check_password_length(&body.password) {
        faults.push(FieldError::new("password", "invalid", error.to_string()));
    }
    let name = body.company_name.trim().to_owned();
    if !(1..=200).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        faults.push(FieldError::new("company_name", "invalid", "must have 1 to 200 characters"));
    }
    let slug = match &body.slug {
        Some(text) => text
            .parse::<Slug>()
            .map_err(|error| faults.push(FieldError::new("slug", "invalid", error.to_string())))
            .ok(),
        None => None,
    };
    let (Some(email), true) = (email, faults.is_empty()) else {
        return Err(Failure(ApiError::validation(faults)));
    };
    let device = device(&state, &parts);
    state.identity.count_attempt(LimitedRoute::SIGN_UP, Some(email.as_str()), &device).await?;
    let own_words = [email.as_str(), &body.first_name, &body.last_name, &name];
    let password_hash = state.identity.hash_password(&body.password, &own_words).await?;
    let owner = ProvisionOwner::NewUser {
        email: email.clone(),
        password_hash,
        first_name: body.first_name.trim().to_owned(),
        last_name: body.last_name.trim().to_owned(),
        email_verified: false,
    };
    let provision = Provision { name, slug, plan: body.plan, placement: Placement::Pool, owner };
    let made = state.tenants.provision_by(&visitor(&parts), provision).await?;
    let owner = made.owner.ok_or_else(|| ApiError::internal("a sign-up made no owner"))?;
    let tokens = state.identity.open_first_session(owner, &email, made.tenant.id, &device).await?;
    let user =
        json!({ "id": owner, "email": tokens.email, "first_name": body.first_name, "last_name": body.last_name });
    let tenant = super::tenants::public(&made.tenant);
    let (session, cookie) = holding.give(&state, tokens).await?;
    Ok(Answer::created(SignedUpOut { user, tenant, session }).of(made.tenant.id).with_cookie(cookie))
}

async fn sign_in(
    State(state): State<ServerState>,
    parts: Parts,
    holding: Holding,
    JsonBody(body): JsonBody<SignInIn>,
) -> Result<Answer<SessionOut>, Failure> {
    let mut faults = Vec::new();
    let Some(email) = email(&body.email, &mut faults) else {
        return Err(Failure(ApiError::validation(faults)));
    };
    let sign_in = SignIn {
        email,
        password: body.password.into(),
        code: body.totp.map(Into::into),
        tenant: holding.tenant(body.tenant),
        trust: DeviceTrust { token: body.device_token.map(Into::into), wanted: body.trust_device },
        device: device(&state, &parts),
    };
    let tokens = state.identity.sign_in(sign_in).await?;
    let (session, cookie) = holding.give(&state, tokens).await?;
    Ok(Answer::ok(session).with_cookie(cookie))
}

async fn refresh(
    State(state): State<ServerState>,
    parts: Parts,
    JsonBody(body): JsonBody<RefreshIn>,
) -> Result<Answer<TokensOut>, Failure> {
    Ok(Answer::ok(state.identity.refresh(&body.refresh_token, device(&state, &parts)).await?.into()))
}

async fn sign_out(State(state): State<ServerState>, person: SignedIn, parts: Parts) -> Result<Answer<Value>, Failure> {
    match &person.claims.act {
        Some(_) => {
            let device = device(&state, &parts);
            state.identity.end_impersonation(person.claims.session, &person.actor(), &device).await?;
        }
        None => state.identity.sign_out(&person.claims).await?,
    }
    let cleared = person.web.as_ref().and_then(|_| cookie::clear(&state.settings));
    Ok(Answer::ok(json!({})).with_cookie(cleared))
}

async fn switch(
    State(state): State<ServerState>,
    person: Person,
    parts: Parts,
    JsonBody(body): JsonBody<SwitchIn>,
) -> Result<Answer<SessionOut>, Failure> {
    let tokens = state.identity.switch(&person.claims, &body.tenant, device(&state, &parts)).await?;
    Ok(Answer::ok(person.give(&state, tokens).await))
}

async fn accept_invitation(
    State(state): State<ServerState>,
    parts: Parts,
    holding: Holding,
    JsonBody(body): JsonBody<AcceptIn>,
) -> Result<Answer<SessionOut>, Failure> {
    holding.require_sign_in_host()?;
    let accept = rowhouse_identity::AcceptInvitation {
        token: body.token.into(),
        password: body.password.into(),
        code: body.totp.map(Into::into),
        first_name: body.first_name,
        last_name: body.last_name,
        device: device(&state, &parts),
    };
    let accepted = state.identity.accept_invitation(accept).await?;
    project(&state, &[accepted.tenant]).await;
    let (session, cookie) = holding.give(&state, accepted.tokens).await?;
    Ok(Answer::ok(session).with_cookie(cookie))
}

async fn join_tenant(
    State(state): State<ServerState>,
    person: Person,
    parts: Parts,
    JsonBody(body): JsonBody<JoinIn>,
) -> Result<Answer<SessionOut>, Failure> {
    let token = body.token.into();
    let accepted = state.identity.accept_invitation_as(&person.claims, &token, device(&state, &parts)).await?;
    project(&state, &[accepted.tenant]).await;
    Ok(Answer::ok(person.give(&state, accepted.tokens).await))
}

async fn get_me(State(state): State<ServerState>, person: SignedIn) -> Result<Answer<Value>, Failure> {
    let mut me = state.identity.me(&person.claims).await?;
    let act = &person.claims.act;
    if act.is_some() || person.web.as_ref().is_some_and(|web| web.is_on_tenants_host()) {
        // Neither scripts of this organisation nor operators need know which others there are.
        let here = me.tenant.as_ref().map(|tenant| tenant.id);
        me.memberships.retain(|membership| Some(membership.id) == here);
    }
    let mut shown = serde_json::to_value(me).map_err(ApiError::internal)?;
    if let Some(act) = act {
        let ends_at = DateTime::from_timestamp(person.claims.expires_at, 0).unwrap_or_default();
        shown["impersonated_by"] = json!({ "id": act.sub, "email": act.email });
        shown["ends_at"] = json!(ends_at);
    }
    Ok(Answer::ok(shown))
}

async fn get_jwks(State(state): State<ServerState>) -> Result<impl IntoResponse, Failure> {
    let keys = state.identity.jwks().await?;
    Ok(([(header::CACHE_CONTROL, format!("public, max-age={JWKS_SECONDS}"))], axum::Json(keys)))
}

async fn sign_in_operator(
    State(state): State<ServerState>,
    parts: Parts,
    JsonBody(body): JsonBody<OperatorSignInIn>,
) -> Result<Answer<Value>, Failure> {
    let mut faults = Vec::new();
    let Some(email) = email(&body.email, &mut faults) else {
        return Err(Failure(ApiError::validation(faults)));
    };
    let (code, device) = (body.totp.map(Into::into), device(&state, &parts));
    let signed_in = state.identity.sign_in_operator(&email, &body.password.into(), code.as_ref(), device).await?;
    Ok(Answer::ok(json!({
        "access_token": signed_in.access_token,
        "token_type": "Bearer",
        "expires_in": signed_in.expires_in,
        // The token is good for /api/operators/mfa only, until a second factor is set up.
        "mfa_setup_required": signed_in.mfa_missing,
    })))
}
