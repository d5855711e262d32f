//! Signing keys: made once, shared, sealed, published.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rowhouse_identity::{Identity, IdentitySettings};
use rowhouse_types::MasterKey;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::{Ground, refusal, sign_in};

/// The published keys of an algorithm, the newest first.
pub(crate) async fn published(identity: &Identity, algorithm: &str) -> Vec<Value> {
    let jwks = identity.jwks().await.unwrap();
    jwks["keys"].as_array().unwrap().iter().filter(|key| key["alg"] == algorithm).cloned().collect()
}

#[tokio::test]
async fn processes_that_start_at_once_share_the_keys() {
    let ground = Ground::start().await;
    ground.batch("delete from control.signing_keys").await;
    let (one, two, three) = tokio::join!(ground.other_process(), ground.other_process(), ground.other_process());
    assert_eq!(one.jwks().await.unwrap(), two.jwks().await.unwrap());
    assert_eq!(two.jwks().await.unwrap(), three.jwks().await.unwrap());
    let made = "select string_agg(algorithm, ' ' order by algorithm) from control.signing_keys";
    let row = ground.control().await.query_opt(made, &[]).await.unwrap().unwrap();
    assert_eq!(row.get::<_, String>(0), "ES256 RS256");
    ground.ann_of_acme().await;
    let tokens = one.sign_in(sign_in("ann@example.com")).await.unwrap();
    two.verify_access_token(&tokens.access_token).await.unwrap();
}

#[tokio::test]
async fn keys_survive_a_restart() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let tokens = ground.sign_in("ann@example.com").await;
    let restarted = ground.other_process().await;
    assert_eq!(restarted.jwks().await.unwrap(), ground.identity.jwks().await.unwrap());
    restarted.verify_access_token(&tokens.access_token).await.unwrap();
}

#[tokio::test]
async fn an_installation_from_before_gets_the_key_that_it_lacks_and_keeps_the_other() {
    let ground = Ground::start().await;
    let before = published(&ground.identity, "ES256").await;
    ground.batch("delete from control.signing_keys where algorithm = 'RS256'").await;
    let restarted = ground.other_process().await;
    assert_eq!(published(&restarted, "ES256").await, before);
    assert_eq!(published(&restarted, "RS256").await.len(), 1);
}

#[tokio::test]
async fn only_public_members_are_published() {
    let ground = Ground::start().await;
    for (algorithm, members) in [
        ("ES256", ["alg", "crv", "kid", "kty", "use", "x", "y"].as_slice()),
        ("RS256", ["alg", "e", "kid", "kty", "n", "use"].as_slice()),
    ] {
        let keys = published(&ground.identity, algorithm).await;
        assert_eq!(keys.len(), 1);
        let mut names: Vec<&String> = keys[0].as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, members);
        assert_eq!(keys[0]["use"], "sig");
    }
}

#[tokio::test]
async fn the_private_key_is_sealed_for_its_own_row() {
    let ground = Ground::start().await;
    let stored = "select id::text, sealed_private, algorithm from control.signing_keys";
    for row in ground.control().await.query(stored, &[]).await.unwrap() {
        let (id, sealed, algorithm): (String, Vec<u8>, String) = (row.get(0), row.get(1), row.get(2));
        let opened = ground.master.open(&format!("signing_keys/{id}"), &sealed).unwrap();
        let der = STANDARD.decode(opened.expose_secret()).unwrap();
        assert!(!sealed.windows(32).any(|window| der.windows(32).any(|private| private == window)));
        assert!(ground.master.open("signing_keys/other", &sealed).is_err());
        assert_eq!(published(&ground.identity, &algorithm).await[0]["kid"], id.as_str());
    }
}

#[tokio::test]
async fn another_master_key_is_told_and_no_new_key_is_made() {
    let ground = Ground::start().await;
    let outcome = ground.open(MasterKey::generate(), IdentitySettings::default()).await;
    assert!(refusal(outcome).contains("another master key"));
    assert_eq!(ground.other_process().await.jwks().await.unwrap(), ground.identity.jwks().await.unwrap());
}
