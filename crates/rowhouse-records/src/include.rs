//! Related records in the same statement: a sub-select each, under the same tenant and the
//! caller's own scope on the related entity.

use rowhouse_app::{AppModel, Column, ColumnKind, Entity, Relation};
use rowhouse_types::{Action, ApiError};

use crate::Caller;
use crate::scope::Scopes;
use crate::statement::Builder;

/// A relation to add to each record.
#[derive(Debug)]
pub(crate) struct Include<'a> {
    pub(crate) relation: &'a Relation,
}

impl Include<'_> {
    /// Adds the sub-select as one more column of the statement.
    ///
    /// # Errors
    /// 403 if the caller may not see the related entity.
    pub(crate) fn write(&self, model: &AppModel, caller: &Caller<'_>, builder: &mut Builder) -> Result<(), ApiError> {
        let relation = self.relation;
        let Some(other) = model.entity(&relation.entity) else { return Err(ApiError::not_found()) };
        let scopes = Scopes::of(caller, other, Action::View)?;
        if relation.many {
            // At most 100: more are a list of their own, with pages.
            builder.push(", (select coalesce(json_agg(q), '[]') from (select ");
            write_columns(other, builder);
            self.write_source(caller, other, scopes, builder);
            builder.push(" order by r.").name("id").push(" limit 100) q)");
        } else {
            builder.push(", (select row_to_json(q) from (select ");
            write_columns(other, builder);
            self.write_source(caller, other, scopes, builder);
            builder.push(" limit 1) q)");
        }
        builder.push(" as ").name(&relation.name);
        Ok(())
    }

    fn write_source(&self, caller: &Caller<'_>, other: &Entity, scopes: Scopes, builder: &mut Builder) {
        builder.push(" from ").table(caller, other, false).push(" r where ").tenant("r", other);
        builder.push(" and ").column("r", &self.relation.other_column).push(" = ").column("t", &self.relation.column);
        scopes.write(caller, other, "r", builder);
    }
}

fn write_columns(entity: &Entity, builder: &mut Builder) {
    for (index, column) in entity.columns.iter().enumerate() {
        if index > 0 {
            builder.push(", ");
        }
        write_column(column, builder);
    }
}

/// The server writes these as JSON, so times are brought into the form that records have.
fn write_column(column: &Column, builder: &mut Builder) {
    match column.kind {
        ColumnKind::Timestamptz => {
            builder.push("to_char(").column("r", &column.name);
            builder.push(" at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as ").name(&column.name);
        }
        ColumnKind::Bytea => {
            builder
                .push("translate(encode(")
                .column("r", &column.name)
                .push(", 'base64'), E'\\n', '') as ")
                .name(&column.name);
        }
        _ => {
            builder.selected("r", column);
        }
    }
}
