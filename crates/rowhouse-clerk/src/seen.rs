//! Which states of Clerk's objects were taken.

use rowhouse_postgres::{DatabaseResult, SystemConnection, params};

/// A state of an object, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    At(i64),
    DeletedAt(i64),
}

/// Takes a state of an object in the caller's transaction; false if a newer one, or its end, was
/// taken before. Two transactions with states of one object go one after the other.
pub(crate) async fn seen_take(connection: &SystemConnection, id: &str, state: State) -> DatabaseResult<bool> {
    const TAKE: &str = "
        insert into control.clerk_objects as known (clerk_id, version, deleted) values ($1, $2, $3)
        on conflict (clerk_id) do update set version = excluded.version, deleted = excluded.deleted
        where not known.deleted and (excluded.deleted or excluded.version > known.version) returning 1";
    let (version, deleted) = match state {
        State::At(version) => (version, false),
        State::DeletedAt(version) => (version, true),
    };
    Ok(connection.query_opt(TAKE, params![id, version, deleted]).await?.is_some())
}

/// Whether an object's end was taken.
pub(crate) async fn seen_deleted(connection: &SystemConnection, id: &str) -> DatabaseResult<bool> {
    const DELETED: &str = "select deleted from control.clerk_objects where clerk_id = $1";
    Ok(connection.query_opt(DELETED, params![id]).await?.is_some_and(|row| row.get(0)))
}

/// Lets one transaction at a time work on an object: a person may be told of by a token and two
/// messages at once.
pub(crate) async fn seen_lock(connection: &SystemConnection, id: &str) -> DatabaseResult<()> {
    const LOCK: &str = "select pg_advisory_xact_lock(hashtextextended('clerk ' || $1::text, 0))";
    connection.query(LOCK, params![id]).await.map(drop)
}
