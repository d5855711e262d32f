//! What a role may do, and how soon a change acts.

use std::collections::HashMap;

use rowhouse_types::{Action, Grants, RoleKey, TenantId, UserId};

use crate::Ground;

fn grants(permissions: &[&str]) -> Grants {
    Grants::new(permissions.iter().map(|text| text.parse().unwrap()))
}

impl Ground {
    async fn grants_of(&self, user: UserId, tenant: TenantId) -> Option<Grants> {
        self.identity.access(user, tenant).await.unwrap().map(|access| (*access.grants).clone())
    }
}

#[tokio::test]
async fn a_built_in_role_holds_the_matrix() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    for role in RoleKey::BUILT_IN {
        ground.join(acme, ann, role).await;
        assert_eq!(ground.grants_of(ann, acme).await, Grants::built_in(role));
    }
}

#[tokio::test]
async fn a_role_of_the_app_holds_what_the_manifest_names_and_cannot_replace_a_built_in_one() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let installer = grants(&["projects:view", "projects:edit:own"]);
    ground.join(acme, ann, "installer").await;
    assert_eq!(ground.grants_of(ann, acme).await, Some(Grants::default()), "a role that nobody knows may do nothing");
    ground.identity.set_roles(HashMap::from([
        (RoleKey::new("installer"), installer.clone()),
        (RoleKey::new("viewer"), grants(&["*:delete"])),
    ]));
    assert_eq!(ground.grants_of(ann, acme).await, Some(installer));
    ground.join(acme, ann, "viewer").await;
    assert!(!ground.grants_of(ann, acme).await.unwrap().allows("leads", Action::Delete));
}

#[tokio::test]
async fn who_has_no_part_in_a_tenant_has_no_access() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let globex = ground.tenant("globex").await;
    assert!(ground.identity.access(ann, acme).await.unwrap().is_some());
    assert!(ground.identity.access(ann, globex).await.unwrap().is_none());
    assert!(ground.identity.access(ann, TenantId::generate()).await.unwrap().is_none());
    assert!(ground.identity.access(UserId::generate(), acme).await.unwrap().is_none());
}

#[tokio::test]
async fn a_change_acts_at_once_where_it_is_made_and_is_found_by_others() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let role = async || ground.identity.access(ann, acme).await.unwrap().map(|access| access.role.to_string());
    assert_eq!(role().await.as_deref(), Some("owner"));
    ground.batch("update control.memberships set role = 'viewer'").await;
    ground.identity.forget_access(ann, acme).await;
    assert_eq!(role().await.as_deref(), Some("viewer"));
    for end in ["update control.memberships set active = false", "update control.users set active = false"] {
        ground.batch("update control.memberships set active = true; update control.users set active = true").await;
        ground.identity.forget_access(ann, acme).await;
        assert!(role().await.is_some());
        ground.batch(end).await;
        ground.identity.forget_access(ann, acme).await;
        assert_eq!(role().await, None, "{end}");
        let elsewhere = ground.other_process().await;
        assert!(elsewhere.access(ann, acme).await.unwrap().is_none(), "{end}");
    }
}

/// A change that another process made is found when the entry ends, without anybody's doing.
#[tokio::test]
async fn a_change_made_elsewhere_is_found_after_a_moment() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let tokens = ground.sign_in("ann@example.com").await;
    ground.claims(&tokens).await;
    assert!(ground.identity.access(ann, acme).await.unwrap().is_some());
    ground.batch("update control.memberships set active = false; update control.sessions set revoked_at = now()").await;
    while ground.identity.access(ann, acme).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    while ground.identity.verify_access_token(&tokens.access_token).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
