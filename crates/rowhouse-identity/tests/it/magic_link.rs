//! Signing in by a link in a mail.

use rowhouse_audit::Actor;
use rowhouse_identity::{Holder, IdentityError, LinkSignIn, Tokens};
use secrecy::SecretString;

use crate::{Ground, device, email, refusal, sign_in};

const ANN: &str = "ann@example.com";
const PROVED: &str = "update control.users set email_verified_at = now()";

impl Ground {
    async fn magic_link(&self, address: &str) -> SecretString {
        self.identity.ask_for_magic_link(&email(address), device()).await.unwrap();
        self.mailed_token(address, "magic_link").await
    }

    pub(crate) async fn redeem(&self, token: &SecretString, tenant: Option<&str>) -> Result<Tokens, IdentityError> {
        let tenant = tenant.map(str::to_owned);
        self.redeem_by(LinkSignIn { tenant, ..by_link(token) }).await
    }

    async fn redeem_by(&self, sign_in: LinkSignIn) -> Result<Tokens, IdentityError> {
        self.identity.sign_in_by_link(sign_in, &Actor::visitor()).await
    }
}

fn by_link(token: &SecretString) -> LinkSignIn {
    LinkSignIn { token: token.clone(), code: None, tenant: None, device: device() }
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
    ground.redeem(&token, None).await.expect("it was not used up");
}

#[tokio::test]
async fn a_link_is_used_up_only_with_the_right_code_where_one_is_needed() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    ground.batch(PROVED).await;
    let (app, codes) = ground.secure(ann).await;
    let token = ground.magic_link(ANN).await;
    assert_eq!(refusal(ground.redeem(&token, None).await), "mfa required");
    let with = |code: SecretString| LinkSignIn { code: Some(code), ..by_link(&token) };
    assert_eq!(refusal(ground.redeem_by(with(app.last_code())).await), "wrong code");
    ground.a_minute_later().await;
    let code = app.code();
    let both = tokio::join!(ground.redeem_by(with(code.clone())), ground.redeem_by(with(code)));
    assert!(both.0.is_ok() != both.1.is_ok(), "{both:?}");
    assert_eq!(refusal(ground.redeem_by(with(codes[0].clone())).await), "invalid link");
    let left = ground.identity.second_factor(Holder::User(ann)).await.unwrap();
    assert_eq!(left.recovery_codes_left, 10, "a dead link takes no code");
}

#[tokio::test]
async fn guessing_codes_at_a_link_ends_as_it_does_elsewhere() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    ground.batch(PROVED).await;
    let (app, _) = ground.secure(ann).await;
    let token = ground.magic_link(ANN).await;
    let with = |code: SecretString| LinkSignIn { code: Some(code), ..by_link(&token) };
    for failure in 1..=10 {
        assert_eq!(refusal(ground.redeem_by(with("000000".into())).await), "wrong code", "failure {failure}");
        if failure < 10 {
            ground.batch("update control.attempts set blocked_until = null").await;
        }
    }
    ground.a_minute_later().await;
    assert_eq!(refusal(ground.redeem_by(with(app.code())).await), "too many attempts");
    ground.batch("update control.attempts set blocked_until = now()").await;
    ground.redeem_by(with(app.code())).await.unwrap();
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
    ground.secure(ground.claims(&stranger).await.user).await;
    let owner = ground.redeem(&ground.magic_link(ANN).await, None).await.unwrap();
    let me = ground.identity.me(&*ground.claims(&owner).await).await.unwrap();
    assert!(me.user.email_verified);
    assert!(ground.identity.verify_access_token(&stranger.access_token).await.is_err());
    assert!(ground.identity.refresh(&stranger.refresh_token, device()).await.is_err());
    assert_eq!(refusal(ground.identity.sign_in(sign_in(ANN)).await), "wrong credentials");
    assert!(!me.user.mfa_enabled, "the stranger's");
    assert_eq!(ground.deeds().await, ["user ann@example.com enable_mfa", "user ann@example.com verify_email"]);
}
