//! Operators.

use rowhouse_audit::EntryFilter;
use rowhouse_identity::OperatorRole;
use secrecy::SecretString;

use crate::{Ground, PASSWORD, device, email, refusal};

#[tokio::test]
async fn an_operator_is_made_listed_and_recorded() {
    let ground = Ground::start().await;
    let olga = ground.identity.create_operator(&email("olga@example.com"), PASSWORD.into()).await.unwrap();
    ground.identity.create_operator(&email("adam@example.com"), PASSWORD.into()).await.unwrap();
    let taken = ground.identity.create_operator(&email("OLGA@example.com"), PASSWORD.into()).await;
    assert_eq!(refusal(taken), "email taken");
    let short = ground.identity.create_operator(&email("eve@example.com"), "short".into()).await;
    assert_eq!(refusal(short), "password");
    let operators = ground.identity.operators().await.unwrap();
    let listed: Vec<_> = operators.iter().map(|o| (o.email.as_str(), o.role.as_str(), o.active)).collect();
    assert_eq!(listed, [("adam@example.com", "admin", true), ("olga@example.com", "admin", true)]);
    let entries = ground.audit.entries(&EntryFilter::default()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.action == "create_operator" && entry.actor_kind == "system"));
    let targets: Vec<_> = entries.iter().map(|entry| entry.target.clone().unwrap()).collect();
    assert_eq!((targets.len(), targets[1].clone()), (2, format!("operator:{olga}")));
}

#[tokio::test]
async fn an_operators_token_says_who_they_are_and_what_they_may_do_now() {
    let ground = Ground::start().await;
    let id = ground.identity.create_operator(&email("olga@example.com"), PASSWORD.into()).await.unwrap();
    let tokens =
        ground.identity.sign_in_operator(&email("olga@example.com"), &PASSWORD.into(), None, device()).await.unwrap();
    assert_eq!(tokens.expires_in, 3600);
    let claims = ground.identity.verify_operator_token(&tokens.access_token).await.unwrap();
    assert_eq!((claims.operator, claims.email.as_str()), (id, "olga@example.com"));
    assert_eq!(claims.role, OperatorRole::Admin);
    ground.batch("update control.operators set role = 'support'").await;
    let claims = ground.identity.verify_operator_token(&tokens.access_token).await.unwrap();
    assert_eq!(claims.role, OperatorRole::Support);
    let events = ground.recorded().await;
    assert_eq!(events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["operator_sign_in"]);
    assert_eq!(events[0].user_id, Some(id.uuid()));
}

#[tokio::test]
async fn a_failed_sign_in_of_an_operator_does_not_tell_why() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    ground.identity.create_operator(&email("olga@example.com"), PASSWORD.into()).await.unwrap();
    ground.identity.create_operator(&email("gone@example.com"), PASSWORD.into()).await.unwrap();
    ground.batch("update control.operators set active = false where email = 'gone@example.com'").await;
    let attempts = [
        ("olga@example.com", "wrong horse battery"),
        ("nobody@example.com", PASSWORD),
        ("gone@example.com", PASSWORD),
        // A person is no operator.
        ("ann@example.com", PASSWORD),
    ];
    for (address, password) in attempts {
        let password = SecretString::from(password);
        let outcome = ground.identity.sign_in_operator(&email(address), &password, None, device()).await;
        assert_eq!(refusal(outcome), "wrong credentials");
    }
    assert_eq!(ground.events().await, ["operator_sign_in_failed"; 4]);
    assert_eq!(refusal(ground.identity.sign_in(crate::sign_in("olga@example.com")).await), "wrong credentials");
}

#[tokio::test]
async fn an_operator_who_signed_out_ended_or_was_shut_out_is_refused_at_once() {
    let ground = Ground::start().await;
    let address = email("olga@example.com");
    ground.identity.create_operator(&address, PASSWORD.into()).await.unwrap();
    for end in
        ["", "update control.operator_sessions set expires_at = now()", "update control.operators set active = false"]
    {
        let tokens = ground.identity.sign_in_operator(&address, &PASSWORD.into(), None, device()).await.unwrap();
        let claims = ground.identity.verify_operator_token(&tokens.access_token).await.unwrap();
        match end {
            "" => ground.identity.sign_out_operator(&claims).await.unwrap(),
            sql => ground.batch(sql).await,
        }
        assert_eq!(
            refusal(ground.identity.verify_operator_token(&tokens.access_token).await),
            "invalid token",
            "{end}"
        );
    }
}
