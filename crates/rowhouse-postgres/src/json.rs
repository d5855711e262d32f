//! Rows to JSON, straight from PostgreSQL's binary format: no tree is built in between, which is
//! what makes lists fast (measured: 1.6 times as fast as JSON made by the server).
//!
//! Numbers keep all their digits; NaN and the infinities, which JSON lacks, become strings.

mod number;
mod text;
mod time;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_postgres::types::{Kind, Type};

use self::number::{write_float, write_integer, write_numeric};
pub(crate) use self::text::write_text;
use self::time::{write_date, write_interval, write_time, write_timestamp};
use crate::row::Row;

/// Writes the first `columns` columns of a row as an object.
pub fn write_row(row: &Row, columns: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (ty, raw)) in row.values().take(columns).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        row.write_key(index, out);
        match raw {
            None => out.extend_from_slice(b"null"),
            Some(bytes) => write_value(ty, bytes, out),
        }
    }
    out.push(b'}');
}

pub(crate) fn write_value(ty: &Type, raw: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    if write_known(ty, raw, out).is_none() {
        // Malformed bytes can only come from a fault of ours or of the server; half a value must
        // not spoil the whole answer.
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

fn write_known(ty: &Type, raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match *ty {
        Type::BOOL => out.extend_from_slice(if *raw.first()? == 0 { b"false" } else { b"true" }),
        Type::INT2 => write_integer(i16::from_be_bytes(raw.try_into().ok()?), out),
        Type::INT4 => write_integer(i32::from_be_bytes(raw.try_into().ok()?), out),
        Type::INT8 => write_integer(i64::from_be_bytes(raw.try_into().ok()?), out),
        Type::OID => write_integer(u32::from_be_bytes(raw.try_into().ok()?), out),
        Type::FLOAT4 => write_float(f32::from_be_bytes(raw.try_into().ok()?), out),
        Type::FLOAT8 => write_float(f64::from_be_bytes(raw.try_into().ok()?), out),
        Type::NUMERIC => write_numeric(raw, out)?,
        Type::UUID => {
            let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
            out.push(b'"');
            out.extend_from_slice(uuid::Uuid::from_slice(raw).ok()?.hyphenated().encode_lower(&mut buffer).as_bytes());
            out.push(b'"');
        }
        Type::DATE => write_date(i32::from_be_bytes(raw.try_into().ok()?), out)?,
        Type::TIME => write_time(i64::from_be_bytes(raw.try_into().ok()?), out)?,
        Type::TIMESTAMP => write_timestamp(i64::from_be_bytes(raw.try_into().ok()?), "", out)?,
        Type::TIMESTAMPTZ => write_timestamp(i64::from_be_bytes(raw.try_into().ok()?), "Z", out)?,
        Type::INTERVAL => write_interval(raw, out)?,
        Type::JSON => out.extend_from_slice(raw),
        // One byte of version comes first.
        Type::JSONB => out.extend_from_slice(raw.get(1..)?),
        Type::BYTEA => {
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode(raw).as_bytes());
            out.push(b'"');
        }
        _ => match ty.kind() {
            Kind::Array(element) => write_array(element, raw, out)?,
            Kind::Domain(base) => return write_known(base, raw, out),
            _ => write_text(std::str::from_utf8(raw).ok()?, out),
        },
    }
    Some(())
}

/// One dimension of an array.
pub(crate) struct Dimension {
    pub(crate) length: usize,
    pub(crate) lower_bound: i32,
}

/// The dimensions of an array and the bytes of its elements. On the wire: the number of
/// dimensions, a flag, the element's type, each dimension's length and lower bound; then each
/// element with its length, row by row (PostgreSQL's array_send).
pub(crate) fn array_parts(raw: &[u8]) -> Option<(Vec<Dimension>, &[u8])> {
    let word = |at: usize| Some(i32::from_be_bytes(raw.get(at * 4..at * 4 + 4)?.try_into().ok()?));
    let count = usize::try_from(word(0)?).ok()?;
    let dimension = |index: usize| {
        let length = usize::try_from(word(3 + index * 2)?).ok()?;
        Some(Dimension { length, lower_bound: word(4 + index * 2)? })
    };
    let dimensions: Option<Vec<Dimension>> = (0..count).map(dimension).collect();
    Some((dimensions?, raw.get(12 + count * 8..)?))
}

/// Takes one element off: none for SQL's null.
pub(crate) fn take_element<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, after) = rest.split_at_checked(4)?;
    *rest = after;
    let Ok(length) = usize::try_from(i32::from_be_bytes(length.try_into().ok()?)) else { return Some(None) };
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(Some(bytes))
}

fn write_array(element: &Type, raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (dimensions, mut rest) = array_parts(raw)?;
    write_dimension(element, &dimensions, &mut rest, out)
}

fn write_dimension(element: &Type, dimensions: &[Dimension], rest: &mut &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.push(b'[');
    if let Some((outer, inner)) = dimensions.split_first() {
        for index in 0..outer.length {
            if index > 0 {
                out.push(b',');
            }
            if inner.is_empty() {
                match take_element(rest)? {
                    Some(bytes) => write_value(element, bytes, out),
                    None => out.extend_from_slice(b"null"),
                }
            } else {
                write_dimension(element, inner, rest, out)?;
            }
        }
    }
    out.push(b']');
    Some(())
}
