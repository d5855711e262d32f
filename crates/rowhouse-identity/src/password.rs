//! Passwords: judged by how hard they are to guess, argon2id, hashed beside the runtime, a bounded
//! number at a time.
//!
//! Must never take less time, or another way, for an account that does not exist, and never hash a
//! new password that was not judged.

use std::sync::{Arc, LazyLock};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use crate::password_strength::Judge;

/// Shortest password, in characters (NIST SP 800-63B).
pub const PASSWORD_LENGTH_MIN: usize = 8;
/// Longest password, in characters: hashing must not be a way to keep the server busy.
pub const PASSWORD_LENGTH_MAX: usize = 128;
/// Hashes at a time, at most: each takes a core for some 40 ms and 19 MiB, unless set otherwise.
const AT_A_TIME_MAX: usize = 16;
/// Hashes that may wait for their turn; more are told to come back, or a flood of sign-ins would
/// make everybody wait until their requests time out.
const WAITING_MAX: usize = 256;

static TURNS: LazyLock<Turns> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    Turns::new(cores.clamp(1, AT_A_TIME_MAX), WAITING_MAX)
});
/// Verified when there is no account, so that the time taken tells nothing.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash_of_nobody(PasswordCost::default()));

/// What a hash costs: argon2id with one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

/// OWASP's second recommendation for argon2id: 19 MiB, two passes, one lane.
impl Default for PasswordCost {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2 }
    }
}

impl PasswordCost {
    fn argon2(self) -> Argon2<'static> {
        let params = Params::new(self.memory_kib, self.passes, 1, None).unwrap_or_default();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
    }

    /// How hashes of this cost begin.
    fn prefix(self) -> String {
        format!("$argon2id$v=19$m={},t={},p=1$", self.memory_kib, self.passes)
    }
}

/// A password that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short or too long.
    #[error("must have {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters")]
    Length,
    /// Too easy to guess.
    #[error("is too easy to guess. {advice}")]
    Weak {
        /// What is wrong with it, and what to do.
        advice: String,
    },
    /// The hash could not be made.
    #[error("could not be hashed")]
    Hash,
    /// Too many passwords wait to be hashed or verified.
    #[error("too many passwords wait to be hashed")]
    Busy,
}

/// Judges a password's length, which costs nothing.
///
/// # Errors
/// [`PasswordError::Length`].
pub fn check_password_length(password: &str) -> Result<(), PasswordError> {
    let length = password.chars().count();
    if (PASSWORD_LENGTH_MIN..=PASSWORD_LENGTH_MAX).contains(&length) { Ok(()) } else { Err(PasswordError::Length) }
}

fn hash(password: &SecretString, cost: PasswordCost) -> Result<String, PasswordError> {
    let hashed = cost.argon2().hash_password(password.expose_secret().as_bytes());
    hashed.map(|hash| hash.to_string()).map_err(|_| PasswordError::Hash)
}

fn hash_of_nobody(cost: PasswordCost) -> String {
    hash(&"nobody has this password".into(), cost).expect("argon2 hashes any password with these parameters")
}

/// How passwords are judged, hashed and verified here.
pub(crate) struct Passwords {
    cost: PasswordCost,
    score_min: u8,
    service_name: String,
    /// The hash that stands for nobody's, of the same cost as everybody's.
    nobody: Arc<str>,
}

impl Passwords {
    /// Makes the hash that stands for nobody's, too, which the first stranger would else wait for.
    pub(crate) async fn open(cost: PasswordCost, score_min: u8, service_name: String) -> Result<Self, PasswordError> {
        let of_nobody = move || match cost == PasswordCost::default() {
            true => NOBODY.as_str().into(),
            false => hash_of_nobody(cost).into(),
        };
        Ok(Self { cost, score_min, service_name, nobody: TURNS.run(of_nobody).await? })
    }

    /// Judges a new password, by whoever's these words are, and hashes it.
    pub(crate) async fn hash_new(
        &self,
        password: SecretString,
        mut own_words: Vec<String>,
    ) -> Result<String, PasswordError> {
        check_password_length(password.expose_secret())?;
        own_words.push(self.service_name.clone());
        let (cost, judge) = (self.cost, Judge::new(self.score_min, own_words));
        TURNS
            .run(move || {
                judge.judge(password.expose_secret())?;
                hash(&password, cost)
            })
            .await?
    }

