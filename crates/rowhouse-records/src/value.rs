//! Values in text form, judged by their column's type before they reach the database, so that
//! all faults are told at once and in plain words.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use rowhouse_app::{Column, ColumnKind};
use serde_json::Value;
use uuid::Uuid;

/// Longest value in a query string, in bytes.
pub(crate) const QUERY_VALUE_MAX: usize = 4096;

/// What a value should have been, if it is not.
pub(crate) fn text_fault(column: &Column, text: &str) -> Option<String> {
    if text.contains('\0') {
        return Some("must not contain the character NUL".into());
    }
    if let Some(allowed) = &column.allowed
        && !allowed.iter().any(|value| value == text)
    {
        let hint = rowhouse_types::did_you_mean(text, allowed.iter().map(String::as_str));
        return Some(format!("must be one of {}.{hint}", allowed.join(", ")));
    }
    if let Some(expected) = kind_fault(&column.kind, text) {
        return Some(format!("must be {expected}"));
    }
    magnitude_fault(column, text)
}

/// `numeric(10,2)` holds eight digits before the point; the server would not say which column.
fn magnitude_fault(column: &Column, text: &str) -> Option<String> {
    let bounds = column.type_name.strip_prefix("numeric(")?.strip_suffix(')')?;
    let (precision, scale) = bounds.split_once(',').unwrap_or((bounds, "0"));
    let digits = precision.trim().parse::<i32>().ok()? - scale.trim().parse::<i32>().ok()?;
    let value: f64 = text.parse().ok()?;
    (value.abs() >= 10_f64.powi(digits)).then(|| format!("must have at most {digits} digits before the point"))
}

fn kind_fault(kind: &ColumnKind, text: &str) -> Option<&'static str> {
    let (fits, expected) = match kind {
        ColumnKind::Uuid => (Uuid::try_parse(text).is_ok(), "a UUID"),
        ColumnKind::Boolean => (matches!(text, "true" | "false"), "true or false"),
        ColumnKind::SmallInt => (text.parse::<i16>().is_ok(), "a whole number from -32768 to 32767"),
        ColumnKind::Integer => (text.parse::<i32>().is_ok(), "a whole number from -2147483648 to 2147483647"),
        ColumnKind::BigInt => (text.parse::<i64>().is_ok(), "a whole number of at most 64 bits"),
        ColumnKind::Real | ColumnKind::Double => (text.parse::<f64>().is_ok_and(f64::is_finite), "a number"),
        ColumnKind::Numeric => (is_decimal(text), "a number"),
        ColumnKind::Date => (text.parse::<NaiveDate>().is_ok(), "a date, such as 2026-01-31"),
        ColumnKind::Time => (text.parse::<NaiveTime>().is_ok(), "a time, such as 14:30:00"),
        ColumnKind::Timestamp => (is_timestamp(text), "a date and time, such as 2026-01-31T14:30:00"),
        ColumnKind::Timestamptz => (
            DateTime::parse_from_rfc3339(text).is_ok() || text.parse::<NaiveDate>().is_ok(),
            "a date and time with a zone, such as 2026-01-31T14:30:00Z",
        ),
        ColumnKind::Json | ColumnKind::Jsonb => (serde_json::from_str::<Value>(text).is_ok(), "JSON"),
        // Judged by the database, or any text will do.
        ColumnKind::Text
        | ColumnKind::Interval
        | ColumnKind::Bytea
        | ColumnKind::Enum
        | ColumnKind::Array(_)
        | ColumnKind::Other => return None,
    };
    (!fits).then_some(expected)
}

fn is_timestamp(text: &str) -> bool {
    text.parse::<NaiveDateTime>().is_ok() || text.parse::<NaiveDate>().is_ok()
}

/// An optional sign, digits with at most one point, an optional exponent of a sane size.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(m, e)| (m, Some(e)));
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let plain = mantissa.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let points = mantissa.bytes().filter(|byte| *byte == b'.').count();
    let exponent_ok = exponent.is_none_or(|text| text.parse::<i16>().is_ok_and(|exponent| exponent.abs() <= 1000));
    plain && digits > 0 && digits <= 1000 && points <= 1 && exponent_ok
}

/// A JSON value as text for its column; `None` is SQL's null.
///
/// # Errors
/// What the value should have been.
pub(crate) fn from_json(column: &Column, value: &Value) -> Result<Option<String>, String> {
    if value.is_null() {
        return if column.nullable { Ok(None) } else { Err("must not be null".into()) };
    }
    let text = json_text(&column.kind, value)?;
    if let Some(fault) = text_fault_of_json(column, &text) {
        return Err(fault);
    }
    if let Some(max) = column.length_max
        && text.chars().count() > usize::try_from(max).unwrap_or(usize::MAX)
    {
        return Err(format!("must have at most {max} characters"));
    }
    Ok(Some(text))
}

