//! Signing in by a link in a mail.

use axum::extract::State;
use axum::http::Method;
use axum::http::request::Parts;
use rowhouse_identity::LinkSignIn;
use rowhouse_types::ApiError;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::email;
use crate::body::JsonBody;
use crate::browser::{Holding, SessionOut};
use crate::client::device;
use crate::envelope::{Answer, Failure};
use crate::gate::visitor;
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let public = |path, operation| RouteDoc::new(Method::POST, path, operation, Access::Public);
    routes.add(
        public("/api/auth/magic-link", "send_magic_link")
            .summary("Send a link that signs in, if the address has an account; the answer is the same if not.")
            .body(schema_for!(AskIn).to_value())
            .answers(202, json!({ "type": "object" }))
            .refuses(&[400, 413, 415, 422]),
        send_magic_link,
    );
    routes.add(
        public("/api/auth/magic-link/redeem", "redeem_magic_link")
            .opens_session()
            .summary("Sign in by a link's token; it is used up only once the code is right, where one is needed.")
            .body(schema_for!(RedeemIn).to_value())
            .answers(200, schema_for!(SessionOut).to_value())
            .refuses(&[400, 401, 403, 404, 413, 415, 422]),
        redeem_magic_link,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AskIn {
    email: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RedeemIn {
    /// The token of the link in the mail.
    token: String,
    /// Id or slug of the organisation to sign in to.
    tenant: Option<String>,
    /// Six digits of the authenticator app, or a recovery code; for accounts with a second factor.
    #[serde(alias = "recovery_code")]
    totp: Option<String>,
}

async fn send_magic_link(
    State(state): State<ServerState>,
    parts: Parts,
    JsonBody(body): JsonBody<AskIn>,
) -> Result<Answer<Value>, Failure> {
    let mut faults = Vec::new();
    let Some(email) = email(&body.email, &mut faults) else {
        return Err(Failure(ApiError::validation(faults)));
    };
    state.identity.ask_for_magic_link(&email, device(&state, &parts)).await?;
    Ok(Answer::accepted(json!({})))
}

async fn redeem_magic_link(
    State(state): State<ServerState>,
    parts: Parts,
    holding: Holding,
    JsonBody(body): JsonBody<RedeemIn>,
) -> Result<Answer<SessionOut>, Failure> {
    holding.require_sign_in_host()?;
    let sign_in = LinkSignIn {
        token: body.token.into(),
        code: body.totp.map(Into::into),
        tenant: body.tenant,
        device: device(&state, &parts),
    };
    let tokens = state.identity.sign_in_by_link(sign_in, &visitor(&parts)).await?;
    let (session, cookie) = holding.give(&state, tokens).await?;
    Ok(Answer::ok(session).with_cookie(cookie))
}
