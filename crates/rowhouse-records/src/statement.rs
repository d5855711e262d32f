//! Building a statement: constant text, quoted identifiers, bound values, and nothing else.

use rowhouse_app::{Entity, scoped_view};
use rowhouse_postgres::{Param, Untyped, quote_identifier};

use crate::Caller;

/// A statement under construction. There is no way to add a text made at run time but as an
/// identifier, which is quoted, a number, or a value, which is bound.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    sql: String,
    params: Vec<Param<'static>>,
    /// What each parameter is a value of, for errors that name a parameter's number.
    fields: Vec<String>,
}

impl Builder {
    /// A statement whose first parameter is the tenant.
    pub(crate) fn new(caller: &Caller<'_>) -> Self {
        let mut builder = Self::default();
        builder.params.push(caller.context.tenant().into());
        builder.fields.push("tenant_id".into());
        builder
    }

    pub(crate) fn push(&mut self, text: &'static str) -> &mut Self {
        self.sql.push_str(text);
        self
    }

    pub(crate) fn name(&mut self, identifier: &str) -> &mut Self {
        self.sql.push_str(&quote_identifier(identifier));
        self
    }

    /// A column of a table alias.
    pub(crate) fn column(&mut self, alias: &'static str, column: &str) -> &mut Self {
        self.push(alias).push(".").name(column)
    }

    /// A column in the form the JSON writer knows: enums and types it does not know as text.
    pub(crate) fn selected(&mut self, alias: &'static str, column: &rowhouse_app::Column) -> &mut Self {
        self.column(alias, &column.name);
        match cast_of(&column.kind) {
            Some(cast) => self.push(cast).push(" as ").name(&column.name),
            None => self,
        }
    }

    pub(crate) fn bind(&mut self, field: &str, value: Param<'static>) -> &mut Self {
        self.params.push(value);
        self.fields.push(field.to_owned());
        self.sql.push('$');
        self.sql.push_str(&self.params.len().to_string());
        self
    }

    /// A number as it is: how many rows are wanted must be known to the planner, or the plan that
    /// it keeps for all calls would be made for a tenth of the table, and never be kept (measured:
    /// planning anew each time cost as much as the list itself).
    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.sql.push_str(itoa::Buffer::new().format(number));
        self
    }

    /// A value in text form, of the type its place demands.
    pub(crate) fn bind_text(&mut self, field: &str, text: impl Into<String>) -> &mut Self {
        self.bind(field, Param::Untyped(Untyped(Some(text.into().into()))))
    }

    /// The entity's table: under row-level security, or through its scoped view where a condition
    /// is not leakproof and would otherwise miss its index.
    pub(crate) fn table(&mut self, caller: &Caller<'_>, entity: &Entity, scoped: bool) -> &mut Self {
        let schema = if entity.shared { "shared" } else { &*caller.context.location().schema };
        self.name(schema).push(".");
        if scoped && !entity.shared { self.name(&scoped_view(&entity.name)) } else { self.name(&entity.name) }
    }

    /// The tenant's own predicate; a shared table has none.
    pub(crate) fn tenant(&mut self, alias: &'static str, entity: &Entity) -> &mut Self {
        if entity.shared {
            // The parameter is bound in any case; its type must be known.
            return self.push("$1::uuid is not null");
        }
        self.push(alias).push(".tenant_id = $1")
    }

    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    pub(crate) fn params(&self) -> &[Param<'static>] {
        &self.params
    }

    /// The field that a parameter is a value of; parameters count from 1.
    pub(crate) fn field(&self, parameter: usize) -> Option<&str> {
        self.fields.get(parameter.checked_sub(1)?).map(String::as_str)
    }

    /// Another statement over the same parameters.
    pub(crate) fn sibling(&self) -> Self {
        Self { sql: String::new(), params: self.params.clone(), fields: self.fields.clone() }
    }

    /// Adds the text of a part that was built apart; this statement began with its parameters.
    pub(crate) fn push_built(&mut self, part: &Self) -> &mut Self {
        self.sql.push_str(&part.sql);
        self
    }
}

/// The cast that brings a column into a form the JSON writer knows.
fn cast_of(kind: &rowhouse_app::ColumnKind) -> Option<&'static str> {
    use rowhouse_app::ColumnKind::{Array, Enum, Other};
    match kind {
        Enum | Other => Some("::text"),
        Array(element) if matches!(**element, Enum | Other) => Some("::text[]"),
        _ => None,
    }
}
