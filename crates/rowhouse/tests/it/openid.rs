//! Signing in to other programs with an account here: what each side may rely on, and every way to take a
//! code, a token or a person elsewhere.

use serde_json::{Value, json};

use crate::openid_peer::{
    AFTER, CHALLENGE, Peer, REDIRECT, Registered, allow, ann, are_good, claims, open, operator, parameter, send_form,
    until_refused, userinfo,
};
use crate::service::{ACME, Caller, GLOBEX, Place, Service};

#[tokio::test]
async fn a_certified_library_signs_people_in_refreshes_introspects_revokes_and_signs_out() {
    let Some(peer) = Peer::shared() else { return };
    let service = Service::shared();
    let operator = operator(service, "peer").await;
    for (algorithm, method) in [("ES256", "basic"), ("RS256", "post"), ("RS256", "none"), ("ES256", "none")] {
        let other = json!({ "id_token_algorithm": algorithm, "public": method == "none" });
        let client = Registered::new(&operator, &other).await;
        sign_in_by(peer, service, &client, algorithm, method).await;
    }
}

async fn sign_in_by(peer: &Peer, service: &Service, client: &Registered, algorithm: &str, method: &str) {
    let issuer = service.url.replace("127.0.0.1", "localhost");
    let person = ann(service).await;
    let started = peer
        .ask(
            "start",
            &json!({
                "issuer": issuer, "client_id": client.id, "secret": client.secret, "algorithm": algorithm,
                "method": method, "redirect_uri": REDIRECT, "scope": "openid profile email org offline_access",
                "max_age": "3600", "login_hint": ACME.email,
            }),
        )
        .await;
    let url = started["url"].as_str().unwrap_or_else(|| panic!("{started}"));
    let to = allow(&person, open(url, person.token.as_deref()).await).await;
    assert!(to.starts_with(REDIRECT), "{to}");
    let id = &started["id"];
    let tokens = peer.ask("finish", &json!({ "id": id, "url": to })).await;
    let me = person.get("/api/auth/me").await;
    let told = &tokens["claims"];
    assert_eq!(told["sub"], me.text("/data/user/id"), "{tokens}");
    assert_eq!(told["email"], ACME.email);
    assert_eq!(told["org"], me.body["data"]["tenant"]);
    let ask = async |what: &str, mut body: Value| {
        body["id"] = id.clone();
        peer.ask(what, &body).await
    };
    let info = ask("userinfo", json!({ "token": tokens["access_token"], "sub": told["sub"] })).await;
    assert_eq!((&info["email"], &info["org"]), (&told["email"], &told["org"]), "{info}");
    let again = ask("refresh", json!({ "token": tokens["refresh_token"] })).await;
    assert_eq!(again["claims"]["auth_time"], told["auth_time"], "{again}");
    assert_ne!(again["refresh_token"], tokens["refresh_token"]);
    let seen = ask("introspect", json!({ "token": again["access_token"] })).await;
    match method {
        "none" => assert_eq!(seen["refused"], "unauthorized_client", "{seen}"),
        _ => assert_eq!((&seen["active"], &seen["client_id"]), (&json!(true), &json!(client.id)), "{seen}"),
    }
    let revoked = ask("revoke", json!({ "token": again["refresh_token"] })).await;
    assert_eq!(revoked["revoked"], true, "{revoked}");
    let refused = ask("refresh", json!({ "token": again["refresh_token"] })).await;
    assert_eq!(refused["refused"], "invalid_grant", "{refused}");
    if method != "none" {
        let seen = ask("introspect", json!({ "token": again["access_token"] })).await;
        assert_eq!(seen, json!({ "active": false }));
    }
    let hint = json!({ "id_token_hint": tokens["id_token"], "post_logout_redirect_uri": AFTER, "state": "bye" });
    let logout = ask("logout", hint).await;
    let gone = open(logout["url"].as_str().unwrap(), None).await;
    assert_eq!(gone.location.as_deref(), Some(format!("{AFTER}?state=bye").as_str()), "{}", gone.text);
    assert_eq!(person.get("/api/auth/me").await.status, 401);
}

