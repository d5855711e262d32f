//! Passkeys of whoever calls: added, listed, named, removed and shown, alike for people and operators;
//! and people's sign-in by one.

use axum::extract::{FromRequestParts, Path, State};
use axum::http::Method;
use axum::http::request::Parts;
use rowhouse_identity::{AssertBegin, Ceremony, PasskeyOut, PasskeySignIn};
use rowhouse_types::{ApiError, FieldError, PasskeyId};
use schemars::{JsonSchema, schema_for};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::auth::email;
use crate::body::JsonBody;
use crate::browser::{Holding, SessionOut};
use crate::client::device;
use crate::envelope::{Answer, Failure};
use crate::gate::{Account, OperatorAccount, PersonAccount, ProvedPersonAccount};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// The paths and operations of one kind of account.
struct Named {
    access: Access,
    list: (&'static str, &'static str),
    begin: (&'static str, &'static str),
    finish: (&'static str, &'static str),
    rename: (&'static str, &'static str),
    remove: (&'static str, &'static str),
    prove: (&'static str, &'static str),
    assert_begin: (&'static str, &'static str),
    assert_finish: (&'static str, &'static str),
}

const OF_PEOPLE: Named = Named {
    access: Access::Person,
    list: ("/api/auth/passkeys", "list_passkeys"),
    begin: ("/api/auth/passkeys/register/begin", "begin_passkey"),
    finish: ("/api/auth/passkeys/register/finish", "finish_passkey"),
    rename: ("/api/auth/passkeys/{id}", "rename_passkey"),
    remove: ("/api/auth/passkeys/{id}/remove", "remove_passkey"),
    prove: ("/api/auth/passkeys/prove/begin", "begin_passkey_proof"),
    assert_begin: ("/api/auth/passkeys/assert/begin", "begin_passkey_assertion"),
    assert_finish: ("/api/auth/passkeys/assert/finish", "finish_passkey_assertion"),
};

const OF_OPERATORS: Named = Named {
    access: Access::Operator,
    list: ("/api/operators/passkeys", "list_operator_passkeys"),
    begin: ("/api/operators/passkeys/register/begin", "begin_operator_passkey"),
    finish: ("/api/operators/passkeys/register/finish", "finish_operator_passkey"),
    rename: ("/api/operators/passkeys/{id}", "rename_operator_passkey"),
    remove: ("/api/operators/passkeys/{id}/remove", "remove_operator_passkey"),
    prove: ("/api/operators/passkeys/prove/begin", "begin_operator_passkey_proof"),
    assert_begin: ("/api/operators/passkeys/assert/begin", "begin_operator_passkey_assertion"),
    assert_finish: ("/api/operators/passkeys/assert/finish", "finish_operator_passkey_assertion"),
};

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    add_for::<PersonAccount, ProvedPersonAccount>(routes, &OF_PEOPLE);
    add_for::<OperatorAccount, OperatorAccount>(routes, &OF_OPERATORS);
    add_shown(routes, &OF_PEOPLE);
    add_shown(routes, &OF_OPERATORS);
    routes.add(
        RouteDoc::new(Method::POST, "/api/auth/passkeys/sign-in/begin", "begin_passkey_sign_in", Access::Public)
            .summary("Begin to sign in by a passkey alone; names no account.")
            .answers(200, schema_for!(CeremonyOut).to_value())
            .refuses(&[409]),
        begin_sign_in,
    );
    routes.add(
        RouteDoc::new(Method::POST, "/api/auth/passkeys/sign-in/finish", "sign_in_by_passkey", Access::Public)
            .summary("Sign in by a passkey: both factors at once.")
            .body(schema_for!(SignInIn).to_value())
            .answers(200, schema_for!(SessionOut).to_value())
            .refuses(&[400, 401, 403, 409, 413, 415, 422]),
        sign_in,
    );
}