/// JSON and arrays have been judged as JSON already.
fn text_fault_of_json(column: &Column, text: &str) -> Option<String> {
    match column.kind {
        ColumnKind::Json | ColumnKind::Jsonb if text.contains("\\u0000") => {
            Some("must not contain the character NUL".into())
        }
        ColumnKind::Json | ColumnKind::Jsonb => None,
        ColumnKind::Array(_) if text.contains('\0') => Some("must not contain the character NUL".into()),
        ColumnKind::Array(_) => None,
        _ => text_fault(column, text),
    }
}

fn json_text(kind: &ColumnKind, value: &Value) -> Result<String, String> {
    match (kind, value) {
        (ColumnKind::Json | ColumnKind::Jsonb, value) => Ok(value.to_string()),
        (ColumnKind::Array(element), Value::Array(items)) => array_literal(element, items),
        (ColumnKind::Array(_), _) => Err("must be an array".into()),
        (ColumnKind::Boolean, Value::Bool(value)) => Ok(value.to_string()),
        (ColumnKind::Boolean, _) => Err("must be true or false".into()),
        (ColumnKind::SmallInt | ColumnKind::Integer | ColumnKind::BigInt, Value::Number(number)) => whole(number),
        (ColumnKind::Real | ColumnKind::Double | ColumnKind::Numeric, Value::Number(number)) => Ok(number.to_string()),
        // Numbers of many digits would lose some on the way through JSON.
        (ColumnKind::Numeric, Value::String(text)) => Ok(text.clone()),
        (ColumnKind::SmallInt | ColumnKind::Integer | ColumnKind::BigInt, _) => Err("must be a whole number".into()),
        (ColumnKind::Real | ColumnKind::Double | ColumnKind::Numeric, _) => Err("must be a number".into()),
        (ColumnKind::Bytea, Value::String(text)) => bytes_literal(text),
        (_, Value::String(text)) => Ok(text.clone()),
        (_, _) => Err("must be a string".into()),
    }
}

/// 3.0 is a whole number too.
fn whole(number: &serde_json::Number) -> Result<String, String> {
    if number.is_i64() || number.is_u64() {
        return Ok(number.to_string());
    }
    match number.as_f64() {
        Some(value) if value.fract() == 0.0 && value.abs() < 9e15 => Ok(format!("{value:.0}")),
        _ => Err("must be a whole number".into()),
    }
}

fn bytes_literal(text: &str) -> Result<String, String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| "must be base64".to_owned())?;
    let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("\\x{hexadecimal}"))
}

fn array_literal(element: &ColumnKind, items: &[Value]) -> Result<String, String> {
    let mut parts = Vec::with_capacity(items.len());
    for item in items {
        if item.is_null() {
            parts.push("NULL".to_owned());
            continue;
        }
        let text = json_text(element, item).map_err(|fault| format!("has an item that {fault}"))?;
        if let Some(expected) = kind_fault(element, &text) {
            return Err(format!("has an item that must be {expected}"));
        }
        parts.push(quote_item(&text));
    }
    Ok(format!("{{{}}}", parts.join(",")))
}

/// An item of an array literal.
pub(crate) fn quote_item(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: ColumnKind) -> Column {
        Column {
            name: "c".into(),
            type_name: String::new(),
            kind,
            nullable: true,
            has_default: false,
            read_only: false,
            allowed: None,
            length_max: None,
            comment: None,
        }
    }

    #[test]
    fn values_are_judged_by_their_type() {
        for (kind, good, bad) in [
            (ColumnKind::Integer, "12", "12.5"),
            (ColumnKind::SmallInt, "-5", "40000"),
            (ColumnKind::Numeric, "-12.50e3", "1e999999"),
            (ColumnKind::Numeric, ".5", "."),
            (ColumnKind::Boolean, "true", "yes"),
            (ColumnKind::Date, "2026-02-28", "2026-02-30"),
            (ColumnKind::Timestamptz, "2026-01-01T00:00:00+02:00", "2026-01-01T00:00:00"),
            (ColumnKind::Uuid, "0193e5a4-7c11-7c3e-8000-000000000000", "nobody"),
            (ColumnKind::Double, "1e10", "NaN"),
        ] {
            let column = column(kind);
            assert_eq!(text_fault(&column, good), None, "{good}");
            assert!(text_fault(&column, bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn json_values_become_literals() {
        let array = column(ColumnKind::Array(Box::new(ColumnKind::Text)));
        let value = serde_json::json!(["a", "b\"c\\d", null]);
        assert_eq!(from_json(&array, &value).unwrap().unwrap(), r#"{"a","b\"c\\d",NULL}"#);
        assert!(from_json(&column(ColumnKind::Integer), &serde_json::json!("1")).is_err());
        assert_eq!(from_json(&column(ColumnKind::Integer), &serde_json::json!(3.0)).unwrap().unwrap(), "3");
        assert!(from_json(&column(ColumnKind::Jsonb), &serde_json::json!({"a": "\u{0}"})).is_err());
        assert!(from_json(&column(ColumnKind::Text), &serde_json::json!("a\u{0}b")).is_err());
    }
}
