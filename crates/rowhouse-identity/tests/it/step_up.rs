//! Showing once more who one is.

use rowhouse_identity::{Claims, IdentityError, StepUp};

use crate::{Ground, PASSWORD, device, refusal};

const LONG_AGO: &str = "update control.sessions set proved_at = now() - interval '61 minutes'";

fn with_password(password: &str) -> StepUp {
    StepUp { password: Some(password.into()), code: None, device: device() }
}

impl Ground {
    async fn recent(&self, claims: &Claims) -> Result<(), IdentityError> {
        self.identity.require_recent_proof(claims.session).await
    }
}

#[tokio::test]
async fn a_session_has_shown_enough_for_an_hour_and_again_after_the_password() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let claims = ground.claims(&ground.sign_in("ann@example.com").await).await;
    ground.recent(&claims).await.unwrap();
    ground.batch(LONG_AGO).await;
    assert_eq!(refusal(ground.recent(&claims).await), "step up required");
    assert_eq!(refusal(ground.identity.step_up(&claims, with_password("wrong horse battery")).await), "wrong password");
    let nothing = StepUp { password: None, code: None, device: device() };
    assert_eq!(refusal(ground.identity.step_up(&claims, nothing).await), "wrong password");
    assert_eq!(refusal(ground.recent(&claims).await), "step up required");
    let other = ground.claims(&ground.sign_in("ann@example.com").await).await;
    ground.batch(LONG_AGO).await;
    ground.identity.step_up(&claims, with_password(PASSWORD)).await.unwrap();
    ground.recent(&claims).await.unwrap();
    assert_eq!(refusal(ground.recent(&other).await), "step up required", "another session");
    let mut events = ground.events().await;
    events.retain(|kind| kind == "stepped_up" || kind == "password_check_failed");
    assert_eq!(events, ["stepped_up", "password_check_failed"]);
}

#[tokio::test]
async fn who_has_a_second_factor_shows_that() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let claims = ground.claims(&ground.sign_in("ann@example.com").await).await;
    let (app, _) = ground.secure(ann).await;
    ground.batch(LONG_AGO).await;
    assert_eq!(refusal(ground.identity.step_up(&claims, with_password(PASSWORD)).await), "mfa required");
    let with_code = |code| StepUp { password: None, code: Some(code), device: device() };
    assert_eq!(refusal(ground.identity.step_up(&claims, with_code(app.last_code())).await), "wrong code");
    ground.a_minute_later().await;
    ground.identity.step_up(&claims, with_code(app.code())).await.unwrap();
    ground.recent(&claims).await.unwrap();
}

#[tokio::test]
async fn people_who_sign_in_elsewhere_are_not_asked() {
    let ground = Ground::start().await;
    let settings = rowhouse_identity::IdentitySettings { accounts_elsewhere: true, ..Default::default() };
    let identity = ground.open(ground.master.clone(), settings).await.unwrap();
    identity.require_recent_proof(rowhouse_types::SessionId::generate()).await.unwrap();
}

#[tokio::test]
async fn a_session_that_has_ended_shows_nothing_any_more() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let claims = ground.claims(&ground.sign_in("ann@example.com").await).await;
    ground.identity.sign_out(&claims).await.unwrap();
    assert_eq!(refusal(ground.identity.step_up(&claims, with_password(PASSWORD)).await), "invalid token");
}
