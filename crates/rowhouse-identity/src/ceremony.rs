//! What is begun with a browser and ended by its answer, maybe at another process: the challenge waits
//! in the control database.
//!
//! Must never give a challenge out twice: taking it removes it, whatever becomes of the answer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::UserId;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::error::IdentityError;
use crate::identity::Identity;

const PREFIX: &str = "rh_pk_";
/// Seconds that an answer may take: a person looks for their key, and a proof is used at once.
const VALID_SECONDS: i32 = 5 * 60;

/// What a ceremony is for; one of another purpose is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A passkey is added.
    Register,
    /// Somebody signs in by a passkey alone.
    SignIn,
    /// Somebody who is known shows one of their passkeys.
    Assert,
    /// Somebody has shown one; stands where a code of a second factor does.
    Proof,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::SignIn => "sign_in",
            Self::Assert => "assert",
            Self::Proof => "proof",
        }
    }
}

/// A ceremony as the browser gets it.
pub struct Ceremony {
    /// To be sent back with the answer.
    pub token: SecretString,
    /// What the browser is asked: options in the form of `PublicKeyCredential.parse…OptionsFromJSON`.
    pub options: Value,
}

/// A ceremony that was taken.
pub(crate) struct Taken<S> {
    pub(crate) holder: Option<UserId>,
    pub(crate) state: S,
}

fn hash(token: &SecretString) -> Vec<u8> {
    Sha256::digest(token.expose_secret().as_bytes()).to_vec()
}

/// Where a state is sealed for.
fn place(token_hash: &[u8]) -> String {
    format!("passkey_ceremonies/{}", URL_SAFE_NO_PAD.encode(token_hash))
}

/// Whether a text could be the proof of a passkey, and no code.
pub(crate) fn is_proof(text: &str) -> bool {
    text.starts_with(PREFIX)
}

impl Identity {
    /// Keeps what is needed to judge the answer. Gives the secret that names it.
    pub(crate) async fn ceremony_begin(
        &self,
        connection: &SystemConnection,
        purpose: Purpose,
        holder: Option<UserId>,
        state: Option<&impl Serialize>,
    ) -> Result<SecretString, IdentityError> {
        const BEGIN: &str = "
            with swept as (
                delete from control.passkey_ceremonies where token_hash in (
                    select token_hash from control.passkey_ceremonies where expires_at < now()
                    order by expires_at limit 20 for update skip locked)
            )
            insert into control.passkey_ceremonies (token_hash, purpose, holder, sealed_state, expires_at)
            values ($1, $2, $3, $4, now() + make_interval(secs => $5::int4::float8))";
        let random: [u8; 32] = rand::random();
        let token: SecretString = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)).into();
        let hash = hash(&token);
        let sealed = match state {
            Some(state) => {
                let text = serde_json::to_string(state).map_err(|_| IdentityError::Keys("a challenge is no JSON"))?;
                self.factor_keys.seal_at(&place(&hash), &text.into())
            }
            None => Vec::new(),
        };
        connection.query(BEGIN, params![hash, purpose.as_str(), holder, sealed, VALID_SECONDS]).await?;
        Ok(token)
    }

    /// Takes a ceremony of this purpose, which ends it: an answer that is refused needs a new one.
    ///
    /// # Errors
    /// [`IdentityError::InvalidPasskey`] if it was made up, taken before, or has waited for too long.
    pub(crate) async fn ceremony_take<S: DeserializeOwned>(
        &self,
        purpose: Purpose,
        token: &SecretString,
    ) -> Result<Taken<S>, IdentityError> {
        const TAKE: &str = "
            delete from control.passkey_ceremonies where token_hash = $1 and purpose = $2 and expires_at > now()
            returning holder, sealed_state";
        let hash = hash(token);
        let connection = self.control("take a ceremony").await?;
        let row = connection.query_opt(TAKE, params![hash.as_slice(), purpose.as_str()]).await?;
        let row = row.ok_or(IdentityError::InvalidPasskey)?;
        let opened = self.factor_keys.open_at(&place(&hash), &row.get::<_, Vec<u8>>(1));
        let state = opened.and_then(|text| serde_json::from_str(text.expose_secret()).ok());
        Ok(Taken {
            holder: row.get::<_, Option<Uuid>>(0).map(UserId::from_uuid),
            state: state.ok_or(IdentityError::InvalidPasskey)?,
        })
    }

    /// Uses the proof of a passkey up, if it is this holder's.
    pub(crate) async fn use_proof(
        &self,
        connection: &SystemConnection,
        holder: UserId,
        proof: &SecretString,
    ) -> Result<bool, IdentityError> {
        const USE: &str = "
            delete from control.passkey_ceremonies
            where token_hash = $1 and purpose = $2 and holder = $3 and expires_at > now() returning 1";
        let values = params![hash(proof), Purpose::Proof.as_str(), holder];
        Ok(connection.query_opt(USE, values).await?.is_some())
    }
}
