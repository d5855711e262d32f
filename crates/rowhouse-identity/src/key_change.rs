//! Replacing signing keys: a new one is published at once and signs when every cache of the published keys
//! knows it; the old one verifies until the last token that it signed has ended.
//!
//! Must never leave an algorithm without a key that signs, wherever a process is stopped: each change is
//! one transaction.

use chrono::{DateTime, Utc};
use rowhouse_audit::Actor;
use rowhouse_postgres::{Row, SystemConnection, params};
use rowhouse_types::KeyId;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::key_pair::key_create;
use crate::key_ring::KeyAlgorithm;
use crate::operator::OPERATOR_TOKEN_SECONDS;

/// Seconds that the published keys may be kept by whoever reads them: what the answer says.
pub const JWKS_SECONDS: i64 = 300;
/// Seconds after which a new key signs: as long as a copy of the published keys may be kept by one who got it
/// from another, and some more for clocks.
const PUBLISHED_SECONDS: i64 = 2 * JWKS_SECONDS;
/// Seconds of a token for OpenID clients, at most.
pub const CLIENT_TOKEN_SECONDS_MAX: i64 = 60 * 60;
/// Seconds that a key verifies longer than its tokens are good: for a process that signs with it a moment
/// too long.
const LATE_SECONDS: i64 = 60;
const LISTED_MAX: i64 = 100;

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Published; signs later.
    Next,
    /// Signs and verifies.
    Signing,
    /// Verifies what it has signed.
    Verifying,
    /// Nothing that it signed is good any more.
    Retired,
}

impl KeyState {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Signing => "signing",
            Self::Verifying => "verifying",
            Self::Retired => "retired",
        }
    }
}

/// A key as operators see it.
#[derive(Debug, Clone, Serialize)]
pub struct KeyOut {
    /// Its id: the `kid` of its tokens.
    pub id: KeyId,
    /// `ES256` or `RS256`.
    pub algorithm: String,
    /// Where it stands.
    pub state: KeyState,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when it signs.
    pub signs_from: DateTime<Utc>,
    /// When it is over, or was; unless another takes its place it has no end.
    pub retires_at: Option<DateTime<Utc>>,
}

/// What became of a key that was to be retired.
#[derive(Debug, Clone, Serialize)]
pub struct RetiredKey {
    /// The key.
    pub id: KeyId,
    /// The one that signs in its place, if that had to be changed.
    pub successor: Option<KeyId>,
}

impl Identity {
    /// The signing keys, the newest first, and the retired ones after those that are alive.
    pub async fn signing_keys(&self) -> Result<Vec<KeyOut>, IdentityError> {
        const LIST: &str = "
            with keys as (
                select id, algorithm, created_at, signs_from, retired_at,
                       coalesce(retired_at > now(), true) as alive, signs_from <= now() as may_sign
                from control.signing_keys)
            select k.id, k.algorithm, k.created_at, k.signs_from, k.retired_at, k.alive, k.may_sign,
                   not exists (select 1 from keys o where o.algorithm = k.algorithm and o.alive and o.may_sign
                               and (o.signs_from, o.id) > (k.signs_from, k.id))
            from keys k order by k.alive desc, k.signs_from desc, k.id desc limit $1";
        let rows = self.control("list signing keys").await?.query(LIST, params![LISTED_MAX]).await?;
        Ok(rows.iter().map(key_out).collect())
    }

    /// Makes a new key for each of the algorithms. It signs in some minutes; until then, and as long as
    /// tokens of the old one are good, both are published.
    ///
    /// # Errors
    /// [`IdentityError::KeyWaiting`] if a new one waits to sign already.
    pub async fn rotate_keys(
        &self,
        actor: &Actor,
        algorithms: &[KeyAlgorithm],
    ) -> Result<Vec<(KeyId, DateTime<Utc>)>, IdentityError> {
        let mut connection = self.control("rotate signing keys").await?;
        connection.begin().await?;
        keys_lock(&connection).await?;
        let mut made = Vec::new();
        for algorithm in algorithms {
            made.push(self.rotate_key(&connection, actor, *algorithm).await?);
        }
        connection.commit().await?;
        self.keys.ring.read(&connection).await?;
        Ok(made)
    }

    async fn rotate_key(
        &self,
        connection: &SystemConnection,
        actor: &Actor,
        algorithm: KeyAlgorithm,
    ) -> Result<(KeyId, DateTime<Utc>), IdentityError> {
        const WAITING: &str = "
            select id, signs_from from control.signing_keys
            where algorithm = $1 and retired_at is null and signs_from > now() limit 1";
        const SUPERSEDE: &str = "
            update control.signing_keys
            set retired_at = greatest($3::timestamptz + make_interval(secs => $4::bigint::float8), tokens_until)
            where algorithm = $1 and id <> $2 and retired_at is null";
        if let Some(row) = connection.query_opt(WAITING, params![algorithm.as_str()]).await? {
            let (id, signs_from) = (KeyId::from_uuid(row.get(0)), row.get(1));
            return Err(IdentityError::KeyWaiting { id, signs_from });
        }
        let (id, signs_from) = key_create(connection, &self.keys.master, algorithm, PUBLISHED_SECONDS).await?;
        let seconds = self.token_seconds_max() + LATE_SECONDS;
        connection.query(SUPERSEDE, params![algorithm.as_str(), id, signs_from, seconds]).await?;
        let details = json!({ "algorithm": algorithm, "signs_from": signs_from });
        actor.did("rotate_signing_key").on("signing_key", id).with_details(details).write(connection).await?;
        Ok((id, signs_from))
    }

