//! Showing a passkey: as the second factor of somebody who is known, or as both factors of a person
//! who signs in without a name.
//!
//! What a second factor opens takes a code (signing in, following a link, stepping up, changing the
//! factors), so a passkey that was shown becomes one: a proof, good once, for minutes, for its holder
//! only. So the password is sent to begin, and once more with the proof to sign in, as with a code of an
//! app: nothing that is half a session has to be kept, and every door judges the password by itself.
//!
//! Must never accept an answer twice, one without the person's own verification (a finger, a face, a
//! PIN), or one of a copy whose count has fallen behind.

use rowhouse_audit::SecurityEventKind;
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{EmailAddress, UserId};
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;
use webauthn_rs::prelude::{
    AuthenticationResult, DiscoverableAuthentication, Passkey, PasskeyAuthentication, PublicKeyCredential,
    WebauthnError,
};

use crate::ceremony::{Ceremony, Purpose, Taken};
use crate::error::IdentityError;
use crate::identity::Identity;
use crate::limit::LimitedRoute;
use crate::link_token::LinkPurpose;
use crate::magic_link::linked;
use crate::passkey::{public_key, read, refused};
use crate::second_factor::Holder;
use crate::session::{Device, Opening, Shown, Tokens};

/// Who is to show a passkey of theirs.
#[derive(Debug)]
pub enum AssertBegin {
    /// A person, by address and password.
    Person(EmailAddress, SecretString),
    /// A person, by a link that signs in, which stays good.
    Link(SecretString),
    /// An operator, by address and password.
    Operator(EmailAddress, SecretString),
    /// Whoever is signed in.
    Holder(Holder),
}

/// A passkey that was shown; stands where a code of the second factor does, once.
#[derive(Debug)]
pub struct Proof {
    /// The text.
    pub code: SecretString,
}

/// A sign-in by a passkey alone.
#[derive(Debug)]
pub struct PasskeySignIn {
    /// Which challenge is answered.
    pub ceremony: SecretString,
    /// The browser's answer.
    pub answer: Value,
    /// Id or slug of the tenant to work in; as at [`Identity::sign_in`] if absent.
    pub tenant: Option<String>,
    /// Where from.
    pub device: Device,
}

/// Whose passkey signs in.
struct Found {
    user: UserId,
    email: String,
    passkey: Passkey,
}

impl Identity {
    /// Begins to show a passkey of somebody who is known.
    ///
    /// # Errors
    /// [`IdentityError::NoPasskey`], only to who has shown something; [`IdentityError::WrongCredentials`]
    /// and [`IdentityError::InvalidLink`] as at a sign-in; [`IdentityError::NoRelyingParty`];
    /// [`IdentityError::TooManyAttempts`].
    pub async fn begin_assertion(&self, who: AssertBegin, device: &Device) -> Result<Ceremony, IdentityError> {
        const HAS: &str = "select credential from control.passkeys where holder = $1 limit 100";
        let relying_party = self.relying_party()?;
        self.count_attempt(LimitedRoute::PASSKEY, None, device).await?;
        let holder = self.shown(who, device).await?;
        let connection = self.control("show a passkey").await?;
        let rows = connection.query(HAS, params![holder]).await?;
        let passkeys: Vec<Passkey> = rows.iter().filter_map(|row| read(row.get(0))).collect();
        if passkeys.is_empty() {
            return Err(IdentityError::NoPasskey);
        }
        let (options, state) = relying_party.start_passkey_authentication(&passkeys).map_err(refused)?;
        let token = self.ceremony_begin(&connection, Purpose::Assert, Some(holder), Some(&state)).await?;
        Ok(Ceremony { token, options: public_key(&options)? })
    }

