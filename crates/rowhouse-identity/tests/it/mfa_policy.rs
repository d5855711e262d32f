//! Of whom tenants demand a second factor: asked in time, and no further than the policy goes.

use rowhouse_audit::Actor;
use rowhouse_identity::{
    Access, DemandedOf, IdentitySettings, Manager, MemberPatch, MfaPolicy, MfaPolicyPatch, NewRole, RolePatch,
};
use rowhouse_types::{Grants, RoleKey, TenantId, UserId};
use std::sync::Arc;

use crate::Ground;

const DAY: i64 = 24 * 60 * 60;

impl Ground {
    async fn access(&self, user: UserId, tenant: TenantId) -> Arc<Access> {
        self.identity.access(user, tenant).await.unwrap().unwrap()
    }

    /// Days until a second factor is due.
    async fn due_in_days(&self, user: UserId, tenant: TenantId) -> Option<i64> {
        let due = self.access(user, tenant).await.mfa_due_at?;
        let seconds = (due - chrono::Utc::now()).num_seconds();
        Some((seconds + DAY / 2).div_euclid(DAY))
    }

    pub(crate) async fn demand(&self, tenant: TenantId, demanded_of: DemandedOf, grace_days: i32) -> MfaPolicy {
        let patch = MfaPolicyPatch {
            demanded_of: Some(demanded_of),
            grace_days: Some(grace_days),
            ..MfaPolicyPatch::default()
        };
        self.identity.change_mfa_policy(tenant, patch, &Actor::system()).await.unwrap()
    }

    /// As if this much time had passed since anybody was asked.
    pub(crate) async fn were_asked(&self, ago: &str) {
        self.batch(&format!(
            "update control.memberships set mfa_asked_at = mfa_asked_at - interval '{ago}';
             update control.mfa_policies set changed_at = changed_at - interval '{ago}'"
        ))
        .await;
        self.identity.set_roles(std::collections::HashMap::new());
    }
}

#[tokio::test]
async fn whoever_manages_people_has_a_week_and_all_others_are_not_asked() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    for (role, expected) in [("owner", Some(7)), ("admin", Some(7)), ("member", None), ("viewer", None)] {
        ground.join(acme, ann, role).await;
        assert_eq!(ground.due_in_days(ann, acme).await, expected, "{role}");
    }
    ground.join(acme, ann, "owner").await;
    ground.were_asked("6 days").await;
    assert!(!ground.access(ann, acme).await.is_mfa_overdue());
    ground.were_asked("1 day 1 second").await;
    assert!(ground.access(ann, acme).await.is_mfa_overdue());
    let claims = ground.claims(&ground.sign_in("ann@example.com").await).await;
    let me = ground.identity.me(&claims).await.unwrap();
    assert!(me.memberships[0].mfa_due_at.is_some_and(|due| due < chrono::Utc::now()));
    ground.secure(ann).await;
    assert_eq!(ground.access(ann, acme).await.mfa_due_at, None, "at once");
    assert_eq!(ground.identity.me(&claims).await.unwrap().memberships[0].mfa_due_at, None);
}

#[tokio::test]
async fn a_tenant_chooses_who_is_asked_and_when() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let (bob, globex) = (ground.person("bob@example.com").await, ground.tenant("globex").await);
    ground.join(acme, bob, "viewer").await;
    ground.join(globex, bob, "viewer").await;
    assert_eq!(ground.identity.mfa_policy(acme).await.unwrap(), MfaPolicy::default());
    ground.were_asked("30 days").await;
    let made = ground.demand(acme, DemandedOf::Everybody, 3).await;
    assert_eq!(ground.identity.mfa_policy(acme).await.unwrap(), made);
    assert_eq!(ground.due_in_days(ann, acme).await, Some(3), "the grace begins with the demand");
    assert_eq!(ground.due_in_days(bob, acme).await, Some(3));
    assert_eq!(ground.due_in_days(bob, globex).await, None, "another's policy");
    ground.were_asked("2 days").await;
    let sooner = MfaPolicyPatch { grace_days: Some(2), ..MfaPolicyPatch::default() };
    ground.identity.change_mfa_policy(acme, sooner, &Actor::system()).await.unwrap();
    assert!(ground.access(bob, acme).await.is_mfa_overdue(), "the same people go on with their grace");
    ground.demand(acme, DemandedOf::Nobody, 0).await;
    assert_eq!(ground.access(ann, acme).await.mfa_due_at, None);
    assert_eq!(ground.deeds().await, ["system change_mfa_policy"; 3]);
}

#[tokio::test]
async fn who_comes_to_manage_people_has_a_week_from_then_on() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let bob = ground.person("bob@example.com").await;
    ground.join(acme, bob, "viewer").await;
    let (actor, grants) = (Actor::user(ann), Grants::built_in("owner").unwrap());
    let by = Manager { tenant: acme, user: ann, actor: &actor, grants: &grants };
    let becomes = |role: &str| MemberPatch { role: Some(RoleKey::new(role)), ..MemberPatch::default() };
    ground.were_asked("30 days").await;
    ground.identity.change_member(by, bob, becomes("admin")).await.unwrap();
    assert_eq!(ground.due_in_days(bob, acme).await, Some(7));
    let (key, view) = (RoleKey::new("desk"), vec!["leads:view".parse().unwrap()]);
    let new = NewRole { key: key.clone(), name: "Desk".into(), description: String::new(), permissions: view };
    ground.identity.create_role(by, new).await.unwrap();
    ground.identity.change_member(by, bob, becomes("desk")).await.unwrap();
    assert_eq!(ground.due_in_days(bob, acme).await, None);
    ground.were_asked("30 days").await;
    let manage = vec!["users:manage".parse().unwrap()];
    let patch = RolePatch { permissions: Some(manage), ..RolePatch::default() };
    ground.identity.change_role(by, &key, patch).await.unwrap();
    assert_eq!(ground.due_in_days(bob, acme).await, Some(7), "by the role that they have");
    let claims = ground.claims(&ground.sign_in("bob@example.com").await).await;
    assert!(ground.identity.me(&claims).await.unwrap().memberships[0].mfa_due_at.is_some());
}

#[tokio::test]
async fn in_development_and_where_people_sign_in_elsewhere_nobody_is_asked() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    ground.demand(acme, DemandedOf::Everybody, 0).await;
    assert!(ground.access(ann, acme).await.is_mfa_overdue());
    for settings in [
        IdentitySettings { mfa_demanded: false, ..IdentitySettings::default() },
        IdentitySettings { accounts_elsewhere: true, ..IdentitySettings::default() },
    ] {
        let other = ground.open(ground.master.clone(), settings).await.unwrap();
        assert_eq!(other.access(ann, acme).await.unwrap().unwrap().mfa_due_at, None);
    }
}
