//! Signing keys and the tokens they sign: ES256 (RFC 7518), verified by the published JWKS.
//!
//! Must never let a token choose how it is verified: one algorithm, our keys, our issuer, one
//! audience.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{KeyId, MasterKey, SessionId, TenantId, UserId};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::IdentityError;

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

/// The keys of an installation, shared by all its processes.
pub(crate) struct Keys {
    issuer: String,
    audience: String,
    current: (KeyId, EncodingKey),
    verifying: HashMap<String, DecodingKey>,
    jwks: Value,
}

impl Keys {
    /// Loads the keys; the first process to start makes one.
    pub(crate) async fn load(
        connection: &mut SystemConnection,
        master: &MasterKey,
        issuer: String,
        audience: String,
    ) -> Result<Self, IdentityError> {
        const LOCK: &str = "select pg_advisory_xact_lock(hashtextextended('rowhouse signing keys', 0))";
        const LIST: &str = "
            select id, public_jwk, sealed_private from control.signing_keys
            where retired_at is null order by created_at desc, id desc";
        connection.begin().await?;
        connection.query(LOCK, &[]).await?;
        let mut rows = connection.query(LIST, &[]).await?;
        if rows.is_empty() {
            create(connection, master).await?;
            rows = connection.query(LIST, &[]).await?;
        }
        connection.commit().await?;
        let mut verifying = HashMap::new();
        let mut current = None;
        let mut published = Vec::new();
        for row in rows {
            let (id, public, sealed): (Uuid, Value, Vec<u8>) = (row.get(0), row.get(1), row.get(2));
            let jwk: Jwk =
                serde_json::from_value(public.clone()).map_err(|_| IdentityError::Keys("a public key is malformed"))?;
            let key = DecodingKey::from_jwk(&jwk).map_err(|_| IdentityError::Keys("a public key cannot be used"))?;
            verifying.insert(id.to_string(), key);
            published.push(public);
            if current.is_none() {
                let opened = master
                    .open(&place(KeyId::from_uuid(id)), &sealed)
                    .map_err(|_| IdentityError::Keys("the private key was sealed with another master key"))?;
                let der = STANDARD
                    .decode(opened.expose_secret())
                    .map_err(|_| IdentityError::Keys("the private key is malformed"))?;
                current = Some((KeyId::from_uuid(id), EncodingKey::from_ec_der(&der)));
            }
        }
        let current = current.ok_or(IdentityError::Keys("there is none"))?;
        Ok(Self { issuer, audience, current, verifying, jwks: json!({ "keys": published }) })
    }

    /// The published public keys (RFC 7517).
    pub(crate) fn jwks(&self) -> Value {
        self.jwks.clone()
    }

    pub(crate) fn sign_access(
        &self,
        user: UserId,
        email: &str,
        session: SessionId,
        org: Option<Org>,
        seconds: i64,
    ) -> Result<String, IdentityError> {
        self.sign(&self.audience, user, email, session, org, seconds)
    }

    pub(crate) fn sign_operator(
        &self,
        operator: UserId,
        email: &str,
        session: SessionId,
        seconds: i64,
    ) -> Result<String, IdentityError> {
        self.sign(OPERATOR_AUDIENCE, operator, email, session, None, seconds)
    }

    fn sign(
        &self,
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
        self.sign_wire(&claims)
    }

    /// Signs what is said of somebody in whose place another works.
    pub(crate) fn sign_claims(&self, said: &Claims, seconds: i64) -> Result<String, IdentityError> {
        let now = Utc::now().timestamp();
        self.sign_wire(&WireClaims {
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
        })
    }

    fn sign_wire(&self, claims: &WireClaims) -> Result<String, IdentityError> {
        let (kid, key) = &self.current;
        let header = Header { kid: Some(kid.to_string()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, key).map_err(|_| IdentityError::Keys("signing failed"))
    }

    /// Verifies a token for one audience. The algorithm is ours, never the token's choice.
    fn verify(&self, token: &str, audience: &str) -> Result<WireClaims, IdentityError> {
        let header = decode_header(token).map_err(|_| IdentityError::InvalidToken)?;
        let kid = header.kid.ok_or(IdentityError::InvalidToken)?;
        let key = self.verifying.get(&kid).ok_or(IdentityError::InvalidToken)?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = 0;
        let verified = decode::<WireClaims>(token, key, &validation).map_err(|_| IdentityError::InvalidToken)?;
        Ok(verified.claims)
    }

    pub(crate) fn verify_access(&self, token: &str) -> Result<Arc<Claims>, IdentityError> {
        let wire = self.verify(token, &self.audience)?;
        Ok(Arc::new(Claims {
            user: wire.sub,
            email: wire.user.email,
            session: wire.sid,
            org: wire.org,
            expires_at: wire.exp,
            act: wire.act,
        }))
    }

    pub(crate) fn verify_operator(&self, token: &str) -> Result<VerifiedOperator, IdentityError> {
        let wire = self.verify(token, OPERATOR_AUDIENCE)?;
        Ok(VerifiedOperator { operator: wire.sub, email: wire.user.email, session: wire.sid })
    }
}

fn place(id: KeyId) -> String {
    format!("signing_keys/{id}")
}

async fn create(connection: &SystemConnection, master: &MasterKey) -> Result<(), IdentityError> {
    const INSERT: &str = "
        insert into control.signing_keys (id, algorithm, public_jwk, sealed_private) values ($1, 'ES256', $2, $3)";
    let failed = IdentityError::Keys("no key could be generated");
    let generated = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    let der = generated.map_err(|_| failed)?;
    let id = KeyId::generate();
    let mut jwk = Jwk::from_encoding_key(&EncodingKey::from_ec_der(der.as_ref()), Algorithm::ES256)
        .map_err(|_| IdentityError::Keys("no public key could be derived"))?;
    jwk.common.key_id = Some(id.to_string());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    let public = serde_json::to_value(&jwk).map_err(|_| IdentityError::Keys("the public key cannot be written"))?;
    let sealed = master.seal(&place(id), &SecretString::from(STANDARD.encode(der.as_ref())));
    connection.query(INSERT, params![id, public, sealed]).await?;
    Ok(())
}
