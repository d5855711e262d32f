//! Time-based codes (RFC 6238): six digits, every 30 seconds, SHA-1, which is what every
//! authenticator app knows. A code of the step before or after is taken too: clocks differ.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use totp_rs::{Builder, Totp};

/// Bytes of a secret: what RFC 4226 recommends.
const SECRET_LENGTH: usize = 20;
pub(crate) const DIGITS: usize = 6;

/// What an authenticator app shares with us.
pub(crate) struct TotpSecret([u8; SECRET_LENGTH]);

impl TotpSecret {
    pub(crate) fn generate() -> Self {
        Self(rand::random())
    }

    /// The text that is sealed.
    pub(crate) fn to_text(&self) -> SecretString {
        STANDARD.encode(self.0).into()
    }

    /// Reads the text that was sealed.
    pub(crate) fn from_text(text: &SecretString) -> Option<Self> {
        let bytes = STANDARD.decode(text.expose_secret()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    fn totp(&self, issuer: &str, account: &str) -> Option<Totp> {
        // The URI's label separates the two by a colon.
        let (issuer, account) = (issuer.replace(':', " "), account.replace(':', " "));
        Builder::new().with_secret(self.0.to_vec()).with_issuer(Some(issuer)).with_account_name(account).build().ok()
    }

    /// The secret for people who type it, and the URI for those who scan it.
    pub(crate) fn shown(&self, issuer: &str, account: &str) -> Option<(String, String)> {
        let totp = self.totp(issuer, account)?;
        Some((totp.secret().to_base32(), totp.to_url().ok()?))
    }

    /// The time step that the code belongs to, if it is one that fits at this time.
    pub(crate) fn step_of(&self, code: &str, now_seconds: u64) -> Option<i64> {
        i64::try_from(self.totp("Rowhouse", "account")?.check(code, now_seconds)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret and, of their eight digits, the last six of RFC 6238, appendix B.
    #[test]
    fn codes_are_those_of_the_standard() {
        let secret = TotpSecret(*b"12345678901234567890");
        for (time, code) in [(1_234_567_890, "005924"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            let step = i64::try_from(time / 30).unwrap();
            assert_eq!(secret.step_of(code, time), Some(step));
            assert_eq!(secret.step_of(code, time + 30), Some(step), "a clock that is late");
            assert_eq!(secret.step_of(code, time - 30), Some(step), "a clock that is early");
            assert_eq!(secret.step_of(code, time + 90), None);
        }
        for wrong in ["", "00592", "0059240", "000000", "00592x", "００５９２４"] {
            assert_eq!(secret.step_of(wrong, 1_234_567_890), None, "{wrong}");
        }
    }

    #[test]
    fn apps_read_the_uri() {
        let secret = TotpSecret(*b"12345678901234567890");
        let (text, uri) = secret.shown("Solar: Desk", "ann:x@example.com").unwrap();
        assert_eq!(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(uri.starts_with("otpauth://totp/Solar%20%20Desk:ann%20x%40example.com?"), "{uri}");
        assert!(uri.contains(&text) && uri.contains("issuer=Solar"), "{uri}");
    }

    #[test]
    fn a_secret_survives_being_kept() {
        let secret = TotpSecret::generate();
        assert_eq!(TotpSecret::from_text(&secret.to_text()).unwrap().0, secret.0);
        assert!(TotpSecret::from_text(&"c2hvcnQ=".into()).is_none());
    }
}
