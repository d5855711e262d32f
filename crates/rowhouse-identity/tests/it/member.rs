//! The people of a tenant.

use rowhouse_identity::MemberPage;
use rowhouse_postgres::params;
use rowhouse_types::{TenantId, UserId};

use crate::Ground;

impl Ground {
    /// The projection of a member in the data database, as the tenants crate writes it.
    async fn project(&self, tenant: TenantId, name: &str, active: bool) -> UserId {
        let insert = "
            insert into rowhouse.members (tenant_id, user_id, role, display_name, email, active)
            values ($1, $2, 'member', $3, $3 || '@example.com', $4)";
        let user = UserId::generate();
        let connection = self.test.databases.tenant(&self.context(tenant)).await.unwrap();
        connection.run(insert, params![tenant, user, name, active]).await.unwrap();
        user
    }
}

#[tokio::test]
async fn a_tenant_lists_its_own_active_members_by_name() {
    let ground = Ground::start().await;
    let (acme, globex) = (TenantId::generate(), TenantId::generate());
    for (tenant, name, active) in
        [(acme, "cleo", true), (acme, "ann", true), (acme, "gone", false), (globex, "bob", true)]
    {
        ground.project(tenant, name, active).await;
    }
    let members = ground.identity.members(&ground.context(acme), &MemberPage::default()).await.unwrap();
    let listed: Vec<_> = members.iter().map(|m| (m.name.as_str(), m.email.as_str(), m.role.as_str())).collect();
    assert_eq!(listed, [("ann", "ann@example.com", "member"), ("cleo", "cleo@example.com", "member")]);
    assert!(
        ground
            .identity
            .members(&ground.context(TenantId::generate()), &MemberPage::default())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn members_are_listed_page_by_page_without_gaps_among_namesakes() {
    let ground = Ground::start().await;
    let acme = TenantId::generate();
    for number in 0..11 {
        ground.project(acme, ["ann", "bob"][number % 2], true).await;
    }
    let context = ground.context(acme);
    let whole = ground.identity.members(&context, &MemberPage::default()).await.unwrap();
    let mut seen = Vec::new();
    let mut page = MemberPage { limit: Some(3), ..MemberPage::default() };
    loop {
        let members = ground.identity.members(&context, &page).await.unwrap();
        let Some(last) = members.last() else { break };
        assert!(members.len() <= 3);
        page.after = Some(last.user_id);
        seen.extend(members.iter().map(|member| member.user_id));
    }
    assert_eq!(seen, whole.iter().map(|member| member.user_id).collect::<Vec<_>>());
    assert_eq!(seen.len(), 11);
    // A place in another tenant's list is no place in this one.
    let stranger = ground.project(TenantId::generate(), "aaa", true).await;
    let after = MemberPage { after: Some(stranger), ..MemberPage::default() };
    assert!(ground.identity.members(&context, &after).await.unwrap().is_empty());
}
