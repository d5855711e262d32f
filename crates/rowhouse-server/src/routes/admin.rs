//! What operators do with tenants.

use axum::extract::{Path, State};
use axum::http::{Method, Uri};
use rowhouse_audit::{AlertFilter, EventFilter};
use rowhouse_jobs::ListSagas;
use rowhouse_tenants::{ListTenants, Placement, Provision, ProvisionOwner, Tenant};
use rowhouse_types::{ApiError, EmailAddress, FieldError, Pagination, Slug};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::envelope::{Answer, Failure};
use crate::gate::{Operator, query_pairs};
use crate::paging::{CURSOR, LIMIT, PageQuery, limit};
use crate::route::{Access, RouteDoc, Routes};
use crate::state::ServerState;

const LIST_QUERY: &[(&str, &str)] = &[
    ("q", "Name or slug contains this."),
    ("status", "Only tenants of this status."),
    ("placement", "Only tenants of this placement."),
    LIMIT,
    CURSOR,
];

const OPERATIONS_QUERY: &[(&str, &str)] = &[
    ("status", "Only operations of this status."),
    ("tenant", "Only those of the tenant with this id."),
    LIMIT,
    CURSOR,
];

const ALERTS_QUERY: &[(&str, &str)] = &[("open", "true: only those of which nobody has taken note."), LIMIT, CURSOR];

const EVENTS_QUERY: &[(&str, &str)] = &[("tenant", "Only those of the tenant with this id."), LIMIT, CURSOR];

