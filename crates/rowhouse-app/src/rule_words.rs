//! A check constraint in words, for the person whose value broke it. Reads the expression as
//! PostgreSQL prints it and tells simple ones: comparisons, ranges, lists, lengths. Whatever it does
//! not know for certain it leaves alone; a wrong sentence would be worse than none.

use crate::rule_expression::{Node, parse};

/// What must hold, as the end of a sentence that begins with the column ("must be at least 0"). A
/// rule over several columns is a whole sentence. `is_time` says which columns hold a date or time.
pub(crate) fn rule_in_words(definition: &str, is_time: impl Fn(&str) -> bool) -> Option<String> {
    words(&parse(definition)?, &is_time)
}

/// What a rule speaks of.
#[derive(Debug, Clone, PartialEq)]
enum Subject<'a> {
    Value(&'a str),
    /// A length in units.
    Length(&'a str, &'static str),
    /// The text without the blanks around it.
    Trimmed(&'a str),
    TrimmedLength(&'a str),
}

fn words(node: &Node, is_time: &dyn Fn(&str) -> bool) -> Option<String> {
    match node {
        Node::Compare(left, operator, right) => {
            if let (Node::Column(left), Node::Column(right)) = (&**left, &**right) {
                return columns_in_words(left, operator, right, is_time(left) && is_time(right));
            }
            bounds_in_words(std::slice::from_ref(node), is_time)
        }
        Node::And(parts) => bounds_in_words(parts, is_time),
        Node::Or(parts) => either_in_words(parts, is_time),
        Node::OneOf(subject, values) => match &**subject {
            Node::Column(_) => Some(format!("must be one of {}", literals(values)?.join(", "))),
            _ => None,
        },
        Node::IsNull(subject, false) => matches!(**subject, Node::Column(_)).then(|| "is required".to_owned()),
        Node::IsNull(..) | Node::Column(_) | Node::Text(_) | Node::Number(_) | Node::Call(..) => None,
    }
}

fn literals(nodes: &[Node]) -> Option<Vec<&str>> {
    nodes.iter().map(Node::literal).collect()
}

/// Of two columns of one record.
fn columns_in_words(left: &str, operator: &str, right: &str, times: bool) -> Option<String> {
    let relation = match (operator, times) {
        ("=", _) => "must be the same as",
        ("<>", _) => "must not be the same as",
        (">", true) => "must be after",
        (">=", true) => "must not be before",
        ("<", true) => "must be before",
        ("<=", true) => "must not be after",
        (">", false) => "must be more than",
        (">=", false) => "must be at least",
        ("<", false) => "must be less than",
        ("<=", false) => "must be at most",
        _ => return None,
    };
    Some(format!("{left} {relation} {right}"))
}

/// A rule that missing values satisfy is the rule itself: only values can break it. Of several
/// columns of which one must be there, a sentence names all.
fn either_in_words(parts: &[Node], is_time: &dyn Fn(&str) -> bool) -> Option<String> {
    let given = |node: &Node| match node {
        Node::IsNull(subject, false) => subject.column().map(str::to_owned),
        _ => None,
    };
    if let Some(columns) = parts.iter().map(given).collect::<Option<Vec<_>>>() {
        return Some(format!("one of {} is required", columns.join(", ")));
    }
    let (absent, rules): (Vec<&Node>, Vec<&Node>) =
        parts.iter().partition(|part| matches!(part, Node::IsNull(_, true)));
    let absent: Vec<&str> = absent.iter().flat_map(|part| part.columns()).collect();
    let [rule] = rules.as_slice() else { return None };
    if absent.iter().all(|column| rule.columns().contains(column)) {
        return words(rule, is_time);
    }
    let [column] = absent.as_slice() else { return None };
    let (other, is) = match rule {
        Node::Compare(other, operator, value) if operator == "=" => (other.column()?, value.literal()?.to_owned()),
        Node::OneOf(other, values) => (other.column()?, format!("one of {}", literals(values)?.join(", "))),
        _ => return None,
    };
    Some(format!("{column} is only allowed if {other} is {is}"))
}

fn subject(node: &Node) -> Option<Subject<'_>> {
    let blanks = ["trim", "btrim"];
    match node {
        Node::Column(name) => Some(Subject::Value(name)),
        Node::Call(function, arguments) => match (function.as_str(), arguments.as_slice()) {
            ("length" | "char_length" | "character_length", [Node::Column(name)]) => {
                Some(Subject::Length(name, "characters"))
            }
            ("length" | "char_length" | "character_length", [Node::Call(inner, arguments)])
                if blanks.contains(&inner.as_str()) =>
            {
                let [Node::Column(name)] = arguments.as_slice() else { return None };
                Some(Subject::TrimmedLength(name))
            }
            ("octet_length", [Node::Column(name)]) => Some(Subject::Length(name, "bytes")),
            ("cardinality", [Node::Column(name)]) => Some(Subject::Length(name, "entries")),
            ("trim" | "btrim", [Node::Column(name)]) => Some(Subject::Trimmed(name)),
            _ => None,
        },
        _ => None,
    }
}

/// Comparisons of one subject with literals, of which all must hold.
fn bounds_in_words(parts: &[Node], is_time: &dyn Fn(&str) -> bool) -> Option<String> {
    let mut of: Option<Subject<'_>> = None;
    let mut bounds = Vec::new();
    for part in parts {
        let Node::Compare(left, operator, right) = part else { return None };
        // `0 <= x` says the same as `x >= 0`.
        let (about, operator, literal) = match (left.literal(), right.literal()) {
            (None, Some(literal)) => (&**left, operator.as_str(), literal),
            (Some(literal), None) => (&**right, mirrored(operator)?, literal),
            _ => return None,
        };
        let about = subject(about)?;
        if of.as_ref().is_some_and(|of| *of != about) {
            return None;
        }
        of = Some(about);
        bounds.push((operator, literal));
    }
    match of? {
        Subject::Value(name) => value_in_words(&bounds, is_time(name)),
        Subject::Length(_, unit) => length_in_words(&bounds, unit),
        Subject::Trimmed(_) => (bounds == [("<>", "")]).then(|| "must not be blank".to_owned()),
        Subject::TrimmedLength(_) => matches!(bounds.as_slice(), [(">", "0") | (">=", "1") | ("<>", "0")])
            .then(|| "must not be blank".to_owned()),
    }
}

fn mirrored(operator: &str) -> Option<&'static str> {
    Some(match operator {
        "=" => "=",
        "<>" => "<>",
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        _ => return None,
    })
}

