//! Recovery codes: for whoever has lost their authenticator. Each is good once.
//!
//! Must never be kept as it is: a keyed hash is, which tells nothing to who reads the database.

use rowhouse_types::{Signer, UserId};
use secrecy::{ExposeSecret as _, SecretString};

/// Codes that a person gets.
pub(crate) const CODES: usize = 10;
/// Letters of a code: 32 of them, none that looks like another.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
/// 16 letters of 5 bits: too many to guess, few enough to type.
const LENGTH: usize = 16;
const GROUP: usize = 4;

/// A new code, in groups: `k3vd-9m2p-…`.
pub(crate) fn generate() -> SecretString {
    let random: [u8; LENGTH] = rand::random();
    let letters: Vec<char> = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    letters.chunks(GROUP).map(String::from_iter).collect::<Vec<_>>().join("-").into()
}

/// What is kept of a code of this holder; of what cannot be a code, nothing.
pub(crate) fn hash(signer: &Signer, holder: UserId, code: &SecretString) -> Option<Vec<u8>> {
    let letters = code.expose_secret().chars().filter(|letter| !letter.is_whitespace() && *letter != '-');
    let plain: String = letters.take(LENGTH + 1).flat_map(char::to_lowercase).collect();
    let could_be = plain.len() == LENGTH && plain.bytes().all(|letter| ALPHABET.contains(&letter));
    could_be.then(|| signer.tag(&[holder.uuid().as_bytes().as_slice(), plain.as_bytes()].concat()).to_vec())
}

#[cfg(test)]
mod tests {
    use rowhouse_types::MasterKey;

    use super::*;

    #[test]
    fn a_code_may_be_typed_carelessly_but_not_wrongly() {
        let (signer, holder) = (MasterKey::generate().signer("recovery code"), UserId::generate());
        let code = generate();
        let text = code.expose_secret();
        let kept = hash(&signer, holder, &code).unwrap();
        assert_eq!((text.len(), kept.len()), (19, 32));
        for same in [text.to_uppercase(), text.replace('-', ""), format!(" {} ", text.replace('-', " "))] {
            assert_eq!(hash(&signer, holder, &same.into()), Some(kept.clone()));
        }
        for other in ["", "123456", &text[1..], &format!("{text}a"), &text.replace('-', "_")] {
            assert_eq!(hash(&signer, holder, &other.into()), None);
        }
        assert_ne!(hash(&signer, UserId::generate(), &code), Some(kept.clone()), "another's");
        assert_ne!(hash(&signer, holder, &generate()), Some(kept));
    }
}
