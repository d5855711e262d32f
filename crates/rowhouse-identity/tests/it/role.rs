//! Roles that a tenant's own people make.

use std::collections::HashMap;

use rowhouse_audit::Actor;
use rowhouse_identity::{
    ApiKeyMaker, IdentityError, IdentitySettings, Invite, KeyRights, LimitSettings, Manager, NewApiKey, NewRole,
    OrganisationError, RoleOut, RolePatch, RoleSource,
};
use rowhouse_types::{Action, Grants, Permission, RoleKey, Scope, TenantId, UserId};

use crate::{Ground, device, email, refusal};

fn permissions(texts: &[&str]) -> Vec<Permission> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn new_role(key: &str, texts: &[&str]) -> NewRole {
    let key = RoleKey::new(key);
    NewRole { name: key.to_string(), key, description: String::new(), permissions: permissions(texts) }
}

fn to_permissions(texts: &[&str]) -> RolePatch {
    RolePatch { permissions: Some(permissions(texts)), ..RolePatch::default() }
}

/// Somebody who manages people and holds these permissions.
struct Maker {
    user: UserId,
    tenant: TenantId,
    actor: Actor,
    grants: Grants,
}

impl Maker {
    fn new((user, tenant): (UserId, TenantId), grants: Grants) -> Self {
        Self { user, tenant, actor: Actor::user(user), grants }
    }

    fn owner(of: (UserId, TenantId)) -> Self {
        Self::new(of, Grants::built_in("owner").unwrap())
    }

    fn by(&self) -> Manager<'_> {
        Manager { tenant: self.tenant, user: self.user, actor: &self.actor, grants: &self.grants }
    }
}

impl Ground {
    async fn make_role(&self, maker: &Maker, key: &str, texts: &[&str]) -> Result<RoleOut, IdentityError> {
        self.identity.create_role(maker.by(), new_role(key, texts)).await
    }

    async fn holds(&self, user: UserId, tenant: TenantId) -> Vec<String> {
        let access = self.identity.access(user, tenant).await.unwrap().unwrap();
        access.grants.permissions().map(|permission| permission.to_string()).collect()
    }
}