#[tokio::test]
async fn a_library_refuses_an_answer_that_is_for_another_client() {
    let Some(peer) = Peer::shared() else { return };
    let service = Service::shared();
    let operator = operator(service, "mixed").await;
    let (one, other) = (Registered::new(&operator, &json!({})).await, Registered::new(&operator, &json!({})).await);
    let person = ann(service).await;
    let issuer = service.url.replace("127.0.0.1", "localhost");
    let start = json!({ "issuer": issuer, "client_id": one.id, "secret": one.secret, "algorithm": "ES256",
                        "method": "basic", "redirect_uri": REDIRECT, "scope": "openid" });
    let started = peer.ask("start", &start).await;
    let state = parameter(started["url"].as_str().unwrap(), "state").unwrap();
    // A code that was given to another client, put into this one's answer.
    let code = other.code(service, &person, &[("state", state.as_str())]).await;
    let iss = service.url.replace("127.0.0.1", "localhost");
    let url = format!("{REDIRECT}?code={code}&state={state}&iss={iss}");
    let refused = peer.ask("finish", &json!({ "id": started["id"], "url": url })).await;
    assert_eq!(refused["refused"], "invalid_grant", "{refused}");
    let elsewhere = format!("{REDIRECT}?code={code}&state={state}&iss=https://evil.example");
    let refused = peer.ask("finish", &json!({ "id": started["id"], "url": elsewhere })).await;
    assert!(refused["message"].as_str().unwrap().contains("iss"), "{refused}");
}

