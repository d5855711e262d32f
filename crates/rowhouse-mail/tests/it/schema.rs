//! What the table promises whoever reads it without going through this crate.

use rowhouse_postgres::DatabaseError;
use rowhouse_types::TenantId;

use crate::Ground;

#[tokio::test]
async fn every_table_has_row_level_security_and_the_one_policy() {
    const POLICIES: &str = "
        select c.relname, c.relrowsecurity,
               array(select p.polname || ' ' || p.polpermissive || ' ' || pg_get_expr(p.polqual, p.polrelid) || ' '
                            || pg_get_expr(p.polwithcheck, p.polrelid)
                     from pg_policy p where p.polrelid = c.oid)
        from pg_class c
        where c.relnamespace = 'control'::regnamespace and c.relkind = 'r'";
    let ground = Ground::start().await;
    let rows = ground.control().await.query(POLICIES, &[]).await.unwrap();
    let own = "(tenant_id = rowhouse.tenant_id())";
    assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["mails"]);
    assert!(rows[0].get::<_, bool>(1));
    assert_eq!(rows[0].get::<_, Vec<String>>(2), [format!("rowhouse_tenant true {own} {own}")]);
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
