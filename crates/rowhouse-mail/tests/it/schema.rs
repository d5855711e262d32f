//! What the table promises whoever reads it without going through this crate.

use rowhouse_postgres::DatabaseError;
use rowhouse_types::TenantId;

use crate::Ground;

#[tokio::test]
async fn every_table_has_row_level_security_and_the_one_policy() {
    let ground = Ground::start().await;
    let tables = ground.test.control_tables().await;
    let [mails] = tables.as_slice() else { panic!("{tables:?}") };
    assert!(mails.name == "mails" && mails.keeps_tenants_apart && mails.granted.is_empty(), "{mails:?}");
}

#[tokio::test]
async fn a_tenants_connection_reaches_no_mail() {
    let ground = Ground::start().await;
    let context = ground.test.authorities.tenant.context(TenantId::generate(), ground.test.databases.pool_location());
    let connection = ground.test.databases.tenant_control(&context).await.unwrap();
    for refused in ["select 1 from control.mails", "delete from control.mails", "update control.mails set error = ''"] {
        let outcome = connection.run(refused, &[]).await;
        assert!(matches!(outcome, Err(DatabaseError::Forbidden)), "{refused}: {outcome:?}");
    }
}
