//! What the tables promise whoever reaches them without going through this crate.

use rowhouse_postgres::DatabaseError;
use rowhouse_types::InvitationId;
use rowhouse_types::RoleKey;

use crate::{Ground, email};

#[tokio::test]
async fn every_table_with_a_tenant_has_the_one_policy_and_every_other_grants_nothing() {
    let ground = Ground::start().await;
    // Not this crate's.
    let others = ["tenants", "alerts", "audit_log", "security_events"];
    let mut of_tenants = Vec::new();
    for table in ground.test.control_tables().await {
        if others.contains(&table.name.as_str()) {
            continue;
        }
        if table.of_tenant {
            assert!(table.keeps_tenants_apart, "{table:?}");
            of_tenants.push((table.name, table.granted.join(" ")));
        } else {
            assert!(table.granted.is_empty(), "{table:?}");
        }
    }
    let expected = [
        "api_keys",
        "clerk_tenants",
        "domains SELECT",
        "hand_offs",
        "impersonations",
        "invitations SELECT",
        "mails",
        "member_changes",
        "memberships SELECT",
        "mfa_policies",
        "openid_grants",
        "roles SELECT",
        "session_policies",
        "sessions",
        "web_sessions",
    ];
    let of_tenants: Vec<_> = of_tenants.iter().map(|(name, granted)| format!("{name} {granted}")).collect();
    assert_eq!(of_tenants.iter().map(|table| table.trim()).collect::<Vec<_>>(), expected);
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
        "update control.roles set permissions = '{*:delete}'",
        "delete from control.roles",
        "select hash from control.api_keys",
        "update control.api_keys set role = 'owner'",
        "delete from control.api_keys",
        "select 1 from control.users",
        "select 1 from control.sessions",
        "select 1 from control.signing_keys",
        "select 1 from control.operators",
        "select 1 from control.operator_sessions",
        "select 1 from control.mail_links",
        "select 1 from control.attempts",
        "select control.attempt('x', 'y', 'z', 1, 1)",
        "select 1 from control.second_factors",
        "select 1 from control.recovery_codes",
        "select 1 from control.mfa_policies",
        "select 1 from control.passkeys",
        "select 1 from control.passkey_ceremonies",
        "select 1 from control.trusted_devices",
    ] {
        let outcome = connection.run(refused, &[]).await;
        assert!(matches!(outcome, Err(DatabaseError::Forbidden)), "{refused}: {outcome:?}");
    }
}
