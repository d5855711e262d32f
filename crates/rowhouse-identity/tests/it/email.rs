//! Addresses: proving and changing them.

use std::sync::Arc;

use rowhouse_audit::Actor;
use rowhouse_identity::{Claims, EmailProved, IdentityError, UserOut};
use rowhouse_types::UserId;
use secrecy::SecretString;

use crate::{Ground, PASSWORD, device, email, refusal};

const ANN: &str = "ann@example.com";
const NEW: &str = "ann@new.example";

impl Ground {
    async fn ask_to_verify(&self, user: UserId) {
        self.identity.ask_to_verify(&self.control().await, user).await.unwrap();
    }

    async fn verify(&self, token: &SecretString) -> Result<EmailProved, IdentityError> {
        self.identity.verify_email(token, &Actor::visitor(), device()).await
    }

    async fn user(&self, claims: &Claims) -> UserOut {
        self.identity.me(claims).await.unwrap().user
    }

    async fn ann(&self) -> Arc<Claims> {
        self.ann_of_acme().await;
        self.claims(&self.sign_in(ANN).await).await
    }

    async fn ask_to_change(&self, claims: &Claims, to: &str, password: &str) -> Result<(), IdentityError> {
        let by = Actor::user(claims.user);
        self.identity.ask_to_change_email(claims, &email(to), password.into(), &by, device()).await
    }

    /// Asks for the new address and gives the token that was mailed there.
    async fn change(&self, claims: &Claims, to: &str) -> SecretString {
        self.ask_to_change(claims, to, PASSWORD).await.unwrap();
        self.mailed_token(to, "verify_email").await
    }
}

#[tokio::test]
async fn a_mail_proves_an_address_once() {
    let ground = Ground::start().await;
    let claims = ground.ann().await;
    assert!(!ground.user(&claims).await.email_verified);
    ground.ask_to_verify(claims.user).await;
    let token = ground.mailed_token(ANN, "verify_email").await;
    let proved = ground.verify(&token).await.unwrap();
    assert_eq!((proved.user, proved.tenants_to_tell), (claims.user, Vec::new()));
    let user = ground.user(&claims).await;
    assert!(user.email_verified && user.email_verified_at.is_some());
    assert_eq!(refusal(ground.verify(&token).await), "invalid link");
    assert_eq!(ground.deeds().await, ["user ann@example.com verify_email"]);
    assert_eq!(ground.events().await, ["link_refused", "email_verified", "sign_in"]);
    ground.ask_to_verify(claims.user).await;
    ground.identity.resend_verification(&claims, &device()).await.unwrap();
    assert_eq!(ground.letters(ANN).await.len(), 1, "there is nothing to be proved any more");
}

#[tokio::test]
async fn the_mail_is_sent_again_but_not_endlessly() {
    let ground = Ground::start().await;
    let claims = ground.ann().await;
    ground.ask_to_verify(claims.user).await;
    for _ in 0..7 {
        ground.identity.resend_verification(&claims, &device()).await.unwrap();
    }
    assert_eq!(ground.kinds(ANN).await, ["verify_email"; 5]);
    ground.links_were_made("23 hours").await;
    let oldest = ground.letters(ANN).await.pop().unwrap().token();
    ground.verify(&oldest).await.unwrap();
    assert!(ground.links(ANN).await.is_empty());
}

#[tokio::test]
async fn a_link_ends_after_a_day_and_proves_nothing_for_another_purpose() {
    let ground = Ground::start().await;
    let claims = ground.ann().await;
    ground.ask_to_verify(claims.user).await;
    let token = ground.mailed_token(ANN, "verify_email").await;
    let elsewhere = ground.redeem(&token, None).await;
    assert_eq!(refusal(elsewhere), "invalid link");
    let elsewhere = ground.identity.reset_password(&token, "another horse".into(), &Actor::visitor(), device()).await;
    assert_eq!(refusal(elsewhere), "invalid link");
    ground.identity.forgot_password(&email(ANN), device()).await.unwrap();
    let reset = ground.mailed_token(ANN, "reset_password").await;
    assert_eq!(refusal(ground.verify(&reset).await), "invalid link");
    ground.links_were_made("24 hours").await;
    assert_eq!(refusal(ground.verify(&token).await), "invalid link");
}