/// The routes of one kind of account; a passkey is added by `E`, or a stolen session could keep itself in.
fn add_for<A, E>(routes: &mut Routes, named: &Named)
where
    A: FromRequestParts<ServerState, Rejection = Failure> + Into<Account> + Send + Sync + 'static,
    E: FromRequestParts<ServerState, Rejection = Failure> + Into<Account> + Send + Sync + 'static,
{
    let doc = |method, (path, operation)| RouteDoc::new(method, path, operation, named.access);
    let ceremony = || schema_for!(CeremonyOut).to_value();
    routes.add(
        doc(Method::GET, named.list)
            .summary("The caller's passkeys, oldest first.")
            .answers(200, json!({ "type": "array", "items": { "type": "object" } })),
        list::<A>,
    );
    routes.add(
        doc(Method::POST, named.begin)
            .summary("Begin to add a passkey; whoever has a second factor shows it by a code.")
            .body(schema_for!(BeginIn).to_value())
            .answers(200, ceremony())
            .refuses(&[400, 401, 403, 409, 413, 415, 422]),
        begin::<E>,
    );
    routes.add(
        doc(Method::POST, named.finish)
            .summary("Add the passkey that the browser has made. Gives recovery codes, once, to who has none.")
            .body(schema_for!(FinishIn).to_value())
            .answers(201, schema_for!(AddedOut).to_value())
            .refuses(&[400, 401, 409, 413, 415, 422]),
        finish::<E>,
    );
    routes.add(
        doc(Method::PATCH, named.rename)
            .summary("Give a passkey another name.")
            .body(schema_for!(RenameIn).to_value())
            .refuses(&[400, 404, 413, 415, 422]),
        rename::<A>,
    );
    routes.add(
        doc(Method::POST, named.remove)
            .summary("Take a passkey away, by a code, a recovery code or the proof of a passkey.")
            .body(schema_for!(RemoveIn).to_value())
            .refuses(&[400, 401, 404, 413, 415, 422]),
        remove::<A>,
    );
    routes.add(
        doc(Method::POST, named.prove)
            .summary("Begin to show a passkey in a session, for what takes a code.")
            .answers(200, ceremony())
            .refuses(&[404, 409]),
        prove::<A>,
    );
}

