//! A record's body: an object whose fields are columns, judged all at once.

use rowhouse_app::{Column, Entity};
use rowhouse_types::{ApiError, ErrorCode, FieldError};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::Caller;
use crate::query::unknown_column;
use crate::value::from_json;

/// A column and its new value in text form.
pub(crate) type Given<'a> = (&'a Column, Option<String>);

/// A body, judged.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    /// In the order of the entity's columns, so that equal shapes give equal statements.
    pub(crate) given: Vec<Given<'a>>,
    /// The id that the client chose.
    pub(crate) id: Option<Uuid>,
}

/// Reads a body.
///
/// # Errors
/// 400 for what is not JSON or names unknown fields, 403 for another tenant's id, 422 with every
/// field's fault.
pub(crate) fn read<'a>(
    caller: &Caller<'_>,
    entity: &'a Entity,
    bytes: &[u8],
    creating: bool,
) -> Result<Body<'a>, ApiError> {
    let mut fields = parse(bytes)?;
    if let Some(tenant) = fields.remove("tenant_id") {
        let own = tenant.as_str().and_then(|text| text.parse().ok()) == Some(caller.context.tenant());
        if !own {
            let message = "The body names another tenant than the request. Leave tenant_id out.";
            return Err(ApiError::new(ErrorCode::TenantMismatch, message));
        }
    }
    let unknown: Vec<FieldError> = fields
        .keys()
        .filter(|name| entity.column(name).is_none())
        .map(|name| {
            FieldError::new(name.chars().take(80).collect::<String>(), "unknown_field", unknown_column(entity, name))
        })
        .collect();
    if let [first, ..] = unknown.as_slice() {
        return Err(ApiError::invalid(first.message.clone()).with_details(unknown));
    }
    let mut faults = Vec::new();
    let id = if creating { client_id(&mut fields, &mut faults) } else { None };
    let mut given = Vec::new();
    for column in &entity.columns {
        match fields.get(&column.name) {
            Some(_) if column.read_only => {
                faults.push(FieldError::new(column.name.clone(), "not_allowed", "is set by the server"));
            }
            Some(value) => match from_json(column, value) {
                Ok(text) => given.push((column, text)),
                Err(fault) => faults.push(FieldError::new(column.name.clone(), "invalid", fault)),
            },
            None if creating && required(entity, column) => {
                faults.push(FieldError::new(column.name.clone(), "required", "is required"));
            }
            None => {}
        }
    }
    if faults.is_empty() { Ok(Body { given, id }) } else { Err(ApiError::validation(faults)) }
}

fn required(entity: &Entity, column: &Column) -> bool {
    let set_by_server = column.read_only || entity.owner.as_deref() == Some(&column.name);
    !column.nullable && !column.has_default && !set_by_server
}

/// A client may choose the id, so that it can try again without making a second record.
fn client_id(fields: &mut Map<String, Value>, faults: &mut Vec<FieldError>) -> Option<Uuid> {
    let id = fields.remove("id")?;
    let parsed = id.as_str().and_then(|text| Uuid::try_parse(text).ok());
    if parsed.is_none() {
        faults.push(FieldError::new("id", "invalid", "must be a UUID"));
    }
    parsed
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(ApiError::invalid("The body must be a JSON object.")),
        Err(error) => Err(ApiError::invalid(format!("The body is not valid JSON: {error}."))),
    }
}
