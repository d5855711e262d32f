//! A person's own sessions: the devices they are signed in on.

use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use rowhouse_identity::SessionPage;
use rowhouse_types::ApiError;
use serde_json::{Value, json};

use crate::client::device;
use crate::envelope::{Answer, Failure};
use crate::gate::Person;
use crate::paging::{CURSOR, LIMIT, PageQuery};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

const SESSIONS_QUERY: &[(&str, &str)] = &[LIMIT, CURSOR];

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let person = |method, path, operation| RouteDoc::new(method, path, operation, Access::Person);
    routes.add(
        person(Method::GET, "/api/auth/sessions", "list_sessions")
            .summary("The devices on which the caller is signed in, newest first; current marks this one.")
            .query(SESSIONS_QUERY)
            .answers(200, json!({ "type": "array", "items": { "type": "object" } }))
            .refuses(&[400]),
        list_sessions,
    );
    routes.add(
        person(Method::DELETE, "/api/auth/sessions", "revoke_other_sessions")
            .summary("End all of the caller's sessions but this one."),
        revoke_other_sessions,
    );
    routes.add(
        person(Method::DELETE, "/api/auth/sessions/{id}", "revoke_session")
            .summary("End one of the caller's sessions; its tokens are refused at once.")
            .refuses(&[404]),
        revoke_session,
    );
}

async fn list_sessions(State(state): State<ServerState>, person: Person, uri: Uri) -> Result<Answer<Value>, Failure> {
    let page = PageQuery::read(&uri, SESSIONS_QUERY, |_, _| Ok(()))?;
    let asked = SessionPage { before: page.cursor, limit: Some(page.to_read()) };
    let sessions = state.identity.sessions(&person.claims, &asked).await?;
    Ok(page.answer(sessions, |session| session.id.to_string()))
}

async fn revoke_other_sessions(
    State(state): State<ServerState>,
    person: Person,
    parts: Parts,
) -> Result<Answer<Value>, Failure> {
    let revoked =
        state.identity.revoke_other_sessions(&person.actor(), &person.claims, &device(&state, &parts)).await?;
    Ok(Answer::ok(json!({ "revoked": revoked })))
}

async fn revoke_session(
    State(state): State<ServerState>,
    person: Person,
    Path(id): Path<String>,
    parts: Parts,
) -> Result<Answer<Value>, Failure> {
    let id = id.parse().map_err(|_| ApiError::not_found())?;
    state.identity.revoke_session(&person.actor(), &person.claims, id, &device(&state, &parts)).await?;
    Ok(Answer::ok(json!({ "id": id })))
}
