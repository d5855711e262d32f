//! One record.

use rowhouse_app::{AppModel, Entity};
use rowhouse_postgres::{Access, Param, Row, Statement, write_row};
use rowhouse_types::{Action, ApiError};
use uuid::Uuid;

use crate::query::record_query;
use crate::scope::Scopes;
use crate::statement::Builder;
use crate::{Caller, Records, entity_of, fault};

/// A record and the tag of its state.
#[derive(Debug)]
pub struct RecordAnswer {
    /// A JSON object.
    pub data: Vec<u8>,
    /// Changes whenever the record does; quoted, as in the ETag header.
    pub etag: String,
}

impl Records {
    /// Reads one record.
    ///
    /// # Errors
    /// 404 if there is none, or not for this caller: the same for both.
    pub async fn get(
        &self,
        model: &AppModel,
        caller: &Caller<'_>,
        entity: &str,
        id: &str,
        query: &[(String, String)],
    ) -> Result<RecordAnswer, ApiError> {
        let entity = entity_of(model, entity)?;
        let scopes = Scopes::of(caller, entity, Action::View)?;
        let (columns, includes) = record_query(entity, query)?;
        let id = parse_id(id)?;
        let mut builder = Builder::new(caller);
        builder.push("select ");
        for (index, column) in columns.iter().enumerate() {
            builder.push(if index == 0 { "" } else { ", " }).selected("t", column);
        }
        for include in &includes {
            include.write(model, caller, &mut builder)?;
        }
        builder.push(", t.xmin::text from ").table(caller, entity, false).push(" t where ").tenant("t", entity);
        builder.push(" and t.id = ").bind("id", Param::from(id));
        scopes.write(caller, entity, "t", &mut builder);
        let statement = Statement { sql: builder.sql(), params: builder.params() };
        let results = self.databases.run_quick(caller.context, Access::Read, &[statement]).await;
        let results = results.map_err(|error| fault::of_read(error, &builder))?;
        let row = results.first().and_then(|rows| rows.first()).ok_or_else(ApiError::not_found)?;
        Ok(answer(row, columns.len() + includes.len()))
    }
}

/// What is no UUID is nobody's id.
pub(crate) fn parse_id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(text).map_err(|_| ApiError::not_found())
}

/// Adds `returning` or `select` columns of the whole record and its version.
pub(crate) fn write_whole(entity: &Entity, builder: &mut Builder) {
    for (index, column) in entity.columns.iter().enumerate() {
        builder.push(if index == 0 { "" } else { ", " }).selected("t", column);
    }
    builder.push(", t.xmin::text");
}

/// The record of a row whose last column is its version.
pub(crate) fn answer(row: &Row, columns: usize) -> RecordAnswer {
    let mut data = Vec::with_capacity(512);
    write_row(row, columns, &mut data);
    let version: String = row.get(columns);
    RecordAnswer { data, etag: format!("\"{version}\"") }
}