fn value_in_words(bounds: &[(&str, &str)], time: bool) -> Option<String> {
    match bounds {
        [(">=", least), ("<=", most)] | [("<=", most), (">=", least)] => {
            return Some(format!("must be between {least} and {most}"));
        }
        [("<>", "")] => return Some("must not be empty".to_owned()),
        [("~~", pattern)] => return like_in_words(pattern),
        _ => {}
    }
    let mut told = Vec::new();
    for (operator, literal) in bounds {
        told.push(match (*operator, time) {
            ("=", _) => format!("must be {literal}"),
            ("<>", _) => format!("must not be {literal}"),
            (">", true) => format!("must be after {literal}"),
            (">=", true) => format!("must not be before {literal}"),
            ("<", true) => format!("must be before {literal}"),
            ("<=", true) => format!("must not be after {literal}"),
            (">", false) => format!("must be more than {literal}"),
            (">=", false) => format!("must be at least {literal}"),
            ("<", false) => format!("must be less than {literal}"),
            ("<=", false) => format!("must be at most {literal}"),
            ("~" | "~*", _) => format!("must match the pattern {literal}"),
            _ => return None,
        });
    }
    Some(told.join(" and "))
}

/// `%@%`: a text with something in it, at its beginning or at its end.
fn like_in_words(pattern: &str) -> Option<String> {
    let (place, part) = match (pattern.strip_prefix('%'), pattern.strip_suffix('%')) {
        (Some(part), Some(_)) => ("contain", part.strip_suffix('%')?),
        (None, Some(part)) => ("begin with", part),
        (Some(part), None) => ("end with", part),
        (None, None) => return None,
    };
    let plain = !part.is_empty() && !part.contains(['%', '_', '\\']);
    plain.then(|| format!("must {place} {part}"))
}

