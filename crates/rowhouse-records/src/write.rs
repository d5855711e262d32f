//! Creating, changing and deleting records: one statement each, in one round trip.

use rowhouse_app::{AppModel, Entity};
use rowhouse_postgres::{Access, Param, Statement, Untyped};
use rowhouse_types::{Action, ApiError, ErrorCode};
use uuid::Uuid;

use crate::body::{Body, Given, read};
use crate::read::{RecordAnswer, answer, parse_id, write_whole};
use crate::scope::Scopes;
use crate::statement::Builder;
use crate::{Caller, Records, entity_of, fault};

impl Records {
    /// Whether the entity may be written, before anybody reads a body.
    ///
    /// # Errors
    /// 405 for reference tables and entities that the manifest marks read-only.
    pub fn require_writable(&self, model: &AppModel, entity: &str) -> Result<(), ApiError> {
        writable(model, entity).map(drop)
    }

    /// Makes a record.
    ///
    /// # Errors
    /// 422 with every field's fault, 409 if a unique value is taken.
    pub async fn create(
        &self,
        model: &AppModel,
        caller: &Caller<'_>,
        entity: &str,
        body: &[u8],
    ) -> Result<RecordAnswer, ApiError> {
        let entity = writable(model, entity)?;
        Scopes::of(caller, entity, Action::Create)?;
        let mut body = read(caller, entity, body, true)?;
        set_owner(caller, entity, &mut body)?;
        let id = body.id.unwrap_or_else(Uuid::now_v7);
        let mut builder = Builder::new(caller);
        builder.push("insert into ").table(caller, entity, false).push(" as t (tenant_id, id");
        for (column, _) in &body.given {
            builder.push(", ").name(&column.name);
        }
        builder.push(") values ($1, ").bind("id", Param::from(id));
        for given in &body.given {
            builder.push(", ");
            bind(given, &mut builder);
        }
        builder.push(") returning ");
        write_whole(entity, &mut builder);
        let statement = Statement { sql: builder.sql(), params: builder.params() };
        let results = self.databases.run_quick(caller.context, Access::Write, &[statement]).await;
        let results = results.map_err(|error| fault::of_write(error, entity, &builder))?;
        let row = results.first().and_then(|rows| rows.first()).ok_or_else(ApiError::not_found)?;
        Ok(answer(row, entity.columns.len()))
    }

    /// Changes the given fields of a record. With `if_match`, only if it still has that tag.
    ///
    /// # Errors
    /// 412 if the record has changed since, 404 if there is none for this caller.
    pub async fn update(
        &self,
        model: &AppModel,
        caller: &Caller<'_>,
        entity: &str,
        id: &str,
        if_match: Option<&str>,
        body: &[u8],
    ) -> Result<RecordAnswer, ApiError> {
        let entity = writable(model, entity)?;
        let scopes = Scopes::of(caller, entity, Action::Edit)?;
        let id = parse_id(id)?;
        let body = read(caller, entity, body, false)?;
        keep_owner(caller, entity, scopes, &body)?;
        let mut builder = Builder::new(caller);
        builder.push("update ").table(caller, entity, false).push(" as t set ");
        let touched = entity.column("updated_at").is_some_and(|column| column.read_only);
        if touched {
            builder.name("updated_at").push(" = now()");
        }
        for (index, given) in body.given.iter().enumerate() {
            builder.push(if index > 0 || touched { ", " } else { "" }).name(&given.0.name).push(" = ");
            bind(given, &mut builder);
        }
        if body.given.is_empty() && !touched {
            builder.push("id = id");
        }
        write_target(caller, entity, scopes, id, if_match, &mut builder);
        builder.push(" returning ");
        write_whole(entity, &mut builder);
        let row = self.change(caller, entity, id, if_match, &builder).await?;
        Ok(answer(&row, entity.columns.len()))
    }

    /// Deletes a record. With `if_match`, only if it still has that tag.
    ///
    /// # Errors
    /// 409 if other records still need it.
    pub async fn delete(
        &self,
        model: &AppModel,
        caller: &Caller<'_>,
        entity: &str,
        id: &str,
        if_match: Option<&str>,
    ) -> Result<(), ApiError> {
        let entity = writable(model, entity)?;
        let scopes = Scopes::of(caller, entity, Action::Delete)?;
        let id = parse_id(id)?;
        let mut builder = Builder::new(caller);
        builder.push("delete from ").table(caller, entity, false).push(" as t");
        write_target(caller, entity, scopes, id, if_match, &mut builder);
        builder.push(" returning 1");
        self.change(caller, entity, id, if_match, &builder).await.map(drop)
    }

