//! PKCE (RFC 7636): a code is of use only to who asked for it. Only S256: `plain` protects from nobody who
//! sees the request.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::error::OpenIdError;
use crate::parameters::Parameters;

const HASH_LENGTH: usize = 32;

/// The challenge of a request, if it has one.
///
/// # Errors
/// `invalid_request` for another method, or for what is no hash.
pub(crate) fn challenge(parameters: &Parameters) -> Result<Option<String>, OpenIdError> {
    let (challenge, method) = (parameters.get("code_challenge")?, parameters.get("code_challenge_method")?);
    let Some(challenge) = challenge else {
        return match method {
            None => Ok(None),
            Some(_) => Err(OpenIdError::invalid_request("code_challenge_method comes with a code_challenge")),
        };
    };
    // Without a method it would be plain.
    if method != Some("S256") {
        return Err(OpenIdError::invalid_request("code_challenge_method must be S256"));
    }
    match URL_SAFE_NO_PAD.decode(challenge) {
        Ok(hash) if hash.len() == HASH_LENGTH => Ok(Some(challenge.to_owned())),
        _ => Err(OpenIdError::invalid_request("code_challenge must be a SHA-256 in base64url")),
    }
}

/// Whether a verifier is the one that a challenge was made from. A challenge without a verifier fits no
/// more than a verifier without a challenge.
pub(crate) fn fits(challenge: Option<&str>, verifier: Option<&str>) -> bool {
    let (challenge, verifier) = match (challenge, verifier) {
        (None, None) => return true,
        (Some(challenge), Some(verifier)) => (challenge, verifier),
        _ => return false,
    };
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_verifier = (43..=128).contains(&verifier.len()) && verifier.bytes().all(is_letter);
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    is_verifier && bool::from(hash.as_bytes().ct_eq(challenge.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn a_verifier_fits_its_challenge_only() {
        assert!(fits(Some(CHALLENGE), Some(VERIFIER)) && fits(None, None));
        assert!(!fits(Some(CHALLENGE), None) && !fits(None, Some(VERIFIER)));
        for other in [CHALLENGE, "", &VERIFIER[1..], &format!("{VERIFIER} "), &VERIFIER.to_lowercase()] {
            assert!(!fits(Some(CHALLENGE), Some(other)), "{other}");
        }
        assert!(!fits(Some(VERIFIER), Some(VERIFIER)), "plain");
    }

    #[test]
    fn only_s256_is_taken() {
        let read = |query: String| challenge(&Parameters::parse(query.as_bytes()));
        assert_eq!(read(format!("code_challenge={CHALLENGE}&code_challenge_method=S256")).unwrap().unwrap(), CHALLENGE);
        assert_eq!(read(String::new()).unwrap(), None);
        for bad in [
            format!("code_challenge={CHALLENGE}"),
            format!("code_challenge={CHALLENGE}&code_challenge_method=plain"),
            "code_challenge=short&code_challenge_method=S256".to_owned(),
            "code_challenge_method=S256".to_owned(),
            format!("code_challenge={CHALLENGE}&code_challenge={CHALLENGE}&code_challenge_method=S256"),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_verifier_of_the_right_form_fits_its_own_challenge(verifier in "[A-Za-z0-9._~-]{43,128}") {
            let own = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
            assert!(fits(Some(&own), Some(&verifier)) && !fits(Some(CHALLENGE), Some(&verifier)));
        }
    }
}
