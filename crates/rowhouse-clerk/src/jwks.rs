//! Clerk's published keys, fetched when they are needed and kept.
//!
//! Must never fetch for every token: whoever sends tokens with made-up keys would have us knock at
//! Clerk's door as often as they like.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use tokio::sync::Mutex;

/// Keys are asked for again after this: one that Clerk takes back is taken for at most so long.
const FRESH: Duration = Duration::from_secs(3600);
/// Attempts to fetch that are made at once, whatever tokens name, and until another may be made.
const ATTEMPTS_MAX: f64 = 5.0;
const ATTEMPT_EVERY: Duration = Duration::from_secs(10);
/// Longest fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest document, in bytes, and most keys in it.
const DOCUMENT_BYTES_MAX: usize = 64 << 10;
const KEYS_MAX: usize = 32;
/// Fewest bytes of an RSA modulus: 2048 bits.
const MODULUS_BYTES_MIN: usize = 256;

/// The keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// Clerk does not answer, or not with keys.
    #[error("fetch Clerk's keys")]
    Fetch(#[from] reqwest::Error),
    /// The answer is no document of keys.
    #[error("Clerk's keys cannot be read: {0}")]
    Document(&'static str),
    /// There were too many attempts lately.
    #[error("Clerk's keys were asked for too often lately")]
    Pausing,
}

/// The keys of one instance of Clerk.
pub(crate) struct Jwks {
    url: String,
    client: reqwest::Client,
    known: ArcSwap<Known>,
    /// Held while a fetch is under way: the others wait for its outcome.
    budget: Mutex<Budget>,
}

/// Attempts that may be made.
struct Budget {
    left: f64,
    at: Instant,
}

impl Budget {
    fn take(&mut self, now: Instant) -> bool {
        let earned = now.duration_since(self.at).as_secs_f64() / ATTEMPT_EVERY.as_secs_f64();
        (self.left, self.at) = ((self.left + earned).min(ATTEMPTS_MAX), now);
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, DecodingKey>,
    fetched: Option<Instant>,
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.fetched.is_some_and(|fetched| fetched.elapsed() < FRESH)
    }
}

impl Jwks {
    pub(crate) fn new(url: String) -> Result<Self, JwksError> {
        // A redirect would let whoever controls its target choose our keys.
        let client = reqwest::Client::builder()
            .timeout(FETCH_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("rowhouse/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            url,
            client,
            known: ArcSwap::default(),
            budget: Mutex::new(Budget { left: ATTEMPTS_MAX, at: Instant::now() }),
        })
    }

    /// The key of this id; none if Clerk has no such key.
    ///
    /// # Errors
    /// If no keys are known and they cannot be fetched now. Keys that are known stay good while
    /// Clerk cannot be reached.
    pub(crate) async fn key(&self, id: &str) -> Result<Option<DecodingKey>, JwksError> {
        let known = self.known.load();
        let found = known.keys.get(id).cloned();
        if found.is_some() && known.is_fresh() {
            return Ok(found);
        }
        match self.refresh(id).await {
            Ok(()) => Ok(self.known.load().keys.get(id).cloned()),
            Err(error) if self.known.load().fetched.is_some() => {
                if !matches!(error, JwksError::Pausing) {
                    tracing::warn!(%error, cause = ?std::error::Error::source(&error), "keep the keys that are known");
                }
                Ok(found)
            }
            Err(error) => Err(error),
        }
    }

    async fn refresh(&self, id: &str) -> Result<(), JwksError> {
        let mut budget = self.budget.lock().await;
        // Whoever held the lock may have fetched what is wanted.
        let known = self.known.load();
        if known.is_fresh() && known.keys.contains_key(id) {
            return Ok(());
        }
        if !budget.take(Instant::now()) {
            return Err(JwksError::Pausing);
        }
        let keys = self.fetch().await?;
        tracing::debug!(keys = keys.len(), "fetched Clerk's keys");
        self.known.store(std::sync::Arc::new(Known { keys, fetched: Some(Instant::now()) }));
        Ok(())
    }

    pub(crate) async fn fetch(&self) -> Result<HashMap<String, DecodingKey>, JwksError> {
        let mut response = self.client.get(&self.url).send().await?.error_for_status()?;
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if document.len() + chunk.len() > DOCUMENT_BYTES_MAX {
                return Err(JwksError::Document("the document is too large"));
            }
            document.extend_from_slice(&chunk);
        }
        read(&document)
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Entry {
    kid: String,
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    n: String,
    e: String,
}

/// The keys that sign with RS256, by id. Others are left alone: Clerk may add kinds.
fn read(document: &[u8]) -> Result<HashMap<String, DecodingKey>, JwksError> {
    let document: Document = serde_json::from_slice(document).map_err(|_| JwksError::Document("it is no key set"))?;
    let entries = document.keys.into_iter().filter_map(|key| serde_json::from_value::<Entry>(key).ok());
    let signs = |entry: &Entry| {
        let modulus = URL_SAFE_NO_PAD.decode(&entry.n).unwrap_or_default();
        entry.kty == "RSA"
            && entry.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && entry.alg.as_deref().is_none_or(|algorithm| algorithm == "RS256")
            && modulus.len() >= MODULUS_BYTES_MIN
    };
    let keys: HashMap<String, DecodingKey> = entries
        .filter(signs)
        .take(KEYS_MAX)
        .filter_map(|entry| Some((entry.kid, DecodingKey::from_rsa_components(&entry.n, &entry.e).ok()?)))
        .collect();
    if keys.is_empty() { Err(JwksError::Document("it holds no RSA key for signatures")) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_keys_that_sign_with_rs256_are_taken() {
        let modulus = URL_SAFE_NO_PAD.encode([0xc5; 256]);
        let key = |kid: &str, more: serde_json::Value| {
            let mut key = json!({ "kid": kid, "kty": "RSA", "use": "sig", "alg": "RS256", "n": modulus, "e": "AQAB" });
            key.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            key
        };
        let document = json!({ "keys": [
            key("good", json!({})),
            key("encrypts", json!({ "use": "enc" })),
            key("symmetric", json!({ "kty": "oct", "k": "AAAA" })),
            key("other", json!({ "alg": "HS256" })),
            key("short", json!({ "n": URL_SAFE_NO_PAD.encode([0xc5; 128]) })),
            key("broken", json!({ "n": "!" })),
            { "kty": "RSA" },
            "key",
        ] });
        let keys = read(document.to_string().as_bytes()).expect("keys");
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["good"]);
        for nothing in ["", "[]", "{}", r#"{"keys":[]}"#] {
            assert!(read(nothing.as_bytes()).is_err(), "{nothing}");
        }
    }

    #[test]
    fn attempts_are_few() {
        let now = Instant::now();
        let mut budget = Budget { left: ATTEMPTS_MAX, at: now };
        assert_eq!((0..100).filter(|_| budget.take(now)).count(), 5);
        assert!(!budget.take(now + ATTEMPT_EVERY / 2));
        assert!(budget.take(now + ATTEMPT_EVERY));
        assert_eq!((0..100).filter(|_| budget.take(now + 100 * ATTEMPT_EVERY)).count(), 5);
    }

    proptest! {
        #[test]
        fn any_document_is_read_or_not(document in any::<Vec<u8>>()) {
            let _ = read(&document);
        }
    }
}