    /// Runs a change, and in the same round trip asks what the caller can see of the record, so
    /// that a change of nothing can be explained.
    async fn change(
        &self,
        caller: &Caller<'_>,
        entity: &Entity,
        id: Uuid,
        if_match: Option<&str>,
        builder: &Builder,
    ) -> Result<rowhouse_postgres::Row, ApiError> {
        let mut visible = Builder::new(caller);
        visible.push("select t.xmin::text from ").table(caller, entity, false).push(" t where ").tenant("t", entity);
        visible.push(" and t.id = ").bind("id", Param::from(id));
        match Scopes::of(caller, entity, Action::View) {
            Ok(scopes) => scopes.write(caller, entity, "t", &mut visible),
            Err(_) => {
                visible.push(" and false");
            }
        }
        let statements = [
            Statement { sql: builder.sql(), params: builder.params() },
            Statement { sql: visible.sql(), params: visible.params() },
        ];
        let results = self.databases.run_quick(caller.context, Access::Write, &statements).await;
        let results = results.map_err(|error| fault::of_write(error, entity, builder))?;
        let mut results = results.into_iter();
        let (changed, seen) = (results.next().unwrap_or_default(), results.next().unwrap_or_default());
        if let Some(row) = changed.into_iter().next() {
            return Ok(row);
        }
        let Some(seen) = seen.first() else { return Err(ApiError::not_found()) };
        let current: String = seen.get(0);
        if if_match.is_some_and(|tag| version_of(tag) != current) {
            return Err(ApiError::new(
                ErrorCode::PreconditionFailed,
                "The record has changed since you read it. Read it again, and apply your change to what it is now.",
            ));
        }
        Err(ApiError::permission_denied("Your role may see this record, but not change it."))
    }
}

/// The entity, if the API may write it.
fn writable<'a>(model: &'a AppModel, name: &str) -> Result<&'a Entity, ApiError> {
    let entity = entity_of(model, name)?;
    if entity.shared || entity.read_only {
        let message = format!("{} can only be read through the API.", entity.label);
        return Err(ApiError::new(ErrorCode::MethodNotAllowed, message));
    }
    Ok(entity)
}

fn bind((column, value): &Given<'_>, builder: &mut Builder) {
    let value = value.clone().map(Into::into);
    builder.bind(&column.name, Param::Untyped(Untyped(value)));
}

fn write_target(
    caller: &Caller<'_>,
    entity: &Entity,
    scopes: Scopes,
    id: Uuid,
    if_match: Option<&str>,
    builder: &mut Builder,
) {
    builder.push(" where ").tenant("t", entity).push(" and t.id = ").bind("id", Param::from(id));
    scopes.write(caller, entity, "t", builder);
    if let Some(tag) = if_match {
        builder.push(" and t.xmin::text = ").bind("If-Match", Param::from(version_of(tag).to_owned()));
    }
}

/// The version in a tag; proxies that compress mark tags as weak.
fn version_of(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}

/// A new record belongs to its maker, if that is a person; only who may edit every record may give it to another.
fn set_owner<'a>(caller: &Caller<'_>, entity: &'a Entity, body: &mut Body<'a>) -> Result<(), ApiError> {
    let Some(owner) = entity.owner.as_deref() else { return Ok(()) };
    let Some(column) = entity.column(owner) else { return Ok(()) };
    let may_give = caller.grants.scopes(&entity.name, Action::Edit).any(|scope| scope == rowhouse_types::Scope::All);
    match body.given.iter().find(|(given, _)| given.name == owner) {
        None => body.given.extend(caller.user.map(|user| (column, Some(user.to_string())))),
        Some((_, named)) if !may_give && !is_caller(caller, named.as_deref()) => return Err(not_yours(owner)),
        Some(_) => {}
    }
    Ok(())
}

fn keep_owner(caller: &Caller<'_>, entity: &Entity, scopes: Scopes, body: &Body<'_>) -> Result<(), ApiError> {
    let Some(owner) = entity.owner.as_deref().filter(|_| !scopes.all) else { return Ok(()) };
    let given = body.given.iter().find(|(column, _)| column.name == owner);
    match given {
        Some((_, named)) if !is_caller(caller, named.as_deref()) => Err(not_yours(owner)),
        _ => Ok(()),
    }
}

/// Whether this owner is the caller. Who is no person owns nothing.
fn is_caller(caller: &Caller<'_>, named: Option<&str>) -> bool {
    caller.user.is_some_and(|user| named.and_then(|text| text.parse().ok()) == Some(user))
}

fn not_yours(owner: &str) -> ApiError {
    ApiError::permission_denied(format!("Your role may not set {owner} to somebody else; leave it out."))
}
