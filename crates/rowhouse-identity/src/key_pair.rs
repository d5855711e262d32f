//! New signing keys: made here, sealed, never shown.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{KeyId, MasterKey};
use secrecy::SecretString;

use crate::error::IdentityError;
use crate::key_ring::{KeyAlgorithm, place};

const FAILED: IdentityError = IdentityError::Keys("no key could be generated");
/// What stands before an RSA key of 2048 bits or more in PKCS #8 (RFC 5208), but for lengths (zero here).
const RSA_IN_PKCS8: [u8; 26] = [
    0x30, 0x82, 0, 0, 0x02, 0x01, 0, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01,
    0x05, 0, 0x04, 0x82, 0, 0,
];
const LENGTHS: [usize; 4] = [2, 3, 24, 25];

/// Makes a key that signs from so many seconds on. Gives it with that time.
pub(crate) async fn key_create(
    connection: &SystemConnection,
    master: &MasterKey,
    algorithm: KeyAlgorithm,
    signs_in_seconds: i64,
) -> Result<(KeyId, DateTime<Utc>), IdentityError> {
    const INSERT: &str = "
        insert into control.signing_keys (id, algorithm, public_jwk, sealed_private, signs_from)
        values ($1, $2, $3, $4, now() + make_interval(secs => $5::bigint::float8)) returning signs_from";
    // An RSA key takes a moment of a processor.
    let der = tokio::task::spawn_blocking(move || generate(algorithm)).await.map_err(|_| FAILED)??;
    let id = KeyId::generate();
    let mut jwk = Jwk::from_encoding_key(&algorithm.encoding_key(&der), algorithm.of_tokens())
        .map_err(|_| IdentityError::Keys("no public key could be derived"))?;
    jwk.common.key_id = Some(id.to_string());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    let public = serde_json::to_value(&jwk).map_err(|_| IdentityError::Keys("the public key cannot be written"))?;
    let sealed = master.seal(&place(id), &SecretString::from(STANDARD.encode(&der)));
    let values = params![id, algorithm.as_str(), public, sealed, signs_in_seconds];
    let row = connection.query_opt(INSERT, values).await?.ok_or(FAILED)?;
    Ok((id, row.get(0)))
}

/// A private key: of P-256 in PKCS #8, of RSA in PKCS #1, as the library that signs takes them.
fn generate(algorithm: KeyAlgorithm) -> Result<Vec<u8>, IdentityError> {
    match algorithm {
        KeyAlgorithm::Es256 => {
            let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
            Ok(made.map_err(|_| FAILED)?.as_ref().to_vec())
        }
        KeyAlgorithm::Rs256 => {
            let made = RsaKeyPair::generate(rsa::KeySize::Rsa2048).map_err(|_| FAILED)?;
            let pkcs8: Pkcs8V1Der<'_> = made.as_der().map_err(|_| FAILED)?;
            let der = of_pkcs8(pkcs8.as_ref()).ok_or(FAILED)?;
            RsaKeyPair::from_der(der).map_err(|_| FAILED)?;
            Ok(der.to_vec())
        }
    }
}

/// The RSA key within.
fn of_pkcs8(pkcs8: &[u8]) -> Option<&[u8]> {
    let (head, key) = pkcs8.split_at_checked(RSA_IN_PKCS8.len())?;
    let mut plain: [u8; RSA_IN_PKCS8.len()] = head.try_into().ok()?;
    for place in LENGTHS {
        plain[place] = 0;
    }
    (plain == RSA_IN_PKCS8).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_each_algorithm_signs_what_its_public_part_verifies() {
        for algorithm in KeyAlgorithm::ALL {
            let key = algorithm.encoding_key(&generate(algorithm).unwrap());
            let jwk = Jwk::from_encoding_key(&key, algorithm.of_tokens()).unwrap();
            let signed = jsonwebtoken::crypto::sign(b"text", &key, algorithm.of_tokens()).unwrap();
            let verifying = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
            assert!(jsonwebtoken::crypto::verify(&signed, b"text", &verifying, algorithm.of_tokens()).unwrap());
            assert!(!jsonwebtoken::crypto::verify(&signed, b"other", &verifying, algorithm.of_tokens()).unwrap());
        }
        assert_eq!(of_pkcs8(b"short"), None);
    }
}
