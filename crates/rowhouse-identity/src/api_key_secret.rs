//! The text of an API key: a prefix that tells people and scanners what it is, and 256 random bits.
//!
//! Kept as its SHA-256 only: what is random cannot be guessed, so it needs no slow hash. It is found
//! by that hash in an index; how long this takes says nothing about the text. Must never be kept or
//! logged as it is.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

const RANDOM_LENGTH: usize = 32;
/// Random characters that are shown in lists, to tell keys apart.
const SHOWN_LENGTH: usize = 6;

/// What is kept of a key.
pub(crate) type ApiKeyHash = [u8; 32];

/// For what keys are made. Those of the one open nothing of the other, so that data that was copied
/// for development is not reached with keys of the service, nor the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyMode {
    Live,
    Test,
}

impl KeyMode {
    fn prefix(self) -> &'static str {
        match self {
            Self::Live => "rh_live_",
            Self::Test => "rh_test_",
        }
    }
}

/// Whether a bearer token claims to be an API key.
pub fn is_api_key(token: &str) -> bool {
    [KeyMode::Live, KeyMode::Test].into_iter().any(|mode| token.starts_with(mode.prefix()))
}

/// A new key's text, shown once.
pub struct ApiKeySecret(SecretString);

impl ApiKeySecret {
    pub(crate) fn generate(mode: KeyMode) -> Self {
        let random: [u8; RANDOM_LENGTH] = rand::random();
        let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{}{digits}", mode.prefix()).into())
    }

    /// The text, for its maker.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Its beginning, by which people know it again.
    pub(crate) fn shown(&self) -> &str {
        let text = self.expose();
        let length = text.len() - 2 * RANDOM_LENGTH + SHOWN_LENGTH;
        &text[..length]
    }

    pub(crate) fn hash(&self) -> ApiKeyHash {
        Sha256::digest(self.expose().as_bytes()).into()
    }
}

/// Without the text: debug output ends up in logs.
impl fmt::Debug for ApiKeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeySecret(…)")
    }
}

/// The hash of a text that could be a key of this mode.
pub(crate) fn hash_of(text: &str, mode: KeyMode) -> Option<ApiKeyHash> {
    let digits = text.strip_prefix(mode.prefix())?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let fits = digits.len() == 2 * RANDOM_LENGTH && digits.bytes().all(is_digit);
    fits.then(|| Sha256::digest(text.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_is_known_by_its_prefix_and_read_in_its_own_mode_only() {
        for (mode, other, prefix) in
            [(KeyMode::Live, KeyMode::Test, "rh_live_"), (KeyMode::Test, KeyMode::Live, "rh_test_")]
        {
            let secret = ApiKeySecret::generate(mode);
            let text = secret.expose();
            assert!(text.starts_with(prefix) && is_api_key(text));
            assert_eq!(text.len(), 72);
            assert_eq!(hash_of(text, mode), Some(secret.hash()));
            assert_eq!(hash_of(text, other), None);
            assert_eq!(secret.shown(), &text[..14]);
            assert_ne!(ApiKeySecret::generate(mode).hash(), secret.hash());
            assert!(!format!("{secret:?}").contains(&text[8..]));
        }
    }

    #[test]
    fn what_is_no_key_is_not_looked_for() {
        let key = ApiKeySecret::generate(KeyMode::Live);
        let text = key.expose();
        let long = format!("{text}0");
        let capitals = format!("rh_live_{}", "A".repeat(64));
        let wide = format!("rh_live_{}", "ü".repeat(32));
        for noise in ["", "rh_live_", &text[8..], &text[..71], &long, &capitals, &wide, "rh_rt_0", "a.b.c"] {
            assert_eq!(hash_of(noise, KeyMode::Live), None, "{noise}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_looked_for_that_is_no_key(text in any::<String>()) {
            for text in [text.clone(), format!("rh_live_{text}"), format!("rh_test_{text}")] {
                prop_assert_eq!(hash_of(&text, KeyMode::Live), None);
                prop_assert_eq!(hash_of(&text, KeyMode::Test), None);
            }
        }
    }
}
