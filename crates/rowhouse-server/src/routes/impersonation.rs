//! Operators at work in a person's place.

use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use rowhouse_identity::{
    Act, HAND_OFF_SECONDS, HandOff, Holder, Impersonate, Impersonated, ImpersonationPage, ReturnTo,
};
use rowhouse_types::{ApiError, EmailAddress, FieldError};
use schemars::{JsonSchema, schema_for};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::hand_off::link_to;
use crate::body::JsonBody;
use crate::client::device;
use crate::cookie;
use crate::envelope::{Answer, Failure};
use crate::gate::{Operator, OperatorAccount, SignedIn};
use crate::paging::{CURSOR, LIMIT, PageQuery};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

const LIST_QUERY: &[(&str, &str)] = &[("open", "true: only those that last."), LIMIT, CURSOR];
const MINUTES_DEFAULT: i32 = 30;
const MINUTES_MAX: i32 = 60;
const REASON_LENGTH_MAX: usize = 500;

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let route = |method, path, operation| RouteDoc::new(method, path, operation, Access::Operator);
    routes.add(
        route(Method::POST, "/api/admin/tenants/{tenant}/impersonate", "impersonate")
            .summary("Work in the place of a member, for a reason and for an hour at most; the token is not refreshed.")
            .body(schema_for!(ImpersonateIn).to_value())
            .answers(201, json!({ "type": "object" }))
            .refuses(&[404, 413, 415, 422]),
        impersonate,
    );
    routes.add(
        route(Method::GET, "/api/admin/impersonations", "list_impersonations")
            .summary("Which operators work, or have worked, in whose place, newest first.")
            .query(LIST_QUERY)
            .answers(200, json!({ "type": "array", "items": { "type": "object" } })),
        list_impersonations,
    );
    routes.add(
        route(Method::DELETE, "/api/admin/impersonations/{id}", "revoke_impersonation")
            .summary("End one, of whatever operator; its token is refused at once.")
            .refuses(&[404]),
        revoke_impersonation,
    );
    routes.add(
        RouteDoc::new(Method::POST, "/api/auth/impersonation/end", "end_impersonation", Access::Person)
            .summary("Give the person's place back; for an operator who has taken it.")
            .refuses(&[400]),
        end_impersonation,
    );
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ImpersonateIn {
    /// The member, by id.
    user_id: Option<String>,
    /// Or by address.
    email: Option<String>,
    /// What for; operators read it in the audit log.
    reason: String,
    /// How long, from 1 to 60; 30 if absent.
    minutes: Option<i32>,
}

/// Whose place, for how long; or all faults of the body.
fn judge(body: &ImpersonateIn) -> Result<(Impersonated, i32), ApiError> {
    let mut faults = Vec::new();
    let user = match (&body.user_id, &body.email) {
        // An id that is none is as absent as one of nobody.
        (Some(id), None) => id.parse().map(Impersonated::User).map_err(|_| ApiError::not_found()).map(Some)?,
        (None, Some(email)) => email
            .parse::<EmailAddress>()
            .map_err(|error| faults.push(FieldError::new("email", "invalid", error.to_string())))
            .ok()
            .map(Impersonated::Email),
        _ => {
            faults.push(FieldError::new("user_id", "required", "name the member by user_id or by email"));
            None
        }
    };
    let reason = body.reason.trim();
    if !(1..=REASON_LENGTH_MAX).contains(&reason.chars().count()) || reason.chars().any(char::is_control) {
        faults.push(FieldError::new("reason", "invalid", "has 1 to 500 characters, and no line breaks"));
    }
    let minutes = body.minutes.unwrap_or(MINUTES_DEFAULT);
    if !(1..=MINUTES_MAX).contains(&minutes) {
        faults.push(FieldError::new("minutes", "invalid", "is from 1 to 60"));
    }
    match user {
        Some(user) if faults.is_empty() => Ok((user, minutes)),
        _ => Err(ApiError::validation(faults)),
    }
}

async fn impersonate(
    State(state): State<ServerState>,
    operator: Operator,
    OperatorAccount(account): OperatorAccount,
    parts: Parts,
    Path(tenant): Path<String>,
    JsonBody(body): JsonBody<ImpersonateIn>,
) -> Result<Answer<Value>, Failure> {
    if state.clerk.is_some() {
        return Err(Failure(ApiError::permission_denied(
            "People sign in with Clerk here: work in their place from Clerk's dashboard.",
        )));
    }
    let (user, minutes) = judge(&body)?;
    let tenant = state.tenants.find(&tenant).await?.ok_or_else(ApiError::not_found)?;
    let device = device(&state, &parts);
    let Holder::Operator(sub, _) = account.change.holder else { return Err(Failure(ApiError::not_found())) };
    let who = Act { sub, email: account.email };
    let asked =
        Impersonate { operator: who, tenant: tenant.id, user, reason: body.reason.trim(), minutes, device: &device };
    let taken = state.identity.impersonate(asked, &operator.actor).await?;
    let (base_domain, named) = (state.settings.base_domain.as_str(), tenant.id.to_string());
    let to = HandOff { tenant: &named, base_domain, return_to: &ReturnTo::default(), device: &device };
    let code = state.identity.hand_off(&taken.claims, &to).await?;
    Ok(Answer::created(json!({
        "id": taken.claims.session,
        "access_token": taken.access_token,
        "token_type": "Bearer",
        "expires_in": taken.expires_in,
        "user": { "id": taken.claims.user, "email": taken.claims.email },
        "hand_off": { "url": link_to(&state, &code.host, code.code.expose_secret()), "expires_in": HAND_OFF_SECONDS },
    }))
    .of(tenant.id))
}

async fn list_impersonations(
    State(state): State<ServerState>,
    _: Operator,
    uri: Uri,
) -> Result<Answer<Value>, Failure> {
    let mut asked = ImpersonationPage::default();
    let page = PageQuery::read(&uri, LIST_QUERY, |name, value| {
        asked.open = value.parse().map_err(|_| ApiError::invalid(format!("{name}={value:?} is not known.")))?;
        Ok(())
    })?;
    (asked.before, asked.limit) = (page.cursor, Some(page.to_read()));
    let found = state.identity.impersonations(&asked).await?;
    Ok(page.answer(found, |one| one.id.to_string()))
}

async fn revoke_impersonation(
    State(state): State<ServerState>,
    operator: Operator,
    Path(id): Path<String>,
    parts: Parts,
) -> Result<Answer<Value>, Failure> {
    let id = id.parse().map_err(|_| ApiError::not_found())?;
    state.identity.end_impersonation(id, &operator.actor, &device(&state, &parts)).await?;
    Ok(Answer::ok(json!({ "id": id })))
}

async fn end_impersonation(
    State(state): State<ServerState>,
    person: SignedIn,
    parts: Parts,
) -> Result<Answer<Value>, Failure> {
    if person.claims.act.is_none() {
        return Err(Failure(ApiError::invalid("Nobody works in your place in this session.")));
    }
    state.identity.end_impersonation(person.claims.session, &person.actor(), &device(&state, &parts)).await?;
    let cleared = person.web.as_ref().and_then(|_| cookie::clear(&state.settings));
    Ok(Answer::ok(json!({})).with_cookie(cleared))
}
