//! The second factor of whoever calls: the same five routes for people and for operators.

use axum::extract::{FromRequestParts, State};
use axum::http::Method;
use rowhouse_identity::FactorOut;
use schemars::{JsonSchema, schema_for};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::envelope::{Answer, Failure};
use crate::gate::{Account, OperatorAccount, PersonAccount, ProvedPersonAccount};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// A path and its operation.
type Named = (&'static str, &'static str);

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let of_people: [Named; 5] = [
        ("/api/auth/mfa", "get_mfa"),
        ("/api/auth/mfa/enrol", "enrol_mfa"),
        ("/api/auth/mfa/confirm", "confirm_mfa"),
        ("/api/auth/mfa/disable", "disable_mfa"),
        ("/api/auth/mfa/recovery-codes", "renew_recovery_codes"),
    ];
    let of_operators: [Named; 5] = [
        ("/api/operators/mfa", "get_operator_mfa"),
        ("/api/operators/mfa/enrol", "enrol_operator_mfa"),
        ("/api/operators/mfa/confirm", "confirm_operator_mfa"),
        ("/api/operators/mfa/disable", "disable_operator_mfa"),
        ("/api/operators/mfa/recovery-codes", "renew_operator_recovery_codes"),
    ];
    add_for::<PersonAccount, ProvedPersonAccount>(routes, Access::Person, of_people);
    add_for::<OperatorAccount, OperatorAccount>(routes, Access::Operator, of_operators);
}

/// The routes of one kind of account; a factor is set up by `E`, or a stolen session could shut its
/// owner out.
fn add_for<A, E>(routes: &mut Routes, access: Access, [get, enrol, confirm, disable, renew]: [Named; 5])
where
    A: FromRequestParts<ServerState, Rejection = Failure> + Into<Account> + Send + Sync + 'static,
    E: FromRequestParts<ServerState, Rejection = Failure> + Into<Account> + Send + Sync + 'static,
{
    let post = |(path, operation): Named| RouteDoc::new(Method::POST, path, operation, access);
    let with_code = |named: Named| post(named).body(schema_for!(CodeIn).to_value()).refuses(&[400, 401, 413, 415, 422]);
    let codes = || schema_for!(RecoveryCodesOut).to_value();
    routes.add(
        RouteDoc::new(Method::GET, get.0, get.1, access).summary("Whether the caller has a second factor."),
        get_mfa::<A>,
    );
    routes.add(
        post(enrol)
            .summary("A new secret for an authenticator app; it counts once a code has confirmed it.")
            .answers(200, schema_for!(EnrolmentOut).to_value())
            .refuses(&[409]),
        enrol_mfa::<E>,
    );
    routes.add(
        post(confirm)
            .body(schema_for!(ConfirmIn).to_value())
            .refuses(&[400, 401, 403, 413, 415, 422])
            .summary("Confirm the secret by a code: from now on signing in takes one. Gives recovery codes, once.")
            .answers(200, codes()),
        confirm_mfa::<A>,
    );
    routes.add(
        with_code(disable).summary("Take the second factor away, by a code or a recovery code."),
        disable_mfa::<A>,
    );
    routes.add(
        with_code(renew)
            .summary("New recovery codes, once, in the place of those that are left.")
            .answers(200, codes()),
        renew_recovery_codes::<A>,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CodeIn {
    /// Six digits of the authenticator app, or a recovery code.
    code: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConfirmIn {
    /// Six digits of the new authenticator app.
    code: String,
    /// Of somebody who has passkeys already: the proof of one, or a recovery code.
    shown: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct EnrolmentOut {
    /// The secret in base 32, for people who type it.
    secret: String,
    /// The same for apps that scan it.
    otpauth_uri: String,
}

#[derive(Serialize, JsonSchema)]
struct RecoveryCodesOut {
    /// Each is good once, in the place of a code.
    recovery_codes: Vec<String>,
}

impl From<Vec<SecretString>> for RecoveryCodesOut {
    fn from(codes: Vec<SecretString>) -> Self {
        Self { recovery_codes: codes.iter().map(|code| code.expose_secret().to_owned()).collect() }
    }
}

async fn get_mfa<A: Into<Account>>(State(state): State<ServerState>, account: A) -> Result<Answer<FactorOut>, Failure> {
    let account: Account = account.into();
    Ok(Answer::ok(state.identity.second_factor(account.change.holder).await?))
}

async fn enrol_mfa<A: Into<Account>>(
    State(state): State<ServerState>,
    account: A,
) -> Result<Answer<EnrolmentOut>, Failure> {
    let account: Account = account.into();
    let enrolment = state.identity.enrol_second_factor(account.change.holder, &account.email).await?;
    Ok(Answer::ok(EnrolmentOut { secret: enrolment.secret, otpauth_uri: enrolment.otpauth_uri }))
}

async fn confirm_mfa<A: Into<Account>>(
    State(state): State<ServerState>,
    account: A,
    JsonBody(body): JsonBody<ConfirmIn>,
) -> Result<Answer<RecoveryCodesOut>, Failure> {
    let (account, shown): (Account, _) = (account.into(), body.shown.map(SecretString::from));
    let codes = state.identity.confirm_second_factor(&account.change, &body.code.into(), shown.as_ref()).await?;
    Ok(Answer::ok(codes.into()))
}

async fn disable_mfa<A: Into<Account>>(
    State(state): State<ServerState>,
    account: A,
    JsonBody(body): JsonBody<CodeIn>,
) -> Result<Answer<Value>, Failure> {
    let account: Account = account.into();
    state.identity.disable_second_factor(&account.change, &body.code.into()).await?;
    Ok(Answer::ok(json!({})))
}

async fn renew_recovery_codes<A: Into<Account>>(
    State(state): State<ServerState>,
    account: A,
    JsonBody(body): JsonBody<CodeIn>,
) -> Result<Answer<RecoveryCodesOut>, Failure> {
    let account: Account = account.into();
    let codes = state.identity.renew_recovery_codes(&account.change, &body.code.into()).await?;
    Ok(Answer::ok(codes.into()))
}
