//! Values as the text that PostgreSQL reads: for cursors, which hand a row's values back to it
//! later. Never for people and never for JSON.

use tokio_postgres::types::{Kind, Type};

use crate::json::{Dimension, Form, array_parts, take_element, write_value};
use crate::row::Row;

/// A column's value as text that PostgreSQL reads back as the same value; none for null. The
/// server's own `::text` would cost it as much for every row of a list as it is needed for one.
pub fn text_of(row: &Row, index: usize) -> Option<String> {
    let (column, raw) = row.values().nth(index)?;
    Some(text_form(column.ty(), raw?))
}

fn text_form(ty: &Type, raw: &[u8]) -> String {
    match *ty {
        Type::BYTEA => hexadecimal(raw),
        Type::JSON => String::from_utf8_lossy(raw).into_owned(),
        // One byte of version comes first.
        Type::JSONB => String::from_utf8_lossy(raw.get(1..).unwrap_or_default()).into_owned(),
        Type::DATE | Type::TIMESTAMP | Type::TIMESTAMPTZ => year_of_postgres(plain(ty, raw)),
        _ => match ty.kind() {
            Kind::Array(element) => array_form(element, raw).unwrap_or_default(),
            Kind::Domain(base) => text_form(base, raw),
            _ => plain(ty, raw),
        },
    }
}

/// The JSON form, without a string's quotes and escapes.
fn plain(ty: &Type, raw: &[u8]) -> String {
    let mut json = Vec::new();
    write_value(&Form::of(ty), raw, &mut json);
    match serde_json::from_slice(&json) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::from_utf8_lossy(&json).into_owned(),
    }
}

fn hexadecimal(raw: &[u8]) -> String {
    use std::fmt::Write as _;
    raw.iter().fold("\\x".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to memory");
        text
    })
}

/// ISO 8601 counts a year zero and signs the years beyond four digits; PostgreSQL writes BC.
fn year_of_postgres(iso: String) -> String {
    if let Some(late) = iso.strip_prefix('+') {
        return late.to_owned();
    }
    let (before, digits) = iso.strip_prefix('-').map_or((false, &*iso), |digits| (true, digits));
    match digits.split_once('-').and_then(|(year, rest)| Some((year.parse::<u32>().ok()?, rest))) {
        Some((year, rest)) if before || year == 0 => format!("{:04}-{rest} BC", year + 1),
        _ => iso,
    }
}

/// `{"a",NULL}`, or `[0:1]={"a",NULL}` where a lower bound is not 1.
fn array_form(element: &Type, raw: &[u8]) -> Option<String> {
    let (dimensions, mut rest) = array_parts(raw)?;
    let mut text = String::new();
    if dimensions.iter().any(|dimension| dimension.lower_bound != 1) {
        for Dimension { length, lower_bound } in &dimensions {
            let upper_bound = i64::from(*lower_bound) + i64::try_from(*length).ok()? - 1;
            text.push_str(&format!("[{lower_bound}:{upper_bound}]"));
        }
        text.push('=');
    }
    push_dimension(element, &dimensions, &mut rest, &mut text)?;
    Some(text)
}

fn push_dimension(element: &Type, dimensions: &[Dimension], rest: &mut &[u8], text: &mut String) -> Option<()> {
    text.push('{');
    if let Some((outer, inner)) = dimensions.split_first() {
        for index in 0..outer.length {
            if index > 0 {
                text.push(',');
            }
            if inner.is_empty() {
                match take_element(rest)? {
                    Some(bytes) => push_quoted(&text_form(element, bytes), text),
                    None => text.push_str("NULL"),
                }
            } else {
                push_dimension(element, inner, rest, text)?;
            }
        }
    }
    text.push('}');
    Some(())
}

/// An item of an array literal.
fn push_quoted(item: &str, text: &mut String) {
    text.push('"');
    text.push_str(&item.replace('\\', "\\\\").replace('"', "\\\""));
    text.push('"');
}
