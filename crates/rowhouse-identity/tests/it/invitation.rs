//! Invitations.

use rowhouse_identity::{AcceptInvitation, InvitationToken, invitation_create};
use rowhouse_types::{InvitationId, MasterKey, RoleKey, TenantId, UserId};
use secrecy::SecretString;

use crate::{Ground, PASSWORD, device, email, refusal};

impl Ground {
    async fn invite(&self, tenant: TenantId, address: &str, role: &str) -> InvitationToken {
        let id = InvitationId::generate();
        let connection = self.control().await;
        invitation_create(&connection, id, tenant, &email(address), &RoleKey::new(role), None).await.unwrap();
        self.identity.invitation_token(tenant, id)
    }

    async fn role_of(&self, user: UserId, tenant: TenantId) -> Option<String> {
        self.identity.access(user, tenant).await.unwrap().map(|access| access.role.to_string())
    }
}

fn accept(token: &InvitationToken) -> AcceptInvitation {
    AcceptInvitation {
        token: token.expose().into(),
        password: PASSWORD.into(),
        code: None,
        first_name: "Bob".into(),
        last_name: "Jones".into(),
        device: device(),
    }
}

fn secret(token: &InvitationToken) -> SecretString {
    token.expose().into()
}

#[tokio::test]
async fn a_new_person_accepts_and_works_in_the_tenant_at_once() {
    let ground = Ground::start().await;
    let acme = ground.tenant("acme").await;
    let token = ground.invite(acme, "bob@example.com", "admin").await;
    assert!(token.expose().starts_with("rh_inv_"));
    let accepted = ground.identity.accept_invitation(accept(&token)).await.unwrap();
    assert_eq!(accepted.tenant, acme);
    let claims = ground.claims(&accepted.tokens).await;
    assert_eq!((claims.user, claims.email.as_str()), (accepted.user, "bob@example.com"));
    assert_eq!(claims.org.as_ref().unwrap().role, "admin");
    assert_eq!(ground.role_of(accepted.user, acme).await.as_deref(), Some("admin"));
    let me = ground.identity.me(&claims).await.unwrap();
    assert_eq!((me.user.first_name.as_str(), me.user.last_name.as_str()), ("Bob", "Jones"));
    ground.sign_in("bob@example.com").await;
    assert_eq!(ground.events().await, ["sign_in", "sign_in", "invitation_accepted"]);
}

/// Whoever invites sees a token as well, so it says nothing of the address.
#[tokio::test]
async fn the_token_of_the_mail_proves_the_address_and_the_one_that_is_shown_does_not() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    for (address, by_mail) in [("bob@example.com", true), ("eve@example.com", false)] {
        let id = InvitationId::generate();
        let connection = ground.control().await;
        let role = RoleKey::new("member");
        invitation_create(&connection, id, acme, &email(address), &role, Some(ann)).await.unwrap();
        ground.identity.mail_invitation(&connection, acme, id).await.unwrap();
        let letters = ground.letters(address).await;
        assert!(letters[0].text.contains("Subject: Ann Smith invites you to Acme"), "{}", letters[0].text);
        let shown = ground.identity.invitation_token(acme, id);
        let token = if by_mail { ground.mailed_token(address, "invitation").await } else { secret(&shown) };
        let accepted = AcceptInvitation { token, ..accept(&shown) };
        let accepted = ground.identity.accept_invitation(accepted).await.unwrap();
        let me = ground.identity.me(&*ground.claims(&accepted.tokens).await).await.unwrap();
        assert_eq!(me.user.email_verified, by_mail);
        let asked = ground.kinds(address).await.contains(&"verify_email".to_owned());
        assert_eq!(asked, !by_mail, "whoever has not proved the address is asked to");
        let again = AcceptInvitation { token: secret(&shown), ..accept(&shown) };
        assert_eq!(refusal(ground.identity.accept_invitation(again).await), "invalid invitation");
        ground.identity.mail_invitation(&connection, acme, id).await.unwrap();
        let invitations = ground.kinds(address).await.iter().filter(|kind| *kind == "invitation").count();
        assert_eq!(invitations, 1, "one that was accepted is not mailed again");
    }
}

