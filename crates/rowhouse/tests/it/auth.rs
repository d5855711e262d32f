//! Sign-up, sign-in, refresh and sign-out.

use serde_json::json;

use crate::service::{ACME, PASSWORD, Service};

#[tokio::test]
async fn sign_up_gives_a_tenant_that_works_at_once() {
    let service = Service::shared();
    let body = json!({ "email": "Nina@Example.com", "password": PASSWORD, "first_name": "Nina", "last_name": "North", "company_name": "North & Söhne" });
    let answer = service.anonymous().post("/api/auth/sign-up", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.text("/data/tenant/slug"), "north-sohne");
    assert_eq!(answer.text("/data/user/email"), "nina@example.com");
    let caller = service.anonymous().with_token(&answer.text("/data/access_token"));
    assert_eq!(caller.get("/api/pipeline_stages").await.body["pagination"]["total"], 8, "the onboarding seed");
    let campaign = caller.get("/api/campaigns").await;
    assert_eq!(campaign.text("/data/0/name"), "General Leads");
    assert_eq!(campaign.text("/data/0/assignment_type"), "round_robin");
    let lead = caller.post("/api/leads", &json!({ "full_name": "First Lead" })).await;
    assert_eq!(lead.text("/data/owner_id"), answer.text("/data/user/id"));
    let again = service.anonymous().post("/api/auth/sign-up", &body).await;
    assert_eq!((again.status.as_u16(), again.code().as_str()), (409, "conflict"));
    let second = json!({ "email": "nils@example.com", "password": PASSWORD, "company_name": "North & Söhne" });
    let second = service.anonymous().post("/api/auth/sign-up", &second).await;
    assert_eq!(second.text("/data/tenant/slug"), "north-sohne-2", "a slug that nobody chose is made free");
}

#[tokio::test]
async fn sign_up_tells_every_fault_at_once() {
    let body = json!({ "email": "nobody", "password": "short", "company_name": " ", "slug": "WWW" });
    let answer = Service::shared().anonymous().post("/api/auth/sign-up", &body).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "validation_failed"));
    let fields: Vec<&str> = answer.body["error"]["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["email", "password", "company_name", "slug"]);
    for slug in ["www", "api", "-acme", "a", "münchen", "a.b"] {
        let body = json!({ "email": "x@example.com", "password": PASSWORD, "company_name": "X", "slug": slug });
        assert_eq!(Service::shared().anonymous().post("/api/auth/sign-up", &body).await.status, 422, "{slug}");
    }
    let taken = json!({ "email": "y@example.com", "password": PASSWORD, "company_name": "Y", "slug": "acme" });
    let answer = Service::shared().anonymous().post("/api/auth/sign-up", &taken).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (409, "conflict"));
    let unknown = json!({ "email": "y@example.com", "password": PASSWORD, "company_name": "Y", "plan": "gold" });
    assert_eq!(Service::shared().anonymous().post("/api/auth/sign-up", &unknown).await.status, 422);
}

#[tokio::test]
async fn a_password_that_is_easy_to_guess_is_refused_with_what_to_do() {
    let service = Service::shared();
    let sign_up = async |password: &str| {
        let body = json!({ "email": "tiberius.q@example.com", "password": password, "last_name": "Quillfeather",
                           "company_name": "Wolfsburg Tiefbau" });
        service.anonymous().post("/api/auth/sign-up", &body).await
    };
    for weak in ["password1", "quillfeather1", "WolfsburgTiefbau"] {
        let refused = sign_up(weak).await;
        assert_eq!((refused.status.as_u16(), refused.text("/error/details/0/code").as_str()), (422, "weak"), "{weak}");
        assert_eq!(refused.text("/error/details/0/field"), "password");
        let message = refused.text("/error/details/0/message");
        assert!(message.starts_with("is too easy to guess. ") && message.len() > 30, "{message}");
    }
    let made = sign_up("nutmeg orbit plank").await;
    assert_eq!(made.status, 201, "{}", made.body);
    let caller = service.anonymous().with_token(&made.text("/data/access_token"));
    let change = json!({ "current_password": "nutmeg orbit plank", "new_password": "tiberius.q" });
    let refused = caller.post("/api/auth/password/change", &change).await;
    assert_eq!(refused.text("/error/details/0/field"), "new_password", "{}", refused.body);
    assert_eq!(refused.text("/error/details/0/code"), "weak");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_are_answered_alike() {
    let anonymous = Service::shared().anonymous();
    let wrong =
        anonymous.post("/api/auth/sign-in", &json!({ "email": ACME.email, "password": "not the password" })).await;
    let unknown = anonymous
        .post("/api/auth/sign-in", &json!({ "email": "nobody@example.com", "password": "not the password" }))
        .await;
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.comparable(), unknown.comparable());
}

