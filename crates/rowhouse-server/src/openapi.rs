//! The OpenAPI 3.1 document: the routes from their list, the entities from the app's model.

use rowhouse_app::{AppModel, Column, ColumnKind, Entity};
use rowhouse_types::{ErrorCode, PER_PAGE_MAX};
use serde_json::{Map, Value, json};

use crate::route::{Access, RouteDoc};

/// The whole document.
pub fn document(model: &AppModel, routes: &[RouteDoc], title: &str, version: &str, public_url: &str) -> Value {
    let mut paths = Map::new();
    for route in routes {
        if route.path.starts_with("/api/{entity}") {
            continue; // written out for each entity below
        }
        insert(&mut paths, route.path, route.method.as_str(), operation(route));
    }
    let mut schemas = shared_schemas();
    for entity in model.entities.values().chain(model.shared.values()) {
        entity_paths(&mut paths, entity);
        schemas.insert(schema_name(entity, ""), record_schema(entity));
        if writable(entity) {
            schemas.insert(schema_name(entity, "Create"), input_schema(entity, true));
            schemas.insert(schema_name(entity, "Update"), input_schema(entity, false));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": version, "description": DESCRIPTION },
        "servers": [{ "url": public_url }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "cookie": { "type": "apiKey", "in": "cookie", "name": "rowhouse_session", "description": "A browser's session on this host, __Host-rowhouse_session under https; unsafe methods send X-CSRF-Token, too." },
                "api_key": { "type": "http", "scheme": "bearer", "description": "An API key of the tenant: rh_live_…, or rh_test_… in development." },
                "operator": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A token with audience operator." }
            }
        }
    })
}

const DESCRIPTION: &str = "Every answer is an envelope: `success`, `data`, `pagination` for lists, `tenant_id`. \
Every refusal has a stable `error.code`, a sentence for people, the faults of single fields, and the request's id.";

fn insert(paths: &mut Map<String, Value>, path: &str, method: &str, operation: Value) {
    let item = paths.entry(path).or_insert_with(|| json!({}));
    item[method.to_lowercase()] = operation;
}

fn operation(route: &RouteDoc) -> Value {
    let (status, data) = &route.success;
    let mut operation = json!({
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [tag(route.path)],
        "parameters": parameters(route),
        "responses": responses(route, *status, data.clone()),
        "security": security(route),
    });
    if let Some(body) = &route.body {
        let content_type = if route.oauth { "application/x-www-form-urlencoded" } else { "application/json" };
        operation["requestBody"] = json!({ "required": true, "content": { content_type: { "schema": body } } });
    }
    operation
}

/// The first word after /api.
fn tag(path: &str) -> &str {
    path.trim_start_matches("/api").trim_start_matches('/').split('/').next().unwrap_or("service")
}

fn security(route: &RouteDoc) -> Value {
    match route.access {
        _ if route.api_keys => by_token_or_key(),
        Access::Public => json!([]),
        Access::Operator => json!([{ "operator": [] }]),
        Access::Person | Access::Tenant | Access::PathTenant => json!([{ "bearer": [] }, { "cookie": [] }]),
    }
}

fn by_token_or_key() -> Value {
    json!([{ "bearer": [] }, { "api_key": [] }, { "cookie": [] }])
}

fn parameters(route: &RouteDoc) -> Vec<Value> {
    let names = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters
        .extend(route.query.iter().map(|(name, meaning)| query_parameter(name, meaning, json!({ "type": "string" }))));
    if route.opens_session {
        let meaning = "For browsers: the answer sets a cookie, and has no tokens.";
        let schema = json!({ "enum": ["cookie"] });
        parameters
            .push(json!({ "name": "X-Rowhouse-Session", "in": "header", "description": meaning, "schema": schema }));
    }
    parameters
}

fn query_parameter(name: &str, meaning: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "description": meaning, "schema": schema })
}

