//! The master key and what is derived from it: sealed values, signatures, role passwords.

use std::fmt;

use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Key, Nonce};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

const KEY_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 12;
/// The format of sealed values; first byte, so that a later format can be told apart.
const SEAL_VERSION: u8 = 1;

/// The one secret of an installation, 32 bytes. Everything else is sealed with it or derived
/// from it (HKDF-SHA-256, RFC 5869), so that it alone has to be kept safe.
#[derive(Clone)]
pub struct MasterKey(Box<[u8; KEY_LENGTH]>);

/// A sealed value could not be made or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The text of a master key is not 32 bytes in base64.
    #[error("a master key is 32 bytes in base64 (make one with: openssl rand -base64 32)")]
    Malformed,
    /// Changed, sealed for another place, or sealed with another key.
    #[error("the sealed value was changed, belongs elsewhere, or was sealed with another master key")]
    Rejected,
}

impl MasterKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self(Box::new(rand::random()))
    }

    /// Reads a key from its base64 text, as [`MasterKey::to_base64`] writes it.
    pub fn from_base64(text: &str) -> Result<Self, SealError> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| SealError::Malformed)?;
        let bytes: [u8; KEY_LENGTH] = bytes.try_into().map_err(|_| SealError::Malformed)?;
        Ok(Self(Box::new(bytes)))
    }

    /// The key's text, for the key file only.
    pub fn to_base64(&self) -> SecretString {
        STANDARD.encode(*self.0).into()
    }

    fn derive(&self, purpose: &str) -> [u8; KEY_LENGTH] {
        let mut derived = [0; KEY_LENGTH];
        Hkdf::<Sha256>::new(Some(b"rowhouse"), &*self.0)
            .expand(purpose.as_bytes(), &mut derived)
            .expect("32 bytes are within HKDF's bound");
        derived
    }

    /// The password of one of PostgreSQL's roles. Derived, so that every process that holds
    /// the master key knows it and none has to store it.
    pub fn password(&self, role: &str) -> SecretString {
        URL_SAFE_NO_PAD.encode(self.derive(&format!("password:{role}"))).into()
    }

    /// A signer for one purpose; signatures of one purpose are refused for any other.
    pub fn signer(&self, purpose: &str) -> Signer {
        Signer(hmac::Key::new(hmac::HMAC_SHA256, &self.derive(&format!("signature:{purpose}"))))
    }

    /// Seals a value (AES-256-GCM-SIV, RFC 8452) for the place it is kept in: it opens only
    /// with the same `place`, so that a row's secret cannot be copied into another row.
    pub fn seal(&self, place: &str, value: &SecretString) -> Vec<u8> {
        let nonce: [u8; NONCE_LENGTH] = rand::random();
        let payload = Payload { msg: value.expose_secret().as_bytes(), aad: place.as_bytes() };
        let sealed = self.cipher().encrypt(&Nonce::from(nonce), payload).expect("memory suffices for a secret");
        [&[SEAL_VERSION][..], &nonce, &sealed].concat()
    }

    /// Opens what [`MasterKey::seal`] sealed for the same place.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<SecretString, SealError> {
        let (version, rest) = sealed.split_first().ok_or(SealError::Rejected)?;
        if *version != SEAL_VERSION || rest.len() < NONCE_LENGTH {
            return Err(SealError::Rejected);
        }
        let (nonce, sealed) = rest.split_at(NONCE_LENGTH);
        let nonce: [u8; NONCE_LENGTH] = nonce.try_into().map_err(|_| SealError::Rejected)?;
        let payload = Payload { msg: sealed, aad: place.as_bytes() };
        let opened = self.cipher().decrypt(&Nonce::from(nonce), payload).map_err(|_| SealError::Rejected)?;
        String::from_utf8(opened).map(SecretString::from).map_err(|_| SealError::Rejected)
    }

    fn cipher(&self) -> Aes256GcmSiv {
        Aes256GcmSiv::new(&Key::<Aes256GcmSiv>::from(self.derive("seal")))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// Signs short texts that clients carry and bring back (cursors, links) with HMAC-SHA-256.
#[derive(Clone)]
pub struct Signer(hmac::Key);

impl Signer {
    /// The payload with its signature, safe in a URL.
    pub fn sign(&self, payload: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode([&self.tag(payload)[..], payload].concat())
    }

    /// The signature alone: 32 bytes that nobody without the key can tell from random ones.
    pub fn tag(&self, payload: &[u8]) -> [u8; KEY_LENGTH] {
        hmac::sign(&self.0, payload).as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes")
    }

    /// The payload, if the text is what [`Signer::sign`] made of it.
    pub fn verify(&self, text: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (tag, payload) = bytes.split_at_checked(32)?;
        hmac::verify(&self.0, payload, tag).ok()?;
        Some(payload.to_vec())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sealed_value_opens_only_in_its_place_and_with_its_key() {
        let key = MasterKey::generate();
        let sealed = key.seal("signing_keys/1", &"secret".into());
        assert_eq!(key.open("signing_keys/1", &sealed).unwrap().expose_secret(), "secret");
        assert_eq!(key.open("signing_keys/2", &sealed).unwrap_err(), SealError::Rejected);
        assert_eq!(MasterKey::generate().open("signing_keys/1", &sealed).unwrap_err(), SealError::Rejected);
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(key.open("signing_keys/1", &changed).unwrap_err(), SealError::Rejected);
        assert_eq!(key.open("signing_keys/1", &[]).unwrap_err(), SealError::Rejected);
    }

    #[test]
    fn the_key_survives_its_text() {
        let key = MasterKey::generate();
        let again = MasterKey::from_base64(key.to_base64().expose_secret()).unwrap();
        assert_eq!(key.password("a").expose_secret(), again.password("a").expose_secret());
        assert_ne!(key.password("a").expose_secret(), key.password("b").expose_secret());
        assert_eq!(MasterKey::from_base64("c2hvcnQ=").unwrap_err(), SealError::Malformed);
    }

    #[test]
    fn a_signature_holds_for_its_purpose_only() {
        let key = MasterKey::generate();
        let text = key.signer("cursor").sign(b"payload");
        assert_eq!(key.signer("cursor").verify(&text).unwrap(), b"payload");
        assert_eq!(key.signer("link").verify(&text), None);
        assert_eq!(key.signer("cursor").verify(&text[..text.len() - 2]), None);
        assert_eq!(key.signer("cursor").verify("not base64 !"), None);
    }

    proptest! {
        #[test]
        fn only_what_was_signed_is_verified(
            payload in any::<Vec<u8>>(), text in any::<String>(), place in any::<usize>(), bit in 0..8_u8,
        ) {
            let signer = MasterKey::generate().signer("cursor");
            prop_assert_eq!(signer.verify(&text), None);
            let signed = signer.sign(&payload);
            prop_assert_eq!(signer.verify(&signed), Some(payload));
            let mut bytes = URL_SAFE_NO_PAD.decode(&signed).unwrap();
            let place = place % bytes.len();
            bytes[place] ^= 1 << bit;
            prop_assert_eq!(signer.verify(&URL_SAFE_NO_PAD.encode(bytes)), None);
        }

        #[test]
        fn what_was_sealed_opens_and_nothing_else_does(value in any::<String>(), noise in any::<Vec<u8>>()) {
            let key = MasterKey::generate();
            prop_assert_eq!(key.open("place", &noise).unwrap_err(), SealError::Rejected);
            let sealed = key.seal("place", &value.clone().into());
            let opened = key.open("place", &sealed).unwrap();
            prop_assert_eq!(opened.expose_secret(), &value);
        }
    }
}
