//! Passwords: argon2id, hashed beside the runtime, a bounded number at a time.
//!
//! Must never take less time, or another way, for an account that does not exist.

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
/// Hashes at a time, at most: each takes a core for some 40 ms and 19 MiB.
const AT_A_TIME_MAX: usize = 16;
/// Hashes that may wait for their turn; more are told to come back, or a flood of sign-ins would
/// make everybody wait until their requests time out.
const WAITING_MAX: usize = 256;

static TURNS: LazyLock<Turns> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    Turns::new(cores.clamp(1, AT_A_TIME_MAX), WAITING_MAX)
});
/// Verified when there is no account, so that the time taken tells nothing.
static NOBODY: LazyLock<String> = LazyLock::new(|| {
    hash(&"nobody has this password".into()).expect("argon2 hashes any password with these parameters")
});

/// A password that cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short or too long.
    #[error("must have {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters")]
    Length,
    /// The hash could not be made.
    #[error("could not be hashed")]
    Hash,
    /// Too many passwords wait to be hashed or verified.
    #[error("too many passwords wait to be hashed")]
    Busy,
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
    TURNS.run(move || hash(&password)).await?
}

/// Makes the hash that stands for nobody's, which the first stranger would else wait for.
pub(crate) async fn prepare() -> Result<(), PasswordError> {
    TURNS.run(|| LazyLock::force(&NOBODY)).await.map(|_| ())
}

/// Whether the password fits the hash; with no hash, or one that cannot be read, it takes as
/// long and never fits.
pub(crate) async fn verify_password(password: SecretString, stored: Option<String>) -> Result<bool, PasswordError> {
    if password.expose_secret().chars().count() > PASSWORD_LENGTH_MAX {
        return Ok(false);
    }
    TURNS
        .run(move || {
            let password = password.expose_secret().as_bytes();
            let fits = |hash: &PasswordHash| argon2().verify_password(password, hash).is_ok();
            if let Some(hash) = stored.as_deref().and_then(|text| PasswordHash::new(text).ok()) {
                return fits(&hash);
            }
            let nobody = PasswordHash::new(&NOBODY).expect("argon2 reads what it has written");
            std::hint::black_box(fits(&nobody));
            false
        })
        .await
}

/// Who may hash now, and who may wait.
struct Turns {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Turns {
    fn new(running_max: usize, waiting_max: usize) -> Self {
        Self { running: Arc::new(Semaphore::new(running_max)), waiting: Arc::new(Semaphore::new(waiting_max)) }
    }

    /// Runs the work on a blocking thread when its turn comes. The turn is held by the work
    /// itself, not by whoever waits for it: a client that goes away must not let another hash
    /// begin beside it.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordError> {
        let waiting = self.waiting.clone().try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let turn = self.running.clone().acquire_owned().await.expect("the turns are never closed");
        drop(waiting);
        let work = move || {
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| PasswordError::Hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let hash = hash_password("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify_password("correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!verify_password("wrong horse".into(), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn equal_passwords_have_different_hashes() {
        let password = SecretString::from("correct horse");
        assert_ne!(hash_password(password.clone()).await, hash_password(password).await);
    }

    #[tokio::test]
    async fn nothing_fits_where_there_is_no_hash_or_an_unreadable_one() {
        prepare().await.unwrap();
        for stored in [None, Some(String::new()), Some("$argon2id$broken".into()), Some("secret".into())] {
            for password in ["nobody has this password", "", "secret"] {
                assert!(!verify_password(password.into(), stored.clone()).await.unwrap(), "{password} {stored:?}");
            }
        }
    }

    #[tokio::test]
    async fn short_and_endless_passwords_are_refused() {
        assert_eq!(hash_password("short".into()).await, Err(PasswordError::Length));
        assert_eq!(hash_password("x".repeat(129).into()).await, Err(PasswordError::Length));
        assert_eq!(check_password("ünïcödé!"), Ok(()), "characters count, not bytes");
        let hash = hash_password("x".repeat(128).into()).await.unwrap();
        assert!(!verify_password("x".repeat(100_000).into(), Some(hash)).await.unwrap());
    }

    /// A client that hangs up leaves its hash running; the next must still wait for it, and who
    /// finds the queue full is told at once.
    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_keeps_its_turn() {
        let turns = Arc::new(Turns::new(1, 1));
        let (go_on, told) = std::sync::mpsc::channel::<()>();
        let (started, has_started) = tokio::sync::oneshot::channel();
        let first = turns.clone();
        let first = tokio::spawn(async move {
            let work = move || {
                let _ = started.send(());
                let _ = told.recv();
            };
            first.run(work).await
        });
        has_started.await.unwrap();
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let mut second = Box::pin(turns.run(|| "second"));
        assert!(
            std::future::poll_fn(|context| std::task::Poll::Ready(second.as_mut().poll(context).is_pending())).await
        );
        assert_eq!(turns.run(|| "third").await, Err(PasswordError::Busy));
        drop(go_on);
        assert_eq!(second.await, Ok("second"));
    }
}
