//! Inviting by a tenant's own people.

use rowhouse_audit::Actor;
use rowhouse_identity::{AcceptInvitation, IdentityError, InvitationOut, InvitationPage, Invite, Manager};
use rowhouse_types::{Grants, RoleKey, TenantId, UserId};
use secrecy::SecretString;

use crate::{Ground, PASSWORD, device, email, refusal};

fn to(address: &str, role: &str) -> Invite {
    Invite { email: email(address), role: RoleKey::new(role) }
}

impl Ground {
    /// Invites as a member of this role, whose address is proved.
    async fn invites(
        &self,
        (user, tenant): (UserId, TenantId),
        role: &str,
        invites: &[Invite],
    ) -> Result<Vec<Result<InvitationOut, IdentityError>>, IdentityError> {
        self.batch("update control.users set email_verified_at = now()").await;
        let (actor, grants) = (Actor::user(user), Grants::built_in(role).unwrap());
        let by = Manager { tenant, user, actor: &actor, grants: &grants };
        self.identity.invite_many(by, invites, &device()).await
    }

    async fn accept_mailed(&self, token: SecretString) -> Result<UserId, IdentityError> {
        let accept = AcceptInvitation {
            token,
            password: PASSWORD.into(),
            code: None,
            first_name: String::new(),
            last_name: String::new(),
            device: device(),
        };
        self.identity.accept_invitation(accept).await.map(|accepted| accepted.user)
    }
}

#[tokio::test]
async fn an_address_that_is_invited_again_keeps_its_invitation_and_only_the_newest_link_is_good() {
    let ground = Ground::start().await;
    let ann = ground.ann_of_acme().await;
    let mut tokens = Vec::new();
    let mut ids = Vec::new();
    for role in ["viewer", "member", "admin"] {
        let invited = ground.invites(ann, "owner", &[to("bob@example.com", role)]).await.unwrap().remove(0).unwrap();
        ids.push(invited.id);
        tokens.push(ground.mailed_token("bob@example.com", "invitation").await);
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    let newest = tokens.pop().unwrap();
    for token in tokens {
        assert_eq!(refusal(ground.accept_mailed(token).await), "invalid invitation");
    }
    let bob = ground.accept_mailed(newest).await.unwrap();
    let access = ground.identity.access(bob, ann.1).await.unwrap().unwrap();
    assert_eq!(access.role.as_str(), "admin");
}

#[tokio::test]
async fn two_who_invite_the_same_people_at_once_leave_one_invitation_for_each() {
    let ground = Ground::start().await;
    let ann = ground.ann_of_acme().await;
    let addresses: Vec<String> = (0..20).map(|number| format!("p{number}@example.com")).collect();
    let there: Vec<Invite> = addresses.iter().map(|address| to(address, "viewer")).collect();
    let back: Vec<Invite> = addresses.iter().rev().map(|address| to(address, "viewer")).collect();
    let (one, two) = tokio::join!(ground.invites(ann, "owner", &there), ground.invites(ann, "owner", &back));
    assert!(one.unwrap().iter().chain(&two.unwrap()).all(Result::is_ok));
    let context = ground.context(ann.1);
    let all = ground.identity.invitations(&context, &InvitationPage::default()).await.unwrap();
    assert_eq!(all.len(), 20);
}

#[tokio::test]
async fn a_tenant_has_a_thousand_open_invitations_at_most() {
    let ground = Ground::start().await;
    let ann = ground.ann_of_acme().await;
    let many = format!(
        "insert into control.invitations (tenant_id, id, email, role, expires_at)
         select '{}', rowhouse.new_id(), n || '@example.com', 'viewer', now() + interval '1 day'
         from generate_series(1, 999) n",
        ann.1
    );
    ground.batch(&many).await;
    let two = [to("a@example.org", "viewer"), to("b@example.org", "viewer")];
    assert_eq!(refusal(ground.invites(ann, "owner", &two).await), "too many invitations");
    ground.invites(ann, "owner", &two[..1]).await.unwrap().remove(0).unwrap();
    ground.invites(ann, "owner", &[to("7@example.com", "viewer")]).await.unwrap().remove(0).unwrap();
    assert_eq!(refusal(ground.invites(ann, "owner", &two[1..]).await), "too many invitations");
    ground.batch("update control.invitations set expires_at = now() where email = '1@example.com'").await;
    ground.invites(ann, "owner", &two[1..]).await.unwrap().remove(0).unwrap();
}
