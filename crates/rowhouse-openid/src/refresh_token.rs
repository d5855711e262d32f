//! Refresh tokens of clients: a grant's id and 256 bits, signed. Each follows from the hash of the one before,
//! by a key, so that the newest can be made again for a client that did not get it.
//!
//! Must never be kept or logged as it is.

use rowhouse_types::{GrantId, MasterKey, Signer};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::secret::hash;

const PREFIX: &str = "rh_ort_";
const ID_LENGTH: usize = 16;
const RANDOM_LENGTH: usize = 32;

/// What they are made with.
pub(crate) struct RefreshKeys {
    signer: Signer,
    successor: Signer,
}

impl RefreshKeys {
    pub(crate) fn new(master: &MasterKey) -> Self {
        let (signer, successor) = ("openid refresh token", "openid refresh token successor");
        Self { signer: master.signer(signer), successor: master.signer(successor) }
    }
}

/// One of them.
pub(crate) struct RefreshToken {
    pub(crate) grant: GrantId,
    text: SecretString,
}

impl RefreshToken {
    /// The first of a grant.
    pub(crate) fn generate(keys: &RefreshKeys, grant: GrantId) -> Self {
        Self::make(keys, grant, rand::random())
    }

    /// The one that follows.
    pub(crate) fn next(&self, keys: &RefreshKeys) -> Self {
        let of = [self.grant.uuid().as_bytes().as_slice(), &self.hash()].concat();
        Self::make(keys, self.grant, keys.successor.tag(&of))
    }

    fn make(keys: &RefreshKeys, grant: GrantId, random: [u8; RANDOM_LENGTH]) -> Self {
        let payload = [grant.uuid().as_bytes().as_slice(), &random].concat();
        Self { grant, text: format!("{PREFIX}{}", keys.signer.sign(&payload)).into() }
    }

    /// Reads one that a client sent; none if we never made it.
    pub(crate) fn read(keys: &RefreshKeys, text: &str) -> Option<Self> {
        let payload = keys.signer.verify(text.strip_prefix(PREFIX)?)?;
        let (id, random) = payload.split_at_checked(ID_LENGTH)?;
        if random.len() != RANDOM_LENGTH {
            return None;
        }
        Some(Self { grant: GrantId::from_uuid(Uuid::from_slice(id).ok()?), text: text.into() })
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> Vec<u8> {
        hash(self.text.expose_secret())
    }

    /// The text, for the client.
    pub(crate) fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_made_is_read_and_the_next_follows_for_who_has_the_key() {
        let master = MasterKey::generate();
        let keys = RefreshKeys::new(&master);
        let first = RefreshToken::generate(&keys, GrantId::generate());
        let read = RefreshToken::read(&keys, first.expose()).unwrap();
        assert_eq!((read.grant, read.hash()), (first.grant, first.hash()));
        assert_eq!(first.next(&keys).expose(), read.next(&keys).expose());
        assert_ne!(first.next(&keys).expose(), first.expose());
        let elsewhere = RefreshKeys::new(&MasterKey::generate());
        assert!(RefreshToken::read(&elsewhere, first.expose()).is_none());
        let text = first.expose();
        for forged in ["", PREFIX, &text[PREFIX.len()..], &text[..text.len() - 1], &text.replace(PREFIX, "rh_rt_")] {
            assert!(RefreshToken::read(&keys, forged).is_none(), "{forged}");
        }
        let of_people = format!("{PREFIX}{}", master.signer("refresh token").sign(&[0; 48]));
        assert!(RefreshToken::read(&keys, &of_people).is_none());
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_comes_breaks_the_reading(text: String) {
            let keys = RefreshKeys::new(&MasterKey::generate());
            assert!(RefreshToken::read(&keys, &text).is_none());
            assert!(RefreshToken::read(&keys, &format!("{PREFIX}{text}")).is_none());
        }
    }
}