#[tokio::test]
async fn nobody_is_sent_to_an_address_that_the_client_has_not_registered() {
    let service = Service::shared();
    let operator = operator(service, "redirect").await;
    let client =
        Registered::new(&operator, &json!({ "redirect_uris": ["https://app.example.com/cb", REDIRECT] })).await;
    let person = ann(service).await;
    for evil in [
        "https://evil.example/cb",
        "https://app.example.com/cb/",
        "https://app.example.com/cb?x=1",
        "https://app.example.com/cb/../../evil",
        "https://app.example.com.evil.example/cb",
        "https://app.example.com@evil.example/cb",
        "http://app.example.com/cb",
        "http://127.0.0.1:4711/other",
        "http://localhost:4711/callback",
        "http://127.0.0.1:4711@evil.example/callback",
        "//evil.example",
        "javascript:alert(1)",
        "",
    ] {
        let seen = open(&client.url(service, &[("redirect_uri", evil)]), person.token.as_deref()).await;
        assert_eq!((seen.status.as_u16(), seen.location), (400, None), "{evil}: {}", seen.text);
        // Neither for a fault that a registered address would be told.
        let faulty = client.url(service, &[("redirect_uri", evil), ("response_type", "token")]);
        assert_eq!(open(&faulty, None).await.location, None, "{evil}");
    }
    for id in ["", "nobody", "01900000-0000-7000-8000-00000000dead"] {
        let seen = open(&client.url(service, &[("client_id", id)]), person.token.as_deref()).await;
        assert_eq!((seen.status.as_u16(), seen.location), (400, None), "{id}");
    }
    let twice = format!("{}&redirect_uri=https://evil.example/cb", client.url(service, &[]));
    assert_eq!(open(&twice, person.token.as_deref()).await.location, None);
    // A form is judged alike, and goes on as a query.
    let good = client.url(service, &[]);
    let (path, form) = good.split_once('?').unwrap();
    let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    for (form, status) in [(form.to_owned(), 303), (form.replace("callback", "elsewhere"), 400)] {
        let request = browser.post(path).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(form.clone()).send().await.unwrap();
        assert_eq!(answer.status(), status, "{form}");
        let location = answer.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(location, (status == 303).then(|| format!("/oauth/authorize?{form}")));
    }
    // A program on the person's machine listens on whatever port it got.
    let native = client.url(service, &[("redirect_uri", "http://127.0.0.1:50123/callback"), ("prompt", "none")]);
    let seen = open(&native, person.token.as_deref()).await;
    assert!(seen.location.unwrap().starts_with("http://127.0.0.1:50123/callback?error=consent_required"));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_to_its_client_with_state_and_issuer() {
    let service = Service::shared();
    let operator = operator(service, "faults").await;
    let client = Registered::new(&operator, &json!({ "public": true })).await;
    let person = ann(service).await;
    for (change, code) in [
        (vec![("response_type", "token")], "unsupported_response_type"),
        (vec![("response_type", "")], "invalid_request"),
        (vec![("scope", "openid api")], "invalid_scope"),
        (vec![("code_challenge", ""), ("code_challenge_method", "")], "invalid_request"),
        (vec![("code_challenge_method", "plain")], "invalid_request"),
        (vec![("code_challenge", "short")], "invalid_request"),
        (vec![("request", "e30.e30.")], "request_not_supported"),
        (vec![("request_uri", "https://evil.example/r")], "request_uri_not_supported"),
        (vec![("prompt", "none login")], "invalid_request"),
        (vec![("max_age", "soon")], "invalid_request"),
        (vec![("org", GLOBEX.slug)], "access_denied"),
        (vec![("org", "no-such-tenant")], "access_denied"),
        (vec![("prompt", "none")], "consent_required"),
    ] {
        let seen = open(&client.url(service, &change), person.token.as_deref()).await;
        assert_eq!(seen.status, 303, "{change:?}: {}", seen.text);
        let told = ["error", "state", "iss"].map(|name| seen.parameter(name).unwrap_or_default());
        let issuer = service.url.replace("127.0.0.1", "localhost");
        assert_eq!(told, [code.to_owned(), "s-t-a-t-e".to_owned(), issuer], "{change:?}");
        assert_eq!(seen.parameter("code"), None);
    }
}

#[tokio::test]
async fn a_code_is_good_once_for_its_client_its_address_and_its_verifier() {
    let service = Service::shared();
    let operator = operator(service, "codes").await;
    let (client, other) = (Registered::new(&operator, &json!({})).await, Registered::new(&operator, &json!({})).await);
    let person = ann(service).await;
    let code = client.code(service, &person, &[]).await;
    let refused = async |client: &Registered, change: (&str, &str)| {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", REDIRECT),
            ("code_verifier", crate::openid_peer::VERIFIER),
        ];
        form.retain(|(name, _)| *name != change.0);
        form.push(change);
        let answer = send_form(service, "/oauth/token", None, &client.form(&form)).await;
        (answer.status.as_u16(), answer.body["error"].as_str().unwrap_or_default().to_owned())
    };
    let invalid_grant = (400, "invalid_grant".to_owned());
    assert_eq!(refused(&other, ("x", "y")).await, invalid_grant, "another client's");
    for change in [
        ("code", "rh_code_made-up"),
        ("redirect_uri", "http://127.0.0.1:4712/callback"),
        ("code_verifier", ""),
        ("code_verifier", CHALLENGE),
        ("code_verifier", "short"),
    ] {
        assert_eq!(refused(&client, change).await, invalid_grant, "{change:?}");
    }
    for change in [("code", ""), ("redirect_uri", ""), ("grant_type", "")] {
        assert_eq!(refused(&client, change).await, (400, "invalid_request".to_owned()), "{change:?}");
    }
    let unsupported = (400, "unsupported_grant_type".to_owned());
    assert_eq!(refused(&client, ("grant_type", "password")).await, unsupported);
    // None of it has used the code up.
    let tokens = client.redeem(service, &code).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    let access = tokens.text("/access_token");
    assert_eq!(userinfo(service, &access).await.status, 200);
    // A second use ends what the first one gave.
    assert_eq!(client.redeem(service, &code).await.text("/error"), "invalid_grant");
    until_refused(service, &access).await;
    assert_eq!(are_good(service, &client, &tokens.body).await, (false, false));
}

