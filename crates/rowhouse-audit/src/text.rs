//! Texts of clients, made fit to be written: bounded, and without characters that PostgreSQL or
//! a log reader cannot take. A NUL in a query parameter must not lose the line that tells of it.

use serde_json::Value;

/// Longest tenant, method or request id that is kept, in characters.
pub(crate) const NAME_LENGTH_MAX: usize = 64;
/// Longest path or user agent that is kept, in characters.
pub(crate) const TEXT_LENGTH_MAX: usize = 200;

/// The text with control characters replaced, cut to a length.
pub(crate) fn bounded(text: &str, length_max: usize) -> String {
    text.chars().take(length_max).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The same for every text in a JSON value; names of members are ours and stay.
pub(crate) fn bounded_json(value: &mut Value) {
    match value {
        Value::String(text) => *text = bounded(text, TEXT_LENGTH_MAX),
        Value::Array(items) => items.iter_mut().for_each(bounded_json),
        Value::Object(members) => members.values_mut().for_each(bounded_json),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn control_characters_are_replaced_and_endless_texts_cut() {
        assert_eq!(bounded("acme\0\n", 64), "acme\u{fffd}\u{fffd}");
        assert_eq!(bounded(&"é".repeat(100), 64).chars().count(), 64);
        let mut value = json!({ "list": ["a\0", 1], "text": "b\u{7}" });
        bounded_json(&mut value);
        assert_eq!(value, json!({ "list": ["a\u{fffd}", 1], "text": "b\u{fffd}" }));
    }
}
