//! Signing in, switching, signing out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rowhouse_identity::{IdentitySettings, SignIn};
use rowhouse_postgres::params;
use rowhouse_types::{TenantId, UserId};
use serde_json::Value;

use crate::{Ground, PASSWORD, device, email, refusal, sign_in, sign_in_to};

/// A part of a token, read without verifying it.
fn part(token: &str, number: usize) -> Value {
    let text = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

#[tokio::test]
async fn a_token_carries_the_claims_of_the_interfaces() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let tokens = ground.sign_in("ann@example.com").await;
    assert_eq!(tokens.expires_in, 900);
    let header = part(&tokens.access_token, 0);
    assert_eq!(header["alg"], "ES256");
    assert_eq!(header["kid"], ground.identity.jwks().await.unwrap()["keys"][0]["kid"]);
    let claims = part(&tokens.access_token, 1);
    let names: Vec<&String> = claims.as_object().unwrap().keys().collect();
    assert_eq!(names, ["iss", "aud", "sub", "exp", "iat", "jti", "sid", "org", "user"]);
    assert_eq!(claims["iss"], "http://localhost:8080");
    assert_eq!(claims["aud"], "rowhouse");
    assert_eq!(claims["sub"], ann.to_string());
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
    assert_eq!(claims["org"], serde_json::json!({ "id": acme, "role": "owner", "slug": "acme" }));
    assert_eq!(claims["user"], serde_json::json!({ "id": ann, "email": "ann@example.com" }));
    let verified = ground.claims(&tokens).await;
    assert_eq!((verified.user, verified.session.to_string().as_str()), (ann, claims["sid"].as_str().unwrap()));
    let again = ground.sign_in("ann@example.com").await;
    assert_ne!(part(&again.access_token, 1)["jti"], claims["jti"]);
}

#[tokio::test]
async fn the_audience_can_be_chosen_but_not_that_of_operators() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let with = |audience: &str| IdentitySettings { audience: audience.into(), ..IdentitySettings::default() };
    let other = ground.open(ground.master.clone(), with("solar")).await.unwrap();
    let tokens = other.sign_in(sign_in("ann@example.com")).await.unwrap();
    assert_eq!(part(&tokens.access_token, 1)["aud"], "solar");
    other.verify_access_token(&tokens.access_token).await.unwrap();
    assert_eq!(refusal(ground.identity.verify_access_token(&tokens.access_token).await), "invalid token");
    assert!(refusal(ground.open(ground.master.clone(), with("operator")).await).contains("operator"));
}

/// Whoever has not proved who they are learns nothing: the error is the same, and so is its text.
#[tokio::test]
async fn a_failed_sign_in_does_not_tell_why() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    for address in ["inactive@example.com", "broken@example.com", "without@example.com"] {
        let user = ground.person(address).await;
        ground.join(acme, user, "member").await;
    }
    ground
        .batch(
            "update control.users set active = false where email = 'inactive@example.com';
             update control.users set password_hash = 'broken' where email = 'broken@example.com';
             update control.users set password_hash = null where email = 'without@example.com'",
        )
        .await;
    let wrong = SignIn { password: "wrong horse battery".into(), ..sign_in("ann@example.com") };
    let wrong_to = SignIn { password: "wrong horse battery".into(), ..sign_in_to("ann@example.com", "globex") };
    let endless = SignIn { password: "x".repeat(1000).into(), ..sign_in("ann@example.com") };
    let empty = SignIn { password: "".into(), ..sign_in("ann@example.com") };
    let mut attempts = vec![wrong, wrong_to, endless, empty];
    for address in ["nobody@example.com", "inactive@example.com", "broken@example.com", "without@example.com"] {
        attempts.push(sign_in(address));
    }
    let count = attempts.len();
    let mut texts = Vec::new();
    for attempt in attempts {
        let error = ground.identity.sign_in(attempt).await.unwrap_err();
        texts.push(rowhouse_types::ApiError::from(error).to_string());
    }
    texts.dedup();
    assert_eq!(texts, ["unauthenticated: The e-mail address or the password is wrong."]);
    let events = ground.recorded().await;
    assert_eq!(events.len(), count);
    assert!(events.iter().all(|event| event.kind == "sign_in_failed" && event.ip.as_deref() == Some("192.0.2.7")));
    assert_eq!(events.iter().filter(|event| event.user_id == Some(ann.uuid())).count(), 4);
}

#[tokio::test]
async fn signing_in_is_recorded_and_marks_the_person_as_seen() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    ground.sign_in("ann@example.com").await;
    let events = ground.recorded().await;
    assert_eq!(events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["sign_in"]);
    assert_eq!((events[0].user_id, events[0].tenant_id), (Some(ann.uuid()), Some(acme.uuid())));
    let seen = "select last_seen_at is not null from control.users where id = $1";
    assert!(ground.control().await.query_opt(seen, params![ann]).await.unwrap().unwrap().get::<_, bool>(0));
    let device = "select ip, user_agent from control.sessions";
    let row = ground.control().await.query_opt(device, &[]).await.unwrap().unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("192.0.2.7", "test/1"));
}

