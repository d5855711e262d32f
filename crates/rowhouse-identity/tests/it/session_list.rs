//! A person's own sessions, and how soon an end acts.

use std::time::{Duration, Instant};

use rowhouse_audit::Actor;
use rowhouse_identity::{SessionOut, SessionPage};

use crate::{Ground, device, refusal};

#[tokio::test]
async fn only_what_is_alive_and_ones_own_is_listed() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    ground.person("bob@example.com").await;
    let own = ground.claims(&ground.sign_in("ann@example.com").await).await;
    let other = ground.claims(&ground.sign_in("ann@example.com").await).await;
    let bobs = ground.claims(&ground.sign_in("bob@example.com").await).await;
    for ended in ["revoked_at = now()", "expires_at = now()"] {
        let session = ground.claims(&ground.sign_in("ann@example.com").await).await.session;
        ground.batch(&format!("update control.sessions set {ended} where id = '{session}'")).await;
    }
    let listed = ground.identity.sessions(&own, &SessionPage::default()).await.unwrap();
    let shown = |session: &SessionOut| (session.id, session.current, session.user_agent.clone());
    let agent = Some("test/1".to_owned());
    let expected = [(other.session, false, agent.clone()), (own.session, true, agent)];
    assert_eq!(listed.iter().map(shown).collect::<Vec<_>>(), expected);
    let page = SessionPage { before: Some(other.session), limit: Some(1) };
    let rest = ground.identity.sessions(&own, &page).await.unwrap();
    assert_eq!(rest.iter().map(|session| session.id).collect::<Vec<_>>(), [own.session]);
    let actor = Actor::user(own.user);
    let outcome = ground.identity.revoke_session(&actor, &own, bobs.session, &device()).await;
    assert_eq!(refusal(outcome), "not found");
}

#[tokio::test]
async fn an_end_acts_at_once_here_and_within_a_second_elsewhere() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let (own, lost) = (ground.sign_in("ann@example.com").await, ground.sign_in("ann@example.com").await);
    let (claims, elsewhere) = (ground.claims(&own).await, ground.other_process().await);
    let session = ground.claims(&lost).await.session;
    elsewhere.verify_access_token(&lost.access_token).await.unwrap();
    ground.identity.revoke_session(&Actor::user(claims.user), &claims, session, &device()).await.unwrap();
    let revoked = Instant::now();
    assert_eq!(refusal(ground.identity.verify_access_token(&lost.access_token).await), "invalid token");
    // Whatever began within the second may still pass; what begins after it does not.
    loop {
        let begun = revoked.elapsed();
        if elsewhere.verify_access_token(&lost.access_token).await.is_err() {
            break;
        }
        assert!(begun < Duration::from_secs(1), "a token passed {begun:?} after its session had ended");
        tokio::task::yield_now().await;
    }
    let events = ground.events().await;
    assert_eq!(events.first().map(String::as_str), Some("session_revoked"));
}

#[tokio::test]
async fn an_end_that_cannot_be_told_does_not_happen() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let (own, other) = (ground.sign_in("ann@example.com").await, ground.sign_in("ann@example.com").await);
    let (claims, session) = (ground.claims(&own).await, ground.claims(&other).await.session);
    ground.batch("alter table control.audit_log add constraint shut check (false) not valid").await;
    let actor = Actor::user(claims.user);
    assert!(ground.identity.revoke_session(&actor, &claims, session, &device()).await.is_err());
    assert!(ground.identity.revoke_other_sessions(&actor, &claims, &device()).await.is_err());
    ground.claims(&other).await;
    assert_eq!(ground.identity.sessions(&claims, &SessionPage::default()).await.unwrap().len(), 2);
}
