//! Signing keys: made once, shared, sealed, published.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rowhouse_identity::IdentitySettings;
use rowhouse_types::MasterKey;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::{Ground, refusal, sign_in};

#[tokio::test]
async fn processes_that_start_at_once_share_one_key() {
    let ground = Ground::start().await;
    ground.batch("delete from control.signing_keys").await;
    let (one, two, three) = tokio::join!(ground.other_process(), ground.other_process(), ground.other_process());
    assert_eq!(one.jwks(), two.jwks());
    assert_eq!(two.jwks(), three.jwks());
    let count = "select count(*) from control.signing_keys";
    assert_eq!(ground.control().await.query_opt(count, &[]).await.unwrap().unwrap().get::<_, i64>(0), 1);
    ground.ann_of_acme().await;
    let tokens = one.sign_in(sign_in("ann@example.com")).await.unwrap();
    two.verify_access_token(&tokens.access_token).await.unwrap();
}

#[tokio::test]
async fn a_key_survives_a_restart_and_an_older_one_still_verifies() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let tokens = ground.sign_in("ann@example.com").await;
    assert_eq!(ground.other_process().await.jwks(), ground.identity.jwks());
    // Another key, made later: what a rotation does.
    ground
        .batch("create table control.kept as select * from control.signing_keys; delete from control.signing_keys")
        .await;
    ground.other_process().await;
    ground
        .batch(
            "insert into control.signing_keys select * from control.kept; update control.kept set created_at = now()",
        )
        .await;
    let rotated = ground.other_process().await;
    assert_eq!(rotated.jwks()["keys"].as_array().unwrap().len(), 2);
    rotated.verify_access_token(&tokens.access_token).await.unwrap();
    let newer = rotated.sign_in(sign_in("ann@example.com")).await.unwrap();
    assert_eq!(refusal(ground.identity.verify_access_token(&newer.access_token).await), "invalid token");
    rotated.verify_access_token(&newer.access_token).await.unwrap();
}

#[tokio::test]
async fn only_public_members_are_published() {
    let ground = Ground::start().await;
    let jwks = ground.identity.jwks();
    let keys = jwks["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    let mut names: Vec<&String> = keys[0].as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    let text = |name: &str| keys[0][name].as_str().unwrap();
    assert_eq!((text("alg"), text("crv"), text("kty"), text("use")), ("ES256", "P-256", "EC", "sig"));
}

#[tokio::test]
async fn the_private_key_is_sealed_for_its_own_row() {
    let ground = Ground::start().await;
    let stored = "select id::text, sealed_private, k::text from control.signing_keys k";
    let row = ground.control().await.query_opt(stored, &[]).await.unwrap().unwrap();
    let (id, sealed): (String, Vec<u8>) = (row.get(0), row.get(1));
    let opened = ground.master.open(&format!("signing_keys/{id}"), &sealed).unwrap();
    let der = STANDARD.decode(opened.expose_secret()).unwrap();
    assert!(!sealed.windows(32).any(|window| der.windows(32).any(|private| private == window)));
    assert!(ground.master.open("signing_keys/other", &sealed).is_err());
    let public: Value = ground.identity.jwks()["keys"][0].clone();
    assert_eq!(public["kid"], id.as_str());
}

#[tokio::test]
async fn another_master_key_is_told_and_no_new_key_is_made() {
    let ground = Ground::start().await;
    let outcome = ground.open(MasterKey::generate(), IdentitySettings::default()).await;
    assert!(refusal(outcome).contains("another master key"));
    assert_eq!(ground.other_process().await.jwks(), ground.identity.jwks());
}