/// Showing a passkey before there is a session.
fn add_shown(routes: &mut Routes, named: &Named) {
    let doc = |(path, operation)| RouteDoc::new(Method::POST, path, operation, Access::Public);
    let is_person = named.access == Access::Person;
    let begin = doc(named.assert_begin)
        .summary("Begin to show a passkey as the second factor, with the first: address and password, or a link.")
        .body(schema_for!(AssertIn).to_value())
        .answers(200, schema_for!(CeremonyOut).to_value())
        .refuses(&[400, 401, 404, 409, 413, 415, 422]);
    if is_person {
        routes.add(begin, assert_person);
    } else {
        routes.add(begin, assert_operator);
    }
    routes.add(
        doc(named.assert_finish)
            .summary("Judge the browser's answer; gives a code, good once for five minutes, wherever one is asked for.")
            .body(schema_for!(AnswerIn).to_value())
            .answers(200, schema_for!(ProofOut).to_value())
            .refuses(&[400, 401, 409, 413, 415, 422]),
        assert_finish,
    );
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BeginIn {
    /// Of somebody who has a second factor: a code, a recovery code, or the proof of a passkey.
    code: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FinishIn {
    /// As it was given when this began.
    ceremony: String,
    /// What `navigator.credentials.create` gave, by its `toJSON`.
    credential: Map<String, Value>,
    /// What to call it.
    name: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RenameIn {
    name: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RemoveIn {
    /// A code, a recovery code, or the proof of a passkey.
    code: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AssertIn {
    /// With the password.
    email: Option<String>,
    password: Option<String>,
    /// Instead of both: the token of a link that signs in. It stays good.
    token: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AnswerIn {
    /// As it was given when this began.
    ceremony: String,
    /// What `navigator.credentials.get` gave, by its `toJSON`.
    credential: Map<String, Value>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SignInIn {
    /// As it was given when this began.
    ceremony: String,
    /// What `navigator.credentials.get` gave, by its `toJSON`.
    credential: Map<String, Value>,
    /// Id or slug of the organisation to sign in to.
    tenant: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct CeremonyOut {
    /// To be sent back with the answer, within five minutes.
    ceremony: String,
    /// For `PublicKeyCredential.parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON`.
    public_key: Value,
}

#[derive(Serialize, JsonSchema)]
struct ProofOut {
    /// Stands where a code does, once, within five minutes.
    code: String,
}

#[derive(Serialize, JsonSchema)]
struct AddedOut {
    passkey: Value,
    /// Each is good once, in the place of a code; none if there are some from before.
    recovery_codes: Vec<String>,
}

impl From<Ceremony> for CeremonyOut {
    fn from(ceremony: Ceremony) -> Self {
        Self { ceremony: ceremony.token.expose_secret().to_owned(), public_key: ceremony.options }
    }
}

/// The id in a path; one that is none is nobody's.
fn passkey_id(text: &str) -> Result<PasskeyId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found())
}

async fn list<A: Into<Account>>(
    State(state): State<ServerState>,
    account: A,
) -> Result<Answer<Vec<PasskeyOut>>, Failure> {
    Ok(Answer::ok(state.identity.passkeys(account.into().change.holder).await?))
}

async fn begin<A: Into<Account>>(
    State(state): State<ServerState>,
    account: A,
    JsonBody(body): JsonBody<BeginIn>,
) -> Result<Answer<CeremonyOut>, Failure> {
    let (account, code): (Account, _) = (account.into(), body.code.map(SecretString::from));
    Ok(Answer::ok(state.identity.begin_passkey(&account.change, &account.email, code.as_ref()).await?.into()))
}

async fn finish<A: Into<Account>>(
    State(state): State<ServerState>,
    account: A,
    JsonBody(body): JsonBody<FinishIn>,
) -> Result<Answer<AddedOut>, Failure> {
    let FinishIn { ceremony, credential, name } = body;
    let (account, answer): (Account, _) = (account.into(), Value::Object(credential));
    let added = state.identity.finish_passkey(&account.change, &ceremony.into(), &answer, &name).await?;
    let recovery_codes = added.recovery_codes.iter().map(|code| code.expose_secret().to_owned()).collect();
    Ok(Answer::created(AddedOut { passkey: json!(added.passkey), recovery_codes }))
}

async fn rename<A: Into<Account>>(
    State(state): State<ServerState>,
    account: A,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<RenameIn>,
) -> Result<Answer<PasskeyOut>, Failure> {
    let account: Account = account.into();
    Ok(Answer::ok(state.identity.rename_passkey(&account.change, passkey_id(&id)?, &body.name).await?))
}

async fn remove<A: Into<Account>>(
    State(state): State<ServerState>,
    account: A,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<RemoveIn>,
) -> Result<Answer<Value>, Failure> {
    let account: Account = account.into();
    state.identity.remove_passkey(&account.change, passkey_id(&id)?, &body.code.into()).await?;
    Ok(Answer::ok(json!({ "id": id })))
}

async fn prove<A: Into<Account>>(State(state): State<ServerState>, account: A) -> Result<Answer<CeremonyOut>, Failure> {
    let Account { change, .. } = account.into();
    let who = AssertBegin::Holder(change.holder);
    Ok(Answer::ok(state.identity.begin_assertion(who, &change.device).await?.into()))
}

/// What was shown first: a link, or an address with its password.
fn first_factor(body: AssertIn, is_person: bool) -> Result<AssertBegin, ApiError> {
    let mut faults = Vec::new();
    let AssertIn { email: address, password, token } = body;
    if let Some(token) = token.filter(|_| is_person && address.is_none() && password.is_none()) {
        return Ok(AssertBegin::Link(token.into()));
    }
    let address = address.unwrap_or_default();
    let address = email(&address, &mut faults);
    if password.is_none() {
        faults.push(FieldError::new("password", "required", "missing field `password`"));
    }
    match (address, password) {
        (Some(email), Some(password)) if is_person => Ok(AssertBegin::Person(email, password.into())),
        (Some(email), Some(password)) => Ok(AssertBegin::Operator(email, password.into())),
        _ => Err(ApiError::validation(faults)),
    }
}

async fn assert_person(
    State(state): State<ServerState>,
    parts: Parts,
    JsonBody(body): JsonBody<AssertIn>,
) -> Result<Answer<CeremonyOut>, Failure> {
    let who = first_factor(body, true)?;
    Ok(Answer::ok(state.identity.begin_assertion(who, &device(&state, &parts)).await?.into()))
}

async fn assert_operator(
    State(state): State<ServerState>,
    parts: Parts,
    JsonBody(body): JsonBody<AssertIn>,
) -> Result<Answer<CeremonyOut>, Failure> {
    let who = first_factor(body, false)?;
    Ok(Answer::ok(state.identity.begin_assertion(who, &device(&state, &parts)).await?.into()))
}

async fn assert_finish(
    State(state): State<ServerState>,
    parts: Parts,
    JsonBody(body): JsonBody<AnswerIn>,
) -> Result<Answer<ProofOut>, Failure> {
    let (ceremony, answer) = (body.ceremony.into(), Value::Object(body.credential));
    let proof = state.identity.finish_assertion(&ceremony, &answer, &device(&state, &parts)).await?;
    Ok(Answer::ok(ProofOut { code: proof.code.expose_secret().to_owned() }))
}

async fn begin_sign_in(State(state): State<ServerState>, parts: Parts) -> Result<Answer<CeremonyOut>, Failure> {
    Ok(Answer::ok(state.identity.begin_passkey_sign_in(&device(&state, &parts)).await?.into()))
}

async fn sign_in(
    State(state): State<ServerState>,
    parts: Parts,
    holding: Holding,
    JsonBody(body): JsonBody<SignInIn>,
) -> Result<Answer<SessionOut>, Failure> {
    let sign_in = PasskeySignIn {
        ceremony: body.ceremony.into(),
        answer: Value::Object(body.credential),
        tenant: holding.tenant(body.tenant),
        device: device(&state, &parts),
    };
    let tokens = state.identity.sign_in_by_passkey(sign_in).await?;
    let (session, cookie) = holding.give(&state, tokens).await?;
    Ok(Answer::ok(session).with_cookie(cookie))
}
