//! The signing keys in memory. What a process knows of them is less than a second old whenever it
//! signs or verifies: so all of them learn of a new key and of one that is retired by themselves.
//!
//! Must never hold a private key longer than the key is alive, and never decide by this machine's
//! clock which keys are: the database's is everybody's.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use rowhouse_postgres::{Row, SystemConnection, params};
use rowhouse_types::{KeyId, MasterKey};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::IdentityError;
use crate::remembered::STALE;

/// What a key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256: all that we verify ourselves.
    #[serde(rename = "ES256")]
    Es256,
    /// RSA: for OpenID clients that know nothing else.
    #[serde(rename = "RS256")]
    Rs256,
}

impl KeyAlgorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Es256, Self::Rs256];

    /// Its name in headers of tokens, and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// That of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    pub(crate) const fn of_tokens(self) -> Algorithm {
        match self {
            Self::Es256 => Algorithm::ES256,
            Self::Rs256 => Algorithm::RS256,
        }
    }

    /// A private key as [`crate::key_pair`] writes it.
    pub(crate) fn encoding_key(self, der: &[u8]) -> EncodingKey {
        match self {
            Self::Es256 => EncodingKey::from_ec_der(der),
            Self::Rs256 => EncodingKey::from_rsa_der(der),
        }
    }
}

/// One key.
pub(crate) struct RingKey {
    pub(crate) id: KeyId,
    pub(crate) algorithm: KeyAlgorithm,
    pub(crate) signing: EncodingKey,
    pub(crate) verifying: DecodingKey,
    public: Value,
}

/// The keys that are alive, the newest first.
pub(crate) struct Ring {
    asked_at: Instant,
    /// Each with whether its time to sign has come.
    keys: Vec<(Arc<RingKey>, bool)>,
}

impl Ring {
    /// The key that signs.
    pub(crate) fn signer(&self, algorithm: KeyAlgorithm) -> Result<&RingKey, IdentityError> {
        let signs = |(key, signs): &&(Arc<RingKey>, bool)| *signs && key.algorithm == algorithm;
        let found = self.keys.iter().find(signs).map(|(key, _)| &**key);
        found.ok_or(IdentityError::Keys("there is none that signs"))
    }

    /// The key of a token's `kid`, if it is one of ours that is alive.
    pub(crate) fn find(&self, kid: &str) -> Option<&RingKey> {
        let id: KeyId = kid.parse().ok()?;
        // Ids have one form: another that reads as the same is not ours.
        self.keys.iter().map(|(key, _)| &**key).find(|key| key.id == id && id.to_string() == kid)
    }

    /// Whether a key is alive still.
    pub(crate) fn holds(&self, id: KeyId) -> bool {
        self.keys.iter().any(|(key, _)| key.id == id)
    }

    /// The algorithms of which there is a key.
    pub(crate) fn has(&self, algorithm: KeyAlgorithm) -> bool {
        self.keys.iter().any(|(key, _)| key.algorithm == algorithm)
    }

    /// The public keys (RFC 7517), also those that sign later: clients shall know them by then.
    pub(crate) fn jwks(&self) -> Value {
        let of = |algorithm| self.keys.iter().map(|(key, _)| key).filter(move |key| key.algorithm == algorithm);
        let public: Vec<&Value> = KeyAlgorithm::ALL.into_iter().flat_map(of).map(|key| &key.public).collect();
        json!({ "keys": public })
    }
}

/// The ring, and how it is read.
pub(crate) struct KeyRing {
    master: MasterKey,
    ring: ArcSwap<Ring>,
    /// Held by who reads it for everybody.
    turn: tokio::sync::Mutex<()>,
}

impl KeyRing {
    /// Reads the keys for the first time.
    pub(crate) async fn open(connection: &SystemConnection, master: &MasterKey) -> Result<Self, IdentityError> {
        let ring = read(connection, master, None).await?;
        Ok(Self { master: master.clone(), ring: ArcSwap::from_pointee(ring), turn: tokio::sync::Mutex::new(()) })
    }

    /// The ring, if it is young enough.
    pub(crate) fn young(&self) -> Option<Arc<Ring>> {
        let ring = self.ring.load();
        (ring.asked_at.elapsed() < STALE).then(|| Arc::clone(&ring))
    }

    /// For who holds no connection: one reads it for all who wait.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The ring by a connection that the caller holds, who therefore waits for nobody.
    pub(crate) async fn on(&self, connection: &SystemConnection) -> Result<Arc<Ring>, IdentityError> {
        match self.young() {
            Some(ring) => Ok(ring),
            None => self.read(connection).await,
        }
    }

    /// Reads it, however young it is.
    pub(crate) async fn read(&self, connection: &SystemConnection) -> Result<Arc<Ring>, IdentityError> {
        let before = self.ring.load_full();
        let ring = Arc::new(read(connection, &self.master, Some(&*before)).await?);
        // Of two that are read at once the one that was asked for later stays.
        self.ring.rcu(|now| if now.asked_at > ring.asked_at { Arc::clone(now) } else { Arc::clone(&ring) });
        Ok(ring)
    }
}

/// Where a private key is kept.
pub(crate) fn place(id: KeyId) -> String {
    format!("signing_keys/{id}")
}

async fn read(connection: &SystemConnection, master: &MasterKey, before: Option<&Ring>) -> Result<Ring, IdentityError> {
    const LIST: &str = "
        select id, algorithm, public_jwk, sealed_private, signs_from <= statement_timestamp() from control.signing_keys
        where retired_at is null or retired_at > statement_timestamp() order by signs_from desc, id desc";
    let asked_at = Instant::now();
    let rows = connection.query(LIST, params![]).await?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = KeyId::from_uuid(row.get::<_, Uuid>(0));
        let known = before.and_then(|ring| ring.keys.iter().find(|(key, _)| key.id == id));
        let key = match known {
            Some((key, _)) => Arc::clone(key),
            None => Arc::new(ring_key(id, row, master)?),
        };
        keys.push((key, row.get(4)));
    }
    Ok(Ring { asked_at, keys })
}

fn ring_key(id: KeyId, row: &Row, master: &MasterKey) -> Result<RingKey, IdentityError> {
    let (algorithm, public, sealed): (String, Value, Vec<u8>) = (row.get(1), row.get(2), row.get(3));
    let algorithm =
        KeyAlgorithm::of_name(&algorithm).ok_or(IdentityError::Keys("one has an algorithm that is not known here"))?;
    let jwk: Jwk =
        serde_json::from_value(public.clone()).map_err(|_| IdentityError::Keys("a public key is malformed"))?;
    let verifying = DecodingKey::from_jwk(&jwk).map_err(|_| IdentityError::Keys("a public key cannot be used"))?;
    let opened = master
        .open(&place(id), &sealed)
        .map_err(|_| IdentityError::Keys("the private key was sealed with another master key"))?;
    let der =
        STANDARD.decode(opened.expose_secret()).map_err(|_| IdentityError::Keys("the private key is malformed"))?;
    Ok(RingKey { id, algorithm, signing: algorithm.encoding_key(&der), verifying, public })
}