    /// Ends a key at once: whatever it has signed is refused, by every process within a second. If it was
    /// the one that signs, another signs from now on.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] if there is none that is alive.
    pub async fn retire_key(&self, actor: &Actor, id: KeyId) -> Result<RetiredKey, IdentityError> {
        const RETIRE: &str = "
            update control.signing_keys set retired_at = now()
            where id = $1 and (retired_at is null or retired_at > now()) returning algorithm";
        let mut connection = self.control("retire a signing key").await?;
        connection.begin().await?;
        keys_lock(&connection).await?;
        let Some(row) = connection.query_opt(RETIRE, params![id]).await? else {
            connection.rollback().await?;
            return Err(IdentityError::NotFound);
        };
        let algorithm = KeyAlgorithm::of_name(&row.get::<_, String>(0))
            .ok_or(IdentityError::Keys("one has an algorithm that is not known here"))?;
        let successor = self.succeed(&connection, algorithm).await?;
        let details = json!({ "algorithm": algorithm, "successor": successor });
        actor.did("retire_signing_key").on("signing_key", id).with_details(details).write(&connection).await?;
        connection.commit().await?;
        self.keys.ring.read(&connection).await?;
        Ok(RetiredKey { id, successor })
    }

    /// Sees to it that some key signs now; gives the one that does so from now on.
    async fn succeed(
        &self,
        connection: &SystemConnection,
        algorithm: KeyAlgorithm,
    ) -> Result<Option<KeyId>, IdentityError> {
        const SIGNING: &str = "
            select 1 from control.signing_keys where algorithm = $1 and retired_at is null and signs_from <= now()";
        const BRING_FORWARD: &str = "
            update control.signing_keys set signs_from = now()
            where id = (select id from control.signing_keys where algorithm = $1 and retired_at is null
                        order by signs_from limit 1)
            returning id";
        if connection.query_opt(SIGNING, params![algorithm.as_str()]).await?.is_some() {
            return Ok(None);
        }
        if let Some(row) = connection.query_opt(BRING_FORWARD, params![algorithm.as_str()]).await? {
            return Ok(Some(KeyId::from_uuid(row.get(0))));
        }
        let (id, _) = key_create(connection, &self.keys.master, algorithm, 0).await?;
        Ok(Some(id))
    }

    /// Of all tokens that are not longer by somebody's choice.
    fn token_seconds_max(&self) -> i64 {
        self.settings.access_token_seconds.max(OPERATOR_TOKEN_SECONDS).max(CLIENT_TOKEN_SECONDS_MAX)
    }
}

/// Lets nobody else change the keys until the transaction ends.
pub(crate) async fn keys_lock(connection: &SystemConnection) -> Result<(), IdentityError> {
    const LOCK: &str = "select pg_advisory_xact_lock(hashtextextended('rowhouse signing keys', 0))";
    connection.query(LOCK, &[]).await?;
    Ok(())
}

/// Notes that a key has signed a token that is good for long: the key verifies until then.
///
/// # Errors
/// [`IdentityError::Keys`] if the key was retired meanwhile.
pub(crate) async fn key_signed_until(
    connection: &SystemConnection,
    id: KeyId,
    ends_at: i64,
) -> Result<(), IdentityError> {
    const NOTE: &str = "
        update control.signing_keys
        set tokens_until = greatest(tokens_until, to_timestamp($2::bigint)),
            retired_at = case when retired_at is not null then greatest(retired_at, to_timestamp($2::bigint)) end
        where id = $1 and (retired_at is null or retired_at > now()) returning 1";
    let noted = connection.query_opt(NOTE, params![id, ends_at]).await?;
    noted.map(drop).ok_or(IdentityError::Keys("the one that signs was retired"))
}

fn key_out(row: &Row) -> KeyOut {
    let (alive, may_sign, is_newest): (bool, bool, bool) = (row.get(5), row.get(6), row.get(7));
    let state = match (alive, may_sign) {
        (false, _) => KeyState::Retired,
        (true, false) => KeyState::Next,
        (true, true) if is_newest => KeyState::Signing,
        (true, true) => KeyState::Verifying,
    };
    KeyOut {
        id: KeyId::from_uuid(row.get::<_, Uuid>(0)),
        algorithm: row.get(1),
        state,
        created_at: row.get(2),
        signs_from: row.get(3),
        retires_at: row.get(4),
    }
}
