//! What the scopes promise: no tenant sees another, dropped requests poison nothing.

use rowhouse_postgres::{DatabaseError, Statement, TenantContext, params, probe};
use rowhouse_testkit::TestDatabases;
use rowhouse_types::TenantId;

const NOTES: &str = "
    create table app.notes (
        tenant_id uuid not null default rowhouse.tenant_id(),
        id uuid not null default rowhouse.new_id(),
        text text not null,
        primary key (tenant_id, id)
    );
    alter table app.notes enable row level security;
    create policy rowhouse_tenant on app.notes
        using (tenant_id = rowhouse.tenant_id()) with check (tenant_id = rowhouse.tenant_id());
    grant select, insert, update, delete on app.notes to test_service;";

async fn two_tenants() -> (TestDatabases, TenantContext, TenantContext) {
    let test = TestDatabases::start(&[]).await;
    let location = test.databases.pool_location();
    let system = test.databases.system(&test.authorities.system.scope("test"), &location).await.unwrap();
    system.batch(NOTES).await.unwrap();
    let ann = test.authorities.tenant.context(TenantId::generate(), location.clone());
    let bob = test.authorities.tenant.context(TenantId::generate(), location);
    for context in [&ann, &bob] {
        let connection = test.databases.tenant(context).await.unwrap();
        connection.run("insert into app.notes (text) values ($1)", params!["a note"]).await.unwrap();
    }
    (test, ann, bob)
}

#[tokio::test]
async fn each_tenant_sees_its_own_rows_only() {
    let (test, ann, bob) = two_tenants().await;
    for context in [&ann, &bob] {
        let connection = test.databases.tenant(context).await.unwrap();
        let rows = connection.run("select tenant_id from app.notes", &[]).await.unwrap();
        let seen: Vec<TenantId> = rows.iter().map(|row| TenantId::from_uuid(row.get(0))).collect();
        assert_eq!(seen, [context.tenant()]);
    }
}

#[tokio::test]
async fn writing_another_tenants_row_is_refused() {
    let (test, ann, bob) = two_tenants().await;
    let connection = test.databases.tenant(&ann).await.unwrap();
    let stolen =
        connection.run("insert into app.notes (tenant_id, text) values ($1, 'x')", params![bob.tenant()]).await;
    assert!(matches!(stolen, Err(DatabaseError::Forbidden)), "{stolen:?}");
    let changed = connection.run("update app.notes set text = 'mine' returning tenant_id", &[]).await.unwrap();
    assert_eq!(changed.len(), 1);
}

#[tokio::test]
async fn a_failing_statement_rolls_the_pipeline_back_and_leaves_the_connection_usable() {
    let (test, ann, _) = two_tenants().await;
    let connection = test.databases.tenant(&ann).await.unwrap();
    let statements = [
        Statement { sql: "insert into app.notes (text) values ('lost')", params: &[] },
        Statement { sql: "select 1 / (select 0 from app.notes limit 1)", params: &[] },
    ];
    assert!(matches!(connection.run_all(&statements).await, Err(DatabaseError::Value { .. })));
    let rows = connection.run("select text from app.notes", &[]).await.unwrap();
    assert_eq!(rows.len(), 1);
}

#[tokio::test]
async fn a_tenants_batch_is_whole_or_leaves_nothing_and_never_an_open_transaction() {
    let (test, ann, bob) = two_tenants().await;
    let batch = async |text: &str| test.databases.tenant(&ann).await.unwrap().run_batch(text).await;
    let insert = "insert into notes (text) values ('of a batch')";
    batch(&format!("{insert}; {insert} -- and no more")).await.unwrap();
    for failing in ["select 1 / 0", "insert into notes (tenant_id, text) values (rowhouse.new_id(), 'stolen')"] {
        batch(&format!("{insert}; {failing}; {insert}")).await.unwrap_err();
    }
    batch(&format!("begin; {insert}")).await.unwrap();
    for (context, expected) in [(&ann, 4), (&bob, 1)] {
        let connection = test.databases.tenant(context).await.unwrap();
        assert_eq!(connection.run("select text from app.notes", &[]).await.unwrap().len(), expected);
    }
}

/// A client may disconnect at any await point; the next borrower of the connection must find
/// it outside any transaction, with no tenant set.
#[tokio::test]
async fn a_request_dropped_at_any_poll_neither_leaks_nor_poisons_its_connection() {
    let (test, ann, bob) = two_tenants().await;
    for polls in 0..12 {
        let work = async {
            let transaction = test.databases.tenant(&ann).await.unwrap().begin().await.unwrap();
            transaction.query("insert into app.notes (text) values ('dropped')", &[]).await.unwrap();
            transaction.query("select pg_sleep(0.001)", &[]).await.unwrap();
            drop(transaction);
        };
        drop_after_polls(work, polls).await;
        let piped = async {
            let connection = test.databases.tenant(&ann).await.unwrap();
            connection.run("select count(*) from app.notes", &[]).await.unwrap();
        };
        drop_after_polls(piped, polls).await;
        let connection = test.databases.tenant(&bob).await.unwrap();
        let rows = connection.run("select tenant_id from app.notes", &[]).await.unwrap();
        assert_eq!(rows.len(), 1, "after {polls} polls");
        assert_eq!(TenantId::from_uuid(rows[0].get(0)), bob.tenant());
    }
    let connection = test.databases.tenant(&ann).await.unwrap();
    assert_eq!(connection.run("select 1 from app.notes", &[]).await.unwrap().len(), 1);
}

async fn drop_after_polls(work: impl Future<Output = ()>, polls: usize) {
    let mut work = Box::pin(work);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 || work.as_mut().poll(context).is_ready() {
            return std::task::Poll::Ready(());
        }
        left -= 1;
        std::task::Poll::Pending
    })
    .await;
}

#[tokio::test]
async fn the_probe_finds_nothing_on_a_sound_database_and_names_a_table_without_its_policy() {
    let (test, _, _) = two_tenants().await;
    let location = test.databases.pool_location();
    let (tenants, systems) = (&test.authorities.tenant, &test.authorities.system);
    assert_eq!(probe(&test.databases, tenants, systems, &location).await.unwrap(), []);
    let system = test.databases.system(&systems.scope("test"), &location).await.unwrap();
    system.batch("alter table app.notes disable row level security").await.unwrap();
    let findings = probe(&test.databases, tenants, systems, &location).await.unwrap();
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["table"]);
    assert!(findings[0].message.contains("notes"));
}