fn responses(route: &RouteDoc, status: u16, data: Value) -> Value {
    let mut responses = Map::new();
    let answer = match route.bare {
        _ if (300..400).contains(&status) => {
            let location = json!({ "required": true, "schema": { "type": "string" } });
            json!({ "description": "On to another address.", "headers": { "Location": location } })
        }
        Some(content_type) => json!({ "description": "Success.", "content": { content_type: { "schema": data } } }),
        None => success(data, false),
    };
    responses.insert(status.to_string(), answer);
    let of_access: &[u16] = match route.access {
        Access::Public => &[],
        Access::Person => &[401, 403],
        Access::Tenant => &[400, 401, 403],
        Access::PathTenant => &[400, 401, 403, 404],
        Access::Operator => &[400, 401, 403],
    };
    if route.oauth {
        for status in route.refusals {
            responses.insert(status.to_string(), oauth_refusal());
        }
    }
    for status in of_access.iter().chain(route.refusals).chain(&[429, 503, 504]) {
        responses.entry(status.to_string()).or_insert_with(|| refusal(*status));
    }
    Value::Object(responses)
}

fn success(data: Value, paged: bool) -> Value {
    let mut properties =
        json!({ "success": { "const": true }, "data": data, "tenant_id": { "type": "string", "format": "uuid" } });
    if paged {
        properties["pagination"] = json!({ "$ref": "#/components/schemas/Pagination" });
    }
    let schema = json!({ "type": "object", "required": ["success", "data"], "properties": properties });
    json!({ "description": "Success.", "content": { "application/json": { "schema": schema } } })
}

fn refusal(status: u16) -> Value {
    let codes: Vec<&str> =
        ErrorCode::ALL.iter().filter(|code| code.status() == status).map(|code| code.as_str()).collect();
    json!({
        "description": format!("Refused: {}.", codes.join(", ")),
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } }
    })
}

fn oauth_refusal() -> Value {
    json!({
        "description": "Refused, in the words of RFC 6749.",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/OAuthError" } } }
    })
}

