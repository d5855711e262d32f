//! What clients carry: 256 random bits, of which the hash is kept.
//!
//! Must never be kept or logged as it is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What a client's secret begins with, so that it is known where it should not be.
pub(crate) const CLIENT_SECRET: &str = "rh_cs_";
/// What a code begins with.
pub(crate) const CODE: &str = "rh_code_";
/// What the id of a request that waits begins with.
pub(crate) const REQUEST: &str = "rh_req_";

/// A new one.
pub(crate) fn generate(prefix: &str) -> SecretString {
    let random: [u8; 32] = rand::random();
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random)).into()
}

/// What is kept of it.
pub(crate) fn hash(text: &str) -> Vec<u8> {
    Sha256::digest(text.as_bytes()).to_vec()
}

/// Whether a text is the one that a hash was made of.
pub(crate) fn fits(kept: &[u8], text: &SecretString) -> bool {
    kept.ct_eq(&hash(text.expose_secret())).into()
}