#[tokio::test]
async fn a_new_address_is_proved_before_it_counts_and_the_old_one_is_told() {
    let ground = Ground::start().await;
    let claims = ground.ann().await;
    let tenant = claims.org.as_ref().unwrap().id;
    let token = ground.change(&claims, NEW).await;
    assert_eq!(ground.user(&claims).await.email, ANN);
    assert!(ground.letters(ANN).await.is_empty());
    let proved = ground.verify(&token).await.unwrap();
    assert_eq!((proved.user, proved.tenants_to_tell), (claims.user, vec![tenant]));
    let user = ground.user(&claims).await;
    assert_eq!((user.email.as_str(), user.email_verified), (NEW, true));
    ground.sign_in(NEW).await;
    assert_eq!(refusal(ground.identity.sign_in(crate::sign_in(ANN)).await), "wrong credentials");
    let told = ground.letters(ANN).await;
    assert_eq!(told[0].kind, "email_changed");
    assert!(!told[0].text.contains(NEW) && told[0].text.contains("192.0.2.7"), "{}", told[0].text);
    assert_eq!(refusal(ground.verify(&token).await), "invalid link");
    let deeds = ["user ann@new.example ask_to_change_email", "user ann@new.example change_email"];
    assert_eq!(ground.deeds().await, deeds);
    let mut events = ground.events().await;
    events.retain(|event| event.starts_with("email"));
    assert_eq!(events, ["email_changed", "email_change_requested"]);
}

#[tokio::test]
async fn an_address_is_not_changed_without_the_password() {
    let ground = Ground::start().await;
    let claims = ground.ann().await;
    assert_eq!(refusal(ground.ask_to_change(&claims, NEW, "wrong horse battery").await), "wrong password");
    assert!(ground.letters(NEW).await.is_empty());
    assert_eq!(ground.events().await, ["password_check_failed", "sign_in"]);
}

/// Neither the answer nor what is left behind tells that the address has an account.
#[tokio::test]
async fn an_address_that_somebody_has_gets_no_mail_and_no_second_account() {
    let ground = Ground::start().await;
    let claims = ground.ann().await;
    ground.person("bob@example.com").await;
    ground.ask_to_change(&claims, "bob@example.com", PASSWORD).await.unwrap();
    assert!(ground.letters("bob@example.com").await.is_empty());
    assert_eq!(ground.links("bob@example.com").await, [true]);
    // Taken between the mail and the link.
    let token = ground.change(&claims, NEW).await;
    ground.person(NEW).await;
    assert_eq!(refusal(ground.verify(&token).await), "email taken");
    assert_eq!(ground.user(&claims).await.email, ANN);
}

#[tokio::test]
async fn links_to_an_address_end_when_it_is_no_longer_the_persons() {
    let ground = Ground::start().await;
    let claims = ground.ann().await;
    ground.identity.forgot_password(&email(ANN), device()).await.unwrap();
    let reset = ground.mailed_token(ANN, "reset_password").await;
    let (new, newer) = (ground.change(&claims, NEW).await, ground.change(&claims, "ann@newer.example").await);
    ground.verify(&newer).await.unwrap();
    assert_eq!(refusal(ground.verify(&new).await), "invalid link");
    let outcome = ground.identity.reset_password(&reset, "another horse".into(), &Actor::visitor(), device()).await;
    assert_eq!(refusal(outcome), "invalid link");
    // Also where the link was asked for by somebody who did not see the change.
    ground.identity.forgot_password(&email("ann@newer.example"), device()).await.unwrap();
    let reset = ground.mailed_token("ann@newer.example", "reset_password").await;
    ground.batch("update control.users set email = 'ann@newest.example'").await;
    let outcome = ground.identity.reset_password(&reset, "another horse".into(), &Actor::visitor(), device()).await;
    assert_eq!(refusal(outcome), "invalid link");
}

#[tokio::test]
async fn a_person_can_ask_for_few_addresses_only() {
    let ground = Ground::start().await;
    let claims = ground.ann().await;
    for number in 0..7 {
        ground.ask_to_change(&claims, &format!("ann@{number}.example"), PASSWORD).await.unwrap();
    }
    for number in 0..7 {
        let letters = ground.letters(&format!("ann@{number}.example")).await.len();
        assert_eq!(letters, usize::from(number < 5), "{number}");
    }
}
