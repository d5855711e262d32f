//! The data API over HTTP: `/api/{entity}` and `/api/{entity}/{id}`.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rowhouse_records::RecordAnswer;
use rowhouse_types::ApiError;

use crate::body::JsonBytes;
use crate::envelope::{Failure, RawAnswer};
use crate::gate::{Party, query_pairs};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let tenant = |method, path, operation| RouteDoc::new(method, path, operation, Access::Tenant).for_keys();
    routes.add(tenant(Method::GET, "/api/{entity}", "list_records"), list_records);
    routes.add(tenant(Method::POST, "/api/{entity}", "create_record"), create_record);
    routes.add(tenant(Method::GET, "/api/{entity}/{id}", "get_record"), get_record);
    routes.add(tenant(Method::PATCH, "/api/{entity}/{id}", "update_record"), update_record);
    routes.add(tenant(Method::DELETE, "/api/{entity}/{id}", "delete_record"), delete_record);
}

/// The gate has read `tenant_id`; it is no filter.
fn parameters(query: Option<&str>) -> Vec<(String, String)> {
    query_pairs(query).into_iter().filter(|(name, _)| name != "tenant_id").collect()
}

async fn list_records(
    State(state): State<ServerState>,
    party: Party,
    Path(entity): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<RawAnswer, Failure> {
    let model = state.tenants.model();
    let list = state.records.list(&model, &party.caller(), &entity, &parameters(query.as_deref())).await?;
    let tenant = Some(party.tenant.id);
    Ok(RawAnswer { status: StatusCode::OK, data: list.data, pagination: Some(list.pagination), tenant })
}

async fn get_record(
    State(state): State<ServerState>,
    party: Party,
    Path((entity, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let model = state.tenants.model();
    let record = state.records.get(&model, &party.caller(), &entity, &id, &parameters(query.as_deref())).await?;
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == record.etag.as_bytes());
    if known {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        set_etag(&mut response, &record.etag);
        return Ok(response);
    }
    Ok(answer(&party, StatusCode::OK, record))
}

async fn create_record(
    State(state): State<ServerState>,
    party: Party,
    Path(entity): Path<String>,
    RawQuery(query): RawQuery,
    body: Result<JsonBytes, Failure>,
) -> Result<Response, Failure> {
    let model = state.tenants.model();
    state.records.require_writable(&model, &entity)?;
    refuse_parameters(query.as_deref())?;
    let JsonBytes(body) = body?;
    let record = state.records.create(&model, &party.caller(), &entity, &body).await?;
    Ok(answer(&party, StatusCode::CREATED, record))
}

async fn update_record(
    State(state): State<ServerState>,
    party: Party,
    Path((entity, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<JsonBytes, Failure>,
) -> Result<Response, Failure> {
    let model = state.tenants.model();
    state.records.require_writable(&model, &entity)?;
    refuse_parameters(query.as_deref())?;
    let expected = if_match(&headers)?;
    let JsonBytes(body) = body?;
    let record = state.records.update(&model, &party.caller(), &entity, &id, expected, &body).await?;
    Ok(answer(&party, StatusCode::OK, record))
}

async fn delete_record(
    State(state): State<ServerState>,
    party: Party,
    Path((entity, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<RawAnswer, Failure> {
    let model = state.tenants.model();
    state.records.require_writable(&model, &entity)?;
    refuse_parameters(query.as_deref())?;
    let expected = if_match(&headers)?;
    state.records.delete(&model, &party.caller(), &entity, &id, expected).await?;
    let data = serde_json::to_vec(&serde_json::json!({ "id": id })).map_err(ApiError::internal)?;
    Ok(RawAnswer { status: StatusCode::OK, data, pagination: None, tenant: Some(party.tenant.id) })
}

/// Writes take no parameters; a misplaced filter must not look as if it had been obeyed.
fn refuse_parameters(query: Option<&str>) -> Result<(), Failure> {
    match parameters(query).first() {
        None => Ok(()),
        Some((name, _)) => {
            Err(Failure(ApiError::invalid(format!("Unknown parameter {name:?}: this request takes none."))))
        }
    }
}

fn if_match(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().map_err(|_| ApiError::invalid("If-Match must be the ETag that was read."))?;
    Ok((text != "*").then_some(text))
}

fn answer(party: &Party, status: StatusCode, record: RecordAnswer) -> Response {
    let tenant = Some(party.tenant.id);
    let mut response = RawAnswer { status, data: record.data, pagination: None, tenant }.into_response();
    set_etag(&mut response, &record.etag);
    response
}

fn set_etag(response: &mut Response, etag: &str) {
    if let Ok(value) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(header::ETAG, value);
    }
}