    /// Who it is, by what they show first.
    async fn shown(&self, who: AssertBegin, device: &Device) -> Result<UserId, IdentityError> {
        match who {
            AssertBegin::Holder(holder) => Ok(holder.id()),
            AssertBegin::Person(email, password) => {
                let attempt = self.attempt_at(LimitedRoute::SIGN_IN, email.as_str(), device);
                let Shown { user, .. } = self.check_password(&email, &password, &attempt, device).await?;
                Ok(user)
            }
            AssertBegin::Operator(email, password) => {
                let attempt = self.attempt_at(LimitedRoute::OPERATOR_SIGN_IN, email.as_str(), device);
                let Shown { user, .. } = self.check_operator(&email, &password, &attempt, device).await?;
                Ok(user)
            }
            AssertBegin::Link(token) => {
                self.count_attempt(LimitedRoute::REDEEM_MAGIC_LINK, None, device).await?;
                let token = self.read_link(&token, &[LinkPurpose::SignIn])?;
                Ok(linked(&self.control("show a passkey").await?, &token).await?.user)
            }
        }
    }

    /// Judges the browser's answer, and gives the proof that it was right.
    ///
    /// # Errors
    /// [`IdentityError::InvalidPasskey`], whatever is wrong; [`IdentityError::TooManyAttempts`].
    pub async fn finish_assertion(
        &self,
        token: &SecretString,
        answer: &Value,
        device: &Device,
    ) -> Result<Proof, IdentityError> {
        let relying_party = self.relying_party()?;
        self.count_attempt(LimitedRoute::PASSKEY, None, device).await?;
        let Taken { holder, state } = self.ceremony_take::<PasskeyAuthentication>(Purpose::Assert, token).await?;
        let holder = holder.ok_or(IdentityError::InvalidPasskey)?;
        let judged = match read_answer(answer) {
            Ok(answer) => relying_party.finish_passkey_authentication(&answer, &state),
            Err(error) => Err(error),
        };
        let result = self.judge(judged, Some(holder), device)?;
        let mut connection = self.control("show a passkey").await?;
        connection.begin().await?;
        self.use_passkey(&connection, holder, &result, device).await?;
        let code = self.ceremony_begin(&connection, Purpose::Proof, Some(holder), None::<&Value>).await?;
        connection.commit().await?;
        Ok(Proof { code })
    }

    /// Begins a sign-in that names nobody: the authenticator knows for whom it has a passkey. Tells
    /// nothing about accounts.
    ///
    /// # Errors
    /// [`IdentityError::NoRelyingParty`]; [`IdentityError::TooManyAttempts`].
    pub async fn begin_passkey_sign_in(&self, device: &Device) -> Result<Ceremony, IdentityError> {
        let relying_party = self.relying_party()?;
        self.count_attempt(LimitedRoute::PASSKEY, None, device).await?;
        let (options, state) = relying_party.start_discoverable_authentication().map_err(refused)?;
        let connection = self.control("sign in by a passkey").await?;
        let token = self.ceremony_begin(&connection, Purpose::SignIn, None, Some(&state)).await?;
        Ok(Ceremony { token, options: public_key(&options)? })
    }

    /// Signs the person of a passkey in: what they have, and what they are or know, so both factors.
    ///
    /// # Errors
    /// [`IdentityError::InvalidPasskey`], whatever is wrong; [`IdentityError::NotAMember`];
    /// [`IdentityError::TooManyAttempts`].
    pub async fn sign_in_by_passkey(&self, sign_in: PasskeySignIn) -> Result<Tokens, IdentityError> {
        let PasskeySignIn { ceremony, answer, tenant, device } = sign_in;
        let relying_party = self.relying_party()?;
        self.count_attempt(LimitedRoute::PASSKEY, None, &device).await?;
        let Taken { state, .. } = self.ceremony_take::<DiscoverableAuthentication>(Purpose::SignIn, &ceremony).await?;
        let answer = read_answer(&answer).map_err(refused)?;
        let (whose, credential_id) = relying_party.identify_discoverable_authentication(&answer).map_err(refused)?;
        let Some(Found { user, email, passkey }) = self.find_passkey(whose, credential_id).await? else {
            self.record(SecurityEventKind::SignInFailed, None, None, None, &device);
            return Err(IdentityError::InvalidPasskey);
        };
        let judged = relying_party.finish_discoverable_authentication_v2(&answer, state, &passkey);
        let result = self.judge(judged, Some(user), &device)?;
        let mut connection = self.control("sign in by a passkey").await?;
        connection.begin().await?;
        self.use_passkey(&connection, user, &result, &device).await?;
        // Who was locked out by failing passwords has proved who they are.
        let attempt = self.attempt_at(LimitedRoute::SIGN_IN, &email, &device);
        let opening = Opening {
            user,
            email: &email,
            tenant: tenant.as_deref(),
            password_hash: None,
            attempt: &attempt,
            device: &device,
        };
        let opened = self.open_session_on(&connection, &opening).await?;
        connection.commit().await?;
        self.record(SecurityEventKind::SignIn, Some(user), opened.tenant, None, &device);
        Ok(opened.tokens)
    }

