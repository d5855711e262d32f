//! Forged access tokens of every kind: each must be refused like a missing one.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rowhouse_identity::IdentitySettings;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Ground, device, refusal, sign_in};

/// A person's genuine token, taken apart, with the installation's own key.
struct Genuine {
    ground: Ground,
    token: String,
    kid: String,
    claims: Value,
    key: EncodingKey,
}

impl Genuine {
    async fn new() -> Self {
        let ground = Ground::start().await;
        ground.ann_of_acme().await;
        let token = ground.sign_in("ann@example.com").await.access_token;
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let stored = "select id, sealed_private from control.signing_keys where algorithm = 'ES256'";
        let row = ground.control().await.query_opt(stored, &[]).await.unwrap().unwrap();
        let kid = row.get::<_, Uuid>(0).to_string();
        let opened = ground.master.open(&format!("signing_keys/{kid}"), row.get(1)).unwrap();
        let key = EncodingKey::from_ec_der(&STANDARD.decode(opened.expose_secret()).unwrap());
        Self { ground, token, kid, claims: serde_json::from_slice(&claims).unwrap(), key }
    }

    fn header(&self, algorithm: Algorithm) -> Header {
        Header { kid: Some(self.kid.clone()), ..Header::new(algorithm) }
    }

    /// Other claims, signed with the installation's own key.
    fn resigned(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims.clone();
        change(&mut claims);
        encode(&self.header(Algorithm::ES256), &claims, &self.key).unwrap()
    }

    async fn accepts(&self, token: &str) -> bool {
        self.ground.identity.verify_access_token(token).await.is_ok()
    }

    async fn refuses(&self, token: &str, why: &str) {
        let outcome = self.ground.identity.verify_access_token(token).await;
        assert_eq!(refusal(outcome.map(|_| panic!("accepted: {why}"))), "invalid token", "{why}");
    }
}

fn json_part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn new_key() -> EncodingKey {
    let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    EncodingKey::from_ec_der(pair.as_ref())
}

