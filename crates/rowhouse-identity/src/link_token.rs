//! Tokens of links in mails: 256 random bits and what they are for, signed. The signature tells a
//! token that we made from a guess before the database is asked; its hash is all that is kept.
//!
//! Must never be kept or logged as it is.

use std::time::Duration;

use rowhouse_types::Signer;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "rh_link_";
const RANDOM_LENGTH: usize = 32;

/// What following a link does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkPurpose {
    /// A new password can be chosen.
    ResetPassword,
    /// The address is proved.
    VerifyEmail,
    /// The account takes the address.
    ChangeEmail,
    /// A session is opened.
    SignIn,
}

impl LinkPurpose {
    /// All of them.
    pub(crate) const ALL: &[Self] = &[Self::ResetPassword, Self::VerifyEmail, Self::ChangeEmail, Self::SignIn];

    /// The word in the database.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ResetPassword => "reset_password",
            Self::VerifyEmail => "verify_email",
            Self::ChangeEmail => "change_email",
            Self::SignIn => "sign_in",
        }
    }

    /// How long a link is good.
    pub(crate) const fn valid_for(self) -> Duration {
        match self {
            Self::ResetPassword => Duration::from_secs(60 * 60),
            Self::VerifyEmail | Self::ChangeEmail => Duration::from_secs(24 * 60 * 60),
            Self::SignIn => Duration::from_secs(15 * 60),
        }
    }

    /// The page on the service that the link leads to.
    pub(crate) const fn page(self) -> &'static str {
        match self {
            Self::ResetPassword => "reset",
            Self::VerifyEmail | Self::ChangeEmail => "verify",
            Self::SignIn => "login",
        }
    }

    const fn mark(self) -> u8 {
        match self {
            Self::ResetPassword => 1,
            Self::VerifyEmail => 2,
            Self::ChangeEmail => 3,
            Self::SignIn => 4,
        }
    }

    fn of_mark(mark: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|purpose| purpose.mark() == mark)
    }
}

/// One token.
pub(crate) struct LinkToken {
    pub(crate) purpose: LinkPurpose,
    text: SecretString,
}

impl LinkToken {
    pub(crate) fn generate(signer: &Signer, purpose: LinkPurpose) -> Self {
        let random: [u8; RANDOM_LENGTH] = rand::random();
        let payload = [&[purpose.mark()][..], &random].concat();
        Self { purpose, text: format!("{PREFIX}{}", signer.sign(&payload)).into() }
    }

    /// Reads one that a client sent; none if we never made it.
    pub(crate) fn read(signer: &Signer, text: &SecretString) -> Option<Self> {
        let payload = signer.verify(text.expose_secret().strip_prefix(PREFIX)?)?;
        let (mark, random) = payload.split_first()?;
        let purpose = LinkPurpose::of_mark(*mark).filter(|_| random.len() == RANDOM_LENGTH)?;
        Some(Self { purpose, text: text.clone() })
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.text.expose_secret().as_bytes()).to_vec()
    }

    /// The text, for the link.
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
    fn a_token_is_read_back_with_its_purpose_and_no_two_are_alike() {
        let signer = MasterKey::generate().signer("mail link");
        for mark in 1..=4 {
            let purpose = LinkPurpose::of_mark(mark).unwrap();
            let token = LinkToken::generate(&signer, purpose);
            assert_ne!(token.expose(), LinkToken::generate(&signer, purpose).expose());
            let read = LinkToken::read(&signer, &token.expose().into()).unwrap();
            assert_eq!((read.purpose, read.hash()), (purpose, token.hash()));
        }
        assert_eq!(LinkPurpose::of_mark(0), None);
        assert_eq!(LinkPurpose::of_mark(5), None);
    }

    #[test]
    fn what_we_did_not_make_is_no_token() {
        let master = MasterKey::generate();
        let signer = master.signer("mail link");
        let token = LinkToken::generate(&signer, LinkPurpose::SignIn);
        let foreign = LinkToken::generate(&MasterKey::generate().signer("mail link"), LinkPurpose::SignIn);
        let text = token.expose();
        for forged in ["", PREFIX, &text[PREFIX.len()..], &text[..text.len() - 1], foreign.expose()] {
            assert!(LinkToken::read(&signer, &forged.into()).is_none(), "{forged}");
        }
        for forged in [
            format!("{PREFIX}{}", signer.sign(&[1; 32])),
            format!("{PREFIX}{}", signer.sign(&[1; 34])),
            format!("{PREFIX}{}", signer.sign(&[9; 33])),
            format!("{PREFIX}{}", master.signer("invitation").sign(&[1; 33])),
            format!("{text}A"),
        ] {
            assert!(LinkToken::read(&signer, &forged.clone().into()).is_none(), "{forged}");
        }
    }

    proptest! {
        #[test]
        fn no_text_that_somebody_makes_up_is_a_token(text in any::<String>(), payload in any::<Vec<u8>>()) {
            let signer = MasterKey::generate().signer("mail link");
            let elsewhere = MasterKey::generate().signer("mail link").sign(&payload);
            for made_up in [text.clone(), format!("{PREFIX}{text}"), format!("{PREFIX}{elsewhere}")] {
                prop_assert!(LinkToken::read(&signer, &made_up.into()).is_none());
            }
        }
    }
}
