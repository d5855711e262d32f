//! The words of a list's query string, told apart: paging, sorting, what to return, filters.

use rowhouse_app::{Column, Entity};
use rowhouse_types::{ApiError, FieldError, PER_PAGE_DEFAULT, PER_PAGE_MAX, did_you_mean};

use crate::filter::{Filter, filter};
use crate::include::Include;
use crate::sort::{Sort, sorts};
use crate::value::QUERY_VALUE_MAX;

/// Filters of one request.
const FILTERS_MAX: usize = 50;
/// Records that may lie before a page: beyond, a cursor is the way.
const OFFSET_MAX: u64 = 1_000_000;
/// Records that a page may pass over and still be quick.
const QUICK_OFFSET_MAX: u64 = 1_000;
/// Parameters that are no filter.
const WORDS: [&str; 9] = ["page", "per_page", "cursor", "limit", "count", "q", "sort", "fields", "include"];
const SEARCH_WORDS_MAX: usize = 10;

/// How the whole list is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Exact,
    Estimated,
    None,
}

/// Which part of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Paging {
    Page { page: u32, per_page: u32 },
    Cursor { cursor: Option<String>, limit: u32 },
}

/// A list's query, understood.
#[derive(Debug)]
pub(crate) struct ListQuery<'a> {
    pub(crate) paging: Paging,
    pub(crate) count: Count,
    pub(crate) search: Vec<String>,
    pub(crate) sorts: Vec<Sort<'a>>,
    pub(crate) columns: Vec<&'a Column>,
    pub(crate) includes: Vec<Include<'a>>,
    pub(crate) filters: Vec<Filter<'a>>,
}

impl ListQuery<'_> {
    /// Whether an index is expected to lead straight to the page.
    pub(crate) fn is_quick(&self) -> bool {
        let near = match self.paging {
            Paging::Page { page, per_page } => u64::from(page) * u64::from(per_page) <= QUICK_OFFSET_MAX,
            Paging::Cursor { .. } => true,
        };
        near && self.count == Count::None && self.search.is_empty() && self.filters.is_empty()
    }
}

/// Reads the query of a list.
///
/// # Errors
/// 400 with every fault at once; unknown names with a suggestion.
pub(crate) fn list_query<'a>(entity: &'a Entity, pairs: &[(String, String)]) -> Result<ListQuery<'a>, ApiError> {
    let mut faults = Faults::default();
    if pairs.len() > FILTERS_MAX + WORDS.len() {
        return Err(ApiError::invalid(format!(
            "A request may have at most {FILTERS_MAX} filters; this one has {}.",
            pairs.len()
        )));
    }
    let mut filters = Vec::new();
    for (name, value) in pairs.iter().filter(|(name, _)| !WORDS.contains(&name.as_str())) {
        match judged(name, value).and_then(|()| filter(entity, name, value)) {
            Ok(filter) => filters.push(filter),
            Err(fault) => faults.add(name, fault),
        }
    }
    let word = |word: &str| pairs.iter().rev().find(|(name, _)| name == word).map(|(_, value)| value.as_str());
    for (name, value) in pairs.iter().filter(|(name, _)| WORDS.contains(&name.as_str())) {
        if let Err(fault) = judged(name, value) {
            faults.add(name, fault);
        }
    }
    let paging = paging(word, &mut faults);
    let count = match (word("count"), &paging) {
        (Some("exact"), _) | (None, Paging::Page { .. }) => Count::Exact,
        (Some("none"), _) | (None, Paging::Cursor { .. }) => Count::None,
        (Some("estimated"), _) => Count::Estimated,
        (Some(_), _) => {
            faults.add("count", "must be exact, estimated or none".into());
            Count::None
        }
    };
    let search: Vec<String> = word("q").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    if !search.is_empty() && entity.search.is_empty() {
        faults.add("q", "this entity has no columns to search".into());
    }
    if search.len() > SEARCH_WORDS_MAX {
        faults.add("q", format!("at most {SEARCH_WORDS_MAX} words can be searched for"));
    }
    let sorts = sorts(entity, word("sort"), &mut faults);
    let columns = fields(entity, word("fields"), &mut faults);
    let includes = includes(entity, word("include"), &mut faults);
    faults.or(ListQuery { paging, count, search, sorts, columns, includes, filters })
}

