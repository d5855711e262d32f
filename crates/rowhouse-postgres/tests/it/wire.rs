//! The tenants' own way to the server: faults in the middle of a message, and what they leave.

use rowhouse_postgres::{DatabaseError, Statement, TenantContext, params};
use rowhouse_testkit::TestDatabases;
use rowhouse_types::TenantId;

const THINGS: &str = "
    create table app.things (tenant_id uuid default rowhouse.tenant_id(), n integer unique, text text);
    grant select, insert, update, delete on app.things to test_service;";

async fn one_tenant() -> (TestDatabases, TenantContext) {
    let test = TestDatabases::start(&[]).await;
    let location = test.databases.pool_location();
    let system = test.databases.system(&test.authorities.system.scope("test"), &location).await.unwrap();
    system.batch(THINGS).await.unwrap();
    let context = test.authorities.tenant.context(TenantId::generate(), location);
    (test, context)
}

#[tokio::test]
async fn statements_of_one_message_are_one_transaction() {
    let (test, context) = one_tenant().await;
    let connection = test.databases.tenant(&context).await.unwrap();
    let insert = |n: i32| [n.into()] as [rowhouse_postgres::Param<'_>; 1];
    let (one, two) = (insert(1), insert(2));
    let sql = "insert into app.things (n) values ($1) returning n";
    // A statement that cannot be parsed, one that fails when it runs, one that fails at its end.
    for last in
        ["select nonsense from nowhere", "select 1 / 0 from app.things", "insert into app.things (n) values (1)"]
    {
        let all = [
            Statement { sql, params: &one },
            Statement { sql, params: &two },
            Statement { sql: last, params: &[] },
            Statement { sql: "select 1", params: &[] },
        ];
        assert!(connection.run_all(&all).await.is_err(), "{last}");
        let left = connection.run("select count(*) from app.things", &[]).await.unwrap();
        assert_eq!(left[0].get::<_, i64>(0), 0, "{last}");
    }
    let all = [Statement { sql, params: &one }, Statement { sql, params: &two }];
    let rows = connection.run_all(&all).await.unwrap();
    assert_eq!(rows.iter().map(|rows| rows[0].get::<_, i32>(0)).collect::<Vec<_>>(), [1, 2]);
}

/// Whoever has the connection next, and no tenant yet, sees nothing.
#[tokio::test]
async fn a_tenant_ends_with_its_message() {
    let (test, context) = one_tenant().await;
    let connection = test.databases.tenant(&context).await.unwrap();
    connection.run("insert into app.things (n) values (1)", &[]).await.unwrap();
    let backend = "select pg_backend_pid(), rowhouse.tenant_id()";
    let before = connection.run(backend, &[]).await.unwrap();
    assert_eq!(before[0].get::<_, Option<uuid::Uuid>>(1), Some(context.tenant().uuid()));
    drop(connection);
    let other = test.authorities.tenant.context(TenantId::generate(), test.databases.pool_location());
    let transaction = test.databases.tenant(&other).await.unwrap().begin().await.unwrap();
    // Its own tenant goes with its transaction; what the session holds is left.
    transaction.batch("rollback").await.unwrap();
    let after = transaction.query(backend, &[]).await.unwrap();
    assert_eq!(after[0].get::<_, i32>(0), before[0].get::<_, i32>(0), "the same session");
    assert_eq!(after[0].get::<_, Option<uuid::Uuid>>(1), None);
}

#[tokio::test]
async fn a_schema_that_changes_under_a_prepared_statement_is_seen() {
    let (test, context) = one_tenant().await;
    let connection = test.databases.tenant(&context).await.unwrap();
    connection.run("insert into app.things (n, text) values (7, 'seven')", &[]).await.unwrap();
    let sql = "select * from app.things";
    assert_eq!(connection.run(sql, &[]).await.unwrap()[0].get::<_, &str>(2), "seven");
    let location = test.databases.pool_location();
    let system = test.databases.system(&test.authorities.system.scope("test"), &location).await.unwrap();
    // As another process would: nothing tells this connection to forget.
    system.batch("alter table app.things add column more text default 'more'").await.unwrap();
    let rows = connection.run(sql, &[]).await.unwrap();
    assert_eq!((rows[0].get::<_, &str>(2), rows[0].get::<_, &str>(3)), ("seven", "more"));
}

#[tokio::test]
async fn rows_beyond_every_buffer_come_whole() {
    let (test, context) = one_tenant().await;
    let connection = test.databases.tenant(&context).await.unwrap();
    let text = "ß∂ƒ\u{1F600}".repeat(400_000);
    connection.run("insert into app.things (n, text) values (1, $1)", params![text.as_str()]).await.unwrap();
    let rows = connection.run("select text, null::text from app.things, generate_series(1, 3)", &[]).await.unwrap();
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert!(row.get::<_, &str>(0) == text && row.get::<_, Option<&str>>(1).is_none());
    }
}

#[tokio::test]
async fn more_statements_than_are_kept_prepared_work_and_are_closed() {
    let (test, context) = one_tenant().await;
    let connection = test.databases.tenant(&context).await.unwrap();
    for n in 0..600 {
        let rows = connection.run(&format!("select {n}"), &[]).await.unwrap();
        assert_eq!(rows[0].get::<_, i32>(0), n);
    }
    let kept = connection.run("select count(*) from pg_prepared_statements", &[]).await.unwrap();
    let kept: i64 = kept[0].get(0);
    assert!((1..=300).contains(&kept), "{kept} statements are prepared on the server");
}

#[tokio::test]
async fn a_server_that_ends_the_session_is_told_as_such_and_the_next_request_works() {
    let (test, context) = one_tenant().await;
    let connection = test.databases.tenant(&context).await.unwrap();
    let ended = connection.run("select pg_terminate_backend(pg_backend_pid())", &[]).await;
    assert!(matches!(ended, Err(DatabaseError::Unavailable(_))), "{ended:?}");
    drop(connection);
    let connection = test.databases.tenant(&context).await.unwrap();
    assert_eq!(connection.run("select 1", &[]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_transaction_of_several_steps_holds_its_tenant_and_rolls_back_when_it_is_dropped() {
    let (test, context) = one_tenant().await;
    let transaction = test.databases.tenant(&context).await.unwrap().begin().await.unwrap();
    transaction.query("insert into app.things (n) values (1)", &[]).await.unwrap();
    let seen = transaction.query("select tenant_id = $1 from app.things", params![context.tenant()]).await.unwrap();
    assert!(seen[0].get::<_, bool>(0));
    drop(transaction);
    let connection = test.databases.tenant(&context).await.unwrap();
    let left = connection.run("select count(*) from app.things", &[]).await.unwrap();
    assert_eq!(left[0].get::<_, i64>(0), 0);
    let remembered = connection.run("select current_setting('rowhouse.tenant_id')", &[]).await.unwrap();
    assert_eq!(remembered[0].get::<_, &str>(0), context.tenant().to_string());
}
