//! Changes of a tenant's people, and that an owner is always left.

use rowhouse_audit::Actor;
use rowhouse_identity::{IdentityError, Invite, Manager, MemberPatch};
use rowhouse_postgres::params;
use rowhouse_types::{Grants, RoleKey, TenantId, UserId};
use serde_json::json;

use crate::{Ground, device, email, refusal};

fn role(role: &str) -> MemberPatch {
    MemberPatch { role: Some(RoleKey::new(role)), ..MemberPatch::default() }
}

fn active(active: bool) -> MemberPatch {
    MemberPatch { active: Some(active), ..MemberPatch::default() }
}

impl Ground {
    async fn changes(
        &self,
        (by, held): (UserId, &str),
        tenant: TenantId,
        user: UserId,
        patch: MemberPatch,
    ) -> Result<(), IdentityError> {
        let (actor, grants) = (Actor::user(by), Grants::built_in(held).unwrap());
        self.identity.change_member(Manager { tenant, user: by, actor: &actor, grants: &grants }, user, patch).await
    }

    async fn removes(&self, (by, held): (UserId, &str), tenant: TenantId, user: UserId) -> Result<(), IdentityError> {
        let (actor, grants) = (Actor::user(by), Grants::built_in(held).unwrap());
        self.identity.remove_member(Manager { tenant, user: by, actor: &actor, grants: &grants }, user).await
    }

    async fn hands_on(&self, tenant: TenantId, by: UserId, to: UserId) -> Result<(), IdentityError> {
        let (actor, grants) = (Actor::user(by), Grants::built_in("owner").unwrap());
        let by = Manager { tenant, user: by, actor: &actor, grants: &grants };
        self.identity.transfer_ownership(by, to, &device()).await
    }

    async fn leaves(&self, tenant: TenantId, user: UserId) -> Result<(), IdentityError> {
        self.identity.leave_tenant(&Actor::user(user), tenant, user).await
    }

    /// Who can act as owner.
    async fn owners(&self, tenant: TenantId) -> Vec<UserId> {
        let list = "
            select m.user_id from control.memberships m join control.users u on u.id = m.user_id
            where m.tenant_id = $1 and m.role = 'owner' and m.active and u.active order by u.email";
        let rows = self.control().await.query(list, params![tenant]).await.unwrap();
        rows.iter().map(|row| UserId::from_uuid(row.get(0))).collect()
    }

    async fn can_work(&self, user: UserId, tenant: TenantId) -> bool {
        self.identity.access(user, tenant).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn the_last_owner_stays_whatever_is_tried() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let (bob, eve) = (ground.person("bob@example.com").await, ground.person("eve@example.com").await);
    ground.join(acme, bob, "admin").await;
    ground.join(acme, eve, "owner").await;
    // Owners who cannot act are none.
    for end in [
        "update control.memberships set active = false where role = 'owner' and user_id <> $1",
        "update control.users set active = false where id <> $1",
    ] {
        ground.control().await.query(end, params![ann]).await.unwrap();
        let owner = (ann, "owner");
        assert_eq!(refusal(ground.leaves(acme, ann).await), "last owner", "{end}");
        assert_eq!(refusal(ground.changes(owner, acme, ann, role("admin")).await), "last owner", "{end}");
        assert_eq!(refusal(ground.changes(owner, acme, ann, active(false)).await), "last owner", "{end}");
        assert_eq!(refusal(ground.removes(owner, acme, ann).await), "last owner", "{end}");
        ground.batch("update control.memberships set active = true; update control.users set active = true").await;
    }
    ground.changes((ann, "owner"), acme, ann, role("admin")).await.unwrap();
    assert_eq!(ground.owners(acme).await, [eve]);
}

/// Each looks for another owner; only one of two who look at the same moment may find the other.
#[tokio::test]
async fn of_owners_who_go_at_the_same_moment_one_stays() {
    let ground = Ground::start().await;
    let elsewhere = ground.other_process().await;
    for round in 0..12 {
        let acme = ground.tenant(&format!("acme{round}")).await;
        let (ann, bob) = (
            ground.person(&format!("a{round}@example.com")).await,
            ground.person(&format!("b{round}@example.com")).await,
        );
        for owner in [ann, bob] {
            ground.join(acme, owner, "owner").await;
        }
        let bob_goes = async {
            match round % 4 {
                0 => elsewhere.leave_tenant(&Actor::user(bob), acme, bob).await,
                1 => ground.changes((bob, "owner"), acme, bob, role("viewer")).await,
                2 => ground.changes((ann, "owner"), acme, bob, active(false)).await,
                _ => ground.removes((ann, "owner"), acme, bob).await,
            }
        };
        let (one, two) = tokio::join!(ground.leaves(acme, ann), bob_goes);
        assert_ne!(one.is_ok(), two.is_ok(), "{round}: {one:?} {two:?}");
        assert_eq!(refusal(one.and(two)), "last owner", "{round}");
        assert_eq!(ground.owners(acme).await.len(), 1, "{round}");
    }
}

#[tokio::test]
async fn nobody_touches_who_holds_more_or_gives_more_than_they_hold() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let (bob, eve) = (ground.person("bob@example.com").await, ground.person("eve@example.com").await);
    ground.join(acme, bob, "admin").await;
    ground.join(acme, eve, "member").await;
    let admin = (bob, "admin");
    for patch in [role("viewer"), active(false), MemberPatch { metadata: Some(json!({})), ..MemberPatch::default() }] {
        assert_eq!(refusal(ground.changes(admin, acme, ann, patch).await), "stronger");
    }
    assert_eq!(refusal(ground.removes(admin, acme, ann).await), "stronger");
    assert_eq!(refusal(ground.changes(admin, acme, eve, role("owner")).await), "role");
    assert_eq!(refusal(ground.changes(admin, acme, bob, role("owner")).await), "role", "nor oneself");
    assert_eq!(refusal(ground.changes(admin, acme, eve, role("nobody")).await), "role");
    ground.changes(admin, acme, eve, role("admin")).await.unwrap();
    let stranger = ground.person("zoe@example.com").await;
    assert_eq!(refusal(ground.changes(admin, acme, stranger, role("viewer")).await), "not found");
    let globex = ground.tenant("globex").await;
    ground.join(globex, stranger, "viewer").await;
    assert_eq!(refusal(ground.changes(admin, acme, stranger, role("viewer")).await), "not found");
    assert_eq!(refusal(ground.removes(admin, acme, stranger).await), "not found");
}

