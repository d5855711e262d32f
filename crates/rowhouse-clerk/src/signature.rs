//! Signatures of webhooks, as Svix makes them for Clerk: HMAC-SHA-256 over id, time and body.
//!
//! Must never look into a body before its signature is proved, nor compare signatures byte by byte.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

/// Seconds that a message may be older or younger than now: a captured one is of no use later.
const TOLERANCE_SECONDS: i64 = 300;
/// Signatures of one message that are looked at: one for each secret in use.
const SIGNATURES_MAX: usize = 10;
/// Longest id of a message.
const ID_LENGTH_MAX: usize = 200;
/// Fewest bytes of a secret.
const SECRET_LENGTH_MIN: usize = 16;

/// A secret is not one that Clerk shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a signing secret as Clerk shows it: whsec_ and base64")]
pub struct SecretError;

/// Why a message is refused. The sender is told nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// One of the three headers is absent or cannot be read.
    #[error("the headers svix-id, svix-timestamp and svix-signature are not all there")]
    Headers,
    /// Too old, or from the future.
    #[error("the message is older or younger than five minutes")]
    Time,
    /// No signature is by one of the secrets.
    #[error("no signature is by a secret that is known")]
    Signature,
}

/// What a message brings to prove itself.
#[derive(Debug, Clone, Copy)]
pub struct SignedHeaders<'a> {
    /// `svix-id`: the same for every attempt to deliver the message.
    pub id: &'a str,
    /// `svix-timestamp`: of the attempt.
    pub timestamp: &'a str,
    /// `svix-signature`: one for each secret, divided by blanks.
    pub signature: &'a str,
}

/// The secrets that messages may be signed with: while one is replaced, the old and the new.
pub struct WebhookSecrets(Vec<hmac::Key>);

impl WebhookSecrets {
    /// Reads secrets as Clerk shows them.
    ///
    /// # Errors
    /// If one is not, or there is none.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Result<Self, SecretError> {
        let keys: Vec<hmac::Key> = secrets.into_iter().map(key).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(SecretError) } else { Ok(Self(keys)) }
    }

    /// Proves that Clerk sent this body, at about `now` (seconds since 1970).
    ///
    /// # Errors
    /// Says why, for the log.
    pub fn verify(&self, headers: SignedHeaders<'_>, body: &[u8], now: i64) -> Result<(), SignatureError> {
        let SignedHeaders { id, timestamp, signature } = headers;
        if id.is_empty() || id.len() > ID_LENGTH_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SignatureError::Headers);
        }
        let digits = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
        let sent: i64 = timestamp.parse().ok().filter(|_| digits).ok_or(SignatureError::Headers)?;
        if now.abs_diff(sent) > TOLERANCE_SECONDS.unsigned_abs() {
            return Err(SignatureError::Time);
        }
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        let given = signature.split(' ').filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
        for tag in given.take(SIGNATURES_MAX) {
            if self.0.iter().any(|key| hmac::verify(key, &signed, &tag).is_ok()) {
                return Ok(());
            }
        }
        Err(SignatureError::Signature)
    }
}

impl std::fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecrets(…)")
    }
}

fn key(secret: &SecretString) -> Result<hmac::Key, SecretError> {
    let encoded = secret.expose_secret().trim().strip_prefix("whsec_").ok_or(SecretError)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| SecretError)?;
    if bytes.len() < SECRET_LENGTH_MIN {
        return Err(SecretError);
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn secret(letter: u8) -> SecretString {
        format!("whsec_{}", STANDARD.encode([letter; 24])).into()
    }

    fn sign(letter: u8, id: &str, timestamp: &str, body: &[u8]) -> String {
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        let tag = hmac::sign(&key(&secret(letter)).expect("a secret"), &signed);
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    }

    fn verify(secrets: &[u8], id: &str, timestamp: &str, signature: &str, body: &[u8]) -> Result<(), SignatureError> {
        let secrets: Vec<SecretString> = secrets.iter().map(|letter| secret(*letter)).collect();
        let headers = SignedHeaders { id, timestamp, signature };
        WebhookSecrets::new(&secrets).expect("secrets").verify(headers, body, NOW)
    }

    #[test]
    fn either_secret_and_any_of_several_signatures_will_do() {
        let timestamp = NOW.to_string();
        let old = sign(1, "msg_1", &timestamp, b"{}");
        let new = sign(2, "msg_1", &timestamp, b"{}");
        for signature in [old.clone(), new.clone(), format!("{old} {new}"), format!("v2,AAAA v1,!! {new}")] {
            assert_eq!(verify(&[1, 2], "msg_1", &timestamp, &signature, b"{}"), Ok(()), "{signature}");
        }
        assert_eq!(verify(&[2], "msg_1", &timestamp, &old, b"{}"), Err(SignatureError::Signature));
    }

    #[test]
    fn whatever_is_changed_is_refused() {
        let timestamp = NOW.to_string();
        let signature = sign(1, "msg_1", &timestamp, b"{}");
        let later = (NOW + 1).to_string();
        for (id, timestamp, signature, body) in [
            ("msg_2", &timestamp, &*signature, &b"{}"[..]),
            ("msg_1", &later, &signature, b"{}"),
            ("msg_1", &timestamp, &signature, b"{} "),
            ("msg_1", &timestamp, &signature[3..], b"{}"),
            ("msg_1", &timestamp, "v1,", b"{}"),
            ("msg_1", &timestamp, "", b"{}"),
        ] {
            assert_eq!(verify(&[1], id, timestamp, signature, body), Err(SignatureError::Signature));
        }
    }

    #[test]
    fn only_messages_of_now_are_taken() {
        for (seconds, expected) in [
            (-301, Err(SignatureError::Time)),
            (-300, Ok(())),
            (300, Ok(())),
            (301, Err(SignatureError::Time)),
            (i64::MAX - NOW, Err(SignatureError::Time)),
        ] {
            let timestamp = (NOW + seconds).to_string();
            let signature = sign(1, "msg_1", &timestamp, b"{}");
            assert_eq!(verify(&[1], "msg_1", &timestamp, &signature, b"{}"), expected, "{seconds}");
        }
        for timestamp in ["", "now", "-5", "+1700000000", "1700000000.0", "99999999999999999999"] {
            assert_eq!(verify(&[1], "msg_1", timestamp, "", b"{}"), Err(SignatureError::Headers), "{timestamp}");
        }
    }

    #[test]
    fn only_what_clerk_shows_is_a_secret() {
        for text in ["", "whsec_", "whsec_AAAA", "whsec_!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(WebhookSecrets::new([&SecretString::from(text)]).is_err(), "{text}");
        }
        assert!(WebhookSecrets::new([]).is_err());
    }

    proptest! {
        #[test]
        fn nothing_made_up_is_taken(id in any::<String>(), timestamp in any::<String>(), signature in any::<String>(),
                                    body in any::<Vec<u8>>()) {
            prop_assert!(verify(&[1, 2], &id, &timestamp, &signature, &body).is_err());
        }

        #[test]
        fn what_is_signed_is_taken(id in "[!-~]{1,200}", offset in -300i64..=300, body in any::<Vec<u8>>()) {
            let timestamp = (NOW + offset).to_string();
            let signature = sign(2, &id, &timestamp, &body);
            prop_assert_eq!(verify(&[1, 2], &id, &timestamp, &signature, &body), Ok(()));
        }
    }
}
