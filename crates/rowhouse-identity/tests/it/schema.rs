//! What the tables promise whoever reaches them without going through this crate.

use rowhouse_postgres::DatabaseError;
use rowhouse_types::InvitationId;
use rowhouse_types::RoleKey;

use crate::{Ground, email};

#[tokio::test]
async fn every_table_with_a_tenant_has_the_one_policy_and_every_other_grants_nothing() {
    const TABLES: &str = "
        select c.relname, c.relrowsecurity,
               exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id'),
               array(select p.polname || ' ' || p.polpermissive || ' ' || pg_get_expr(p.polqual, p.polrelid) || ' '
                            || pg_get_expr(p.polwithcheck, p.polrelid)
                     from pg_policy p where p.polrelid = c.oid),
               array(select g.privilege_type from information_schema.role_table_grants g
                     where g.table_schema = 'control' and g.table_name = c.relname and g.grantee <> current_user
                     order by 1)::text[]
        from pg_class c
        where c.relnamespace = 'control'::regnamespace and c.relkind = 'r'
          and c.relname not in ('tenants', 'alerts', 'audit_log', 'security_events')
        order by 1";
    let ground = Ground::start().await;
    let rows = ground.control().await.query(TABLES, &[]).await.unwrap();
    let own = "(tenant_id = rowhouse.tenant_id())";
    let mut of_tenants = Vec::new();
    for row in &rows {
        let (name, secured, of_tenant): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
        let (policies, granted): (Vec<String>, Vec<String>) = (row.get(3), row.get(4));
        if of_tenant {
            assert!(secured, "{name}");
            assert_eq!(policies, [format!("rowhouse_tenant true {own} {own}")], "{name}");
            of_tenants.push((name, granted.join(" ")));
        } else {
            assert!(granted.is_empty(), "{name} grants {granted:?}");
        }
    }
    let expected =
        [("api_keys", ""), ("invitations", "SELECT"), ("mails", ""), ("memberships", "SELECT"), ("sessions", "")];
    assert_eq!(of_tenants, expected.map(|(name, granted)| (name.to_owned(), granted.to_owned())));
}

#[tokio::test]
async fn a_tenant_sees_its_own_members_and_invitations_only_and_changes_none() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let (bob, globex) = (ground.person("bob@example.com").await, ground.tenant("globex").await);
    ground.join(globex, bob, "owner").await;
    for tenant in [acme, globex] {
        let (id, role) = (InvitationId::generate(), RoleKey::new("viewer"));
        let connection = ground.control().await;
        rowhouse_identity::invitation_create(&connection, id, tenant, &email("eve@example.com"), &role, Some(ann))
            .await
            .unwrap();
    }
    let connection = ground.test.databases.tenant_control(&ground.context(acme)).await.unwrap();
    for table in ["memberships", "invitations"] {
        let seen = connection.run(&format!("select tenant_id from control.{table}"), &[]).await.unwrap();
        let seen: Vec<_> = seen.iter().map(|row| rowhouse_types::TenantId::from_uuid(row.get(0))).collect();
        assert_eq!(seen, [acme], "{table}");
        let foreign = format!("select 1 from control.{table} where tenant_id = '{globex}'");
        assert!(connection.run(&foreign, &[]).await.unwrap().is_empty());
    }
    for refused in [
        "insert into control.memberships (user_id, role) select user_id, 'owner' from control.memberships",
        "update control.memberships set role = 'owner'",
        "delete from control.memberships",
        "update control.invitations set role = 'owner'",
        "delete from control.invitations",
        "truncate control.invitations",
        "select hash from control.api_keys",
        "update control.api_keys set role = 'owner'",
        "delete from control.api_keys",
        "select 1 from control.users",
        "select 1 from control.sessions",
        "select 1 from control.signing_keys",
        "select 1 from control.operators",
        "select 1 from control.operator_sessions",
        "select 1 from control.mail_links",
    ] {
        let outcome = connection.run(refused, &[]).await;
        assert!(matches!(outcome, Err(DatabaseError::Forbidden)), "{refused}: {outcome:?}");
    }
}
