//! The members of a tenant as they stand beside its rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use rowhouse_identity::MemberPage;
use rowhouse_postgres::params;
use rowhouse_tenants::{Placement, Tenant, Tenants};
use rowhouse_types::TenantId;

use crate::town::{PLACEMENTS, Town, provision};

/// More than a list gives at once, and more than a page.
const MANY: i32 = 2345;

/// So many people who join a tenant; every third has the same name as others.
async fn join(town: &Town, tenant: TenantId, count: i32) {
    const PEOPLE: &str = "
        with people as (
            insert into control.users (id, email, first_name, last_name)
            select rowhouse.new_id(), 'person-' || n || '@' || $1 || '.example',
                   case when n % 3 = 0 then 'Ann' else 'Person' end, case when n % 3 = 0 then 'Same' else n::text end
            from generate_series(1, $2) n returning id)
        insert into control.memberships (tenant_id, user_id, role) select $3, id, 'member' from people";
    town.control().await.query(PEOPLE, params![tenant.to_string(), count, tenant]).await.unwrap();
}

/// Everybody, page by page: their ids, and how many pages it took.
async fn paged(town: &Town, tenant: &Tenant, limit: Option<u32>) -> (Vec<rowhouse_types::UserId>, usize) {
    let context = tenant.context(&town.test.authorities.tenant);
    let (mut all, mut pages) = (Vec::new(), 0);
    loop {
        let page = MemberPage { after: all.last().copied(), limit, ..MemberPage::default() };
        let members = town.identity.members(&context, &page).await.unwrap();
        if members.is_empty() {
            return (all, pages);
        }
        all.extend(members.iter().map(|member| member.user_id));
        pages += 1;
    }
}

async fn with_many(town: &Town, tenants: &Arc<Tenants>, placement: Placement) -> Arc<Tenant> {
    let tenant = provision(tenants, placement.as_str(), placement).await;
    join(town, tenant.id, MANY).await;
    tenants.project_members(tenant.id).await.unwrap();
    tenant
}