#[tokio::test]
async fn a_code_without_a_challenge_takes_no_verifier_and_one_ends_after_a_minute() {
    let service = Service::shared();
    let client = Registered::new(&operator(service, "minute").await, &json!({})).await;
    let person = ann(service).await;
    let without = [("code_challenge", ""), ("code_challenge_method", "")];
    let code = client.code(service, &person, &without).await;
    // Else whoever injects a code of their own would pass a client's PKCE.
    assert_eq!(client.redeem(service, &code).await.text("/error"), "invalid_grant");
    let late = client.code(service, &person, &[]).await;
    let minute = format!(
        "update control.openid_grants set code_expires_at = code_expires_at - interval '60 s' where client_id = '{}'",
        client.id
    );
    service.sql("rowhouse_control", &minute);
    assert_eq!(client.redeem(service, &late).await.text("/error"), "invalid_grant");
}

#[tokio::test]
async fn a_client_shows_who_it_is_or_gets_nothing() {
    let service = Service::shared();
    let operator = operator(service, "secrets").await;
    let (client, public) =
        (Registered::new(&operator, &json!({})).await, Registered::new(&operator, &json!({ "public": true })).await);
    let (id, secret) = (client.id.as_str(), client.secret.as_deref().unwrap());
    let grant = ("grant_type", "refresh_token");
    for (basic, form, error, status) in [
        (None, vec![], "invalid_client", 401),
        (None, vec![("client_id", id)], "invalid_client", 401),
        (None, vec![("client_id", id), ("client_secret", "wrong")], "invalid_client", 401),
        (None, vec![("client_id", "nobody"), ("client_secret", secret)], "invalid_client", 401),
        (None, vec![("client_id", public.id.as_str()), ("client_secret", secret)], "invalid_client", 401),
        (Some((id, "wrong")), vec![], "invalid_client", 401),
        (Some((id, "")), vec![], "invalid_client", 401),
        (Some((id, secret)), vec![("client_id", public.id.as_str())], "invalid_request", 400),
        (Some((id, secret)), vec![("client_secret", secret)], "invalid_request", 400),
        (Some((id, secret)), vec![("refresh_token", "rh_ort_x")], "invalid_grant", 400),
    ] {
        for path in ["/oauth/token", "/oauth/introspect", "/oauth/revoke"] {
            let form: Vec<_> = form.iter().copied().chain([grant, ("token", "x")]).collect();
            let answer = send_form(service, path, basic, &form).await;
            if error == "invalid_grant" && path != "/oauth/token" {
                assert_eq!(answer.status, 200, "{path}: {}", answer.body);
                continue;
            }
            assert_eq!((answer.status.as_u16(), answer.text("/error")), (status, error.to_owned()), "{path} {form:?}");
            let challenge = answer.etag.unwrap_or_default();
            assert_eq!(challenge.starts_with("Basic"), status == 401, "{challenge}");
        }
    }
    let json = service.anonymous().post("/oauth/token", &json!({ "grant_type": "refresh_token" })).await;
    assert_eq!((json.status.as_u16(), json.text("/error")), (400, "invalid_request".to_owned()));
}

