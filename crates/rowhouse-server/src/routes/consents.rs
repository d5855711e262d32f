//! A person's consents: which programs may know and do what for them.

use axum::extract::{Path, State};
use axum::http::{Method, Uri};
use rowhouse_openid::ConsentPage;
use rowhouse_types::ApiError;
use serde_json::{Value, json};

use super::oauth::provider;
use crate::envelope::{Answer, Failure};
use crate::gate::Person;
use crate::paging::{CURSOR, LIMIT, PageQuery};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

const CONSENTS_QUERY: &[(&str, &str)] = &[LIMIT, CURSOR];

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let person = |method, path, operation| RouteDoc::new(method, path, operation, Access::Person);
    routes.add(
        person(Method::GET, "/api/auth/consents", "list_consents")
            .summary("Programs that the caller has let know and do something, the newest program first.")
            .query(CONSENTS_QUERY)
            .answers(200, json!({ "type": "array", "items": { "type": "object" } }))
            .refuses(&[400, 404]),
        list_consents,
    );
    routes.add(
        person(Method::DELETE, "/api/auth/consents/{id}", "revoke_consent")
            .summary("Take a consent back, by the program's id; its tokens end at once.")
            .refuses(&[404]),
        revoke_consent,
    );
}

async fn list_consents(State(state): State<ServerState>, person: Person, uri: Uri) -> Result<Answer<Value>, Failure> {
    let page = PageQuery::read(&uri, CONSENTS_QUERY, |_, _| Ok(()))?;
    let asked = ConsentPage { before: page.cursor, limit: Some(page.to_read()) };
    let consents = provider(&state)?.consents(person.claims.user, &asked).await?;
    Ok(page.answer(consents, |consent| consent.id.to_string()))
}

async fn revoke_consent(
    State(state): State<ServerState>,
    person: Person,
    Path(id): Path<String>,
) -> Result<Answer<Value>, Failure> {
    let client = id.parse().map_err(|_| ApiError::not_found())?;
    provider(&state)?.revoke_consent(&person.actor(), person.claims.user, client).await?;
    Ok(Answer::ok(json!({ "id": client })))
}
