//! What provisioning gives, and what it refuses.

use futures_util::future::join_all;
use rowhouse_postgres::params;
use rowhouse_tenants::{Placement, Provision, ProvisionOwner, TenantStatus};
use rowhouse_types::{ErrorCode, UserId};

use crate::town::{PLACEMENTS, Town, provision, sign_up, try_provision};

#[tokio::test]
async fn in_each_placement_a_tenant_gets_its_tables_its_first_rows_and_its_owner() {
    let town = Town::start().await;
    let tenants = town.open().await;
    for placement in PLACEMENTS {
        let slug = placement.as_str();
        let made = try_provision(&tenants, slug, placement).await.unwrap();
        let (tenant, owner) = (made.tenant, made.owner.unwrap());
        assert_eq!((tenant.status, tenant.placement), (TenantStatus::Active, placement));
        assert_eq!(tenant.plan, "starter");
        assert_eq!(town.count(&tenant, "customers").await, 1, "the onboarding seed, {slug}");
        assert_eq!(town.count(&tenant, "shared.brands").await, 2, "{slug}");
        let members =
            town.tenant(&tenant).await.run("select user_id, role, display_name from rowhouse.members", &[]).await;
        let members = members.unwrap();
        assert_eq!(members.len(), 1);
        assert_eq!(UserId::from_uuid(members[0].get(0)), owner);
        assert_eq!((members[0].get::<_, &str>(1), members[0].get::<_, &str>(2)), ("owner", "Olga Owner"));
        let role = "select role from control.memberships where tenant_id = $1 and user_id = $2";
        let row = town.control().await.query_opt(role, params![tenant.id, owner]).await.unwrap().unwrap();
        assert_eq!(row.get::<_, &str>(0), "owner");
        assert_eq!(tenants.find(slug).await.unwrap().unwrap().id, tenant.id);
        assert_eq!(tenants.find(&tenant.id.to_string()).await.unwrap().unwrap().slug, tenant.slug);
    }
}

/// New places have what completion adds: policies, indexes along foreign keys, scoped views.
#[tokio::test]
async fn every_new_place_has_the_fingerprint_that_was_recorded_for_it() {
    let town = Town::start().await;
    let tenants = town.open().await;
    for (slug, placement) in
        [("one", PLACEMENTS[1]), ("two", PLACEMENTS[1]), ("three", PLACEMENTS[2]), ("four", PLACEMENTS[2])]
    {
        provision(&tenants, slug, placement).await;
    }
    let states = tenants.migrate_status(true).await.unwrap();
    let wrong: Vec<_> = states.iter().filter(|state| state.state != "current").collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let own = "select count(distinct fingerprint) from control.targets where kind = $1";
    for kind in ["schema", "database"] {
        let rows = town.control().await.query(own, params![kind]).await.unwrap();
        assert_eq!(rows[0].get::<_, i64>(0), 1, "{kind}");
    }
    let pool = indexes(&town, "app").await;
    let one = tenants.find("one").await.unwrap().unwrap();
    assert_eq!(indexes(&town, &one.location.schema).await, pool, "the same indexes as in the pool");
    assert!(pool.iter().any(|name| name.contains("customer_id")), "completion indexes foreign keys: {pool:?}");
}

async fn indexes(town: &Town, schema: &str) -> Vec<String> {
    let list = "select indexname::text from pg_indexes where schemaname = $1 order by 1";
    town.data().await.query(list, params![schema]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn of_twenty_who_want_the_same_name_one_wins_and_the_others_are_told() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let wishes = (0..20).map(|number| {
        let placement = PLACEMENTS[number % 2];
        let email = format!("owner-{number}@example.com").parse().unwrap();
        let owner = ProvisionOwner::NewUser {
            email,
            password_hash: "(hash)".into(),
            first_name: "O".into(),
            last_name: number.to_string(),
            email_verified: false,
        };
        tenants.provision(Provision { owner, ..sign_up("acme", placement) })
    });
    let (won, lost): (Vec<_>, Vec<_>) = join_all(wishes).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 19));
    for refused in lost.into_iter().filter_map(Result::err) {
        assert_eq!(refused.code, ErrorCode::Conflict);
        assert!(refused.message.contains("\"acme\""), "{}", refused.message);
        assert_eq!(refused.details[0].field, "slug");
    }
    let users = town.control().await.query("select count(*) from control.users", &[]).await.unwrap();
    assert_eq!(users[0].get::<_, i64>(0), 1, "whoever lost has no account");
}