#[tokio::test]
async fn the_tenant_is_the_named_one_else_the_one_used_last_else_the_first() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let globex = ground.tenant("globex").await;
    ground.join(globex, ann, "viewer").await;
    let chosen = async |attempt: SignIn| -> (TenantId, String) {
        let tokens = ground.identity.sign_in(attempt).await.unwrap();
        let org = ground.claims(&tokens).await.org.clone().unwrap();
        (org.id, org.role)
    };
    let (as_owner, as_viewer) = ((acme, "owner".to_owned()), (globex, "viewer".to_owned()));
    assert_eq!(chosen(sign_in("ann@example.com")).await, as_owner);
    assert_eq!(chosen(sign_in_to("ann@example.com", "globex")).await, as_viewer);
    assert_eq!(chosen(sign_in("ann@example.com")).await, as_viewer);
    assert_eq!(chosen(sign_in_to("ANN@example.com", "ACME")).await, as_owner);
    assert_eq!(chosen(sign_in_to("ann@example.com", &globex.to_string().to_uppercase())).await, as_viewer);
}

#[tokio::test]
async fn who_belongs_nowhere_signs_in_to_no_tenant() {
    let ground = Ground::start().await;
    ground.person("ann@example.com").await;
    let tokens = ground.sign_in("ann@example.com").await;
    assert!(part(&tokens.access_token, 1).get("org").is_none());
    assert_eq!(ground.claims(&tokens).await.org, None);
}

#[tokio::test]
async fn a_tenant_of_others_is_refused_as_one_that_does_not_exist_and_reported() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let globex = ground.tenant("globex").await;
    let left = ground.tenant("left").await;
    ground.join(left, ann, "member").await;
    ground.batch(&format!("update control.memberships set active = false where tenant_id = '{left}'")).await;
    let gone = ground.tenant("gone").await;
    ground.join(gone, ann, "member").await;
    ground.batch("update control.tenants set status = 'deleting' where slug = 'gone'").await;
    let claims = ground.claims(&ground.sign_in("ann@example.com").await).await;
    let globex = globex.to_string();
    let named = ["globex", &globex, "absent", "left", "gone", "", "acme\0", "' or true --"];
    for name in named {
        assert_eq!(refusal(ground.identity.sign_in(sign_in_to("ann@example.com", name)).await), "not a member");
        assert_eq!(refusal(ground.identity.switch(&claims, name, device()).await), "not a member");
    }
    let events = ground.recorded().await;
    let attempts: Vec<_> = events.iter().filter(|event| event.kind == "cross_tenant_access_attempt").collect();
    assert_eq!(attempts.len(), named.len() * 2);
    assert!(attempts.iter().all(|event| event.user_id == Some(ann.uuid())));
    assert_eq!(attempts[0].tenant_id, Some(acme.uuid()), "a switch starts from a tenant");
    assert_eq!(attempts[0].attempted_tenant.as_deref(), Some("' or true --"));
    let sessions = "select count(*) from control.sessions";
    let count: i64 = ground.control().await.query_opt(sessions, &[]).await.unwrap().unwrap().get(0);
    assert_eq!(count, 1, "a refused sign-in opens no session");
}

#[tokio::test]
async fn switching_gives_tokens_of_the_same_session_for_the_other_tenant() {
    let ground = Ground::start().await;
    let (ann, _) = ground.ann_of_acme().await;
    let globex = ground.tenant("globex").await;
    ground.join(globex, ann, "viewer").await;
    let first = ground.identity.sign_in(sign_in_to("ann@example.com", "acme")).await.unwrap();
    let before = ground.claims(&first).await;
    let tokens = ground.identity.switch(&before, "globex", device()).await.unwrap();
    let after = ground.claims(&tokens).await;
    assert_eq!(after.session, before.session);
    let org = after.org.clone().unwrap();
    assert_eq!((org.id, org.slug.as_str(), org.role.as_str()), (globex, "globex", "viewer"));
    let refreshed = ground.identity.refresh(&tokens.refresh_token, device()).await.unwrap();
    assert_eq!(ground.claims(&refreshed).await.org.as_ref().unwrap().id, globex);
    assert_eq!(ground.events().await, ["tenant_switch", "sign_in"]);
}

#[tokio::test]
async fn signing_out_ends_the_session_and_no_other() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let (here, there) = (ground.sign_in("ann@example.com").await, ground.sign_in("ann@example.com").await);
    let claims = ground.claims(&here).await;
    ground.identity.sign_out(&claims).await.unwrap();
    ground.identity.sign_out(&claims).await.unwrap();
    assert_eq!(refusal(ground.identity.verify_access_token(&here.access_token).await), "invalid token");
    assert_eq!(refusal(ground.identity.refresh(&here.refresh_token, device()).await), "invalid token");
    assert_eq!(refusal(ground.identity.switch(&claims, "acme", device()).await), "invalid token");
    let elsewhere = ground.other_process().await;
    assert_eq!(refusal(elsewhere.verify_access_token(&here.access_token).await), "invalid token");
    ground.claims(&there).await;
    assert_eq!(ground.events().await, ["sign_out", "sign_in", "sign_in"]);
}

