//! Parameters of statements. One enum instead of the driver's trait, so that every value
//! carries its PostgreSQL type (poolers without prepared statements need it) and the crates
//! above need no driver.

use std::borrow::Cow;
use std::error::Error;

use bytes::BytesMut;
use chrono::{DateTime, Utc};
use rowhouse_types::{
    ClientId, DeviceId, GrantId, InvitationId, KeyId, PasskeyId, SagaId, SessionId, TenantId, UserId,
};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

/// One value of a statement. Made with `into()` from the obvious Rust types and their options.
#[derive(Debug, Clone)]
pub enum Param<'a> {
    /// `uuid`
    Uuid(Option<Uuid>),
    /// `text`
    Text(Option<Cow<'a, str>>),
    /// `int4`
    Int(Option<i32>),
    /// `int8`
    BigInt(Option<i64>),
    /// `bool`
    Bool(Option<bool>),
    /// `timestamptz`
    Timestamp(Option<DateTime<Utc>>),
    /// `jsonb`
    Json(Option<Cow<'a, serde_json::Value>>),
    /// `bytea`
    Bytes(Option<Cow<'a, [u8]>>),
    /// `uuid[]`
    Uuids(Vec<Uuid>),
    /// `text[]`
    Texts(Vec<String>),
    /// Text whose type the server infers from the statement: the data API's values.
    Untyped(Untyped<'a>),
}

/// A value in PostgreSQL's text form, of whatever type the statement needs at its place.
#[derive(Debug, Clone)]
pub struct Untyped<'a>(pub Option<Cow<'a, str>>);

impl Param<'_> {
    pub(crate) fn type_of(&self) -> Type {
        match self {
            Self::Uuid(_) => Type::UUID,
            Self::Text(_) => Type::TEXT,
            Self::Int(_) => Type::INT4,
            Self::BigInt(_) => Type::INT8,
            Self::Bool(_) => Type::BOOL,
            Self::Timestamp(_) => Type::TIMESTAMPTZ,
            Self::Json(_) => Type::JSONB,
            Self::Bytes(_) => Type::BYTEA,
            Self::Uuids(_) => Type::UUID_ARRAY,
            Self::Texts(_) => Type::TEXT_ARRAY,
            Self::Untyped(_) => Type::UNKNOWN,
        }
    }
}

type Encoded = Result<IsNull, Box<dyn Error + Sync + Send>>;

impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Encoded {
        match self {
            Self::Uuid(value) => value.to_sql_checked(ty, out),
            Self::Text(value) => value.as_deref().to_sql_checked(ty, out),
            Self::Int(value) => value.to_sql_checked(ty, out),
            Self::BigInt(value) => value.to_sql_checked(ty, out),
            Self::Bool(value) => value.to_sql_checked(ty, out),
            Self::Timestamp(value) => value.to_sql_checked(ty, out),
            Self::Json(value) => value.as_deref().to_sql_checked(ty, out),
            Self::Bytes(value) => value.as_deref().to_sql_checked(ty, out),
            Self::Uuids(value) => value.to_sql_checked(ty, out),
            Self::Texts(value) => value.to_sql_checked(ty, out),
            Self::Untyped(Untyped(None)) => Ok(IsNull::Yes),
            Self::Untyped(Untyped(Some(text))) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    // The inner values check the type themselves; the untyped one fits any.
    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self {
            Self::Untyped(_) => Format::Text,
            _ => Format::Binary,
        }
    }

    to_sql_checked!();
}

macro_rules! param_from {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl From<$type> for Param<'_> {
            fn from(value: $type) -> Self {
                Self::$variant(Some(value))
            }
        }
        impl From<Option<$type>> for Param<'_> {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value)
            }
        }
    )*};
}

param_from! { Uuid => Uuid, i32 => Int, i64 => BigInt, bool => Bool, DateTime<Utc> => Timestamp }

macro_rules! param_from_id {
    ($($type:ty),*) => {$(
        impl From<$type> for Param<'_> {
            fn from(id: $type) -> Self {
                Self::Uuid(Some(id.uuid()))
            }
        }
        impl From<Option<$type>> for Param<'_> {
            fn from(id: Option<$type>) -> Self {
                Self::Uuid(id.map(<$type>::uuid))
            }
        }
    )*};
}

param_from_id! { TenantId, UserId, SessionId, SagaId, InvitationId, KeyId, PasskeyId, DeviceId, ClientId, GrantId }

impl<'a> From<&'a str> for Param<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(Cow::Borrowed(text)))
    }
}

impl<'a> From<Option<&'a str>> for Param<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text.map(Cow::Borrowed))
    }
}

impl From<String> for Param<'_> {
    fn from(text: String) -> Self {
        Self::Text(Some(Cow::Owned(text)))
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Some(Cow::Borrowed(text)))
    }
}

impl<'a> From<&'a serde_json::Value> for Param<'a> {
    fn from(value: &'a serde_json::Value) -> Self {
        Self::Json(Some(Cow::Borrowed(value)))
    }
}

impl From<serde_json::Value> for Param<'_> {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(Some(Cow::Owned(value)))
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Some(Cow::Borrowed(bytes)))
    }
}

impl From<Vec<u8>> for Param<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Some(Cow::Owned(bytes)))
    }
}

impl From<Vec<Uuid>> for Param<'_> {
    fn from(ids: Vec<Uuid>) -> Self {
        Self::Uuids(ids)
    }
}

impl From<Vec<String>> for Param<'_> {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}

impl<'a> From<Untyped<'a>> for Param<'a> {
    fn from(value: Untyped<'a>) -> Self {
        Self::Untyped(value)
    }
}

/// A list of parameters, each by `into()`: `params![tenant, name, 3_i32]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::Param::from($value)),*] as &[$crate::Param<'_>]
    };
}
