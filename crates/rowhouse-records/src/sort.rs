//! Sorting: a total order, so that pages and cursors never skip or repeat a record.

use rowhouse_app::{Column, ColumnKind, Entity};

use crate::query::{Faults, unknown_column};
use crate::statement::Builder;

/// Columns of one sort.
const SORTS_MAX: usize = 8;

/// One column of the order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sort<'a> {
    pub(crate) column: &'a Column,
    pub(crate) descending: bool,
}

/// Reads `sort=-created_at,name`; the newest first if absent. The id is always last.
pub(crate) fn sorts<'a>(entity: &'a Entity, text: Option<&str>, faults: &mut Faults) -> Vec<Sort<'a>> {
    let mut sorts: Vec<Sort<'_>> = Vec::new();
    for part in text.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, descending) = part.strip_prefix('-').map_or((part, false), |name| (name, true));
        match entity.column(name) {
            Some(column) if !sortable(&column.kind) => {
                faults.add("sort", format!("{name} ({}) has no order", column.type_name));
            }
            Some(column) if sorts.iter().any(|sort| sort.column.name == column.name) => {}
            Some(column) => sorts.push(Sort { column, descending }),
            None => faults.add("sort", unknown_column(entity, name)),
        }
    }
    if sorts.len() > SORTS_MAX {
        faults.add("sort", format!("may name at most {SORTS_MAX} columns"));
    }
    if sorts.is_empty()
        && let Some(column) = entity.column("created_at")
    {
        sorts.push(Sort { column, descending: true });
    }
    if !sorts.iter().any(|sort| sort.column.name == "id")
        && let Some(column) = entity.column("id")
    {
        // In the direction of the column before, so that one index serves both.
        let descending = sorts.last().is_some_and(|sort| sort.descending);
        sorts.push(Sort { column, descending });
    }
    sorts
}

fn sortable(kind: &ColumnKind) -> bool {
    !matches!(kind, ColumnKind::Json | ColumnKind::Jsonb | ColumnKind::Array(_) | ColumnKind::Other)
}

/// Adds `order by`. Nulls stand where PostgreSQL's indexes have them: last when ascending, first
/// when descending.
pub(crate) fn write_order(sorts: &[Sort<'_>], builder: &mut Builder) {
    for (index, sort) in sorts.iter().enumerate() {
        builder.push(if index == 0 { " order by " } else { ", " }).column("t", &sort.column.name);
        if sort.descending {
            builder.push(" desc");
        }
    }
}

/// Adds the condition "after the record with these values", in the order of the sorts. Values
/// are in text form; none is null.
pub(crate) fn write_after(sorts: &[Sort<'_>], values: &[Option<String>], builder: &mut Builder) {
    let plain = sorts.iter().all(|sort| !sort.column.nullable && sort.descending == sorts[0].descending);
    if plain {
        write_row_comparison(sorts, values, builder);
    } else {
        write_chain(sorts, values, builder);
    }
}

/// `(a, b, id) < ($2, $3, $4)`: one range of one index.
fn write_row_comparison(sorts: &[Sort<'_>], values: &[Option<String>], builder: &mut Builder) {
    builder.push("(");
    for (index, sort) in sorts.iter().enumerate() {
        builder.push(if index == 0 { "" } else { ", " }).column("t", &sort.column.name);
    }
    builder.push(if sorts[0].descending { ") < (" } else { ") > (" });
    for (index, value) in values.iter().enumerate() {
        builder.push(if index == 0 { "" } else { ", " }).bind_text("cursor", value.clone().unwrap_or_default());
    }
    builder.push(")");
}

/// `a after x, or a = x and b after y, or …`
fn write_chain(sorts: &[Sort<'_>], values: &[Option<String>], builder: &mut Builder) {
    builder.push("(");
    for last in 0..sorts.len() {
        builder.push(if last == 0 { "(" } else { " or (" });
        for (sort, value) in sorts[..last].iter().zip(values) {
            builder.column("t", &sort.column.name);
            match value {
                Some(value) => builder.push(" = ").bind_text("cursor", value.clone()),
                None => builder.push(" is null"),
            };
            builder.push(" and ");
        }
        write_beyond(&sorts[last], values[last].as_deref(), builder);
        builder.push(")");
    }
    builder.push(")");
}

fn write_beyond(sort: &Sort<'_>, value: Option<&str>, builder: &mut Builder) {
    let name = &sort.column.name;
    match (value, sort.descending) {
        (Some(value), true) => builder.column("t", name).push(" < ").bind_text("cursor", value),
        (Some(value), false) if sort.column.nullable => {
            builder.push("(").column("t", name).push(" > ").bind_text("cursor", value);
            builder.push(" or ").column("t", name).push(" is null)")
        }
        (Some(value), false) => builder.column("t", name).push(" > ").bind_text("cursor", value),
        // Nulls come first when descending: everything else is after them.
        (None, true) => builder.column("t", name).push(" is not null"),
        (None, false) => builder.push("false"),
    };
}