#[tokio::test]
async fn a_role_holds_what_its_maker_names_and_a_change_acts_at_once_on_members_and_keys() {
    let ground = Ground::start().await;
    let ann = ground.ann_of_acme().await;
    let (bob, maker) = (ground.person("bob@example.com").await, Maker::owner(ann));
    let made = ground.make_role(&maker, "front_desk", &["leads:view", "leads:create", "leads:view"]).await.unwrap();
    assert_eq!(made.permissions, permissions(&["leads:view", "leads:create"]));
    ground.join(ann.1, bob, "front_desk").await;
    let rights = KeyRights::Role(RoleKey::new("front_desk"));
    let key = NewApiKey { name: "Desk".into(), rights, lifetime_days: None, requests_per_minute: None };
    let key_maker = ApiKeyMaker { user: ann.0, actor: &maker.actor, grants: &maker.grants };
    let key = ground.identity.create_api_key(key_maker, ann.1, key).await.unwrap();
    let elsewhere = ground.other_process().await;
    let held_by_key = async |identity: &rowhouse_identity::Identity| {
        let access = identity.verify_api_key(key.secret.expose(), device).await.unwrap();
        access.grants.permissions().map(|permission| permission.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ground.holds(bob, ann.1).await, ["leads:view", "leads:create"]);
    assert_eq!(held_by_key(&ground.identity).await, ["leads:view", "leads:create"]);
    assert_eq!(held_by_key(&elsewhere).await, ["leads:view", "leads:create"]);
    assert!(elsewhere.access(bob, ann.1).await.unwrap().unwrap().grants.allows("leads", Action::Create));
    let patch = to_permissions(&["leads:view:own"]);
    let changed = ground.identity.change_role(maker.by(), &RoleKey::new("front_desk"), patch).await.unwrap();
    assert_eq!(changed.members, 1);
    assert_eq!(ground.holds(bob, ann.1).await, ["leads:view:own"]);
    assert_eq!(held_by_key(&ground.identity).await, ["leads:view:own"]);
    // Another process finds it by itself.
    while elsewhere.access(bob, ann.1).await.unwrap().unwrap().grants.allows("leads", Action::Create) {
        tokio::task::yield_now().await;
    }
    while held_by_key(&elsewhere).await != ["leads:view:own"] {
        tokio::task::yield_now().await;
    }
    let deeds = ["create_role", "create_api_key", "change_role"];
    assert_eq!(ground.deeds().await, deeds.map(|deed| format!("user ann@example.com {deed}")));
}

/// What a set of permissions reaches, written out: every entity, action and scope.
fn reach(grants: &Grants) -> Vec<(usize, Action, Scope)> {
    let mut reached = Vec::new();
    for (index, entity) in ["leads", "users", "organization", "any other"].iter().enumerate() {
        for action in [Action::View, Action::Create, Action::Edit, Action::Delete, Action::Manage] {
            let scopes: Vec<Scope> = grants.scopes(entity, action).collect();
            let held = [Scope::Own, Scope::Public, Scope::All]
                .into_iter()
                .filter(|scope| scopes.contains(scope) || scopes.contains(&Scope::All));
            reached.extend(held.map(|scope| (index, action, scope)));
        }
    }
    reached
}

/// Some of all permissions that there are, chosen at random.
fn some_permissions(most: usize) -> Vec<Permission> {
    let ends = ["view", "view:own", "view:public", "create", "edit", "edit:own", "delete", "delete:public", "manage"];
    let entities = ["leads", "users", "organization", "*"];
    let all: Vec<String> = entities.iter().flat_map(|entity| ends.map(|end| format!("{entity}:{end}"))).collect();
    let count = rand::random_range(0..=most);
    (0..count).map(|_| all[rand::random_range(0..all.len())].parse().unwrap()).collect()
}

/// Random makers, roles and changes: whatever is made, changed or given reaches nothing that its
/// maker does not.
#[tokio::test]
async fn nobody_makes_changes_or_gives_a_role_that_reaches_further_than_they_do() {
    let ground = Ground::start().await;
    let ann = ground.ann_of_acme().await;
    ground.batch("update control.users set email_verified_at = now()").await;
    // More invitations than anybody may send in a while.
    let limits = LimitSettings { attempts_max: 1000, ..LimitSettings::default() };
    let settings = IdentitySettings { limits, ..IdentitySettings::default() };
    let patient = ground.open(ground.master.clone(), settings).await.unwrap();
    let mut outcomes = HashMap::from([(false, 0), (true, 0)]);
    for number in 0..150 {
        let maker = Maker::new(ann, Grants::new(some_permissions(12)));
        let role = RoleKey::new(format!("r{}", number % 40));
        let wanted = some_permissions(3);
        let new = NewRole { key: role.clone(), permissions: wanted.clone(), ..new_role("r", &[]) };
        let outcome = match ground.identity.create_role(maker.by(), new).await {
            Err(IdentityError::Organisation(OrganisationError::RoleTaken)) => {
                let patch = RolePatch { permissions: Some(wanted.clone()), ..RolePatch::default() };
                ground.identity.change_role(maker.by(), &role, patch).await
            }
            outcome => outcome,
        };
        let held = reach(&maker.grants);
        let told = format!("{:?} makes {wanted:?}", maker.grants);
        let is_done = outcome.is_ok();
        match outcome {
            Ok(made) => {
                let made = reach(&Grants::new(made.permissions));
                assert!(made.iter().all(|reached| held.contains(reached)), "{told}");
                assert_eq!(made, reach(&Grants::new(wanted)), "{told}");
            }
            Err(IdentityError::NotHeld(permission)) => {
                let refused = reach(&Grants::new([permission]));
                assert!(refused.iter().any(|reached| !held.contains(reached)), "{told}");
            }
            Err(error) => panic!("{error}: {told}"),
        }
        *outcomes.get_mut(&is_done).unwrap() += 1;
        // And gives it to somebody.
        let role_now = ground.identity.roles(&ground.context(ann.1)).await.unwrap();
        let Some(role_now) = role_now.into_iter().find(|known| known.key == role) else { continue };
        let invite = Invite { email: email(&format!("p{number}@example.com")), role };
        let given = patient.invite(maker.by(), invite, &device()).await;
        let covered = reach(&Grants::new(role_now.permissions)).iter().all(|reached| held.contains(reached));
        assert!(given.is_err() || covered, "{told}, and gives it");
        if let Err(error) = given {
            assert!(matches!(error, IdentityError::Role), "{error}");
        }
    }
    assert!(outcomes.values().all(|count| *count > 10), "{outcomes:?}");
}

#[tokio::test]
async fn a_role_that_somebody_has_does_not_vanish() {
    let ground = Ground::start().await;
    let ann = ground.ann_of_acme().await;
    ground.batch("update control.users set email_verified_at = now()").await;
    let (bob, maker) = (ground.person("bob@example.com").await, Maker::owner(ann));
    let desk = RoleKey::new("desk");
    ground.make_role(&maker, "desk", &["leads:view"]).await.unwrap();
    let remove = async || refusal(ground.identity.delete_role(maker.by(), &desk).await);
    ground.join(ann.1, bob, "desk").await;
    assert_eq!(remove().await, "role in use");
    ground.batch("update control.memberships set active = false where role = 'desk'").await;
    assert_eq!(remove().await, "role in use", "it would be theirs again");
    ground.batch("delete from control.memberships where role = 'desk'").await;
    let invite = Invite { email: email("eve@example.com"), role: desk.clone() };
    let invited = ground.identity.invite(maker.by(), invite, &device()).await.unwrap();
    assert_eq!(remove().await, "role in use");
    ground.identity.revoke_invitation(&maker.actor, ann.1, invited.id).await.unwrap();
    let key = NewApiKey {
        name: "Desk".into(),
        rights: KeyRights::Role(desk.clone()),
        lifetime_days: Some(1),
        requests_per_minute: None,
    };
    let key_maker = ApiKeyMaker { user: ann.0, actor: &maker.actor, grants: &maker.grants };
    let key = ground.identity.create_api_key(key_maker, ann.1, key).await.unwrap();
    assert_eq!(remove().await, "role in use");
    ground.identity.revoke_api_key(&maker.actor, ann.1, key.key.id).await.unwrap();
    ground.identity.delete_role(maker.by(), &desk).await.unwrap();
    assert_eq!(remove().await, "not found");
}

/// Either the invitation comes too late for the role, or the removal for the invitation.
#[tokio::test]
async fn a_role_that_is_given_and_removed_at_the_same_moment_stays_or_is_not_given() {
    let ground = Ground::start().await;
    let ann = ground.ann_of_acme().await;
    ground.batch("update control.users set email_verified_at = now()").await;
    let (maker, device) = (Maker::owner(ann), device());
    for number in 0..20 {
        let role = RoleKey::new(format!("r{number}"));
        ground.make_role(&maker, role.as_str(), &["leads:view"]).await.unwrap();
        let invite = Invite { email: email(&format!("p{number}@example.com")), role: role.clone() };
        let (given, removed) = tokio::join!(
            ground.identity.invite(maker.by(), invite, &device),
            ground.identity.delete_role(maker.by(), &role)
        );
        assert_ne!(given.is_ok(), removed.is_ok(), "{given:?} {removed:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_taken_or_that_somebody_still_has_is_refused() {
    let ground = Ground::start().await;
    let ann = ground.ann_of_acme().await;
    let maker = Maker::owner(ann);
    ground.identity.set_roles(HashMap::from([(RoleKey::new("installer"), Grants::new(permissions(&["leads:view"])))]));
    let bob = ground.person("bob@example.com").await;
    ground.join(ann.1, bob, "gone_from_the_app").await;
    ground.make_role(&maker, "desk", &["leads:view"]).await.unwrap();
    for taken in ["owner", "viewer", "installer", "desk", "gone_from_the_app"] {
        assert_eq!(refusal(ground.make_role(&maker, taken, &["leads:view"]).await), "role taken", "{taken}");
    }
    let globex = (ann.0, ground.tenant("globex").await);
    ground.make_role(&Maker::owner(globex), "desk", &["leads:edit"]).await.unwrap();
    assert_eq!(ground.holds(bob, ann.1).await, Vec::<String>::new());
}

/// A new release of the app that brings a role of the same name gives nobody more.
#[tokio::test]
async fn a_tenants_own_role_holds_no_more_when_the_app_gets_one_of_its_name() {
    let ground = Ground::start().await;
    let ann = ground.ann_of_acme().await;
    ground.make_role(&Maker::owner(ann), "desk", &["leads:view:own"]).await.unwrap();
    let bob = ground.person("bob@example.com").await;
    ground.join(ann.1, bob, "desk").await;
    ground.identity.set_roles(HashMap::from([(RoleKey::new("desk"), Grants::built_in("owner").unwrap())]));
    assert_eq!(ground.holds(bob, ann.1).await, ["leads:view:own"]);
    let listed = ground.identity.roles(&ground.context(ann.1)).await.unwrap();
    let desks: Vec<_> = listed.iter().filter(|role| role.key.as_str() == "desk").collect();
    assert_eq!((desks.len(), desks[0].source, desks[0].members), (1, RoleSource::Tenant, 1));
}

#[tokio::test]
async fn a_tenants_roles_are_its_own() {
    let ground = Ground::start().await;
    let ann = ground.ann_of_acme().await;
    let (bob, globex) = (ground.person("bob@example.com").await, ground.tenant("globex").await);
    ground.make_role(&Maker::owner(ann), "desk", &["leads:view"]).await.unwrap();
    let theirs = Maker::owner((bob, globex));
    let desk = RoleKey::new("desk");
    assert_eq!(refusal(ground.identity.change_role(theirs.by(), &desk, to_permissions(&[])).await), "not found");
    assert_eq!(refusal(ground.identity.delete_role(theirs.by(), &desk).await), "not found");
    assert!(ground.identity.roles(&ground.context(globex)).await.unwrap().iter().all(|role| role.key != desk));
    ground.join(globex, bob, "desk").await;
    assert_eq!(ground.holds(bob, globex).await, Vec::<String>::new(), "another tenant's role of this name is none");
}

#[tokio::test]
async fn a_tenant_has_fifty_roles_at_most() {
    let ground = Ground::start().await;
    let ann = ground.ann_of_acme().await;
    let maker = Maker::owner(ann);
    let many = format!(
        "insert into control.roles (tenant_id, key, name, permissions)
         select '{}', 'r' || n, '', '{{}}' from generate_series(1, 49) n",
        ann.1
    );
    ground.batch(&many).await;
    ground.make_role(&maker, "desk", &["leads:view"]).await.unwrap();
    assert_eq!(refusal(ground.make_role(&maker, "more", &["leads:view"]).await), "too many roles");
}
