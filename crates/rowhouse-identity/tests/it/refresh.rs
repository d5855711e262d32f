//! Refresh tokens: rotation, and what happens when one is used twice.

use rowhouse_postgres::params;
use rowhouse_types::{MasterKey, SessionId};
use sha2::{Digest as _, Sha256};

use crate::{Ground, device, refusal};

#[tokio::test]
async fn each_refresh_gives_new_tokens_of_the_same_session() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let mut tokens = ground.sign_in("ann@example.com").await;
    let session = ground.claims(&tokens).await.session;
    for _ in 0..3 {
        let next = ground.identity.refresh(&tokens.refresh_token, device()).await.unwrap();
        assert!(next.refresh_token.starts_with("rh_rt_") && next.refresh_token != tokens.refresh_token);
        let claims = ground.claims(&next).await;
        assert_eq!((claims.user, claims.session, claims.org.as_ref().unwrap().id), (ann, session, acme));
        tokens = next;
    }
}

#[tokio::test]
async fn a_used_token_ends_the_session_for_whoever_holds_the_newest() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let first = ground.sign_in("ann@example.com").await;
    let second = ground.identity.refresh(&first.refresh_token, device()).await.unwrap();
    assert_eq!(refusal(ground.identity.refresh(&first.refresh_token, device()).await), "invalid token");
    for tokens in [&first, &second] {
        assert_eq!(refusal(ground.identity.verify_access_token(&tokens.access_token).await), "invalid token");
        assert_eq!(refusal(ground.identity.refresh(&tokens.refresh_token, device()).await), "invalid token");
    }
    let events = ground.recorded().await;
    let reuse: Vec<_> = events.iter().filter(|event| event.kind == "token_reuse").collect();
    assert_eq!(reuse.len(), 1, "a session ends once");
    assert_eq!(reuse[0].severity, "high");
    assert_eq!((reuse[0].user_id, reuse[0].tenant_id), (Some(ann.uuid()), Some(acme.uuid())));
}

#[tokio::test]
async fn a_token_from_long_ago_ends_the_session_too() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let first = ground.sign_in("ann@example.com").await;
    let mut tokens = ground.identity.refresh(&first.refresh_token, device()).await.unwrap();
    for _ in 0..4 {
        tokens = ground.identity.refresh(&tokens.refresh_token, device()).await.unwrap();
    }
    assert_eq!(refusal(ground.identity.refresh(&first.refresh_token, device()).await), "invalid token");
    assert_eq!(refusal(ground.identity.verify_access_token(&tokens.access_token).await), "invalid token");
}

#[tokio::test]
async fn switching_the_tenant_uses_the_refresh_token_up() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let first = ground.sign_in("ann@example.com").await;
    let claims = ground.claims(&first).await;
    let switched = ground.identity.switch(&claims, "acme", device()).await.unwrap();
    assert_eq!(refusal(ground.identity.refresh(&first.refresh_token, device()).await), "invalid token");
    assert_eq!(refusal(ground.identity.verify_access_token(&switched.access_token).await), "invalid token");
}

/// Of two that use the same token at the same moment at most one is served, and the session ends.
#[tokio::test]
async fn a_token_used_twice_at_once_serves_one_and_ends_the_session() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    for _ in 0..8 {
        let tokens = ground.sign_in("ann@example.com").await;
        let token = &tokens.refresh_token;
        let elsewhere = ground.other_process().await;
        let (here, there) = tokio::join!(ground.identity.refresh(token, device()), elsewhere.refresh(token, device()));
        assert_eq!([&here, &there].iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let served = here.or(there).unwrap();
        let third = ground.other_process().await;
        assert_eq!(refusal(third.verify_access_token(&served.access_token).await), "invalid token");
    }
}

#[tokio::test]
async fn a_guess_neither_refreshes_a_session_nor_ends_it() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let tokens = ground.sign_in("ann@example.com").await;
    let session = ground.claims(&tokens).await.session;
    let forge = |master: &MasterKey, session: SessionId| {
        let payload = [session.uuid().as_bytes().as_slice(), &[7; 32]].concat();
        format!("rh_rt_{}", master.signer("refresh token").sign(&payload))
    };
    let forged = forge(&MasterKey::generate(), session);
    let text = tokens.refresh_token.as_str();
    let tampered = format!("{}{}", &text[..text.len() - 1], if text.ends_with('A') { 'B' } else { 'A' });
    let of_nobody = forge(&ground.master, SessionId::generate());
    for guess in ["", "rh_rt_", "x", &tokens.access_token, &forged, &tampered, &of_nobody, &text.replace("rh_rt_", "")]
    {
        assert_eq!(refusal(ground.identity.refresh(guess, device()).await), "invalid token", "{guess}");
    }
    ground.claims(&tokens).await;
    ground.identity.refresh(text, device()).await.unwrap();
    assert_eq!(ground.events().await, ["sign_in"]);
}

#[tokio::test]
async fn only_the_hash_of_a_refresh_token_is_kept() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let tokens = ground.sign_in("ann@example.com").await;
    let row = "select token_hash, s::text from control.sessions s";
    let row = ground.control().await.query_opt(row, &[]).await.unwrap().unwrap();
    assert_eq!(row.get::<_, Vec<u8>>(0), Sha256::digest(tokens.refresh_token.as_bytes()).to_vec());
    let secret = tokens.refresh_token.strip_prefix("rh_rt_").unwrap();
    assert!(!row.get::<_, String>(1).contains(secret));
}

#[tokio::test]
async fn a_refresh_takes_the_role_of_now_and_drops_a_tenant_that_was_lost() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let tokens = ground.sign_in("ann@example.com").await;
    ground.batch("update control.memberships set role = 'viewer'").await;
    let tokens = ground.identity.refresh(&tokens.refresh_token, device()).await.unwrap();
    assert_eq!(ground.claims(&tokens).await.org.as_ref().unwrap().role, "viewer");
    ground.batch("update control.tenants set status = 'archived'").await;
    let tokens = ground.identity.refresh(&tokens.refresh_token, device()).await.unwrap();
    assert_eq!(ground.claims(&tokens).await.org, None);
    ground.batch("update control.tenants set status = 'active'; update control.memberships set active = false").await;
    let tokens = ground.identity.refresh(&tokens.refresh_token, device()).await.unwrap();
    assert_eq!(ground.claims(&tokens).await.org, None);
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_after_its_longest_time_in_any_case() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let tokens = ground.sign_in("ann@example.com").await;
    let days = async || -> i32 {
        let left = "select round(extract(epoch from expires_at - now()) / 86400)::integer from control.sessions";
        ground.control().await.query_opt(left, &[]).await.unwrap().unwrap().get(0)
    };
    assert_eq!(days().await, 30);
    ground.batch("update control.sessions set created_at = now() - interval '25 days', expires_at = now() + interval '5 days'").await;
    let tokens = ground.identity.refresh(&tokens.refresh_token, device()).await.unwrap();
    assert_eq!(days().await, 30, "use prolongs it");
    ground.batch("update control.sessions set created_at = now() - interval '80 days'").await;
    let tokens = ground.identity.refresh(&tokens.refresh_token, device()).await.unwrap();
    assert_eq!(days().await, 10, "but not past 90 days");
    let end = "update control.sessions set expires_at = now() - interval '1 second' where expires_at > $1";
    ground.control().await.query(end, params![chrono::Utc::now()]).await.unwrap();
    assert_eq!(refusal(ground.identity.refresh(&tokens.refresh_token, device()).await), "invalid token");
    assert!(!ground.events().await.contains(&"token_reuse".to_owned()), "ending is no theft");
}