#[tokio::test]
async fn who_is_shut_out_or_gone_is_so_at_once_and_no_invitation_lets_them_in_again() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    ground.batch("update control.users set email_verified_at = now()").await;
    let (bob, elsewhere) = (ground.person("bob@example.com").await, ground.other_process().await);
    let owner = (ann, "owner");
    let (actor, grants) = (Actor::user(ann), Grants::built_in("owner").unwrap());
    for end in ["shut out", "removed", "left"] {
        let by = Manager { tenant: acme, user: ann, actor: &actor, grants: &grants };
        let invite = Invite { email: email("bob@example.com"), role: RoleKey::new("owner") };
        ground.identity.invite(by, invite, &device()).await.unwrap();
        ground.join(acme, bob, "viewer").await;
        assert!(ground.can_work(bob, acme).await);
        while elsewhere.access(bob, acme).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        match end {
            "shut out" => ground.changes(owner, acme, bob, active(false)).await.unwrap(),
            "removed" => ground.removes(owner, acme, bob).await.unwrap(),
            _ => ground.leaves(acme, bob).await.unwrap(),
        }
        assert!(!ground.can_work(bob, acme).await, "{end}");
        while elsewhere.access(bob, acme).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        let open = "select count(*) from control.invitations";
        assert_eq!(ground.control().await.query_opt(open, &[]).await.unwrap().unwrap().get::<_, i64>(0), 0, "{end}");
    }
    let deeds = ground.deeds().await;
    for deed in ["ann@example.com change_member", "ann@example.com remove_member", "bob@example.com leave_tenant"] {
        assert!(deeds.contains(&format!("user {deed}")), "{deeds:?}");
    }
}

#[tokio::test]
async fn the_ownership_is_handed_on_in_one_step_and_both_are_told() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let (bob, eve) = (ground.person("bob@example.com").await, ground.person("eve@example.com").await);
    ground.join(acme, bob, "viewer").await;
    assert_eq!(refusal(ground.hands_on(acme, ann, eve).await), "not found");
    assert_eq!(refusal(ground.hands_on(acme, bob, ann).await), "not owner", "whatever the request's grants say");
    assert_eq!(refusal(ground.hands_on(acme, ann, ann).await), "already owner");
    ground.changes((ann, "owner"), acme, bob, active(false)).await.unwrap();
    assert_eq!(refusal(ground.hands_on(acme, ann, bob).await), "not found");
    ground.changes((ann, "owner"), acme, bob, active(true)).await.unwrap();
    ground.hands_on(acme, ann, bob).await.unwrap();
    assert_eq!(ground.owners(acme).await, [bob]);
    let access = ground.identity.access(ann, acme).await.unwrap().unwrap();
    assert_eq!(access.role.as_str(), "admin");
    for address in ["ann@example.com", "bob@example.com"] {
        let letters = ground.letters(address).await;
        assert_eq!(letters.len(), 1);
        assert!(letters[0].text.contains("Acme has another owner"), "{}", letters[0].text);
    }
    assert_eq!(ground.deeds().await.last().unwrap(), "user ann@example.com transfer_ownership");
}

#[tokio::test]
async fn of_two_transfers_at_the_same_moment_one_counts() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let (bob, eve) = (ground.person("bob@example.com").await, ground.person("eve@example.com").await);
    ground.join(acme, bob, "viewer").await;
    ground.join(acme, eve, "viewer").await;
    let (one, two) = tokio::join!(ground.hands_on(acme, ann, bob), ground.hands_on(acme, ann, eve));
    assert_ne!(one.is_ok(), two.is_ok());
    assert_eq!(ground.owners(acme).await.len(), 1);
}
