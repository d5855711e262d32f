//! What is remembered for a moment: what every request asks the database, and another process may
//! change.
//!
//! Must never hold, after a change that this process made, what was read before it.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::future::Cache;

/// How long another process may take to notice a change: less than a second with the request.
pub(crate) const STALE: Duration = Duration::from_millis(900);
const ENTRIES_MAX: u64 = 100_000;

/// Answers by key, each with the time at which it was asked for.
pub struct Remembered<K, V> {
    cache: Cache<K, (Instant, V)>,
    changes: AtomicU64,
}

impl<K, V> Default for Remembered<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Remembered<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Nothing yet.
    pub fn new() -> Self {
        let cache = Cache::builder().max_capacity(ENTRIES_MAX).time_to_live(STALE).build();
        Self { cache, changes: AtomicU64::new(0) }
    }

    /// What is remembered, or else what `read` gives, which is remembered from then on.
    pub async fn get_or_read<E>(&self, key: K, read: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        if let Some((asked, value)) = self.cache.get(&key).await
            && asked.elapsed() < STALE
        {
            return Ok(value);
        }
        let (asked, changes) = (Instant::now(), self.changes.load(Ordering::SeqCst));
        let value = read.await?;
        self.cache.insert(key.clone(), (asked, value.clone())).await;
        // A change came between: it may have been forgotten before it was remembered.
        if self.changes.load(Ordering::SeqCst) != changes {
            self.cache.invalidate(&key).await;
        }
        Ok(value)
    }

    /// Forgets one answer: after the change is in the database.
    pub async fn forget(&self, key: &K) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.cache.invalidate(key).await;
    }

    /// Forgets them all.
    pub fn forget_all(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.cache.invalidate_all();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    async fn read(value: u8) -> Result<u8, Infallible> {
        Ok(value)
    }

    #[tokio::test]
    async fn an_answer_is_remembered_until_it_is_forgotten() {
        let remembered = Remembered::new();
        assert_eq!(remembered.get_or_read("a", read(1)).await, Ok(1));
        assert_eq!(remembered.get_or_read("a", read(2)).await, Ok(1));
        remembered.forget(&"a").await;
        assert_eq!(remembered.get_or_read("a", read(3)).await, Ok(3));
        remembered.forget_all();
        assert_eq!(remembered.get_or_read("a", read(4)).await, Ok(4));
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let remembered = Remembered::new();
        let overtaken = async {
            remembered.forget(&"a").await;
            read(1).await
        };
        assert_eq!(remembered.get_or_read("a", overtaken).await, Ok(1));
        assert_eq!(remembered.get_or_read("a", read(2)).await, Ok(2));
    }
}
