//! The tokens that our keys sign: people's and operators' by ES256 (RFC 7518), verified by the published
//! JWKS; those for OpenID clients by whichever algorithm the client knows.
//!
//! Must never let a token choose how it is verified: the key decides on the algorithm, and we on issuer,
//! audience and kind.

use std::fmt;
use std::sync::Arc;

use chrono::Utc;
use jsonwebtoken::{Header, Validation, decode, decode_header, encode};
use rowhouse_postgres::SystemConnection;
use rowhouse_types::{KeyId, MasterKey, SessionId, TenantId, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::key_change::keys_lock;
use crate::key_pair::key_create;
use crate::key_ring::{KeyAlgorithm, KeyRing, Ring, RingKey};

/// Audience of operators' tokens.
pub(crate) const OPERATOR_AUDIENCE: &str = "operator";

/// The tenant in a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Org {
    /// Its id.
    pub id: TenantId,
    /// The person's role in it when the token was made; what counts is the role now.
    pub role: String,
    /// Its slug.
    pub slug: String,
}

/// The operator who works in the place of the person whom a token names (RFC 8693).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The operator.
    pub sub: UserId,
    /// Their address.
    pub email: String,
}

/// Without the address: debug output ends up in logs.
impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Act").field("sub", &self.sub).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UserClaim {
    id: UserId,
    email: String,
}

/// The claims on the wire.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct WireClaims {
    iss: String,
    aud: String,
    sub: UserId,
    exp: i64,
    iat: i64,
    jti: Uuid,
    sid: SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<Org>,
    user: UserClaim,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<Act>,
}

/// What a verified access token says.
#[derive(Clone)]
pub struct Claims {
    /// The person.
    pub user: UserId,
    /// Their address.
    pub email: String,
    /// The session.
    pub session: SessionId,
    /// The tenant, if one was chosen.
    pub org: Option<Org>,
    /// When the token ends, in seconds since 1970.
    pub expires_at: i64,
    /// Who works in the person's place, if it is not they.
    pub act: Option<Act>,
}

/// Without the address: debug output ends up in logs.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, email: _, session, org, expires_at, act } = self;
        let mut shown = f.debug_struct("Claims");
        shown.field("user", user).field("session", session).field("org", org).field("expires_at", expires_at);
        shown.field("act", act).finish_non_exhaustive()
    }
}

/// A verified operator's token, before the operator is looked up.
pub(crate) struct VerifiedOperator {
    pub(crate) operator: UserId,
    pub(crate) email: String,
    pub(crate) session: SessionId,
}

/// What a token must be, beside signed by us and of our making.
#[derive(Debug, Clone, Copy)]
pub struct TokenCheck<'a> {
    /// Its `typ`: what kind of token it is.
    pub kind: &'a str,
    /// Whom it must be for, if only one may show it here.
    pub audience: Option<&'a str>,
    /// Whether it may have ended.
    pub may_be_over: bool,
}

/// The keys of an installation, shared by all its processes.
pub(crate) struct Keys {
    issuer: String,
    audience: String,
    pub(crate) master: MasterKey,
    pub(crate) ring: KeyRing,
}

impl Keys {
    /// Loads the keys; the first process to start makes those that are missing.
    pub(crate) async fn load(
        connection: &mut SystemConnection,
        master: &MasterKey,
        issuer: String,
        audience: String,
    ) -> Result<Self, IdentityError> {
        let ring = KeyRing::open(connection, master).await?;
        let is_whole = ring.young().is_some_and(|ring| KeyAlgorithm::ALL.iter().all(|one| ring.has(*one)));
        if !is_whole {
            connection.begin().await?;
            keys_lock(connection).await?;
            let found = ring.read(connection).await?;
            for algorithm in KeyAlgorithm::ALL.into_iter().filter(|algorithm| !found.has(*algorithm)) {
                key_create(connection, master, algorithm, 0).await?;
            }
            connection.commit().await?;
            ring.read(connection).await?;
        }
        Ok(Self { issuer, audience, master: master.clone(), ring })
    }

    pub(crate) fn sign_access(
        &self,
        ring: &Ring,
        user: UserId,
        email: &str,
        session: SessionId,
        org: Option<Org>,
        seconds: i64,
    ) -> Result<String, IdentityError> {
        self.sign(ring, &self.audience, user, email, session, org, seconds)
    }

    pub(crate) fn sign_operator(
        &self,
        ring: &Ring,
        operator: UserId,
        email: &str,
        session: SessionId,
        seconds: i64,
    ) -> Result<String, IdentityError> {
        self.sign(ring, OPERATOR_AUDIENCE, operator, email, session, None, seconds)
    }

    #[expect(clippy::too_many_arguments, reason = "each is one claim")]
    fn sign(
        &self,
        ring: &Ring,
        audience: &str,
        user: UserId,
        email: &str,
        sid: SessionId,
        org: Option<Org>,
        seconds: i64,
    ) -> Result<String, IdentityError> {
        let now = Utc::now().timestamp();
        let claims = WireClaims {
            iss: self.issuer.clone(),
            aud: audience.to_owned(),
            sub: user,
            exp: now + seconds,
            iat: now,
            jti: Uuid::new_v4(),
            sid,
            org,
            user: UserClaim { id: user, email: email.to_owned() },
            act: None,
        };
        sign_with(ring.signer(KeyAlgorithm::Es256)?, None, &claims)
    }

