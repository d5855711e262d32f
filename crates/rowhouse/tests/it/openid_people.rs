//! What people meet when they sign in to other programs: being asked who they are and whether they consent,
//! in which organisation they are, and signing out.

use serde_json::json;

use crate::openid_peer::{
    AFTER, REDIRECT, Registered, ann, are_good, claims, open, operator, parameter, until_refused,
};
use crate::service::{ACME, GLOBEX, Service};

#[tokio::test]
async fn whoever_is_not_here_signs_in_and_comes_back_and_a_client_may_ask_for_it_again() {
    let service = Service::shared();
    let client = Registered::new(&operator(service, "prompt").await, &json!({ "first_party": true })).await;
    let issuer = service.url.replace("127.0.0.1", "localhost");
    for token in [None, Some("nonsense")] {
        let seen = open(&client.url(service, &[("login_hint", ACME.email)]), token).await;
        let location = seen.location.clone().unwrap();
        assert!(location.starts_with(&format!("{issuer}/sign-in?")), "{location}");
        assert_eq!(seen.parameter("login_hint").as_deref(), Some(ACME.email));
        let back = seen.parameter("return_to").unwrap();
        assert!(back.starts_with("/oauth/authorize?") && back.contains(&client.id), "{back}");
        let none = open(&client.url(service, &[("prompt", "none")]), token).await;
        assert_eq!(none.parameter("error").as_deref(), Some("login_required"));
    }
    let before = ann(service).await;
    let long_ago = "update control.sessions set proved_at = proved_at - interval '2 min' where user_id =
                    (select id from control.users where email = 'ann@acme.example')";
    service.sql("rowhouse_control", long_ago);
    for asked in [("prompt", "login"), ("max_age", "60"), ("max_age", "0")] {
        let url = client.url(service, &[asked]);
        let seen = open(&url, before.token.as_deref()).await;
        let back = seen.parameter("return_to").unwrap_or_else(|| panic!("{asked:?} {:?}", seen.location));
        let back = format!("{}{back}", service.url);
        // Coming back without having signed in is no use; having done so it goes on, once for all.
        assert!(open(&back, before.token.as_deref()).await.parameter("return_to").is_some());
        let after = ann(service).await;
        let code = open(&back, after.token.as_deref()).await.parameter("code").unwrap();
        let told = client.redeem(service, &code).await;
        let auth_time = claims(&told.text("/id_token"))["auth_time"].as_i64().unwrap();
        assert!(chrono::Utc::now().timestamp() - auth_time < 60);
        service.sql("rowhouse_control", long_ago);
    }
    // A client that expects somebody is told if another is here.
    let code = client.code(service, &before, &[]).await;
    let hint = client.redeem(service, &code).await.text("/id_token");
    let expecting = [("id_token_hint", hint.as_str()), ("prompt", "none")];
    let bob = service.sign_in(GLOBEX.email).await;
    assert!(open(&client.url(service, &expecting), before.token.as_deref()).await.parameter("code").is_some());
    let other = open(&client.url(service, &expecting), bob.token.as_deref()).await;
    assert_eq!(other.parameter("error").as_deref(), Some("login_required"));
    let sent = open(&client.url(service, &expecting[..1]), bob.token.as_deref()).await.parameter("return_to").unwrap();
    let again = open(&format!("{}{sent}", service.url), bob.token.as_deref()).await;
    assert_eq!(again.parameter("error").as_deref(), Some("login_required"));
    let forged = format!("{hint}A");
    let forged = client.url(service, &[("id_token_hint", forged.as_str())]);
    let refused = open(&forged, before.token.as_deref()).await;
    assert_eq!(refused.parameter("error").as_deref(), Some("invalid_request"));
    // A mark that nobody gave does not stand for signing in.
    let forged = client.url(service, &[("prompt", "login"), ("rowhouse_login", "AAAAAAAAAAA")]);
    assert!(open(&forged, before.token.as_deref()).await.parameter("return_to").is_some());
    // A client that is the service's own does not have people asked, unless it wants them to be.
    let direct = open(&client.url(service, &[("prompt", "none")]), before.token.as_deref()).await;
    assert!(direct.parameter("code").is_some());
    let asked = open(&client.url(service, &[("prompt", "consent")]), before.token.as_deref()).await;
    assert!(asked.location.unwrap().starts_with(&format!("{issuer}/consent?request=")));
}