    /// The person's passkey. Operators sign in with their password first.
    async fn find_passkey(&self, whose: Uuid, credential_id: &[u8]) -> Result<Option<Found>, IdentityError> {
        const FIND: &str = "
            select u.id, u.email, p.credential
            from control.passkeys p join control.users u on u.id = p.holder and u.active
            where p.credential_id = $1 and p.holder = $2";
        let connection = self.control("sign in by a passkey").await?;
        let row = connection.query_opt(FIND, params![credential_id, whose]).await?;
        Ok(row.and_then(|row| {
            let passkey = read(row.get(2))?;
            Some(Found { user: UserId::from_uuid(row.get(0)), email: row.get(1), passkey })
        }))
    }

    /// What of the library's verdict goes on. It demands that the person themselves has released the
    /// answer, by what stands in the state.
    fn judge(
        &self,
        judged: Result<AuthenticationResult, WebauthnError>,
        holder: Option<UserId>,
        device: &Device,
    ) -> Result<AuthenticationResult, IdentityError> {
        let error = match judged {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        if let Some(holder) = holder {
            let kind = match error {
                WebauthnError::CredentialPossibleCompromise => SecurityEventKind::PasskeyCopied,
                _ => SecurityEventKind::MfaFailed,
            };
            self.record_factor(kind, holder, json!({ "kind": "passkey" }), device);
        }
        Err(refused(error))
    }

    /// Notes in the caller's transaction that the passkey was shown. It must still be there, and its
    /// count must not be one that was seen: two answers at once are judged by the same old count.
    async fn use_passkey(
        &self,
        connection: &SystemConnection,
        holder: UserId,
        result: &AuthenticationResult,
        device: &Device,
    ) -> Result<(), IdentityError> {
        const FIND: &str = "
            select id, credential, counter from control.passkeys where credential_id = $1 and holder = $2 for update";
        const USE: &str = "
            update control.passkeys set credential = $2, counter = $3, last_used_at = now() where id = $1";
        let credential_id: Vec<u8> = result.cred_id().to_vec();
        let row = connection.query_opt(FIND, params![credential_id, holder]).await?;
        let row = row.ok_or(IdentityError::InvalidPasskey)?;
        let (seen, shown): (i64, i64) = (row.get(2), i64::from(result.counter()));
        if shown <= seen && (shown, seen) != (0, 0) {
            self.record_factor(SecurityEventKind::PasskeyCopied, holder, json!({ "kind": "passkey" }), device);
            return Err(IdentityError::InvalidPasskey);
        }
        let mut passkey = read(row.get(1)).ok_or(IdentityError::InvalidPasskey)?;
        passkey.update_credential(result);
        let credential = serde_json::to_value(passkey).map_err(|_| IdentityError::Keys("a passkey is no JSON"))?;
        connection.query(USE, params![row.get::<_, Uuid>(0), credential, shown]).await?;
        Ok(())
    }
}

/// The browser's answer.
fn read_answer(answer: &Value) -> Result<PublicKeyCredential, WebauthnError> {
    serde_json::from_value(answer.clone()).map_err(|_| WebauthnError::CredentialNotFound)
}