#[tokio::test]
async fn a_refresh_token_is_good_for_a_lost_answer_and_its_later_reuse_ends_the_session() {
    let service = Service::shared();
    let anonymous = service.anonymous();
    let signed_in = anonymous.post("/api/auth/sign-in", &json!({ "email": ACME.email, "password": PASSWORD })).await;
    let first = signed_in.text("/data/refresh_token");
    let refreshed = anonymous.post("/api/auth/refresh", &json!({ "refresh_token": first })).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    let caller = anonymous.with_token(&refreshed.text("/data/access_token"));
    assert_eq!(caller.get("/api/leads").await.status, 200);
    let again = anonymous.post("/api/auth/refresh", &json!({ "refresh_token": first })).await;
    assert_eq!(again.status, 200, "its first answer may be lost");
    assert_eq!(again.text("/data/refresh_token"), refreshed.text("/data/refresh_token"));
    let caller = anonymous.with_token(&again.text("/data/access_token"));
    let me = caller.get("/api/auth/me").await.text("/data/user/id");
    let age = format!(
        "update control.sessions set rotated_at = array[now() - interval '11 seconds'] where user_id = '{me}' and rotated_at <> '{{}}'"
    );
    service.sql("rowhouse_control", &age);
    assert_eq!(anonymous.post("/api/auth/refresh", &json!({ "refresh_token": first })).await.status, 401);
    let second = refreshed.text("/data/refresh_token");
    assert_eq!(
        anonymous.post("/api/auth/refresh", &json!({ "refresh_token": second })).await.status,
        401,
        "the family is revoked"
    );
    assert_eq!(caller.get("/api/leads").await.status, 401, "and so are its access tokens");
    for noise in ["", "rh_rt_", "rh_rt_AAAA", "x"] {
        assert_eq!(anonymous.post("/api/auth/refresh", &json!({ "refresh_token": noise })).await.status, 401);
    }
}

#[tokio::test]
async fn signing_out_ends_the_token_at_once() {
    let caller = Service::shared().owner(&ACME).await;
    assert_eq!(caller.get("/api/auth/me").await.status, 200);
    assert_eq!(caller.post("/api/auth/sign-out", &json!({})).await.status, 200);
    assert_eq!(caller.get("/api/auth/me").await.status, 401);
}

#[tokio::test]
async fn tokens_verify_with_the_published_keys() {
    let service = Service::shared();
    let token = service.owner(&ACME).await.token.unwrap();
    let keys = service.anonymous().get("/.well-known/jwks.json").await.body;
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(keys).unwrap();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let jwk = set.find(&header.kid.unwrap()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&["rowhouse"]);
    let key = jsonwebtoken::DecodingKey::from_jwk(jwk).unwrap();
    let claims = jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation).unwrap().claims;
    assert_eq!(claims["org"]["slug"], "acme");
    assert_eq!(claims["org"]["role"], "owner");
    assert_eq!(claims["user"]["email"], ACME.email);
    for claim in ["iss", "sub", "exp", "iat", "jti", "sid"] {
        assert!(!claims[claim].is_null(), "{claim}");
    }
}