#[tokio::test]
async fn a_person_decides_once_in_their_own_session_and_takes_it_back() {
    let service = Service::shared();
    let client = Registered::new(&operator(service, "consent").await, &json!({ "name": "The Board" })).await;
    let (person, elsewhere) = (ann(service).await, ann(service).await);
    let bob = service.sign_in(GLOBEX.email).await;
    let ask = async || open(&client.url(service, &[]), person.token.as_deref()).await.parameter("request").unwrap();
    let request = ask().await;
    let shown = person.get(&format!("/oauth/authorize/decision?request={request}")).await;
    assert_eq!(shown.text("/data/client_name"), "The Board");
    assert_eq!(shown.body["data"]["scopes"], json!(["openid", "email", "org", "offline_access"]));
    assert_eq!(shown.text("/data/org/slug"), ACME.slug);
    let decide = |request: &str, decision| json!({ "request": request, "decision": decision });
    for other in [&elsewhere, &bob] {
        assert_eq!(other.get(&format!("/oauth/authorize/decision?request={request}")).await.status, 404);
        assert_eq!(other.post("/oauth/authorize/decision", &decide(&request, "allow")).await.status, 404);
    }
    let denied = person.post("/oauth/authorize/decision", &decide(&request, "deny")).await.text("/data/redirect_to");
    assert_eq!(parameter(&denied, "error").as_deref(), Some("access_denied"));
    assert_eq!(person.post("/oauth/authorize/decision", &decide(&request, "allow")).await.status, 404);
    assert!(person.get("/api/auth/consents").await.data().iter().all(|consent| consent["id"] != client.id));

    let allowed = person.post("/oauth/authorize/decision", &decide(&ask().await, "allow")).await;
    let code = parameter(&allowed.text("/data/redirect_to"), "code").unwrap();
    let tokens = client.redeem(service, &code).await.body;
    // Not asked again, in whatever session; for more they are.
    let seen = open(&client.url(service, &[("prompt", "none")]), elsewhere.token.as_deref()).await;
    assert!(seen.parameter("code").is_some());
    let more = client.url(service, &[("prompt", "none"), ("scope", "openid profile")]);
    let seen = open(&more, elsewhere.token.as_deref()).await;
    assert_eq!(seen.parameter("error").as_deref(), Some("consent_required"));
    let listed = person.get("/api/auth/consents?limit=200").await;
    let found = listed.data().iter().find(|consent| consent["id"] == client.id).unwrap();
    assert_eq!(found["client_name"], "The Board");
    assert_eq!(bob.delete(&format!("/api/auth/consents/{}", client.id)).await.status, 404);
    assert_eq!(person.delete(&format!("/api/auth/consents/{}", client.id)).await.status, 200);
    until_refused(service, tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(are_good(service, &client, &tokens).await, (false, false));
}

#[tokio::test]
async fn the_organisation_is_the_sessions_or_the_one_that_is_asked_for() {
    let service = Service::shared();
    let client = Registered::new(&operator(service, "org").await, &json!({})).await;
    let person = ann(service).await;
    for other in [vec![], vec![("org", ACME.slug)]] {
        let tokens = client.tokens(service, &person, &other).await;
        let org = &claims(tokens["id_token"].as_str().unwrap())["org"];
        assert_eq!((&org["slug"], &org["role"]), (&json!(ACME.slug), &json!("owner")));
    }
    let without = client.tokens(service, &person, &[("scope", "openid email")]).await;
    let told = claims(without["id_token"].as_str().unwrap());
    assert_eq!((told.get("org"), told.get("name"), &told["nonce"]), (None, None, &json!("n-o-n-c-e")));
    assert_eq!(told["aud"], client.id);
    assert_eq!(without.get("refresh_token"), None);
    let access = claims(without["access_token"].as_str().unwrap());
    assert_eq!((&access["aud"], access.get("org")), (&json!(client.id), None));
}

#[tokio::test]
async fn signing_out_takes_a_genuine_hint_and_sends_nobody_to_a_strange_address() {
    let service = Service::shared();
    let operator = operator(service, "logout").await;
    let (client, other) = (Registered::new(&operator, &json!({})).await, Registered::new(&operator, &json!({})).await);
    let person = ann(service).await;
    let tokens = client.tokens(service, &person, &[]).await;
    let hint = tokens["id_token"].as_str().unwrap();
    let url =
        |parameters: &[(&str, &str)]| format!("{}/oauth/logout?{}", service.url, crate::openid_peer::query(parameters));
    let swapped = hint.split('.').next().unwrap().to_owned();
    let tampered = format!("{swapped}.{}", hint.split_once('.').unwrap().1.replacen('e', "f", 1));
    let unsigned = format!("{}.", hint.rsplit_once('.').unwrap().0);
    let access = tokens["access_token"].as_str().unwrap();
    for parameters in [
        vec![("id_token_hint", tampered.as_str()), ("post_logout_redirect_uri", AFTER)],
        vec![("id_token_hint", unsigned.as_str()), ("post_logout_redirect_uri", AFTER)],
        vec![("id_token_hint", access), ("post_logout_redirect_uri", AFTER)],
        vec![("id_token_hint", person.token.as_deref().unwrap())],
        vec![("id_token_hint", hint), ("post_logout_redirect_uri", "https://evil.example/")],
        vec![("id_token_hint", hint), ("post_logout_redirect_uri", REDIRECT)],
        vec![("id_token_hint", hint), ("client_id", other.id.as_str()), ("post_logout_redirect_uri", AFTER)],
        vec![("post_logout_redirect_uri", AFTER)],
        vec![("client_id", "nobody"), ("post_logout_redirect_uri", AFTER)],
    ] {
        let seen = open(&url(&parameters), person.token.as_deref()).await;
        assert_eq!((seen.status.as_u16(), seen.location), (400, None), "{parameters:?}: {}", seen.text);
    }
    assert_eq!(person.get("/api/auth/me").await.status, 200);
    // Without a hint a person is asked: a link elsewhere must not sign them out.
    let by_link = url(&[("client_id", client.id.as_str()), ("post_logout_redirect_uri", AFTER)]);
    let seen = open(&by_link, person.token.as_deref()).await;
    assert!(seen.location.as_deref().unwrap().contains("/sign-out?"), "{:?}", seen.location);
    assert_eq!(person.get("/api/auth/me").await.status, 200);
    assert_eq!(open(&by_link, None).await.location.as_deref(), Some(AFTER));
    let done = open(&url(&[("id_token_hint", hint)]), None).await;
    assert!(done.location.unwrap().ends_with("/signed-out"));
    assert_eq!(person.get("/api/auth/me").await.status, 401);
}