#[tokio::test]
async fn the_genuine_token_and_one_resigned_alike_are_accepted() {
    let genuine = Genuine::new().await;
    assert!(genuine.accepts(&genuine.token).await);
    // Else the refusals below would prove nothing.
    assert!(genuine.accepts(&genuine.resigned(|_| {})).await);
    assert!(genuine.accepts(&genuine.resigned(|claims| claims["nbf"] = claims["iat"].clone())).await);
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused_whatever_it_calls_its_algorithm() {
    let genuine = Genuine::new().await;
    let signature = genuine.token.rsplit('.').next().unwrap();
    for name in ["none", "None", "NONE", "nOnE", "", "HS256", "HS384", "RS256", "PS256", "ES384", "EdDSA", "ES256"] {
        let header = json_part(&json!({ "alg": name, "typ": "JWT", "kid": genuine.kid }));
        let payload = json_part(&genuine.claims);
        for end in [".", "", ".AA"] {
            genuine.refuses(&format!("{header}.{payload}{end}"), name).await;
        }
        // The genuine signature stands for the genuine header and claims only.
        if name != "ES256" {
            genuine.refuses(&format!("{header}.{payload}.{signature}"), name).await;
        }
    }
    let missing = json_part(&json!({ "kid": genuine.kid }));
    genuine.refuses(&format!("{missing}.{}.{signature}", json_part(&genuine.claims)), "no algorithm").await;
}

/// The public key is public: as the secret of an HMAC it must open nothing, in whatever form.
#[tokio::test]
async fn the_public_key_as_an_hmac_secret_is_refused() {
    let genuine = Genuine::new().await;
    let jwk = genuine.ground.identity.jwks().await.unwrap()["keys"][0].clone();
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let point = [&[4_u8][..], &coordinate("x"), &coordinate("y")].concat();
    // The fixed start of a P-256 key in DER (RFC 5480).
    let der = [&STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE").unwrap()[..], &point[1..]].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&der));
    let secrets = [
        jwk.to_string().into_bytes(),
        genuine.ground.identity.jwks().await.unwrap().to_string().into_bytes(),
        coordinate("x"),
        point.clone(),
        point[1..].to_vec(),
        der,
        pem.trim_end().as_bytes().to_vec(),
        pem.into_bytes(),
        genuine.kid.clone().into_bytes(),
        Vec::new(),
    ];
    for secret in secrets {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let header = genuine.header(algorithm);
            let token = encode(&header, &genuine.claims, &EncodingKey::from_secret(&secret)).unwrap();
            genuine.refuses(&token, "key confusion").await;
        }
    }
}

#[tokio::test]
async fn a_token_that_is_expired_not_yet_good_or_without_an_end_is_refused() {
    let genuine = Genuine::new().await;
    let now = chrono::Utc::now().timestamp();
    let end = |end: Value| genuine.resigned(|claims| claims["exp"] = end);
    genuine.refuses(&end(json!(now)), "ends now").await;
    genuine.refuses(&end(json!(now - 1)), "ended a second ago").await;
    genuine.refuses(&end(json!(0)), "ended long ago").await;
    genuine.refuses(&end(json!(-1)), "ended before it began").await;
    genuine.refuses(&end(json!("9999999999")), "end is a text").await;
    genuine.refuses(&end(json!(null)), "end is null").await;
    genuine.refuses(&end(json!(1e300)), "end is absurd").await;
    let missing = genuine.resigned(|claims| drop(claims.as_object_mut().unwrap().remove("exp")));
    genuine.refuses(&missing, "no end").await;
    let later = genuine.resigned(|claims| claims["nbf"] = json!(now + 600));
    genuine.refuses(&later, "not yet good").await;
}

#[tokio::test]
async fn a_token_of_another_issuer_or_for_another_audience_is_refused() {
    let genuine = Genuine::new().await;
    for issuer in [
        json!("http://evil.example"),
        json!("http://localhost:8080/"),
        json!(""),
        json!(null),
        json!(["http://localhost:8080"]),
    ] {
        let token = genuine.resigned(|claims| claims["iss"] = issuer.clone());
        genuine.refuses(&token, &format!("issuer {issuer}")).await;
    }
    for audience in
        [json!("operator"), json!("other"), json!(""), json!(null), json!(["rowhouse"]), json!(["other", "rowhouse"])]
    {
        let token = genuine.resigned(|claims| claims["aud"] = audience.clone());
        genuine.refuses(&token, &format!("audience {audience}")).await;
    }
    for name in ["iss", "aud", "sub", "sid", "user"] {
        let token = genuine.resigned(|claims| drop(claims.as_object_mut().unwrap().remove(name)));
        genuine.refuses(&token, &format!("without {name}")).await;
    }
    let elsewhere = IdentitySettings { issuer: "http://other.example".into(), ..IdentitySettings::default() };
    let elsewhere = genuine.ground.open(genuine.ground.master.clone(), elsewhere).await.unwrap();
    let foreign = elsewhere.sign_in(sign_in("ann@example.com")).await.unwrap();
    genuine.refuses(&foreign.access_token, "same key, other issuer").await;
}

#[tokio::test]
async fn a_token_signed_with_another_key_is_refused_whatever_key_it_names() {
    let genuine = Genuine::new().await;
    let key = new_key();
    let stranger = Uuid::new_v4().to_string();
    let mut embedded = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    embedded.common.key_id = Some(genuine.kid.clone());
    let headers = [
        genuine.header(Algorithm::ES256),
        Header { kid: Some(stranger.clone()), ..Header::new(Algorithm::ES256) },
        Header { kid: None, ..Header::new(Algorithm::ES256) },
        Header { jwk: Some(embedded.clone()), ..genuine.header(Algorithm::ES256) },
        Header { jwk: Some(embedded), kid: None, ..Header::new(Algorithm::ES256) },
        Header { jku: Some("http://evil.example/jwks.json".into()), ..genuine.header(Algorithm::ES256) },
        Header { x5u: Some("http://evil.example/key.pem".into()), ..genuine.header(Algorithm::ES256) },
    ];
    for header in headers {
        let token = encode(&header, &genuine.claims, &key).unwrap();
        genuine.refuses(&token, &format!("{header:?}")).await;
    }
    // The right key under a name that is not ours, or none.
    for kid in [None, Some(stranger), Some("' or true --".into()), Some("../../dev/null".into()), Some(String::new())] {
        let header = Header { kid: kid.clone(), ..Header::new(Algorithm::ES256) };
        let token = encode(&header, &genuine.claims, &genuine.key).unwrap();
        genuine.refuses(&token, &format!("kid {kid:?}")).await;
    }
}

#[tokio::test]
async fn a_token_of_another_installation_is_refused() {
    let genuine = Genuine::new().await;
    let other = Ground::start().await;
    other.ann_of_acme().await;
    let foreign = other.sign_in("ann@example.com").await;
    genuine.refuses(&foreign.access_token, "another installation").await;
    assert_eq!(refusal(genuine.ground.identity.refresh(&foreign.refresh_token, device()).await), "invalid token");
}

#[tokio::test]
async fn a_token_of_a_retired_key_is_refused_after_a_restart() {
    let genuine = Genuine::new().await;
    genuine.ground.batch("update control.signing_keys set retired_at = now()").await;
    let restarted = genuine.ground.other_process().await;
    assert_ne!(restarted.jwks().await.unwrap()["keys"][0]["kid"], genuine.kid);
    assert_eq!(refusal(restarted.verify_access_token(&genuine.token).await), "invalid token");
}

#[tokio::test]
async fn a_changed_token_is_refused_wherever_it_was_changed() {
    let genuine = Genuine::new().await;
    let parts: Vec<&str> = genuine.token.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { panic!() };
    let mut claims = genuine.claims.clone();
    claims["org"]["role"] = json!("admin");
    genuine.refuses(&format!("{header}.{}.{signature}", json_part(&claims)), "other claims").await;
    // Every sixth byte of the signature, each changed by one bit.
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    for place in (0..bytes.len()).step_by(6) {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        genuine.refuses(&format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(changed)), "changed signature").await;
    }
    for blank in [vec![0; 64], vec![0xff; 64], vec![0; 63], vec![0; 128], bytes[..63].to_vec()] {
        let token = format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(blank));
        genuine.refuses(&token, "blank signature").await;
    }
    let doubled = format!("{}.{}", genuine.token, signature);
    let endless = format!("{header}.{}.{signature}", "A".repeat(1_000_000));
    let padded = format!("{}=", genuine.token);
    let swapped = format!("{payload}.{header}.{signature}");
    for text in ["", ".", "..", "...", "a.b.c", "null", "{}", header, &doubled, &endless, &padded, &swapped, "\0.\0.\0"]
    {
        genuine.refuses(text, "no token at all").await;
    }
}

