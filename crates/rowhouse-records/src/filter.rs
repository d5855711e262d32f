//! Filters: `status=open`, `amount[gte]=100`, `name[contains]=ann`.

use rowhouse_app::{Column, ColumnKind, Entity};
use rowhouse_postgres::Param;

use crate::query::unknown_column;
use crate::statement::Builder;
use crate::value::{quote_item, text_fault};

/// Values of one `[in]`.
const IN_MAX: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
    In,
    Contains,
    StartsWith,
    IsNull,
}

const COMPARISONS: [(&str, Comparison); 10] = [
    ("eq", Comparison::Eq),
    ("ne", Comparison::Ne),
    ("gt", Comparison::Gt),
    ("gte", Comparison::Gte),
    ("lt", Comparison::Lt),
    ("lte", Comparison::Lte),
    ("in", Comparison::In),
    ("contains", Comparison::Contains),
    ("starts_with", Comparison::StartsWith),
    ("is_null", Comparison::IsNull),
];

/// One filter, understood and judged.
#[derive(Debug)]
pub(crate) struct Filter<'a> {
    column: &'a Column,
    comparison: Comparison,
    value: String,
    parameter: String,
}

/// Reads one filter.
///
/// # Errors
/// What is wrong, for the parameter of this name.
pub(crate) fn filter<'a>(entity: &'a Entity, name: &str, value: &str) -> Result<Filter<'a>, String> {
    let (field, word) = match name.split_once('[') {
        Some((field, rest)) => (field, rest.strip_suffix(']').ok_or("the bracket is not closed")?),
        None => (name, "eq"),
    };
    let column = entity.column(field).ok_or_else(|| unknown_column(entity, field))?;
    let known = || COMPARISONS.iter().filter(|(_, comparison)| fits(&column.kind, *comparison)).map(|(word, _)| *word);
    let comparison = COMPARISONS.iter().find(|(known, comparison)| *known == word && fits(&column.kind, *comparison));
    let Some((_, comparison)) = comparison else {
        let list: Vec<&str> = known().collect();
        return Err(format!("{word:?} cannot compare {field} ({}); known are {}", column.type_name, list.join(", ")));
    };
    let value = respaced(&column.kind, value);
    judge(column, *comparison, &value)?;
    Ok(Filter { column, comparison: *comparison, value, parameter: name.to_owned() })
}

/// A plus sign in a query string means a space; in a time zone it was meant as a plus.
fn respaced(kind: &ColumnKind, value: &str) -> String {
    match (kind, value.rsplit_once(' ')) {
        (ColumnKind::Timestamptz, Some((moment, zone))) if moment.contains('T') && zone.contains(':') => {
            format!("{moment}+{zone}")
        }
        _ => value.to_owned(),
    }
}

fn fits(kind: &ColumnKind, comparison: Comparison) -> bool {
    match comparison {
        Comparison::IsNull => true,
        Comparison::Contains => matches!(kind, ColumnKind::Text | ColumnKind::Jsonb | ColumnKind::Array(_)),
        Comparison::StartsWith => *kind == ColumnKind::Text,
        Comparison::Eq | Comparison::Ne | Comparison::In => !matches!(
            kind,
            ColumnKind::Json | ColumnKind::Jsonb | ColumnKind::Array(_) | ColumnKind::Bytea | ColumnKind::Other
        ),
        Comparison::Gt | Comparison::Gte | Comparison::Lt | Comparison::Lte => !matches!(
            kind,
            ColumnKind::Json
                | ColumnKind::Jsonb
                | ColumnKind::Array(_)
                | ColumnKind::Bytea
                | ColumnKind::Boolean
                | ColumnKind::Other
        ),
    }
}

fn judge(column: &Column, comparison: Comparison, value: &str) -> Result<(), String> {
    let fault = match comparison {
        Comparison::IsNull if !matches!(value, "true" | "false") => Some("must be true or false".to_owned()),
        Comparison::IsNull | Comparison::StartsWith => None,
        Comparison::Contains if column.kind == ColumnKind::Text => None,
        Comparison::Contains if matches!(column.kind, ColumnKind::Array(_)) => None,
        Comparison::In => {
            let values: Vec<&str> = value.split(',').collect();
            if values.len() > IN_MAX {
                return Err(format!("may list at most {IN_MAX} values"));
            }
            values.iter().find_map(|value| text_fault(column, value))
        }
        _ => text_fault(column, value),
    };
    fault.map_or(Ok(()), Err)
}

impl Filter<'_> {
    /// Whether PostgreSQL may use an index for it under row-level security.
    pub(crate) fn leakproof(&self) -> bool {
        match self.comparison {
            Comparison::IsNull => true,
            Comparison::Contains => false,
            _ => self.column.kind.leakproof(),
        }
    }

    /// Adds the condition.
    pub(crate) fn write(&self, builder: &mut Builder) {
        let field = &self.parameter;
        let value = self.value.as_str();
        builder.column("t", &self.column.name);
        match self.comparison {
            Comparison::Eq => builder.push(" = ").bind_text(field, value),
            Comparison::Ne => builder.push(" is distinct from ").bind_text(field, value),
            Comparison::Gt => builder.push(" > ").bind_text(field, value),
            Comparison::Gte => builder.push(" >= ").bind_text(field, value),
            Comparison::Lt => builder.push(" < ").bind_text(field, value),
            Comparison::Lte => builder.push(" <= ").bind_text(field, value),
            Comparison::In => {
                let items: Vec<String> = value.split(',').map(quote_item).collect();
                builder.push(" = any(").bind_text(field, format!("{{{}}}", items.join(","))).push(")")
            }
            Comparison::Contains if self.column.kind == ColumnKind::Text => {
                builder.push(" ilike ").bind(field, Param::from(contains_pattern(value)))
            }
            Comparison::Contains if self.column.kind == ColumnKind::Jsonb => {
                builder.push(" @> ").bind_text(field, value).push("::jsonb")
            }
            Comparison::Contains => {
                let items: Vec<String> = value.split(',').map(quote_item).collect();
                builder.push(" @> ").bind_text(field, format!("{{{}}}", items.join(",")))
            }
            Comparison::StartsWith => builder.push(" ^@ ").bind(field, Param::from(value.to_owned())),
            Comparison::IsNull if value == "true" => builder.push(" is null"),
            Comparison::IsNull => builder.push(" is not null"),
        };
    }
}

/// A pattern that finds the text anywhere, with LIKE's own characters taken literally.
pub(crate) fn contains_pattern(text: &str) -> String {
    format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_their_own_characters_literally() {
        assert_eq!(contains_pattern(r"50%_\x"), r"%50\%\_\\x%");
    }
}
