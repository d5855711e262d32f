//! The owner's transactions: they begin with their first statement and end whole.

use rowhouse_postgres::{SystemConnection, params};
use rowhouse_testkit::TestDatabases;

async fn connection() -> (TestDatabases, SystemConnection) {
    let test = TestDatabases::start(&[]).await;
    let scope = test.authorities.system.scope("test");
    let connection = test.databases.system(&scope, &test.databases.pool_location()).await.unwrap();
    connection.batch("create table app.lines (line text not null)").await.unwrap();
    (test, connection)
}

async fn write(connection: &SystemConnection, line: &str) {
    connection.query("insert into app.lines (line) values ($1)", params![line]).await.unwrap();
}

async fn lines(test: &TestDatabases) -> Vec<String> {
    let scope = test.authorities.system.scope("test");
    let connection = test.databases.system(&scope, &test.databases.pool_location()).await.unwrap();
    let rows = connection.query("select line from app.lines order by line", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn whatever_comes_first_is_part_of_the_transaction() {
    let (test, mut connection) = connection().await;
    // The first time each statement is prepared, the second time it is known.
    for _ in 0..2 {
        connection.begin().await.unwrap();
        write(&connection, "queried").await;
        connection.rollback().await.unwrap();
        connection.begin().await.unwrap();
        connection.execute("insert into app.lines (line) values ('executed')", &[]).await.unwrap();
        connection.rollback().await.unwrap();
        connection.begin().await.unwrap();
        connection.batch("insert into app.lines (line) values ('batched')").await.unwrap();
        connection.rollback().await.unwrap();
        connection.begin().await.unwrap();
        tokio::join!(write(&connection, "one of two"), write(&connection, "the other"));
        connection.rollback().await.unwrap();
        assert_eq!(lines(&test).await, Vec::<String>::new());
    }
    connection.begin().await.unwrap();
    tokio::join!(write(&connection, "one of two"), write(&connection, "the other"));
    connection.commit().await.unwrap();
    assert_eq!(lines(&test).await, ["one of two", "the other"]);
}

#[tokio::test]
async fn a_transaction_that_nothing_was_done_in_or_that_failed_leaves_the_connection_usable() {
    let (test, mut connection) = connection().await;
    connection.begin().await.unwrap();
    connection.commit().await.unwrap();
    connection.begin().await.unwrap();
    connection.rollback().await.unwrap();
    write(&connection, "after nothing").await;
    connection.begin().await.unwrap();
    connection.query("select 1 / (select 0)", &[]).await.unwrap_err();
    connection.give_up().await;
    write(&connection, "after a failure").await;
    connection.begin().await.unwrap();
    write(&connection, "lost").await;
    drop(connection);
    assert_eq!(lines(&test).await, ["after a failure", "after nothing"]);
}

#[tokio::test]
async fn the_managed_server_waits_for_its_turn() {
    let (_test, connection) = connection().await;
    let rows = connection.query("select pg_backend_pid()", &[]).await.unwrap();
    let backend: i32 = rows[0].get(0);
    let stat = std::fs::read_to_string(format!("/proc/{backend}/stat")).unwrap();
    // proc_pid_stat(5): the policy is the 41st field; the second is a name in brackets. 3 is SCHED_BATCH.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    assert_eq!(fields.split(' ').nth(41 - 3), Some("3"));
}