fn shared_schemas() -> Map<String, Value> {
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let number = json!({ "type": ["integer", "null"], "minimum": 0 });
    let schemas = json!({
        "Error": {
            "type": "object",
            "required": ["success", "error"],
            "properties": {
                "success": { "const": false },
                "error": {
                    "type": "object",
                    "required": ["code", "message", "details", "request_id"],
                    "properties": {
                        "code": { "type": "string", "enum": codes },
                        "message": { "type": "string" },
                        "details": { "type": "array", "items": {
                            "type": "object",
                            "required": ["field", "code", "message"],
                            "properties": { "field": { "type": "string" }, "code": { "type": "string" }, "message": { "type": "string" } }
                        } },
                        "request_id": { "type": "string" }
                    }
                }
            }
        },
        "OAuthError": {
            "type": "object",
            "required": ["error"],
            "properties": { "error": { "type": "string" }, "error_description": { "type": "string" } }
        },
        "Pagination": {
            "type": "object",
            "required": ["page", "per_page", "total", "total_pages", "has_next", "has_prev", "cursor"],
            "properties": {
                "page": number, "per_page": { "type": "integer", "minimum": 1 }, "total": number, "total_pages": number,
                "has_next": { "type": "boolean" }, "has_prev": { "type": "boolean" }, "cursor": { "type": ["string", "null"] }
            }
        }
    });
    match schemas {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn writable(entity: &Entity) -> bool {
    !entity.shared && !entity.read_only
}

/// `work_orders` and `Create` give `WorkOrdersCreate`.
fn schema_name(entity: &Entity, suffix: &str) -> String {
    let words = entity.name.split('_').filter(|word| !word.is_empty());
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
    };
    words.map(capital).chain([suffix.to_owned()]).collect()
}

fn reference(entity: &Entity, suffix: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", schema_name(entity, suffix)) })
}

fn entity_paths(paths: &mut Map<String, Value>, entity: &Entity) {
    let name = &entity.name;
    let (list, record) = (format!("/api/{name}"), format!("/api/{name}/{{id}}"));
    let id = json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" } });
    let make = |operation: &str, parameters: Vec<Value>, success: (u16, Value), refusals: &[u16]| {
        let mut responses = Map::new();
        responses.insert(success.0.to_string(), success.1);
        for status in [400, 401, 403, 429, 503, 504].iter().chain(refusals) {
            responses.insert(status.to_string(), refusal(*status));
        }
        json!({
            "operationId": format!("{operation}_{name}"), "tags": [name], "security": by_token_or_key(),
            "parameters": parameters, "responses": responses,
        })
    };
    let page = success(json!({ "type": "array", "items": reference(entity, "") }), true);
    insert(paths, &list, "get", make("list", list_parameters(entity), (200, page), &[]));
    let one = |status| (status, success(reference(entity, ""), false));
    let read = [id.clone(), fields_parameter(entity)].into_iter().chain(include_parameter(entity)).collect();
    insert(paths, &record, "get", make("get", read, one(200), &[404]));
    if !writable(entity) {
        return;
    }
    let body = |suffix| json!({ "required": true, "content": { "application/json": { "schema": reference(entity, suffix) } } });
    let mut create = make("create", vec![], one(201), &[409, 413, 415, 422]);
    create["requestBody"] = body("Create");
    insert(paths, &list, "post", create);
    let if_match = json!({ "name": "If-Match", "in": "header", "description": "The ETag that was read.", "schema": { "type": "string" } });
    let mut update = make("update", vec![id.clone(), if_match.clone()], one(200), &[404, 409, 412, 413, 415, 422]);
    update["requestBody"] = body("Update");
    insert(paths, &record, "patch", update);
    let deleted = (200, success(json!({ "type": "object" }), false));
    insert(paths, &record, "delete", make("delete", vec![id, if_match], deleted, &[404, 409, 412]));
}

fn list_parameters(entity: &Entity) -> Vec<Value> {
    let mut parameters = vec![
        query_parameter("page", "The page, from 1.", json!({ "type": "integer", "minimum": 1 })),
        query_parameter(
            "per_page",
            "Records on a page.",
            json!({ "type": "integer", "minimum": 1, "maximum": PER_PAGE_MAX }),
        ),
        query_parameter("cursor", "Read on after a page: its pagination.cursor.", json!({ "type": "string" })),
        query_parameter(
            "limit",
            "Records under a cursor.",
            json!({ "type": "integer", "minimum": 1, "maximum": PER_PAGE_MAX }),
        ),
        query_parameter("count", "How to count the whole list.", json!({ "enum": ["exact", "estimated", "none"] })),
        fields_parameter(entity),
        sort_parameter(entity),
    ];
    parameters.extend(include_parameter(entity));
    if !entity.search.is_empty() {
        parameters.push(query_parameter("q", "Words to search for.", json!({ "type": "string" })));
    }
    parameters.extend(entity.columns.iter().map(filter_parameter));
    parameters
}

/// The comparison that fits a column best, and the form of its value. Filters come as text; only
/// the kinds whose text form the schema language knows are narrowed.
fn filter_parameter(column: &Column) -> Value {
    let others = "other comparisons stand in brackets the same way: [ne], [gt], [gte], [lt], [lte], [in], [contains], [starts_with], [is_null].";
    match &column.kind {
        ColumnKind::Json | ColumnKind::Jsonb | ColumnKind::Array(_) | ColumnKind::Bytea | ColumnKind::Other => {
            let meaning = "Whether it is absent.";
            query_parameter(&format!("{}[is_null]", column.name), meaning, json!({ "type": "boolean" }))
        }
        kind => {
            let meaning = format!("Equal to this; {others}");
            let schema = match kind {
                ColumnKind::Interval => json!({ "type": "string" }),
                // A text that is too long for the column finds nothing; it is no fault.
                kind => value_schema(kind, column.allowed.as_deref(), None),
            };
            query_parameter(&format!("{}[eq]", column.name), &meaning, schema)
        }
    }
}

/// A list in one parameter, separated by commas.
fn words_parameter(name: &str, meaning: &str, words: &[String]) -> Value {
    let mut parameter = query_parameter(name, meaning, json!({ "type": "array", "items": { "enum": words } }));
    parameter["style"] = json!("form");
    parameter["explode"] = json!(false);
    parameter
}

fn include_parameter(entity: &Entity) -> Option<Value> {
    let names: Vec<String> = entity.relations.keys().cloned().collect();
    (!names.is_empty()).then(|| words_parameter("include", "Related records to add.", &names))
}

fn sort_parameter(entity: &Entity) -> Value {
    let sortable = |column: &&Column| {
        !matches!(column.kind, ColumnKind::Json | ColumnKind::Jsonb | ColumnKind::Array(_) | ColumnKind::Other)
    };
    let both = |column: &Column| [column.name.clone(), format!("-{}", column.name)];
    let words: Vec<String> = entity.columns.iter().filter(sortable).flat_map(both).collect();
    let mut parameter = words_parameter("sort", "Columns to sort by, a minus for descending.", &words);
    parameter["schema"]["maxItems"] = json!(8);
    parameter
}

fn fields_parameter(entity: &Entity) -> Value {
    let names: Vec<String> = entity.column_names().map(str::to_owned).collect();
    words_parameter("fields", "Columns to return.", &names)
}

fn record_schema(entity: &Entity) -> Value {
    let mut properties = Map::new();
    for column in &entity.columns {
        properties.insert(column.name.clone(), column_schema(column));
    }
    // Without "required": fields= may leave any column out.
    json!({ "type": "object", "title": entity.singular, "properties": properties })
}

fn input_schema(entity: &Entity, create: bool) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for column in entity.columns.iter().filter(|column| !column.read_only) {
        properties.insert(column.name.clone(), column_schema(column));
        if create && !column.nullable && !column.has_default {
            required.push(column.name.clone());
        }
    }
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn column_schema(column: &Column) -> Value {
    let mut schema = value_schema(&column.kind, column.allowed.as_deref(), column.length_max);
    if column.nullable {
        schema = json!({ "anyOf": [schema, { "type": "null" }] });
    }
    if let Some(comment) = &column.comment {
        schema["description"] = json!(comment);
    }
    if column.read_only {
        schema["readOnly"] = json!(true);
    }
    schema
}

fn value_schema(kind: &ColumnKind, allowed: Option<&[String]>, length_max: Option<u32>) -> Value {
    if let Some(allowed) = allowed {
        return json!({ "type": "string", "enum": allowed });
    }
    let mut schema = match kind {
        ColumnKind::Uuid => json!({ "type": "string", "format": "uuid" }),
        ColumnKind::Boolean => json!({ "type": "boolean" }),
        ColumnKind::SmallInt => json!({ "type": "integer", "minimum": i16::MIN, "maximum": i16::MAX }),
        ColumnKind::Integer => json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }),
        ColumnKind::BigInt => json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX }),
        ColumnKind::Real | ColumnKind::Double | ColumnKind::Numeric => json!({ "type": "number" }),
        ColumnKind::Date => json!({ "type": "string", "format": "date" }),
        ColumnKind::Timestamptz => json!({ "type": "string", "format": "date-time" }),
        ColumnKind::Interval => json!({ "type": "string", "format": "duration" }),
        // Anything but null, which is said apart.
        ColumnKind::Json | ColumnKind::Jsonb => json!({ "type": ["object", "array", "string", "number", "boolean"] }),
        ColumnKind::Bytea => json!({ "type": "string", "contentEncoding": "base64" }),
        ColumnKind::Array(inner) => json!({ "type": "array", "items": value_schema(inner, None, None) }),
        ColumnKind::Text | ColumnKind::Time | ColumnKind::Timestamp | ColumnKind::Enum | ColumnKind::Other => {
            json!({ "type": "string" })
        }
    };
    if let Some(length) = length_max {
        schema["maxLength"] = json!(length);
    }
    schema
}