#[tokio::test]
async fn a_slug_that_is_taken_is_answered_with_a_free_one_and_one_that_nobody_chose_is_made_free() {
    let town = Town::start().await;
    let tenants = town.open().await;
    provision(&tenants, "acme", Placement::Pool).await;
    provision(&tenants, "acme-2", Placement::Pool).await;
    let refused = try_provision(&tenants, "acme", Placement::Pool).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.message.contains("\"acme-3\" is free"), "{}", refused.message);
    let unnamed = Provision { slug: None, name: "ACME!".into(), ..sign_up("someone", Placement::Pool) };
    let made = tenants.provision(unnamed).await.unwrap();
    assert_eq!(made.tenant.slug.as_str(), "acme-3");
}

#[tokio::test]
async fn an_invited_owner_gets_a_token_unless_they_have_an_account() {
    let town = Town::start().await;
    let tenants = town.open().await;
    let invite = |slug: &str| Provision {
        owner: ProvisionOwner::Invite("ann@example.com".parse().unwrap()),
        ..sign_up(slug, Placement::Pool)
    };
    let first = tenants.provision(invite("first")).await.unwrap();
    assert!(first.owner.is_none() && first.invitation.is_some());
    assert_eq!(town.count(&first.tenant, "rowhouse.members").await, 0);
    let ann = "insert into control.users (id, email) values (rowhouse.new_id(), 'ann@example.com') returning id";
    let ann = UserId::from_uuid(town.control().await.query(ann, &[]).await.unwrap()[0].get(0));
    let second = tenants.provision(invite("second")).await.unwrap();
    assert_eq!((second.owner, second.invitation.is_none()), (Some(ann), true));
    assert_eq!(town.count(&second.tenant, "rowhouse.members").await, 1);
    let own = Provision { owner: ProvisionOwner::User(ann), ..sign_up("third", Placement::Pool) };
    assert_eq!(tenants.provision(own).await.unwrap().owner, Some(ann));
}

#[tokio::test]
async fn what_cannot_be_provisioned_is_refused_with_every_fault_and_leaves_nothing() {
    let town = Town::start().await;
    let tenants = town.open().await;
    provision(&tenants, "acme", Placement::Pool).await;
    let before = town.inventory().await;
    let wrong = Provision {
        name: "  ".into(),
        slug: Some("0192aaaa-bbbb-7ccc-8ddd-eeeeffff0000".parse().unwrap()),
        plan: Some("stater".into()),
        ..sign_up("wrong", Placement::Pool)
    };
    let refused = tenants.provision(wrong).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ValidationFailed);
    let fields: Vec<&str> = refused.details.iter().map(|detail| detail.field.as_str()).collect();
    assert_eq!(fields, ["name", "slug", "plan"]);
    assert!(refused.details[2].message.contains("starter"), "{}", refused.details[2].message);

    let taken = Provision { slug: Some("other".parse().unwrap()), ..sign_up("acme", Placement::Schema) };
    let refused = tenants.provision(taken).await.unwrap_err();
    assert_eq!((refused.code, refused.details[0].field.as_str()), (ErrorCode::Conflict, "email"));
    assert_eq!(town.inventory().await, before);
    let again = Provision { slug: Some("other".parse().unwrap()), ..sign_up("free", Placement::Schema) };
    tenants.provision(again).await.expect("the name that was reserved for a moment is free again");
}

#[tokio::test]
async fn a_name_that_was_asked_for_before_it_existed_is_found_at_once_afterwards() {
    let town = Town::start().await;
    let tenants = town.open().await;
    assert!(tenants.find("acme").await.unwrap().is_none());
    provision(&tenants, "acme", Placement::Pool).await;
    assert!(tenants.find("ACME").await.unwrap().is_some());
}

#[tokio::test]
async fn nobody_who_was_deactivated_becomes_an_owner() {
    let town = Town::start().await;
    let tenants = town.open().await;
    provision(&tenants, "acme", Placement::Pool).await;
    town.control().await.query("update control.users set active = false", &[]).await.unwrap();
    let before = town.inventory().await;
    let owner = ProvisionOwner::Invite("owner@acme.example".parse().unwrap());
    let refused = tenants.provision(Provision { owner, ..sign_up("globex", Placement::Pool) }).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict, "{refused}");
    assert!(refused.message.contains("deactivated"), "{refused}");
    assert_eq!(town.inventory().await, before);
}
