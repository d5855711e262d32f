//! JSON bodies: read whole, judged before any handler sees them, every fault told as ours.

use axum::extract::{FromRequest, Request};
use axum::http::header;
use bytes::Bytes;
use rowhouse_types::{ApiError, ErrorCode, FieldError};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::envelope::Failure;

/// A body as bytes, with its type checked.
pub(crate) struct JsonBytes(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Failure(ApiError::new(
                ErrorCode::UnsupportedMediaType,
                "Send JSON with the header Content-Type: application/json.",
            )));
        }
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) if rejection.status() == 413 => {
                Err(Failure(ApiError::new(ErrorCode::PayloadTooLarge, "The body is larger than this server allows.")))
            }
            Err(_) => Err(Failure(ApiError::invalid("The body could not be read to its end."))),
        }
    }
}

/// A body of a fixed shape. Unknown fields are refused where the type says so.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let JsonBytes(bytes) = JsonBytes::from_request(request, state).await?;
        // A list of values would pass for a type's fields in their order.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            return Err(Failure(ApiError::invalid("The body must be a JSON object.")));
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| Failure(explain(&error)))
    }
}

/// An object within a body: no list of its values in their order, which would pass for it too.
#[derive(Debug, Default)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = serde_json::Map::deserialize(deserializer)?;
        T::deserialize(Value::Object(members)).map(Self).map_err(D::Error::custom)
    }
}

/// A fault of a fixed shape: missing and unknown fields are told by name.
fn explain(error: &serde_json::Error) -> ApiError {
    let text = error.to_string();
    let field = text.split('`').nth(1).unwrap_or_default().to_owned();
    if error.is_data() {
        // serde's sentence ends in " at line 1 column 2", which helps nobody with a form.
        let sentence = text.split(" at line ").next().unwrap_or(&text).to_owned();
        let code = if text.starts_with("missing field") {
            "required"
        } else if text.starts_with("unknown field") {
            return ApiError::invalid("The body has a field that is not known here.")
                .with_details(vec![FieldError::new(field, "unknown_field", sentence)]);
        } else {
            "invalid"
        };
        return ApiError::validation(vec![FieldError::new(field, code, sentence)]);
    }
    ApiError::invalid(format!("The body is not valid JSON: {text}."))
}