#[tokio::test]
async fn a_refresh_token_that_comes_late_a_second_time_ends_everything_and_a_lost_answer_nothing() {
    let service = Service::shared();
    let operator = operator(service, "reuse").await;
    let (client, other) = (Registered::new(&operator, &json!({})).await, Registered::new(&operator, &json!({})).await);
    let person = ann(service).await;
    let first = client.tokens(service, &person, &[]).await;
    let first = first["refresh_token"].as_str().unwrap();
    assert_eq!(other.refresh(service, first).await.text("/error"), "invalid_grant");
    let second = client.refresh(service, first).await;
    let lost = client.refresh(service, first).await;
    assert_eq!(lost.text("/refresh_token"), second.text("/refresh_token"));
    let later = format!(
        "update control.openid_grants set rotated_at = rotated_at - interval '11 s' where client_id = '{}'",
        client.id
    );
    service.sql("rowhouse_control", &later);
    let access = second.text("/access_token");
    assert_eq!(userinfo(service, &access).await.status, 200);
    assert_eq!(client.refresh(service, first).await.text("/error"), "invalid_grant");
    until_refused(service, &access).await;
    assert_eq!(are_good(service, &client, &second.body).await, (false, false));
    // Fewer scopes are given, more are not.
    let tokens = client.tokens(service, &person, &[]).await;
    let narrow = |scope| {
        let token = tokens["refresh_token"].as_str().unwrap();
        client.form(&[("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)])
    };
    let wide = send_form(service, "/oauth/token", None, &narrow("openid profile")).await;
    assert_eq!(wide.text("/error"), "invalid_scope");
    let fewer = send_form(service, "/oauth/token", None, &narrow("email")).await;
    assert_eq!((fewer.text("/scope"), fewer.body.get("id_token")), ("email".to_owned(), None));
    assert_eq!(userinfo(service, &fewer.text("/access_token")).await.text("/error"), "insufficient_scope");
}

#[tokio::test]
async fn tokens_end_with_the_session_that_they_were_given_in() {
    let service = Service::shared();
    let client = Registered::new(&operator(service, "sessions").await, &json!({})).await;
    let (person, elsewhere) = (ann(service).await, ann(service).await);
    let tokens = client.tokens(service, &person, &[]).await;
    let kept = client.tokens(service, &elsewhere, &[]).await;
    assert_eq!(person.post("/api/auth/sign-out", &json!({})).await.status, 200);
    until_refused(service, tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(are_good(service, &client, &tokens).await, (false, false));
    assert_eq!(are_good(service, &client, &kept).await, (true, true));
    // A code that waits ends too.
    let code = client.code(service, &elsewhere, &[]).await;
    assert_eq!(elsewhere.post("/api/auth/sign-out", &json!({})).await.status, 200);
    assert_eq!(client.redeem(service, &code).await.text("/error"), "invalid_grant");
}

/// A person of two tenants, working in the first.
fn person_of_two(service: &Service) -> Caller {
    const EMAIL: &str = "two@tenants.example";
    let person = "insert into control.users (id, email) values (rowhouse.new_id(), 'two@tenants.example')
                  on conflict do nothing; select id from control.users where email = 'two@tenants.example'";
    let user = service.sql_as("rowhouse_owner", "rowhouse_control", person).unwrap();
    for demo in [&ACME, &GLOBEX] {
        let Place { tenant, database, .. } = service.place(demo);
        let join = format!(
            "insert into control.memberships (tenant_id, user_id, role) values ('{tenant}', '{user}', 'owner')
             on conflict do nothing"
        );
        service.sql("rowhouse_control", &join);
        let mirror = format!(
            "insert into rowhouse.members (tenant_id, user_id, role, email)
             values ('{tenant}', '{user}', 'owner', '{EMAIL}') on conflict do nothing"
        );
        service.sql(&database, &mirror);
    }
    service.token(ACME.slug, EMAIL)
}

#[tokio::test]
async fn a_token_opens_the_data_api_only_with_the_scope_for_it_and_nothing_but_it() {
    let service = Service::shared();
    let operator = operator(service, "api").await;
    let scopes = json!({ "scopes": ["openid", "org", "offline_access", "api"] });
    let client = Registered::new(&operator, &scopes).await;
    let person = person_of_two(service);
    let plain = client.tokens(service, &person, &[("scope", "openid org")]).await;
    let wide = client.tokens(service, &person, &[("scope", "openid org api")]).await;
    let with = |tokens: &Value, name: &str| service.anonymous().with_token(tokens[name].as_str().unwrap());
    for refused in [with(&plain, "access_token"), with(&plain, "id_token"), with(&wide, "id_token")] {
        assert_eq!(refused.get("/api/leads").await.status, 401);
        assert_eq!(refused.get("/api/auth/me").await.status, 401);
    }
    let api = with(&wide, "access_token");
    let read = api.get("/api/leads?per_page=1").await;
    assert_eq!((read.status.as_u16(), read.data().len()), (200, 1), "{}", read.body);
    assert_eq!(claims(wide["access_token"].as_str().unwrap())["org"]["slug"], ACME.slug);
    let made = api.post("/api/leads", &json!({ "full_name": "By a client" })).await;
    assert_eq!(made.status, 201, "{}", made.body);
    // The account, the organisation's people and keys, and other tenants stay closed.
    assert_eq!(api.get("/api/auth/me").await.status, 401);
    assert_eq!(api.post("/api/auth/switch", &json!({ "tenant": ACME.slug })).await.status, 401);
    assert_eq!(api.get(&format!("/api/tenants/{}/api-keys", ACME.slug)).await.status, 403);
    assert_eq!(api.get("/api/admin/tenants").await.status, 401);
    assert_eq!(api.with("X-Tenant-ID", GLOBEX.slug).get("/api/leads").await.code(), "tenant_mismatch");
    assert_eq!(api.get(&format!("/api/tenants/{}/members", GLOBEX.slug)).await.status, 404);
    assert_eq!(person.get(&format!("/api/tenants/{}", GLOBEX.slug)).await.status, 403, "their session names another");
    // And it signs nobody in elsewhere.
    let silent = client.url(service, &[("prompt", "none"), ("scope", "openid")]);
    let again = open(&silent, api.token.as_deref()).await;
    assert_eq!(again.parameter("error").as_deref(), Some("login_required"));
    assert_eq!(person.delete(&format!("/api/auth/consents/{}", client.id)).await.status, 200);
    while api.get("/api/leads").await.status == 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn operators_register_change_and_remove_clients() {
    let service = Service::shared();
    let operator = operator(service, "clients").await;
    let path = "/api/admin/oauth-clients";
    let body = |change: Value| {
        let mut body = json!({ "name": "Board", "redirect_uris": [REDIRECT] });
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    for (change, field) in [
        (json!({ "name": " " }), "name"),
        (json!({ "redirect_uris": [] }), "redirect_uris"),
        (json!({ "redirect_uris": ["http://app.example.com/cb"] }), "redirect_uris"),
        (json!({ "redirect_uris": ["https://*.example.com/cb"] }), "redirect_uris"),
        (json!({ "post_logout_redirect_uris": ["javascript:alert(1)"] }), "post_logout_redirect_uris"),
        (json!({ "scopes": ["openid", "root"] }), "scopes"),
        (json!({ "id_token_algorithm": "none" }), "id_token_algorithm"),
    ] {
        let refused = operator.post(path, &body(change.clone())).await;
        assert_eq!(
            (refused.status.as_u16(), refused.text("/error/details/0/field")),
            (422, field.to_owned()),
            "{change}"
        );
    }
    let client = Registered::new(&operator, &json!({})).await;
    let secret = client.secret.clone().unwrap();
    let listed = operator.get(&format!("{path}?limit=200")).await;
    assert!(listed.data().iter().any(|one| one["id"] == client.id));
    assert!(!listed.body.to_string().contains(&secret));
    // Two secrets for a while, then the new one only.
    let own = format!("{path}/{}", client.id);
    let rotate = async |seconds: u32| {
        let made = operator.post(&format!("{own}/secret"), &json!({ "overlap_seconds": seconds })).await;
        Registered { secret: Some(made.text("/data/secret")), ..client.clone() }
    };
    let second = rotate(60).await;
    for good in [&client, &second] {
        assert_eq!(good.refresh(service, "rh_ort_x").await.text("/error"), "invalid_grant");
    }
    let third = rotate(0).await;
    for refused in [&client, &second] {
        assert_eq!(refused.refresh(service, "rh_ort_x").await.text("/error"), "invalid_client");
    }
    // What it may ask for is what its tokens are good for.
    let person = ann(service).await;
    let tokens = third.tokens(service, &person, &[]).await;
    let fewer = operator.patch(&own, &json!({ "scopes": ["openid"] })).await;
    assert_eq!((fewer.status.as_u16(), fewer.text("/data/name")), (200, "Board".to_owned()), "{}", fewer.body);
    until_refused(service, tokens["access_token"].as_str().unwrap()).await;
    let narrow = third.tokens(service, &person, &[("scope", "openid")]).await;
    assert_eq!(operator.delete(&own).await.status, 200);
    until_refused(service, narrow["access_token"].as_str().unwrap()).await;
    assert_eq!(operator.delete(&own).await.status, 404);
    assert_eq!(operator.patch(&own, &json!({})).await.status, 404);
    assert_eq!(operator.post(&format!("{own}/secret"), &json!({})).await.status, 404);
}

#[tokio::test]
async fn what_is_offered_is_told_to_pages_of_any_origin() {
    let service = Service::shared();
    let issuer = service.url.replace("127.0.0.1", "localhost");
    for name in ["openid-configuration", "oauth-authorization-server"] {
        let told = service.anonymous().get(&format!("/.well-known/{name}")).await;
        assert_eq!(told.text("/issuer"), issuer);
        assert_eq!(told.text("/token_endpoint"), format!("{issuer}/oauth/token"));
        assert_eq!(told.body["code_challenge_methods_supported"], json!(["S256"]));
    }
    let client = reqwest::Client::new();
    for (path, is_open) in [("/oauth/token", true), ("/oauth/introspect", false), ("/api/auth/me", false)] {
        let request = client.request(reqwest::Method::OPTIONS, format!("{}{path}", service.url));
        let answer = request.header("origin", "https://app.example.com").send().await.unwrap();
        let allowed = answer.headers().get("access-control-allow-origin").is_some_and(|value| value == "*");
        assert_eq!(allowed, is_open, "{path}");
        assert!(!answer.headers().contains_key("access-control-allow-credentials"));
    }
}

#[tokio::test]
async fn whoever_is_refused_too_often_waits() {
    let service = Service::start_with("solar", &["--auth-attempts", "3"]);
    let form = [("grant_type", "refresh_token"), ("client_id", "nobody"), ("refresh_token", "x")];
    for status in [401, 401, 401, 429, 429] {
        assert_eq!(send_form(&service, "/oauth/token", None, &form).await.status, status);
    }
    let unknown = format!("{}/oauth/authorize?client_id=nobody", service.url);
    for status in [400, 400, 400, 429] {
        assert_eq!(open(&unknown, None).await.status, status);
    }
    let made =
        service.command(&["oauth-client", "create", "--name", "Own", "--redirect-uri", REDIRECT, "--first-party"]);
    let text = |name: &str| made["data"][name].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    let client = Registered { id: text("id"), secret: Some(text("secret")) };
    let person = ann(&service).await;
    let url = client.url(&service, &[("scope", "openid")]);
    for _ in 0..3 {
        assert!(open(&url, person.token.as_deref()).await.parameter("code").is_some());
    }
    assert_eq!(open(&url, person.token.as_deref()).await.status, 429);
    // What is good is not counted.
    let code = client.code(&service, &ann(&service).await, &[("scope", "openid")]).await;
    assert_eq!(client.redeem(&service, &code).await.status, 200);
}
