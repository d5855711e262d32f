//! Refresh tokens: a session's id and 256 random bits, signed. The signature tells a token that
//! we made from a guess before the database is asked; the hash of the newest one tells whether it
//! was used before.
//!
//! Must never be kept or logged as it is.

use rowhouse_types::{SessionId, Signer};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

const PREFIX: &str = "rh_rt_";
const ID_LENGTH: usize = 16;
const RANDOM_LENGTH: usize = 32;

/// One refresh token.
pub(crate) struct RefreshToken {
    pub(crate) session: SessionId,
    text: SecretString,
}

impl RefreshToken {
    /// A new one; none of its session's earlier ones fits once its hash is kept.
    pub(crate) fn generate(signer: &Signer, session: SessionId) -> Self {
        let random: [u8; RANDOM_LENGTH] = rand::random();
        let payload = [session.uuid().as_bytes().as_slice(), &random].concat();
        Self { session, text: format!("{PREFIX}{}", signer.sign(&payload)).into() }
    }

    /// Reads one that a client sent; none if we never made it.
    pub(crate) fn read(signer: &Signer, text: &str) -> Option<Self> {
        let payload = signer.verify(text.strip_prefix(PREFIX)?)?;
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
    use rowhouse_types::MasterKey;

    use super::*;

    #[test]
    fn a_token_is_read_back_and_no_two_are_alike() {
        let signer = MasterKey::generate().signer("refresh token");
        let session = SessionId::generate();
        let (one, other) = (RefreshToken::generate(&signer, session), RefreshToken::generate(&signer, session));
        assert!(one.expose().starts_with("rh_rt_"));
        assert_ne!(one.expose(), other.expose());
        let read = RefreshToken::read(&signer, one.expose()).unwrap();
        assert_eq!((read.session, read.hash()), (session, one.hash()));
    }

    #[test]
    fn what_we_did_not_make_is_no_token() {
        let master = MasterKey::generate();
        let signer = master.signer("refresh token");
        let token = RefreshToken::generate(&signer, SessionId::generate());
        let foreign = RefreshToken::generate(&MasterKey::generate().signer("refresh token"), token.session);
        let of_other_purpose = format!("{PREFIX}{}", master.signer("invitation").sign(&[0; 48]));
        let short = format!("{PREFIX}{}", signer.sign(&[0; 47]));
        let long = format!("{PREFIX}{}", signer.sign(&[0; 49]));
        let text = token.expose();
        for forged in ["", "rh_rt_", "rh_rt_e30", &text[6..], &text[..text.len() - 1], foreign.expose()] {
            assert!(RefreshToken::read(&signer, forged).is_none(), "{forged}");
        }
        for forged in [of_other_purpose, short, long, text.replace("rh_rt_", "rh_inv_"), format!("{text}A")] {
            assert!(RefreshToken::read(&signer, &forged).is_none(), "{forged}");
        }
    }
}