#[tokio::test]
async fn an_invitation_is_good_once() {
    let ground = Ground::start().await;
    let acme = ground.tenant("acme").await;
    let token = ground.invite(acme, "bob@example.com", "member").await;
    let (one, two) = tokio::join!(
        ground.identity.accept_invitation(accept(&token)),
        ground.identity.accept_invitation(accept(&token))
    );
    assert_eq!([&one, &two].iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(refusal(ground.identity.accept_invitation(accept(&token)).await), "invalid invitation");
    let count = "select count(*) from control.users";
    assert_eq!(ground.control().await.query_opt(count, &[]).await.unwrap().unwrap().get::<_, i64>(0), 1);
}

#[tokio::test]
async fn an_invitation_ends_after_seven_days() {
    let ground = Ground::start().await;
    let acme = ground.tenant("acme").await;
    let token = ground.invite(acme, "bob@example.com", "member").await;
    let days = "select round(extract(epoch from expires_at - now()) / 86400)::integer from control.invitations";
    assert_eq!(ground.control().await.query_opt(days, &[]).await.unwrap().unwrap().get::<_, i32>(0), 7);
    ground.batch("update control.invitations set expires_at = now()").await;
    assert_eq!(refusal(ground.identity.accept_invitation(accept(&token)).await), "invalid invitation");
}

#[tokio::test]
async fn an_invitation_of_a_tenant_that_is_gone_is_not_valid() {
    let ground = Ground::start().await;
    let acme = ground.tenant("acme").await;
    let token = ground.invite(acme, "bob@example.com", "member").await;
    ground.batch("update control.tenants set status = 'deleting'").await;
    assert_eq!(refusal(ground.identity.accept_invitation(accept(&token)).await), "invalid invitation");
    let count = "select count(*) from control.users";
    assert_eq!(ground.control().await.query_opt(count, &[]).await.unwrap().unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_forged_or_crossed_token_is_not_valid() {
    let ground = Ground::start().await;
    let (acme, globex) = (ground.tenant("acme").await, ground.tenant("globex").await);
    let id = InvitationId::generate();
    let role = RoleKey::new("owner");
    invitation_create(&ground.control().await, id, acme, &email("bob@example.com"), &role, None).await.unwrap();
    let payload = [acme.uuid().as_bytes().as_slice(), id.uuid().as_bytes()].concat();
    let genuine = ground.identity.invitation_token(acme, id);
    let tampered = genuine.expose().replace("rh_inv_", "rh_inv_A");
    let forged = [
        String::new(),
        "rh_inv_".to_owned(),
        tampered,
        genuine.expose().replace("rh_inv_", ""),
        // The id alone, of this tenant or said to be another's.
        format!("rh_inv_{}", ground.identity.invitation_token(globex, id).expose().trim_start_matches("rh_inv_")),
        ground.identity.invitation_token(acme, InvitationId::generate()).expose().to_owned(),
        // Signed by another installation, or for another purpose.
        format!("rh_inv_{}", MasterKey::generate().signer("invitation").sign(&payload)),
        format!("rh_inv_{}", ground.master.signer("refresh token").sign(&payload)),
        format!("rh_inv_{}", ground.master.signer("invitation").sign(&payload[..20])),
        format!("rh_inv_{}", ground.master.signer("invitation").sign(&[&payload[..], &[0]].concat())),
        format!("rh_inv_{}", ground.master.signer("invitation").sign(&[&payload[..], &[1, 1]].concat())),
    ];
    for text in forged {
        let attempt = AcceptInvitation { token: text.clone().into(), ..accept(&genuine) };
        assert_eq!(refusal(ground.identity.accept_invitation(attempt).await), "invalid invitation", "{text}");
    }
    ground.identity.accept_invitation(accept(&genuine)).await.unwrap();
}

#[tokio::test]
async fn an_account_joins_with_its_own_password_only() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let globex = ground.tenant("globex").await;
    let token = ground.invite(globex, "ann@example.com", "viewer").await;
    let wrong = AcceptInvitation { password: "wrong horse battery".into(), ..accept(&token) };
    assert_eq!(refusal(ground.identity.accept_invitation(wrong).await), "wrong credentials");
    assert_eq!(ground.events().await, ["sign_in_failed"]);
    assert_eq!(ground.role_of(ann, globex).await, None);
    let accepted = ground.identity.accept_invitation(accept(&token)).await.unwrap();
    assert_eq!(accepted.user, ann);
    assert_eq!(ground.role_of(ann, globex).await.as_deref(), Some("viewer"), "the cache was told");
    let me = ground.identity.me(&*ground.claims(&accepted.tokens).await).await.unwrap();
    assert_eq!(me.user.first_name, "Ann", "names given with the acceptance do not change an account");
}

#[tokio::test]
async fn an_account_that_is_shut_out_cannot_come_in_by_an_invitation() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let globex = ground.tenant("globex").await;
    let claims = ground.claims(&ground.sign_in("ann@example.com").await).await;
    let token = ground.invite(globex, "ann@example.com", "viewer").await;
    ground.batch("update control.users set active = false").await;
    assert_eq!(refusal(ground.identity.accept_invitation(accept(&token)).await), "wrong credentials");
    let signed_in = ground.identity.accept_invitation_as(&claims, &secret(&token), device()).await;
    assert_eq!(refusal(signed_in), "invalid invitation");
}

#[tokio::test]
async fn who_is_signed_in_with_the_invited_address_accepts_without_a_password() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let globex = ground.tenant("globex").await;
    let claims = ground.claims(&ground.sign_in("ann@example.com").await).await;
    let token = ground.invite(globex, "ann@example.com", "viewer").await;
    let accepted = ground.identity.accept_invitation_as(&claims, &secret(&token), device()).await.unwrap();
    let after = ground.claims(&accepted.tokens).await;
    assert_eq!((after.user, after.session, after.org.as_ref().unwrap().id), (ann, claims.session, globex));
    let again = ground.identity.accept_invitation_as(&claims, &secret(&token), device()).await;
    assert_eq!(refusal(again), "invalid invitation");
}

