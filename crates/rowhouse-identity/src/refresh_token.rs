//! Refresh tokens: a session's id and 256 random bits, signed. The signature tells a token that
//! we made from a guess before the database is asked; the hash of the newest one tells whether it
//! was used before. Each follows from the hash of the one before, by a key: the newest can be made
//! again for a client that did not get it, without being kept.
//!
//! Must never be kept or logged as it is.

use rowhouse_types::{MasterKey, SessionId, Signer};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

const PREFIX: &str = "rh_rt_";
const ID_LENGTH: usize = 16;
const RANDOM_LENGTH: usize = 32;

/// What refresh tokens are made with.
pub(crate) struct RefreshKeys {
    signer: Signer,
    successor: Signer,
}

impl RefreshKeys {
    /// Those of an installation.
    pub(crate) fn new(master: &MasterKey) -> Self {
        Self { signer: master.signer("refresh token"), successor: master.signer("refresh token successor") }
    }
}

/// One refresh token.
pub(crate) struct RefreshToken {
    pub(crate) session: SessionId,
    text: SecretString,
}

impl RefreshToken {
    /// The first one of a session.
    pub(crate) fn generate(keys: &RefreshKeys, session: SessionId) -> Self {
        Self::make(keys, session, rand::random())
    }

    /// The one that follows on this.
    pub(crate) fn next(&self, keys: &RefreshKeys) -> Self {
        Self::after(keys, self.session, &self.hash())
    }

    /// The one that follows on that with the hash.
    pub(crate) fn after(keys: &RefreshKeys, session: SessionId, hash: &[u8]) -> Self {
        Self::make(keys, session, keys.successor.tag(&[session.uuid().as_bytes(), hash].concat()))
    }

    fn make(keys: &RefreshKeys, session: SessionId, random: [u8; RANDOM_LENGTH]) -> Self {
        let payload = [session.uuid().as_bytes().as_slice(), &random].concat();
        Self { session, text: format!("{PREFIX}{}", keys.signer.sign(&payload)).into() }
    }

    /// Reads one that a client sent; none if we never made it.
    pub(crate) fn read(keys: &RefreshKeys, text: &str) -> Option<Self> {
        let payload = keys.signer.verify(text.strip_prefix(PREFIX)?)?;
        let (id, random) = payload.split_at_checked(ID_LENGTH)?;
        if random.len() != RANDOM_LENGTH {
            return None;
        }
        let session = SessionId::from_uuid(Uuid::from_slice(id).ok()?);
        Some(Self { session, text: text.into() })
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.text.expose_secret().as_bytes()).to_vec()
    }

    /// The text, for the client.
    pub(crate) fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rowhouse_types::MasterKey;

    use super::*;

    #[test]
    fn a_token_is_read_back_and_no_two_are_alike() {
        let keys = RefreshKeys::new(&MasterKey::generate());
        let session = SessionId::generate();
        let (one, other) = (RefreshToken::generate(&keys, session), RefreshToken::generate(&keys, session));
        assert!(one.expose().starts_with("rh_rt_"));
        assert_ne!(one.expose(), other.expose());
        let read = RefreshToken::read(&keys, one.expose()).unwrap();
        assert_eq!((read.session, read.hash()), (session, one.hash()));
    }

    #[test]
    fn the_next_token_follows_from_the_one_before_for_who_has_the_key() {
        let keys = RefreshKeys::new(&MasterKey::generate());
        let first = RefreshToken::generate(&keys, SessionId::generate());
        let next = first.next(&keys);
        assert_ne!(next.expose(), first.expose());
        assert_eq!(next.expose(), RefreshToken::after(&keys, first.session, &first.hash()).expose());
        assert_eq!(RefreshToken::read(&keys, next.expose()).unwrap().hash(), next.hash());
        let elsewhere = RefreshKeys::new(&MasterKey::generate());
        assert_ne!(next.hash(), first.next(&elsewhere).hash());
        assert_ne!(next.hash(), RefreshToken::after(&keys, SessionId::generate(), &first.hash()).hash());
        assert_ne!(next.hash(), next.next(&keys).hash());
    }

    #[test]
    fn what_we_did_not_make_is_no_token() {
        let master = MasterKey::generate();
        let keys = RefreshKeys::new(&master);
        let token = RefreshToken::generate(&keys, SessionId::generate());
        let foreign = RefreshToken::generate(&RefreshKeys::new(&MasterKey::generate()), token.session);
        let of_other_purpose = format!("{PREFIX}{}", master.signer("invitation").sign(&[0; 48]));
        let short = format!("{PREFIX}{}", keys.signer.sign(&[0; 47]));
        let long = format!("{PREFIX}{}", keys.signer.sign(&[0; 49]));
        let text = token.expose();
        for forged in ["", "rh_rt_", "rh_rt_e30", &text[6..], &text[..text.len() - 1], foreign.expose()] {
            assert!(RefreshToken::read(&keys, forged).is_none(), "{forged}");
        }
        for forged in [of_other_purpose, short, long, text.replace("rh_rt_", "rh_inv_"), format!("{text}A")] {
            assert!(RefreshToken::read(&keys, &forged).is_none(), "{forged}");
        }
    }

    proptest! {
        #[test]
        fn no_text_that_somebody_makes_up_is_a_token(text in any::<String>(), payload in any::<Vec<u8>>()) {
            let keys = RefreshKeys::new(&MasterKey::generate());
            let elsewhere = MasterKey::generate().signer("refresh token").sign(&payload);
            for made_up in [[PREFIX, &text].concat(), [PREFIX, &elsewhere].concat(), text] {
                prop_assert!(RefreshToken::read(&keys, &made_up).is_none());
            }
        }
    }
}