/// A token whose session belongs to nobody known: the key alone opens nothing.
#[tokio::test]
async fn a_well_signed_token_without_a_session_is_refused() {
    let genuine = Genuine::new().await;
    let token = genuine.resigned(|claims| claims["sid"] = json!(Uuid::now_v7()));
    genuine.refuses(&token, "unknown session").await;
    let token = genuine.resigned(|claims| claims["sid"] = json!("not a uuid"));
    genuine.refuses(&token, "malformed session").await;
}

#[tokio::test]
async fn a_persons_token_is_no_operators_and_the_reverse() {
    let genuine = Genuine::new().await;
    let identity = &genuine.ground.identity;
    let address = crate::email("olga@example.com");
    identity.create_operator(&address, crate::PASSWORD.into()).await.unwrap();
    let operator = identity.sign_in_operator(&address, &crate::PASSWORD.into(), None, device()).await.unwrap();
    identity.verify_operator_token(&operator.access_token).await.unwrap();
    genuine.refuses(&operator.access_token, "an operator's").await;
    assert_eq!(refusal(identity.verify_operator_token(&genuine.token).await), "invalid token");
    // Even with the audience changed by whoever has the key, the session is a person's.
    let crossed = genuine.resigned(|claims| claims["aud"] = json!("operator"));
    assert_eq!(refusal(identity.verify_operator_token(&crossed).await), "invalid token");
}
