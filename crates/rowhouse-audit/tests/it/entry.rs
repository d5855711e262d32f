//! The audit log.

use rowhouse_audit::{Actor, EntryFilter, audit_write};
use rowhouse_types::{TenantId, UserId};
use serde_json::json;

use crate::Ground;

#[tokio::test]
async fn a_line_is_part_of_the_transaction_that_it_tells_of() {
    let ground = Ground::start().await;
    let mut connection = ground.control().await;
    let entry = Actor::operator(UserId::generate()).did("suspend_tenant");
    connection.begin().await.unwrap();
    audit_write(&connection, &entry).await.unwrap();
    connection.rollback().await.unwrap();
    assert!(ground.audit.entries(&EntryFilter::default()).await.unwrap().is_empty());
    connection.begin().await.unwrap();
    entry.write(&connection).await.unwrap();
    connection.commit().await.unwrap();
    assert_eq!(ground.audit.entries(&EntryFilter::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_line_says_who_did_what_to_what() {
    let ground = Ground::start().await;
    let (user, tenant) = (UserId::generate(), TenantId::generate());
    let entry = Actor::user(user)
        .in_request("req-9")
        .did("invite_member")
        .on("invitation", "7\0")
        .on_tenant(tenant)
        .with_details(json!({ "role": "viewer" }));
    ground.audit.log(entry);
    ground.audit.log(Actor::system().did("migrate"));
    ground.audit.flush().await;
    let lines = ground.audit.entries(&EntryFilter::default()).await.unwrap();
    let [system, line] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((system.actor_kind.as_str(), system.actor_id, system.tenant_id), ("system", None, None));
    assert_eq!((line.actor_kind.as_str(), line.actor_id), ("user", Some(user.uuid())));
    assert_eq!((line.action.as_str(), line.target.as_deref()), ("invite_member", Some("invitation:7\u{fffd}")));
    assert_eq!((line.tenant_id, line.request_id.as_deref()), (Some(tenant.uuid()), Some("req-9")));
    assert_eq!(line.details, Some(json!({ "role": "viewer" })));
}

#[tokio::test]
async fn the_log_is_listed_page_by_page_and_a_tenant_reads_its_own_lines_without_details() {
    let ground = Ground::start().await;
    let (acme, globex) = (TenantId::generate(), TenantId::generate());
    for tenant in [acme, globex, acme] {
        ground.audit.log(Actor::system().did("migrate").on_tenant(tenant).with_details(json!({ "cluster": "home" })));
    }
    ground.audit.flush().await;
    let first = ground.audit.entries(&EntryFilter { limit: Some(2), ..EntryFilter::default() }).await.unwrap();
    let before = first.last().map(|entry| entry.id);
    let rest = ground.audit.entries(&EntryFilter { before, ..EntryFilter::default() }).await.unwrap();
    assert_eq!((first.len(), rest.len()), (2, 1));
    let filter = EntryFilter { tenant: Some(globex), ..EntryFilter::default() };
    assert_eq!(ground.audit.entries(&filter).await.unwrap().len(), 1);
    let own = ground.audit.entries_of(&ground.context(acme), &filter).await.unwrap();
    assert_eq!(own.iter().map(|entry| entry.tenant_id).collect::<Vec<_>>(), [Some(acme.uuid()); 2]);
    assert!(own.iter().all(|entry| entry.details.is_none()));
}

#[tokio::test]
async fn who_signs_up_is_named_once_they_are_somebody_and_nobody_else_takes_their_name() {
    let ground = Ground::start().await;
    let (ann, olga) = (UserId::generate(), UserId::generate());
    let connection = ground.control().await;
    for actor in [Actor::visitor(), Actor::user(olga), Actor::operator(olga), Actor::system()] {
        actor.become_user(ann).did("sign_up").write(&connection).await.unwrap();
    }
    let lines = ground.audit.entries(&EntryFilter::default()).await.unwrap();
    let actors: Vec<_> = lines.iter().rev().map(|line| (line.actor_kind.as_str(), line.actor_id)).collect();
    let (ann, olga) = (Some(ann.uuid()), Some(olga.uuid()));
    assert_eq!(actors, [("user", ann), ("user", olga), ("operator", olga), ("system", None)]);
}