#[tokio::test]
async fn a_token_is_refused_when_its_session_has_ended_or_its_person_is_shut_out() {
    for end in [
        "update control.sessions set expires_at = now()",
        "update control.sessions set revoked_at = now()",
        "delete from control.sessions",
        "update control.users set active = false",
        "delete from control.users",
    ] {
        let ground = Ground::start().await;
        ground.ann_of_acme().await;
        let tokens = ground.sign_in("ann@example.com").await;
        ground.batch(end).await;
        assert_eq!(refusal(ground.identity.verify_access_token(&tokens.access_token).await), "invalid token", "{end}");
        assert_eq!(refusal(ground.identity.refresh(&tokens.refresh_token, device()).await), "invalid token", "{end}");
    }
}

#[tokio::test]
async fn me_tells_who_the_caller_is_and_where_they_belong() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    for (slug, role) in [("globex", "viewer"), ("left", "member"), ("gone", "member")] {
        let tenant = ground.tenant(slug).await;
        ground.join(tenant, ann, role).await;
    }
    ground.tenant("foreign").await;
    ground
        .batch(
            "update control.tenants set status = 'archived' where slug = 'gone';
             update control.tenants set status = 'suspended' where slug = 'globex';
             update control.memberships set active = false
             where tenant_id = (select id from control.tenants where slug = 'left')",
        )
        .await;
    let claims = ground.claims(&ground.identity.sign_in(sign_in_to("ann@example.com", "acme")).await.unwrap()).await;
    let me = ground.identity.me(&claims).await.unwrap();
    assert_eq!((me.user.id, me.user.email.as_str()), (ann, "ann@example.com"));
    assert_eq!((me.user.first_name.as_str(), me.user.last_name.as_str()), ("Ann", "Smith"));
    assert!(!me.user.email_verified);
    assert_eq!(me.tenant.unwrap().id, acme);
    let places = me.memberships.iter();
    let places: Vec<_> =
        places.map(|m| (m.name.as_str(), m.slug.as_str(), m.status.as_str(), m.role.as_str())).collect();
    assert_eq!(places, [("Acme", "acme", "active", "owner"), ("Globex", "globex", "suspended", "viewer")]);
}

#[tokio::test]
async fn a_developers_token_works_until_it_ends_and_cannot_be_prolonged() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let token = ground.identity.developer_token(ann, acme, 3600).await.unwrap();
    let claims = ground.identity.verify_access_token(&token).await.unwrap();
    assert_eq!((claims.user, claims.org.as_ref().unwrap().id), (ann, acme));
    let switched = ground.identity.switch(&claims, "acme", device()).await.unwrap();
    assert_eq!(refusal(ground.identity.refresh(&switched.refresh_token, device()).await), "invalid token");
    let globex = ground.tenant("globex").await;
    assert_eq!(refusal(ground.identity.developer_token(ann, globex, 60).await), "not a member");
    assert_eq!(refusal(ground.identity.developer_token(UserId::generate(), acme, 60).await), "not a member");
    let ended = ground.identity.developer_token(ann, acme, 0).await.unwrap();
    assert_eq!(refusal(ground.identity.verify_access_token(&ended).await), "invalid token");
}

/// A verified token is remembered, but never past its end.
#[tokio::test]
async fn a_remembered_token_ends_in_time() {
    let ground = Ground::start().await;
    let (ann, acme) = ground.ann_of_acme().await;
    let token = ground.identity.developer_token(ann, acme, 2).await.unwrap();
    ground.batch("update control.sessions set expires_at = now() + interval '1 hour'").await;
    ground.identity.verify_access_token(&token).await.unwrap();
    while ground.identity.verify_access_token(&token).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(refusal(ground.identity.verify_access_token(&token).await), "invalid token");
}

#[tokio::test]
async fn debug_output_shows_neither_secrets_nor_addresses() {
    let ground = Ground::start().await;
    ground.ann_of_acme().await;
    let attempt = sign_in("ann@example.com");
    let mut shown = format!("{attempt:?}");
    let tokens = ground.identity.sign_in(attempt).await.unwrap();
    let claims = ground.claims(&tokens).await;
    shown += &format!("{tokens:?} {claims:?} {:?}", ground.identity.me(&claims).await.unwrap());
    shown += &format!("{:?}", crate::new_user("ann@example.com"));
    let address = email("ann@example.com");
    ground.identity.create_operator(&address, PASSWORD.into()).await.unwrap();
    let signed_in = ground.identity.sign_in_operator(&address, &PASSWORD.into(), None, device()).await.unwrap();
    let operator = ground.identity.verify_operator_token(&signed_in.access_token).await.unwrap();
    shown += &format!("{signed_in:?} {operator:?} {:?}", ground.identity.operators().await.unwrap());
    for secret in ["ann@", PASSWORD, "eyJ", "rh_rt_", "argon2", "Smith"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
