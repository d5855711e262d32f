//! Signing in by a link in a mail.

use rowhouse_audit::Actor;
use rowhouse_identity::{IdentityError, Tokens};
use secrecy::SecretString;

use crate::{Ground, device, email, refusal, sign_in};

const ANN: &str = "ann@example.com";
const PROVED: &str = "update control.users set email_verified_at = now()";

impl Ground {
    async fn magic_link(&self, address: &str) -> SecretString {
        self.identity.ask_for_magic_link(&email(address), device()).await.unwrap();
        self.mailed_token(address, "magic_link").await
    }

    async fn redeem(&self, token: &SecretString, tenant: Option<&str>) -> Result<Tokens, IdentityError> {
        self.identity.sign_in_by_link(token, tenant, &Actor::visitor(), device()).await
    }
}

#[tokio::test]
async fn a_link_signs_in_once() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    ground.batch(PROVED).await;
    let (first, second) = (ground.magic_link(ANN).await, ground.magic_link(ANN).await);
    let claims = ground.claims(&ground.redeem(&first, None).await.unwrap()).await;
    assert_eq!((claims.user, claims.org.as_ref().unwrap().id), (ann, acme));
    for token in [first, second] {
        assert_eq!(refusal(ground.redeem(&token, None).await), "invalid link");
    }
    ground.sign_in(ANN).await;
    let mut events = ground.events().await;
    events.reverse();
    let expected =
        ["magic_link_requested", "magic_link_requested", "sign_in", "link_refused", "link_refused", "sign_in"];
    assert_eq!(events, expected);
    assert!(ground.deeds().await.is_empty(), "nothing but a session was made");
}

#[tokio::test]
async fn a_link_ends_after_a_quarter_of_an_hour() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    ground.batch(PROVED).await;
    let token = ground.magic_link(ANN).await;
    ground.links_were_made("15 minutes").await;
    assert_eq!(refusal(ground.redeem(&token, None).await), "invalid link");
    let token = ground.magic_link(ANN).await;
    ground.links_were_made("14 minutes").await;
    ground.redeem(&token, None).await.unwrap();
}

#[tokio::test]
async fn a_link_signs_in_to_the_named_tenant_if_it_is_the_persons() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let (globex, _) = (ground.tenant("globex").await, ground.tenant("initech").await);
    ground.join(globex, ann, "viewer").await;
    let token = ground.magic_link(ANN).await;
    let claims = ground.claims(&ground.redeem(&token, Some("globex")).await.unwrap()).await;
    assert_eq!(claims.org.as_ref().unwrap().id, globex);
    let token = ground.magic_link(ANN).await;
    assert_eq!(refusal(ground.redeem(&token, Some("initech")).await), "not a member");
}

#[tokio::test]
async fn an_address_without_an_account_and_one_that_is_shut_out_get_no_mail() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let token = ground.magic_link(ANN).await;
    ground.batch("update control.users set active = false").await;
    for address in [ANN, "nobody@example.com"] {
        ground.identity.ask_for_magic_link(&email(address), device()).await.unwrap();
    }
    assert_eq!(ground.letters(ANN).await.len(), 1);
    assert!(ground.letters("nobody@example.com").await.is_empty());
    assert_eq!(ground.links("nobody@example.com").await, [false]);
    assert_eq!(refusal(ground.redeem(&token, None).await), "invalid link");
}

/// Somebody made an account with an address that is not theirs, and waits for its owner to use it.
#[tokio::test]
async fn the_first_proof_of_an_address_shuts_out_whoever_made_the_account() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let stranger = ground.sign_in(ANN).await;
    ground.claims(&stranger).await;
    let owner = ground.redeem(&ground.magic_link(ANN).await, None).await.unwrap();
    let me = ground.identity.me(&*ground.claims(&owner).await).await.unwrap();
    assert!(me.user.email_verified);
    assert!(ground.identity.verify_access_token(&stranger.access_token).await.is_err());
    assert!(ground.identity.refresh(&stranger.refresh_token, device()).await.is_err());
    assert_eq!(refusal(ground.identity.sign_in(sign_in(ANN)).await), "wrong credentials");
    assert_eq!(ground.deeds().await, ["user ann@example.com verify_email"]);
}