    /// Signs what is said of somebody in whose place another works.
    pub(crate) fn sign_claims(&self, ring: &Ring, said: &Claims, seconds: i64) -> Result<String, IdentityError> {
        let now = Utc::now().timestamp();
        let claims = WireClaims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: said.user,
            exp: now + seconds,
            iat: now,
            jti: Uuid::new_v4(),
            sid: said.session,
            org: said.org.clone(),
            user: UserClaim { id: said.user, email: said.email.clone() },
            act: said.act.clone(),
        };
        sign_with(ring.signer(KeyAlgorithm::Es256)?, None, &claims)
    }

    /// Verifies a person's or operator's token. The algorithm is ours, never the token's choice.
    fn verify(&self, ring: &Ring, token: &str, audience: &str) -> Result<(KeyId, WireClaims), IdentityError> {
        let key = key_of(ring, token)?;
        if key.algorithm != KeyAlgorithm::Es256 {
            return Err(IdentityError::InvalidToken);
        }
        let mut validation = self.validation(key.algorithm);
        validation.set_audience(&[audience]);
        let verified = decode::<WireClaims>(token, &key.verifying, &validation);
        Ok((key.id, verified.map_err(|_| IdentityError::InvalidToken)?.claims))
    }

    fn validation(&self, algorithm: KeyAlgorithm) -> Validation {
        let mut validation = Validation::new(algorithm.of_tokens());
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = 0;
        validation
    }

    pub(crate) fn verify_access(&self, ring: &Ring, token: &str) -> Result<(KeyId, Arc<Claims>), IdentityError> {
        let (key, wire) = self.verify(ring, token, &self.audience)?;
        let claims = Claims {
            user: wire.sub,
            email: wire.user.email,
            session: wire.sid,
            org: wire.org,
            expires_at: wire.exp,
            act: wire.act,
        };
        Ok((key, Arc::new(claims)))
    }

    pub(crate) fn verify_operator(&self, ring: &Ring, token: &str) -> Result<VerifiedOperator, IdentityError> {
        let (_, wire) = self.verify(ring, token, OPERATOR_AUDIENCE)?;
        Ok(VerifiedOperator { operator: wire.sub, email: wire.user.email, session: wire.sid })
    }
}

/// Signs; `kind` is the token's `typ`, where it is not the usual one.
fn sign_with<T: Serialize>(key: &RingKey, kind: Option<&str>, claims: &T) -> Result<String, IdentityError> {
    let mut header = Header { kid: Some(key.id.to_string()), ..Header::new(key.algorithm.of_tokens()) };
    if let Some(kind) = kind {
        header.typ = Some(kind.to_owned());
    }
    encode(&header, claims, &key.signing).map_err(|_| IdentityError::Keys("signing failed"))
}

/// The key that a token names.
fn key_of<'a>(ring: &'a Ring, token: &str) -> Result<&'a RingKey, IdentityError> {
    let header = decode_header(token).map_err(|_| IdentityError::InvalidToken)?;
    let kid = header.kid.ok_or(IdentityError::InvalidToken)?;
    ring.find(&kid).ok_or(IdentityError::InvalidToken)
}

impl Identity {
    /// The keys as they were less than a second ago.
    pub(crate) async fn key_ring(&self) -> Result<Arc<Ring>, IdentityError> {
        if let Some(ring) = self.keys.ring.young() {
            return Ok(ring);
        }
        let _turn = self.keys.ring.turn().await;
        if let Some(ring) = self.keys.ring.young() {
            return Ok(ring);
        }
        let connection = self.control("look for signing keys").await?;
        self.keys.ring.read(&connection).await
    }

    /// The published public keys.
    pub async fn jwks(&self) -> Result<Value, IdentityError> {
        Ok(self.key_ring().await?.jwks())
    }

    /// Signs claims of another kind of token than ours for people and operators. `kind` is its `typ`, which
    /// alone tells it from others: whoever verifies must ask for it.
    ///
    /// # Errors
    /// If the keys cannot be read.
    pub async fn sign_claims<T: Serialize>(
        &self,
        connection: &SystemConnection,
        algorithm: KeyAlgorithm,
        kind: &str,
        claims: &T,
    ) -> Result<String, IdentityError> {
        sign_with(self.keys.ring.on(connection).await?.signer(algorithm)?, Some(kind), claims)
    }

    /// Verifies a token of such a kind that we signed with whatever key of ours. Whether what it stands for
    /// still holds is the caller's to ask.
    ///
    /// # Errors
    /// [`IdentityError::InvalidToken`], whatever is wrong with it.
    pub async fn verify_claims<T: DeserializeOwned>(
        &self,
        token: &str,
        check: TokenCheck<'_>,
    ) -> Result<T, IdentityError> {
        let ring = self.key_ring().await?;
        let key = key_of(&ring, token)?;
        let mut validation = self.keys.validation(key.algorithm);
        match check.audience {
            Some(audience) => validation.set_audience(&[audience]),
            None => validation.validate_aud = false,
        }
        validation.validate_exp = !check.may_be_over;
        let verified = decode::<T>(token, &key.verifying, &validation).map_err(|_| IdentityError::InvalidToken)?;
        match verified.header.typ {
            Some(kind) if kind == check.kind => Ok(verified.claims),
            _ => Err(IdentityError::InvalidToken),
        }
    }
}
