//! Replacing signing keys while people are signed in, seen by two processes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rowhouse_audit::Actor;
use rowhouse_identity::{Identity, KeyAlgorithm, KeyState};
use rowhouse_types::KeyId;
use serde_json::Value;

use crate::keys::published;
use crate::{Ground, refusal, sign_in};

/// The `kid` of a token.
fn kid(token: &str) -> KeyId {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().parse().unwrap()
}

async fn token(identity: &Identity) -> String {
    identity.sign_in(sign_in("ann@example.com")).await.unwrap().access_token
}

async fn state(identity: &Identity, id: KeyId) -> KeyState {
    identity.signing_keys().await.unwrap().into_iter().find(|key| key.id == id).unwrap().state
}

/// Moves everything that was planned so many minutes nearer.
async fn minutes_pass(ground: &Ground, minutes: u32) {
    ground
        .batch(&format!(
            "update control.signing_keys set signs_from = signs_from - interval '{minutes} min',
                 created_at = created_at - interval '{minutes} min',
                 retired_at = retired_at - interval '{minutes} min'"
        ))
        .await;
}

/// Waits until a process knows what another has changed: by itself, with nothing but requests.
async fn until<F: AsyncFn() -> bool>(is_so: F) {
    while !is_so().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_new_key_is_published_first_signs_later_and_no_token_breaks() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let (one, other) = (&ground.identity, ground.other_process().await);
    let first = token(one).await;
    let made = one.rotate_keys(&Actor::system(), &KeyAlgorithm::ALL).await.unwrap();
    assert_eq!(made.len(), 2);
    let new = made[0].0;
    assert_eq!((state(one, new).await, state(one, kid(&first)).await), (KeyState::Next, KeyState::Signing));
    until(async || published(&other, "ES256").await.len() == 2).await;
    assert_eq!(published(&other, "RS256").await.len(), 2);
    // Published only: whoever keeps a copy of the keys still knows all that sign.
    assert_eq!((kid(&token(one).await), kid(&token(&other).await)), (kid(&first), kid(&first)));

    minutes_pass(&ground, 10).await;
    until(async || kid(&token(&other).await) == new).await;
    until(async || kid(&token(one).await) == new).await;
    assert_eq!((state(one, new).await, state(one, kid(&first)).await), (KeyState::Signing, KeyState::Verifying));
    for identity in [one, &other] {
        identity.verify_access_token(&first).await.unwrap();
        identity.verify_access_token(&token(&other).await).await.unwrap();
        assert_eq!(published(identity, "ES256").await.len(), 2);
    }

    // An hour after the last token of the old one.
    minutes_pass(&ground, 62).await;
    until(async || other.verify_access_token(&first).await.is_err()).await;
    assert_eq!(state(one, kid(&first)).await, KeyState::Retired);
    assert_eq!(published(&other, "ES256").await.len(), 1);
}

#[tokio::test]
async fn a_key_verifies_as_long_as_the_longest_token_that_it_signed() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    const HOURS: i64 = 3600;
    let before = ground.identity.developer_token(ann, acme, 5 * HOURS).await.unwrap();
    ground.identity.rotate_keys(&Actor::system(), &[KeyAlgorithm::Es256]).await.unwrap();
    let after = ground.identity.developer_token(ann, acme, 9 * HOURS).await.unwrap();
    assert_eq!(kid(&before), kid(&after));
    let keys = ground.identity.signing_keys().await.unwrap();
    let retires_at = keys.iter().find(|key| key.id == kid(&before)).unwrap().retires_at.unwrap();
    let hours = (retires_at - chrono::Utc::now()).num_minutes() as f64 / 60.0;
    assert!((8.9..=9.0).contains(&hours), "{hours}");
}

#[tokio::test]
async fn a_compromised_key_is_refused_by_every_process_and_another_signs() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let (one, other) = (&ground.identity, ground.other_process().await);
    let stolen = token(one).await;
    other.verify_access_token(&stolen).await.unwrap();
    let retired = one.retire_key(&Actor::system(), kid(&stolen)).await.unwrap();
    assert_eq!(refusal(one.verify_access_token(&stolen).await), "invalid token");
    until(async || other.verify_access_token(&stolen).await.is_err()).await;
    let successor = retired.successor.unwrap();
    assert_eq!((kid(&token(one).await), kid(&token(&other).await)), (successor, successor));
    assert!(published(&other, "ES256").await.iter().all(|key| key["kid"] != kid(&stolen).to_string()));
    assert_eq!(refusal(one.retire_key(&Actor::system(), kid(&stolen)).await), "not found");
    assert_eq!(refusal(one.retire_key(&Actor::system(), KeyId::generate()).await), "not found");
}

#[tokio::test]
async fn a_key_that_waits_is_brought_forward_when_the_one_before_it_is_compromised() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let identity = &ground.identity;
    let stolen = token(identity).await;
    let waiting = identity.rotate_keys(&Actor::system(), &[KeyAlgorithm::Es256]).await.unwrap()[0].0;
    assert_eq!(refusal(identity.rotate_keys(&Actor::system(), &KeyAlgorithm::ALL).await), "key waiting");
    let retired = identity.retire_key(&Actor::system(), kid(&stolen)).await.unwrap();
    assert_eq!(retired.successor, Some(waiting));
    assert_eq!(kid(&token(identity).await), waiting);
    // Nothing was made for the other algorithm by what was refused.
    assert_eq!(published(identity, "RS256").await.len(), 1);
}

#[tokio::test]
async fn changes_of_keys_stand_in_the_audit_log() {
    let ground = Ground::start().await;
    let made = ground.identity.rotate_keys(&Actor::system(), &[KeyAlgorithm::Rs256]).await.unwrap();
    ground.identity.retire_key(&Actor::system(), made[0].0).await.unwrap();
    let lines = "select string_agg(action || ' ' || target, ', ' order by id) from control.audit_log
                 where action like '%signing_key'";
    let row = ground.control().await.query_opt(lines, &[]).await.unwrap().unwrap();
    let id = made[0].0;
    let expected = format!("rotate_signing_key signing_key:{id}, retire_signing_key signing_key:{id}");
    assert_eq!(row.get::<_, String>(0), expected);
}