    /// Hashes a password that was just verified anew, if it was hashed at another cost than today's.
    pub(crate) async fn hash_again(
        &self,
        password: SecretString,
        stored: &str,
    ) -> Result<Option<String>, PasswordError> {
        if stored.starts_with(&self.cost.prefix()) {
            return Ok(None);
        }
        let cost = self.cost;
        TURNS.run(move || hash(&password, cost)).await?.map(Some)
    }

    /// Whether the password fits the hash; with no hash, or one that cannot be read, it takes as
    /// long and never fits. A hash of another cost is verified at its own.
    pub(crate) async fn verify(&self, password: SecretString, stored: Option<String>) -> Result<bool, PasswordError> {
        if password.expose_secret().chars().count() > PASSWORD_LENGTH_MAX {
            return Ok(false);
        }
        let (cost, nobody) = (self.cost, self.nobody.clone());
        TURNS
            .run(move || {
                let password = password.expose_secret().as_bytes();
                let fits = |hash: &PasswordHash| cost.argon2().verify_password(password, hash).is_ok();
                if let Some(hash) = stored.as_deref().and_then(|text| PasswordHash::new(text).ok()) {
                    return fits(&hash);
                }
                let nobody = PasswordHash::new(&nobody).expect("argon2 reads what it has written");
                std::hint::black_box(fits(&nobody));
                false
            })
            .await
    }
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

    async fn passwords() -> Passwords {
        Passwords::open(PasswordCost::default(), 3, "Rowhouse".into()).await.unwrap()
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = passwords().await;
        let hash = passwords.hash_new("correct horse battery".into(), Vec::new()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("correct horse battery".into(), Some(hash.clone())).await.unwrap());
        assert_eq!(passwords.hash_again("correct horse battery".into(), &hash).await, Ok(None));
        assert!(!passwords.verify("wrong horse battery".into(), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_fits_and_is_made_anew() {
        let cost = PasswordCost { memory_kib: 4096, passes: 1 };
        let dearer = Passwords::open(cost, 3, String::new()).await.unwrap();
        let password = || SecretString::from("correct horse battery");
        let old = passwords().await.hash_new(password(), Vec::new()).await.unwrap();
        assert!(dearer.verify(password(), Some(old.clone())).await.unwrap());
        let new = dearer.hash_again(password(), &old).await.unwrap().unwrap();
        assert!(new.starts_with("$argon2id$v=19$m=4096,t=1,p=1$"), "{new}");
        assert!(passwords().await.verify(password(), Some(new)).await.unwrap());
    }

    #[tokio::test]
    async fn equal_passwords_have_different_hashes() {
        let (passwords, password) = (passwords().await, SecretString::from("correct horse battery"));
        assert_ne!(passwords.hash_new(password.clone(), vec![]).await, passwords.hash_new(password, vec![]).await);
    }

    #[tokio::test]
    async fn nothing_fits_where_there_is_no_hash_or_an_unreadable_one() {
        let passwords = passwords().await;
        for stored in [None, Some(String::new()), Some("$argon2id$broken".into()), Some("secret".into())] {
            for password in ["nobody has this password", "", "secret"] {
                assert!(!passwords.verify(password.into(), stored.clone()).await.unwrap(), "{password} {stored:?}");
            }
        }
    }

    #[tokio::test]
    async fn short_and_endless_passwords_are_refused() {
        let passwords = passwords().await;
        assert_eq!(passwords.hash_new("short".into(), Vec::new()).await, Err(PasswordError::Length));
        assert_eq!(passwords.hash_new("x".repeat(129).into(), Vec::new()).await, Err(PasswordError::Length));
        assert_eq!(check_password_length("ünïcödé!"), Ok(()), "characters count, not bytes");
        let longest: String = ('a'..='z').cycle().step_by(7).take(128).collect();
        let hash = passwords.hash_new(longest.into(), Vec::new()).await.unwrap();
        assert!(!passwords.verify("x".repeat(100_000).into(), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn a_new_password_is_judged_before_it_is_hashed() {
        let passwords = passwords().await;
        for (password, word) in [("password123", ""), ("Rowhouse2026", ""), ("quillfeather", "Quillfeather")] {
            let refused = passwords.hash_new(password.into(), vec![word.to_owned()]).await;
            assert!(matches!(refused, Err(PasswordError::Weak { .. })), "{password}: {refused:?}");
        }
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
