//! Passwords that were hashed at another cost are hashed anew when their person signs in: only then
//! are they at hand.

use rowhouse_postgres::params;
use rowhouse_types::UserId;
use secrecy::SecretString;

use crate::error::IdentityError;
use crate::identity::Identity;

/// Whose password it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hashed {
    /// A person's.
    User(UserId),
    /// An operator's.
    Operator(UserId),
}

impl Identity {
    /// Hashes a password that was just verified anew, if `stored` is of another cost than today's.
    /// Who signs in is not told if that fails: it is tried again the next time.
    pub(crate) async fn hash_again(&self, whose: Hashed, password: SecretString, stored: Option<&str>) {
        let Some(stored) = stored else { return };
        if let Err(error) = self.replace_hash(whose, password, stored).await {
            tracing::warn!(?whose, %error, "hash a password anew");
        }
    }

    async fn replace_hash(&self, whose: Hashed, password: SecretString, stored: &str) -> Result<(), IdentityError> {
        // Only in the place of the one that was verified: it may have been changed meanwhile.
        const OF_USER: &str = "update control.users set password_hash = $3 where id = $1 and password_hash = $2";
        const OF_OPERATOR: &str =
            "update control.operators set password_hash = $3 where id = $1 and password_hash = $2";
        let Some(hash) = self.passwords.hash_again(password, stored).await? else { return Ok(()) };
        let connection = self.control("hash a password anew").await?;
        match whose {
            Hashed::User(id) => connection.execute(OF_USER, params![id, stored, hash]).await?,
            Hashed::Operator(id) => connection.execute(OF_OPERATOR, params![id, stored, hash]).await?,
        };
        Ok(())
    }
}