/// As whole numbers, so that `> 0` and `>= 1` are one sentence.
fn length_in_words(bounds: &[(&str, &str)], unit: &str) -> Option<String> {
    let (mut least, mut most) = (None, None);
    for (operator, literal) in bounds {
        let number: u64 = literal.parse().ok()?;
        match *operator {
            ">" => least = Some(number + 1),
            ">=" => least = Some(number),
            "<" => most = Some(number.checked_sub(1)?),
            "<=" => most = Some(number),
            "=" => (least, most) = (Some(number), Some(number)),
            "<>" if number == 0 => least = Some(1),
            _ => return None,
        }
    }
    match (least, most) {
        (Some(1), None) => Some("must not be empty".to_owned()),
        (Some(least), None) => Some(format!("must have at least {least} {unit}")),
        (None | Some(0), Some(most)) => Some(format!("must have at most {most} {unit}")),
        (Some(least), Some(most)) if least == most => Some(format!("must have exactly {most} {unit}")),
        (Some(least), Some(most)) => Some(format!("must have {least} to {most} {unit}")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(expression: &str) -> Option<String> {
        rule_in_words(&format!("CHECK ({expression})"), |column| column.ends_with("_at"))
    }

    #[test]
    fn simple_rules_become_a_sentence() {
        for (expression, sentence) in [
            ("(price >= (0)::numeric)", "must be at least 0"),
            ("(hours > 0.5)", "must be more than 0.5"),
            ("(n < '-5'::integer)", "must be less than -5"),
            ("(n > (- 5))", "must be more than -5"),
            ("(0 <= n)", "must be at least 0"),
            ("((n >= 0) AND (n <= 100))", "must be between 0 and 100"),
            ("((n > 0) AND (n < 100))", "must be more than 0 and must be less than 100"),
            ("(n <> 7)", "must not be 7"),
            ("(day_at >= '2020-01-01'::date)", "must not be before 2020-01-01"),
            ("(at_at < '2020-01-01 00:00:00+00'::timestamp with time zone)", "must be before 2020-01-01 00:00:00+00"),
            ("(status = ANY (ARRAY['a'::text, 'it''s'::text]))", "must be one of a, it's"),
            (
                "((kind)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))",
                "must be one of a, b",
            ),
            ("(n = ANY (ARRAY[1, 2]))", "must be one of 1, 2"),
            ("((length(name) >= 1) AND (length(name) <= 200))", "must have 1 to 200 characters"),
            ("(length((name)::text) <= 200)", "must have at most 200 characters"),
            ("(char_length(name) > 0)", "must not be empty"),
            ("(length(vin) = 17)", "must have exactly 17 characters"),
            ("(cardinality(tags) <= 10)", "must have at most 10 entries"),
            ("(name <> ''::text)", "must not be empty"),
            ("(length(TRIM(BOTH FROM name)) > 0)", "must not be blank"),
            ("(btrim(name) <> ''::text)", "must not be blank"),
            ("(email ~~ '%@%'::text)", "must contain @"),
            ("(code ~ '^[A-Z]{2}$'::text)", "must match the pattern ^[A-Z]{2}$"),
            ("((\"Odd name\" IS NULL) OR (\"Odd name\" > 0))", "must be more than 0"),
            ("(ends_at > starts_at)", "ends_at must be after starts_at"),
            ("(high >= low)", "high must be at least low"),
            ("(parent_id <> id)", "parent_id must not be the same as id"),
            (
                "((ends_at IS NULL) OR (starts_at IS NULL) OR (ends_at >= starts_at))",
                "ends_at must not be before starts_at",
            ),
            ("((reason IS NULL) OR (status = 'lost'::text))", "reason is only allowed if status is lost"),
            (
                "((paid_at IS NULL) OR (status = ANY (ARRAY['paid'::text, 'sent'::text])))",
                "paid_at is only allowed if status is one of paid, sent",
            ),
            ("((email IS NOT NULL) OR (phone IS NOT NULL))", "one of email, phone is required"),
            ("(email IS NOT NULL)", "is required"),
        ] {
            assert_eq!(told(expression).as_deref(), Some(sentence), "{expression}");
        }
    }

    #[test]
    fn what_is_not_simple_is_left_alone() {
        for expression in [
            "(upper(code) = code)",
            "((a > 0) OR (b > 0))",
            "((a > 0) AND (b > 0))",
            "(a > (b + 1))",
            "((a IS NULL) OR (b > 0))",
            "(NOT archived)",
            "(lower(email) ~~ '%@%'::text)",
            "(email ~~ 'a%b'::text)",
            "(num_nonnulls(a, b) = 1)",
            "(a > now())",
            "((status = 'won'::text) = (won_at IS NOT NULL))",
            "CASE WHEN a THEN b ELSE c END",
            "(a > 0) NOT VALID",
            "(a > 'unended",
            "",
        ] {
            assert_eq!(told(expression), None, "{expression}");
        }
    }
}
