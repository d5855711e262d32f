//! Passwords: argon2id, hashed beside the runtime, a bounded number at a time.

use std::sync::{Arc, LazyLock};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

/// Shortest password, in characters (NIST SP 800-63B).
pub const PASSWORD_LENGTH_MIN: usize = 8;
/// Longest password, in characters: hashing must not be a way to keep the server busy.
pub const PASSWORD_LENGTH_MAX: usize = 128;
/// OWASP's second recommendation for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// Hashes at a time: each takes a core for some 40 ms.
const AT_A_TIME: usize = 4;

static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_A_TIME)));
/// Verified when there is no account, so that the time taken tells nothing.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash(&"nobody has this password".into()).unwrap_or_default());

/// A password that cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short or too long.
    #[error("must have {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters")]
    Length,
    /// The hash could not be made.
    #[error("could not be hashed")]
    Hash,
}

/// Judges a password before it is hashed.
///
/// # Errors
/// [`PasswordError::Length`].
pub fn check_password(password: &str) -> Result<(), PasswordError> {
    let length = password.chars().count();
    if (PASSWORD_LENGTH_MIN..=PASSWORD_LENGTH_MAX).contains(&length) { Ok(()) } else { Err(PasswordError::Length) }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).expect("the parameters are within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &SecretString) -> Result<String, PasswordError> {
    let hashed = argon2().hash_password(password.expose_secret().as_bytes());
    hashed.map(|hash| hash.to_string()).map_err(|_| PasswordError::Hash)
}

pub(crate) async fn hash_password(password: SecretString) -> Result<String, PasswordError> {
    check_password(password.expose_secret())?;
    beside_the_runtime(move || hash(&password)).await.unwrap_or(Err(PasswordError::Hash))
}

/// Whether the password fits the hash; with no hash it takes as long and never fits.
pub(crate) async fn verify_password(password: SecretString, stored: Option<String>) -> bool {
    if password.expose_secret().chars().count() > PASSWORD_LENGTH_MAX {
        return false;
    }
    let verify = move || {
        let known = stored.is_some();
        let text = stored.unwrap_or_else(|| NOBODY.clone());
        let Ok(hash) = PasswordHash::new(&text) else { return false };
        argon2().verify_password(password.expose_secret().as_bytes(), &hash).is_ok() && known
    };
    beside_the_runtime(verify).await.unwrap_or(false)
}

async fn beside_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let _turn = TURNS.clone().acquire_owned().await.ok()?;
    tokio::task::spawn_blocking(work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let hash = hash_password("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify_password("correct horse".into(), Some(hash.clone())).await);
        assert!(!verify_password("wrong horse".into(), Some(hash)).await);
        assert!(!verify_password("nobody has this password".into(), None).await);
    }

    #[tokio::test]
    async fn short_and_endless_passwords_are_refused() {
        assert_eq!(hash_password("short".into()).await, Err(PasswordError::Length));
        assert_eq!(hash_password("x".repeat(129).into()).await, Err(PasswordError::Length));
    }
}
