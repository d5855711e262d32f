//! Refresh tokens: rotation, and what happens when one is used twice: at once, and later.

use rowhouse_postgres::params;
use rowhouse_types::{MasterKey, SessionId};
use sha2::{Digest as _, Sha256};

use crate::{Ground, device, refusal};

impl Ground {
    /// As if this much time had passed since the tokens were rotated.
    async fn rotations_were(&self, ago: &str) {
        self.batch(&format!("update control.sessions set rotated_at = array_fill(now() - interval '{ago}', array[cardinality(rotated_at)])")).await;
    }
}

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

/// The first answer was lost: the client tries again with the only token that it has.
#[tokio::test]
async fn a_token_that_comes_again_within_ten_seconds_gets_the_same_next_one() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let first = ground.sign_in("ann@example.com").await;
    let session = ground.claims(&first).await.session;
    let lost = ground.identity.refresh(&first.refresh_token, device()).await.unwrap();
    for ago in ["0", "5 seconds"] {
        ground.rotations_were(ago).await;
        let again = ground.identity.refresh(&first.refresh_token, device()).await.unwrap();
        assert_eq!(again.refresh_token, lost.refresh_token, "{ago}");
        assert_ne!(again.access_token, lost.access_token);
        let claims = ground.claims(&again).await;
        assert_eq!((claims.user, claims.session, claims.org.as_ref().unwrap().id), (ann, session, acme));
    }
    ground.claims(&lost).await;
    ground.rotations_were("1 hour").await;
    ground.identity.refresh(&lost.refresh_token, device()).await.unwrap();
    assert_eq!(ground.events().await, ["sign_in"], "nothing was stolen");
}

#[tokio::test]
async fn a_used_token_ends_the_session_for_whoever_holds_the_newest() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let first = ground.sign_in("ann@example.com").await;
    let second = ground.identity.refresh(&first.refresh_token, device()).await.unwrap();
    ground.rotations_were("10 seconds").await;
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
    let told = ground.letters("ann@example.com").await;
    assert_eq!((told.len(), told[0].kind.as_str()), (1, "refresh_token_reused"));
    assert!(told[0].text.contains("Acme") && told[0].text.contains("192.0.2.7"), "{}", told[0].text);
}

/// One tab is slow: the other has refreshed again, and has changed to another tenant.
#[tokio::test]
async fn a_token_that_comes_again_gets_the_newest_however_often_that_was_rotated() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let globex = ground.tenant("globex").await;
    ground.join(globex, ann, "viewer").await;
    let first = ground.identity.sign_in(crate::sign_in_to("ann@example.com", "acme")).await.unwrap();
    let second = ground.identity.refresh(&first.refresh_token, device()).await.unwrap();
    let claims = ground.claims(&second).await;
    let switched = ground.identity.switch(&claims, "globex", device()).await.unwrap();
    let newest = ground.identity.refresh(&switched.refresh_token, device()).await.unwrap();
    for earlier in [&first, &second, &switched] {
        let again = ground.identity.refresh(&earlier.refresh_token, device()).await.unwrap();
        assert_eq!(again.refresh_token, newest.refresh_token);
        assert_eq!(ground.claims(&again).await.org.as_ref().unwrap().id, globex);
    }
}

/// The moment is counted from the token's own rotation, not from the session's last.
#[tokio::test]
async fn a_token_from_long_ago_ends_the_session_too() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let first = ground.sign_in("ann@example.com").await;
    let mut tokens = ground.identity.refresh(&first.refresh_token, device()).await.unwrap();
    ground.rotations_were("11 seconds").await;
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
    let again = ground.identity.refresh(&first.refresh_token, device()).await.unwrap();
    assert_eq!(again.refresh_token, switched.refresh_token, "a lost answer");
    ground.rotations_were("11 seconds").await;
    assert_eq!(refusal(ground.identity.refresh(&first.refresh_token, device()).await), "invalid token");
    assert_eq!(refusal(ground.identity.verify_access_token(&switched.access_token).await), "invalid token");
}

#[tokio::test]
async fn a_token_used_twice_at_once_serves_both() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    for _ in 0..8 {
        let tokens = ground.sign_in("ann@example.com").await;
        let token = &tokens.refresh_token;
        let elsewhere = ground.other_process().await;
        let (here, there) = tokio::join!(ground.identity.refresh(token, device()), elsewhere.refresh(token, device()));
        let (here, there) = (here.unwrap(), there.unwrap());
        assert_eq!(here.refresh_token, there.refresh_token);
        ground.claims(&here).await;
        ground.claims(&there).await;
    }
}

/// A session that has ended for another reason answers nobody, and tells of no theft.
#[tokio::test]
async fn a_lost_answer_is_not_given_again_once_the_session_has_ended() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let ends = [
        "update control.sessions set revoked_at = now()",
        "update control.users set active = false",
        "update control.sessions set expires_at = now()",
    ];
    for end in ends {
        ground.batch("update control.users set active = true").await;
        let first = ground.sign_in("ann@example.com").await;
        ground.identity.refresh(&first.refresh_token, device()).await.unwrap();
        ground.batch(end).await;
        assert_eq!(refusal(ground.identity.refresh(&first.refresh_token, device()).await), "invalid token", "{end}");
    }
    assert!(!ground.events().await.contains(&"token_reuse".to_owned()));
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
