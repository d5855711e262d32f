//! Signing keys that are replaced by a command while the service runs: two processes that know of each other
//! by the database only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::service::{ACME, PASSWORD, Service};

/// The `kid` of a token.
fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

async fn published(service: &Service) -> Vec<String> {
    let keys = service.anonymous().get("/.well-known/jwks.json").await.body;
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn keys_are_rotated_and_retired_while_the_service_runs() {
    let service = Service::start("solar");
    let body = json!({ "email": ACME.email, "password": PASSWORD });
    let signed_in = service.anonymous().post("/api/auth/sign-in", &body).await;
    let (stolen, refresh) = (signed_in.text("/data/access_token"), signed_in.text("/data/refresh_token"));
    let caller = service.anonymous().with_token(&stolen);
    let operator = service.operator("keys").await;
    assert_eq!(published(&service).await.len(), 2);
    // Nothing would sign in its place.
    let refused = service.command(&["keys", "retire", &kid(&stolen)]);
    assert_eq!(refused["error"]["code"], "conflict", "{refused}");

    let made = service.command(&["keys", "rotate", "--algorithm", "es256"]);
    let next = made["data"][0]["id"].as_str().unwrap().to_owned();
    while published(&service).await.len() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(caller.get("/api/auth/me").await.status, 200);
    assert_eq!(kid(&service.sign_in(ACME.email).await.token.unwrap()), kid(&stolen));
    let again = service.command(&["keys", "rotate"]);
    assert_eq!(again["error"]["code"], "conflict", "{again}");
    let ends = service.command(&["keys", "retire", &kid(&stolen)]);
    assert!(ends["data"]["retires_at"].is_string(), "{ends}");

    let retired = service.command(&["keys", "retire", &kid(&stolen), "--now"]);
    assert_eq!(retired["data"]["successor"], json!(next), "{retired}");
    // The service learns of it by itself. Operators' tokens are of the same key.
    while caller.get("/api/auth/me").await.status == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(operator.get("/api/admin/tenants").await.status, 401);
    assert!(!published(&service).await.contains(&kid(&stolen)));
    let refreshed = service.anonymous().post("/api/auth/refresh", &json!({ "refresh_token": refresh })).await;
    let token = refreshed.text("/data/access_token");
    assert_eq!(kid(&token), next);
    assert_eq!(service.anonymous().with_token(&token).get("/api/auth/me").await.status, 200);
    let unknown = service.command(&["keys", "retire", &kid(&stolen), "--now"]);
    assert_eq!(unknown["error"]["code"], "not_found", "{unknown}");
    let listed = service.command(&["keys", "list"]);
    let states: Vec<&str> =
        listed["data"].as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap()).collect();
    assert_eq!(states.iter().filter(|state| **state == "signing").count(), 2, "{listed}");
    assert_eq!(states.last(), Some(&"retired"), "{listed}");
}