/// Reads the query of a single record: what to return.
pub(crate) fn record_query<'a>(
    entity: &'a Entity,
    pairs: &[(String, String)],
) -> Result<(Vec<&'a Column>, Vec<Include<'a>>), ApiError> {
    let mut faults = Faults::default();
    for (name, _) in pairs.iter().filter(|(name, _)| !matches!(name.as_str(), "fields" | "include")) {
        let hint = did_you_mean(name, ["fields", "include"]);
        faults.add(name, format!("unknown parameter; known are fields, include.{hint}"));
    }
    let word = |word: &str| pairs.iter().rev().find(|(name, _)| name == word).map(|(_, value)| value.as_str());
    let columns = fields(entity, word("fields"), &mut faults);
    let includes = includes(entity, word("include"), &mut faults);
    faults.or((columns, includes))
}

fn judged(name: &str, value: &str) -> Result<(), String> {
    if value.len() > QUERY_VALUE_MAX || name.len() > QUERY_VALUE_MAX {
        return Err(format!("must have at most {QUERY_VALUE_MAX} bytes"));
    }
    if value.contains('\0') || name.contains('\0') {
        return Err("must not contain the character NUL".into());
    }
    Ok(())
}

/// Faults of a query, told together.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<FieldError>);

impl Faults {
    pub(crate) fn add(&mut self, parameter: &str, message: String) {
        let parameter: String = parameter.chars().take(80).collect();
        self.0.push(FieldError::new(parameter, "invalid_parameter", message));
    }

    fn or<T>(self, value: T) -> Result<T, ApiError> {
        match self.0.as_slice() {
            [] => Ok(value),
            [one] => Err(ApiError::invalid(format!("{}: {}.", one.field, one.message.trim_end_matches('.')))
                .with_details(self.0)),
            _ => Err(ApiError::invalid("Some parameters are not valid; see details.").with_details(self.0)),
        }
    }
}

fn paging<'a>(word: impl Fn(&str) -> Option<&'a str>, faults: &mut Faults) -> Paging {
    let mut number = |name: &str, default: u32, max: u32| match word(name) {
        None => default,
        Some(text) => match text.parse() {
            Ok(number) if (1..=max).contains(&number) => number,
            _ => {
                faults.add(name, format!("must be a whole number from 1 to {max}"));
                default
            }
        },
    };
    if word("cursor").is_some() || word("limit").is_some() {
        let limit = number("limit", PER_PAGE_DEFAULT, PER_PAGE_MAX);
        for other in ["page", "per_page"] {
            if word(other).is_some() {
                faults.add(other, "cannot be used together with cursor and limit".into());
            }
        }
        // An empty cursor asks for the first page.
        let cursor = word("cursor").filter(|cursor| !cursor.is_empty()).map(str::to_owned);
        return Paging::Cursor { cursor, limit };
    }
    let page = number("page", 1, u32::MAX);
    let per_page = number("per_page", PER_PAGE_DEFAULT, PER_PAGE_MAX);
    if u64::from(page - 1) * u64::from(per_page) > OFFSET_MAX {
        faults.add("page", format!("lies beyond record {OFFSET_MAX}; read on with cursor instead"));
    }
    Paging::Page { page, per_page }
}

fn fields<'a>(entity: &'a Entity, text: Option<&str>, faults: &mut Faults) -> Vec<&'a Column> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return entity.columns.iter().collect() };
    let mut columns: Vec<&Column> = Vec::new();
    for name in text.split(',').map(str::trim) {
        match entity.column(name) {
            Some(column) if columns.iter().any(|known| known.name == column.name) => {}
            Some(column) => columns.push(column),
            None => faults.add("fields", unknown_column(entity, name)),
        }
    }
    columns
}

/// "unknown field …", with the known ones.
pub(crate) fn unknown_column(entity: &Entity, name: &str) -> String {
    let known: Vec<&str> = entity.column_names().collect();
    let shown: String = name.chars().take(80).collect();
    format!(
        "{shown:?} is not a field of {}; known are {}.{}",
        entity.name,
        known.join(", "),
        did_you_mean(name, known.iter().copied())
    )
}

fn includes<'a>(entity: &'a Entity, text: Option<&str>, faults: &mut Faults) -> Vec<Include<'a>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Vec::new() };
    let mut includes: Vec<Include<'_>> = Vec::new();
    for name in text.split(',').map(str::trim) {
        match entity.relations.get(name) {
            Some(relation) if includes.iter().any(|include| include.relation.name == relation.name) => {}
            Some(relation) => includes.push(Include { relation }),
            None => {
                let known = || entity.relations.keys().map(String::as_str);
                let shown: String = name.chars().take(80).collect();
                let list: Vec<&str> = known().collect();
                let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
                faults.add(
                    "include",
                    format!(
                        "{shown:?} is not a relation of {}; known are {list}.{}",
                        entity.name,
                        did_you_mean(name, known())
                    ),
                );
            }
        }
    }
    includes
}