#[tokio::test]
async fn an_invitation_is_bound_to_its_address() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let globex = ground.tenant("globex").await;
    let claims = ground.claims(&ground.sign_in("ann@example.com").await).await;
    let token = ground.invite(globex, "bob@example.com", "viewer").await;
    let by_ann = ground.identity.accept_invitation_as(&claims, &secret(&token), device()).await;
    assert_eq!(refusal(by_ann), "invalid invitation");
    // Not used up by the attempt, and whoever accepts it becomes the invited address.
    let accepted = ground.identity.accept_invitation(accept(&token)).await.unwrap();
    assert_eq!(ground.claims(&accepted.tokens).await.email, "bob@example.com");
}

#[tokio::test]
async fn an_invitation_does_not_take_a_members_role_away_but_brings_a_former_one_back() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let token = ground.invite(acme, "ann@example.com", "viewer").await;
    ground.identity.accept_invitation(accept(&token)).await.unwrap();
    assert_eq!(ground.role_of(ann, acme).await.as_deref(), Some("owner"));
    ground.batch("update control.memberships set active = false").await;
    let token = ground.invite(acme, "ann@example.com", "viewer").await;
    ground.identity.accept_invitation(accept(&token)).await.unwrap();
    assert_eq!(ground.role_of(ann, acme).await.as_deref(), Some("viewer"));
}

#[tokio::test]
async fn what_cannot_be_accepted_leaves_the_invitation_open() {
    let ground = Ground::start().await;
    let acme = ground.tenant("acme").await;
    let token = ground.invite(acme, "bob@example.com", "member").await;
    let short = AcceptInvitation { password: "short".into(), ..accept(&token) };
    assert_eq!(refusal(ground.identity.accept_invitation(short).await), "password");
    let endless = AcceptInvitation { first_name: "x".repeat(101), ..accept(&token) };
    assert_eq!(refusal(ground.identity.accept_invitation(endless).await), "first_name");
    let control = AcceptInvitation { last_name: "a\0b".into(), ..accept(&token) };
    assert_eq!(refusal(ground.identity.accept_invitation(control).await), "last_name");
    ground.identity.accept_invitation(accept(&token)).await.unwrap();
}

/// A saga that is repeated after a crash makes the same invitation with the same link.
#[tokio::test]
async fn making_an_invitation_twice_makes_one() {
    let ground = Ground::start().await;
    let acme = ground.tenant("acme").await;
    let (id, role) = (InvitationId::generate(), RoleKey::new("owner"));
    for _ in 0..2 {
        invitation_create(&ground.control().await, id, acme, &email("bob@example.com"), &role, None).await.unwrap();
    }
    let (one, two) =
        (ground.identity.invitation_token(acme, id), ground.other_process().await.invitation_token(acme, id));
    assert_eq!(one.expose(), two.expose());
    assert!(!format!("{one:?}").contains(one.expose()));
    let count = "select count(*) from control.invitations";
    assert_eq!(ground.control().await.query_opt(count, &[]).await.unwrap().unwrap().get::<_, i64>(0), 1);
}
