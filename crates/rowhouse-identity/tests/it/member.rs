//! The people of a tenant.

use rowhouse_identity::MemberPage;
use rowhouse_postgres::params;
use rowhouse_types::{TenantId, UserId};

use crate::Ground;

impl Ground {
    /// A member of this first name.
    async fn joins_as(&self, tenant: TenantId, name: &str, active: bool) -> UserId {
        let insert = "
            with person as (
                insert into control.users (id, email, first_name)
                values ($2, case when $4 then $3 else $2::uuid::text end || '@example.com', $3) returning id)
            insert into control.memberships (tenant_id, user_id, role, active)
            select $1, id, 'member', $5 from person";
        let user = UserId::generate();
        let is_free = self.people_called(name).await == 0;
        self.control().await.query(insert, params![tenant, user, name, is_free, active]).await.unwrap();
        user
    }

    async fn people_called(&self, name: &str) -> i64 {
        let count = "select count(*) from control.users where first_name = $1";
        self.control().await.query_opt(count, params![name]).await.unwrap().unwrap().get(0)
    }
}

#[tokio::test]
async fn a_tenant_lists_its_own_active_members_by_name() {
    let ground = Ground::start().await;
    let (acme, globex) = (TenantId::generate(), TenantId::generate());
    for (tenant, name, active) in
        [(acme, "cleo", true), (acme, "ann", true), (acme, "gone", false), (globex, "bob", true)]
    {
        ground.joins_as(tenant, name, active).await;
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
        ground.joins_as(acme, ["ann", "bob"][number % 2], true).await;
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
    let stranger = ground.joins_as(TenantId::generate(), "aaa", true).await;
    let after = MemberPage { after: Some(stranger), ..MemberPage::default() };
    assert!(ground.identity.members(&context, &after).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_tenant_sees_nobodys_account_but_its_members() {
    let ground = Ground::start().await;
    let (acme, globex) = (TenantId::generate(), TenantId::generate());
    let (ann, bob) = (ground.joins_as(acme, "ann", true).await, ground.joins_as(globex, "bob", true).await);
    let gone = ground.joins_as(acme, "gone", false).await;
    let context = ground.context(acme);
    assert_eq!(ground.identity.member(&context, ann).await.unwrap().unwrap().name, "ann");
    assert!(!ground.identity.member(&context, gone).await.unwrap().unwrap().active);
    assert!(ground.identity.member(&context, bob).await.unwrap().is_none());
    let inactive = MemberPage { inactive: true, ..MemberPage::default() };
    let listed = ground.identity.members(&context, &inactive).await.unwrap();
    assert_eq!(listed.iter().map(|member| member.user_id).collect::<Vec<_>>(), [gone]);
    let connection = ground.test.databases.tenant_control(&context).await.unwrap();
    // A function of the reader's own does not see the others' rows before the view's condition.
    let spied = "select user_id from control.members where (email || '/' || tenant_id)::text like '%'";
    assert_eq!(connection.run(spied, &[]).await.unwrap().len(), 2);
    let refused = connection.run("update control.members set role = 'owner'", &[]).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_member_at_work_is_seen() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let context = ground.context(acme);
    let seen = async || ground.identity.member(&context, ann).await.unwrap().unwrap().details.unwrap().last_seen_at;
    assert_eq!(seen().await, None);
    ground.identity.access(ann, acme).await.unwrap();
    while seen().await.is_none() {
        tokio::task::yield_now().await;
    }
}