/// Adds the routes.
pub(crate) fn add(routes: &mut Routes) {
    let route = |method, path, operation| RouteDoc::new(method, path, operation, Access::Operator);
    let array = || json!({ "type": "array", "items": { "type": "object" } });
    routes.add(
        route(Method::GET, "/api/admin/tenants", "list_tenants")
            .summary("All tenants, newest first.")
            .query(LIST_QUERY)
            .answers(200, array()),
        list_tenants,
    );
    routes.add(
        route(Method::POST, "/api/admin/tenants", "create_tenant")
            .summary("Make a tenant; its administrator gets an invitation by mail, whose link is in the answer, too.")
            .body(schema_for!(CreateTenantIn).to_value())
            .answers(201, json!({ "type": "object" }))
            .refuses(&[409, 413, 415, 422]),
        create_tenant,
    );
    routes.add(
        route(Method::GET, "/api/admin/tenants/{tenant}", "show_tenant").summary("One tenant.").refuses(&[404]),
        show_tenant,
    );
    routes.add(
        route(Method::DELETE, "/api/admin/tenants/{tenant}", "delete_tenant")
            .summary("Delete a tenant and all its rows.")
            .refuses(&[404, 409]),
        delete_tenant,
    );
    routes.add(
        route(Method::POST, "/api/admin/tenants/{tenant}/suspend", "suspend_tenant")
            .summary("Refuse the tenant's requests.")
            .refuses(&[404, 409]),
        suspend_tenant,
    );
    routes.add(
        route(Method::POST, "/api/admin/tenants/{tenant}/reactivate", "reactivate_tenant")
            .summary("Serve a suspended tenant again.")
            .refuses(&[404, 409]),
        reactivate_tenant,
    );
    routes.add(
        route(Method::GET, "/api/admin/operations", "list_operations")
            .summary("Long operations (sagas), newest first.")
            .query(OPERATIONS_QUERY)
            .answers(200, array()),
        list_operations,
    );
    routes.add(
        route(Method::GET, "/api/admin/operations/{operation}", "get_operation")
            .summary("One operation with its steps.")
            .refuses(&[404]),
        get_operation,
    );
    routes.add(
        route(Method::GET, "/api/admin/alerts", "list_alerts")
            .summary("Open and past alerts, newest first.")
            .query(ALERTS_QUERY)
            .answers(200, array()),
        list_alerts,
    );
    routes.add(
        route(Method::GET, "/api/admin/security-events", "list_security_events")
            .summary("Security events, newest first.")
            .query(EVENTS_QUERY)
            .answers(200, array()),
        list_security_events,
    );
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateTenantIn {
    name: String,
    slug: String,
    #[serde(alias = "adminEmail")]
    admin_email: String,
    plan: Option<String>,
    /// pool (the default), schema or database.
    placement: Option<String>,
}

/// A tenant as operators see it.
fn full(tenant: &Tenant) -> Value {
    json!({
        "id": tenant.id,
        "name": tenant.name,
        "slug": tenant.slug,
        "status": tenant.status,
        "plan": tenant.plan,
        "placement": tenant.placement,
        "cluster": &*tenant.location.cluster,
        "database": &*tenant.location.database,
        "schema": &*tenant.location.schema,
        "created_at": tenant.created_at,
    })
}

async fn list_tenants(State(state): State<ServerState>, _: Operator, uri: Uri) -> Result<Answer<Value>, Failure> {
    let mut list = ListTenants::default();
    for (name, value) in query_pairs(uri.query()) {
        match name.as_str() {
            "q" => list.search = Some(value),
            "status" => list.status = Some(value.parse().map_err(|_| unknown_value("status", &value))?),
            "placement" => list.placement = Some(value.parse().map_err(|_| unknown_value("placement", &value))?),
            "limit" => list.limit = limit(&value)?,
            "cursor" => list.after = Some(value),
            other => {
                let hint = rowhouse_types::did_you_mean(other, LIST_QUERY.iter().map(|(name, _)| *name));
                return Err(Failure(ApiError::invalid(format!("Unknown parameter {other:?}.{hint}"))));
            }
        }
    }
    let page = state.tenants.list(&list).await?;
    let data: Vec<Value> = page.tenants.iter().map(full).collect();
    let pagination = Pagination {
        per_page: list.limit,
        has_next: page.next.is_some(),
        has_prev: list.after.is_some(),
        cursor: page.next,
        ..Pagination::default()
    };
    Ok(Answer::ok(json!(data)).paged(pagination))
}

fn unknown_value(parameter: &str, value: &str) -> Failure {
    Failure(ApiError::invalid(format!("{parameter}={value:?} is not known.")))
}

async fn create_tenant(
    State(state): State<ServerState>,
    operator: Operator,
    JsonBody(body): JsonBody<CreateTenantIn>,
) -> Result<Answer<Value>, Failure> {
    let mut faults = Vec::new();
    let slug =
        body.slug.parse::<Slug>().map_err(|error| faults.push(FieldError::new("slug", "invalid", error.to_string())));
    let email = body
        .admin_email
        .parse::<EmailAddress>()
        .map_err(|error| faults.push(FieldError::new("admin_email", "invalid", error.to_string())));
    let placement = match body.placement.as_deref().unwrap_or("pool").parse::<Placement>() {
        Ok(placement) => placement,
        Err(error) => {
            faults.push(FieldError::new("placement", "not_allowed", error.to_string()));
            Placement::Pool
        }
    };
    if !(1..=200).contains(&body.name.trim().chars().count()) {
        faults.push(FieldError::new("name", "invalid", "must have 1 to 200 characters"));
    }
    let (Ok(slug), Ok(email), true) = (slug, email, faults.is_empty()) else {
        return Err(Failure(ApiError::validation(faults)));
    };
    let provision = Provision {
        name: body.name.trim().to_owned(),
        slug: Some(slug),
        plan: body.plan,
        placement,
        owner: ProvisionOwner::Invite(email),
    };
    let made = state.tenants.provision_by(&operator.actor, provision).await?;
    let mut data = full(&made.tenant);
    if let Some(token) = &made.invitation {
        let link = format!("{}/invite/{}", state.settings.public_url, token.expose());
        data["invitation"] = json!({ "token": token.expose(), "link": link });
    }
    Ok(Answer::created(data).of(made.tenant.id))
}

/// The tenant of an id or slug.
async fn find(state: &ServerState, text: &str) -> Result<std::sync::Arc<Tenant>, Failure> {
    state.tenants.find(text).await?.ok_or_else(|| Failure(ApiError::not_found()))
}

async fn show_tenant(
    State(state): State<ServerState>,
    _: Operator,
    Path(tenant): Path<String>,
) -> Result<Answer<Value>, Failure> {
    let tenant = find(&state, &tenant).await?;
    Ok(Answer::ok(full(&tenant)).of(tenant.id))
}

async fn suspend_tenant(
    State(state): State<ServerState>,
    operator: Operator,
    Path(tenant): Path<String>,
) -> Result<Answer<Value>, Failure> {
    let tenant = state.tenants.suspend_by(&operator.actor, find(&state, &tenant).await?.id, "").await?;
    Ok(Answer::ok(full(&tenant)).of(tenant.id))
}

async fn reactivate_tenant(
    State(state): State<ServerState>,
    operator: Operator,
    Path(tenant): Path<String>,
) -> Result<Answer<Value>, Failure> {
    let tenant = state.tenants.reactivate_by(&operator.actor, find(&state, &tenant).await?.id).await?;
    Ok(Answer::ok(full(&tenant)).of(tenant.id))
}

async fn delete_tenant(
    State(state): State<ServerState>,
    operator: Operator,
    Path(tenant): Path<String>,
) -> Result<Answer<Value>, Failure> {
    let tenant = find(&state, &tenant).await?;
    state.tenants.delete_by(&operator.actor, tenant.id).await?;
    Ok(Answer::ok(json!({ "id": tenant.id, "slug": tenant.slug })).of(tenant.id))
}

async fn list_operations(State(state): State<ServerState>, _: Operator, uri: Uri) -> Result<Answer<Value>, Failure> {
    let mut list = ListSagas::default();
    let page = PageQuery::read(&uri, OPERATIONS_QUERY, |name, value| {
        match name {
            "status" => list.status = Some(value.parse().map_err(|_| unknown_value(name, &value))?),
            _ => list.tenant = Some(value.parse().map_err(|_| unknown_value(name, &value))?),
        }
        Ok(())
    })?;
    (list.before, list.limit) = (page.cursor, page.to_read());
    let operations = state.tenants.operations(&list).await?;
    Ok(page.answer(operations, |operation| operation.id.to_string()))
}

async fn get_operation(
    State(state): State<ServerState>,
    _: Operator,
    Path(operation): Path<String>,
) -> Result<Answer<Value>, Failure> {
    let id = operation.parse().map_err(|_| ApiError::not_found())?;
    let found = state.tenants.operation(id).await?.ok_or_else(ApiError::not_found)?;
    Ok(Answer::ok(json!(found)))
}

async fn list_alerts(State(state): State<ServerState>, _: Operator, uri: Uri) -> Result<Answer<Value>, Failure> {
    let mut filter = AlertFilter::default();
    let page = PageQuery::read(&uri, ALERTS_QUERY, |name, value| {
        filter.open = value.parse().map_err(|_| unknown_value(name, &value))?;
        Ok(())
    })?;
    (filter.before, filter.limit) = (page.cursor, Some(page.to_read()));
    let alerts = state.audit.alerts(&filter).await?;
    Ok(page.answer(alerts, |alert| alert.id.to_string()))
}

async fn list_security_events(
    State(state): State<ServerState>,
    _: Operator,
    uri: Uri,
) -> Result<Answer<Value>, Failure> {
    let mut filter = EventFilter::default();
    let page = PageQuery::read(&uri, EVENTS_QUERY, |name, value| {
        filter.tenant = Some(value.parse().map_err(|_| unknown_value(name, &value))?);
        Ok(())
    })?;
    (filter.before, filter.limit) = (page.cursor, Some(page.to_read()));
    let events = state.audit.events(&filter).await?;
    Ok(page.answer(events, |event| event.id.to_string()))
}