#[tokio::test]
async fn many_members_are_paged_each_once_in_every_placement() {
    let town = Town::start().await;
    let tenants = town.open().await;
    for placement in PLACEMENTS {
        let tenant = with_many(&town, &tenants, placement).await;
        let expected = usize::try_from(MANY).unwrap() + 1;
        for (limit, pages) in [(None, 47), (Some(200), 12), (Some(1000), 12), (Some(7), 336)] {
            let (all, taken) = paged(&town, &tenant, limit).await;
            assert_eq!((all.len(), taken), (expected, pages), "{placement} {limit:?}");
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), expected, "{placement} {limit:?}");
        }
    }
    // They share the table with others in pool and schema placement.
    let context = provision(&tenants, "small", Placement::Pool).await.context(&town.test.authorities.tenant);
    assert_eq!(town.identity.members(&context, &MemberPage::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn who_leaves_comes_back_or_changes_is_seen_and_nobody_elses_members_change() {
    const LEAVE: &str = "update control.memberships set active = false where tenant_id = $1 and user_id in
        (select user_id from control.memberships where tenant_id = $1 and role = 'member' order by user_id limit 1000)";
    const PROMOTE: &str =
        "update control.memberships set role = 'admin' where tenant_id = $1 and role = 'member' and active";
    const REMOVE: &str = "delete from control.memberships where tenant_id = $1 and not active";
    const RENAME: &str = "update control.users u set last_name = 'Renamed' from control.memberships m
        where m.user_id = u.id and m.tenant_id = $1";
    const RETURN: &str = "insert into control.memberships (tenant_id, user_id, role)
        select $1, id, 'viewer' from control.users u where email like '%@' || $1::uuid || '.example'
        and not exists (select 1 from control.memberships m where m.tenant_id = $1 and m.user_id = u.id)";
    let town = Town::start().await;
    let tenants = town.open().await;
    let neighbour = provision(&tenants, "neighbour", Placement::Pool).await;
    join(&town, neighbour.id, 10).await;
    tenants.project_members(neighbour.id).await.unwrap();
    let control = town.control().await;
    let counts = async |tenant: &Tenant| -> (i64, i64, i64) {
        let roles = "select count(*) filter (where active), count(*) filter (where role = 'admin' and active),
            count(*) filter (where display_name like '%Renamed' and active) from rowhouse.members where tenant_id = $1";
        let row = town.system(&tenant.location).await.query(roles, params![tenant.id]).await.unwrap().remove(0);
        (row.get(0), row.get(1), row.get(2))
    };
    for placement in PLACEMENTS {
        let tenant = with_many(&town, &tenants, placement).await;
        let all = i64::from(MANY) + 1;
        let change = async |sql: &str| {
            control.query(sql, params![tenant.id]).await.unwrap();
            tenants.project_members(tenant.id).await.unwrap();
            tenants.project_members(tenant.id).await.unwrap();
            counts(&tenant).await
        };
        assert_eq!(change(LEAVE).await, (all - 1000, 0, 0), "{placement}");
        assert_eq!(change(PROMOTE).await, (all - 1000, all - 1001, 0), "{placement}");
        assert_eq!(change(REMOVE).await, (all - 1000, all - 1001, 0), "former ones stay for the records, {placement}");
        assert_eq!(change(RENAME).await, (all - 1000, all - 1001, all - 1000), "{placement}");
        assert_eq!(change(RETURN).await.0, all, "{placement}");
        assert_eq!(paged(&town, &tenant, Some(200)).await.0.len(), usize::try_from(all).unwrap());
    }
    assert_eq!(counts(&neighbour).await, (11, 0, 0));
}

#[tokio::test]
async fn projections_at_once_end_with_what_the_memberships_say() {
    let town = Town::start().await;
    let tenants = town.open().await;
    for placement in PLACEMENTS {
        let tenant = provision(&tenants, placement.as_str(), placement).await;
        let joining = (0..8).map(|_| async {
            let one = "
                with person as (
                    insert into control.users (id, email) select id, id || '@example.com' from rowhouse.new_id() id returning id)
                insert into control.memberships (tenant_id, user_id, role) select $1, id, 'member' from person";
            town.control().await.query(one, params![tenant.id]).await.unwrap();
            tenants.project_members(tenant.id).await
        });
        for projected in futures_util::future::join_all(joining).await {
            projected.unwrap();
        }
        assert_eq!(town.count(&tenant, "rowhouse.members").await, 9, "{placement}");
    }
}

#[tokio::test]
async fn a_tenant_that_is_gone_has_no_members_to_bring_in_step() {
    let town = Town::start().await;
    let tenants = town.open().await;
    for placement in PLACEMENTS {
        let tenant = provision(&tenants, placement.as_str(), placement).await;
        tenants.delete(tenant.id).await.unwrap();
        tenants.project_members(tenant.id).await.unwrap();
    }
    tenants.project_members(TenantId::generate()).await.unwrap();
    assert_eq!(town.data().await.query("select 1 from rowhouse.members", &[]).await.unwrap().len(), 0);
}

/// As if the process that changed them had died before it told the tenant's own database.
#[tokio::test]
async fn members_that_were_left_out_of_step_are_brought_in_step_by_another_process() {
    const CHANGE: &str = "
        with changed as (update control.memberships set role = 'viewer' where tenant_id = $1 and role = 'member')
        insert into control.member_changes (tenant_id, change, changed_at)
        values ($1, gen_random_uuid(), now() - interval '1 minute')";
    let town = Town::start().await;
    let tenants = town.open().await;
    for placement in PLACEMENTS {
        let tenant = provision(&tenants, placement.as_str(), placement).await;
        join(&town, tenant.id, 10).await;
        tenants.project_members(tenant.id).await.unwrap();
        town.control().await.query(CHANGE, params![tenant.id]).await.unwrap();
        // A tenant that has gone meanwhile is nothing to come back to.
        town.control().await.query(CHANGE, params![TenantId::generate()]).await.unwrap();
        assert_eq!(tenants.project_left_members().await.unwrap(), 2, "{placement}");
        let viewers = "select count(*) from rowhouse.members where tenant_id = $1 and role = 'viewer'";
        let row = town.system(&tenant.location).await.query(viewers, params![tenant.id]).await.unwrap().remove(0);
        assert_eq!(row.get::<_, i64>(0), 10, "{placement}");
        let left = "select 1 from control.member_changes";
        assert!(town.control().await.query(left, &[]).await.unwrap().is_empty(), "{placement}");
        assert_eq!(tenants.project_left_members().await.unwrap(), 0, "{placement}");
    }
}
