//! Passkeys of people and operators: added, listed, named, removed. A passkey counts as a second
//! factor, and of a person as both at once ([`crate::passkey_assert`]).
//!
//! Must never add one by a session alone where there is a second factor already, and never leave an
//! account with a factor that nobody can show.

use chrono::{DateTime, Utc};
use rowhouse_audit::SecurityEventKind;
use rowhouse_mail::{Deed, Mail, Message};
use rowhouse_postgres::{ConstraintKind, DatabaseError, Row, SystemConnection, params};
use rowhouse_types::{PasskeyId, UserId};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use webauthn_rs::Webauthn;
use webauthn_rs::prelude::{CredentialID, Passkey, PasskeyRegistration, RegisterPublicKeyCredential};

use crate::ceremony::{Ceremony, Purpose, Taken};
use crate::error::IdentityError;
use crate::identity::Identity;
use crate::limit::LimitedRoute;
use crate::second_factor::{Factor, FactorChange, Holder, Needed, remove_if_empty};

/// Passkeys that somebody may have.
pub(crate) const PASSKEYS_MAX: i64 = 20;
const NAME_LENGTH_MAX: usize = 100;

/// A passkey as its holder sees it.
#[derive(Debug, Clone, Serialize)]
pub struct PasskeyOut {
    /// Its id.
    pub id: PasskeyId,
    /// What its holder calls it.
    pub name: String,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// When it was last shown.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl PasskeyOut {
    fn from_row(row: &Row) -> Self {
        Self {
            id: PasskeyId::from_uuid(row.get(0)),
            name: row.get(1),
            created_at: row.get(2),
            last_used_at: row.get(3),
        }
    }
}

/// A passkey that was added.
#[derive(Debug)]
pub struct AddedPasskey {
    /// The passkey.
    pub passkey: PasskeyOut,
    /// Recovery codes, of somebody who had none; shown once.
    pub recovery_codes: Vec<SecretString>,
}

/// What waits for a new passkey.
#[derive(Serialize, Deserialize)]
struct Registering {
    state: PasskeyRegistration,
    /// Whether the second factor that there was then was shown.
    with_factor: bool,
}

/// A name that a list can show.
fn check_name(name: &str) -> Result<String, IdentityError> {
    let name = name.trim();
    let fits = (1..=NAME_LENGTH_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    let message = "must have 1 to 100 characters, and no control characters";
    if fits { Ok(name.to_owned()) } else { Err(IdentityError::Field { field: "name", message }) }
}

impl Identity {
    /// Whose passkeys they are.
    pub(crate) fn relying_party(&self) -> Result<&Webauthn, IdentityError> {
        self.relying_party.as_ref().ok_or(IdentityError::NoRelyingParty)
    }

    /// The passkeys of somebody, the oldest first: never more than a few.
    pub async fn passkeys(&self, holder: Holder) -> Result<Vec<PasskeyOut>, IdentityError> {
        const LIST: &str = "
            select id, name, created_at, last_used_at from control.passkeys where holder = $1
            order by created_at, id limit 100";
        let rows = self.control("list passkeys").await?.query(LIST, params![holder.id()]).await?;
        Ok(rows.iter().map(PasskeyOut::from_row).collect())
    }

    /// Begins to add a passkey. That the session is young is for the caller to check; whoever has a
    /// second factor shows it as well, or a session from before it could add one.
    ///
    /// # Errors
    /// [`IdentityError::MfaRequired`] and [`IdentityError::WrongCode`] of who has a second factor;
    /// [`IdentityError::TooManyPasskeys`]; [`IdentityError::NoRelyingParty`];
    /// [`IdentityError::TooManyAttempts`].
    pub async fn begin_passkey(
        &self,
        change: &FactorChange,
        email: &str,
        code: Option<&SecretString>,
    ) -> Result<Ceremony, IdentityError> {
        const FACTOR: &str = "
            select true, sealed_secret from control.second_factors where holder = $1 and confirmed_at is not null";
        const HAS: &str = "select credential from control.passkeys where holder = $1 limit 100";
        let (relying_party, holder) = (self.relying_party()?, change.holder.id());
        let attempt = self.attempt_by(LimitedRoute::PASSKEY, &holder.to_string(), &change.device);
        let factor = {
            let connection = self.control("add a passkey").await?;
            self.count(&connection, &attempt).await?;
            connection.query_opt(FACTOR, params![holder]).await?
        };
        let factor = factor.and_then(|row| Factor::of_columns(&row, 0));
        if let Some(factor) = &factor {
            self.demand_code(change.holder.route(), holder, factor, code, &change.device).await?;
        }
        let connection = self.control("add a passkey").await?;
        let known: Vec<Passkey> =
            connection.query(HAS, params![holder]).await?.iter().filter_map(|row| read(row.get(0))).collect();
        if i64::try_from(known.len()).unwrap_or(i64::MAX) >= PASSKEYS_MAX {
            return Err(IdentityError::TooManyPasskeys(PASSKEYS_MAX));
        }
        let known: Vec<CredentialID> = known.iter().map(|passkey| passkey.cred_id().clone()).collect();
        let begun = relying_party.start_passkey_registration(holder.uuid(), email, email, Some(known));
        let (options, state) = begun.map_err(refused)?;
        let state = Registering { state, with_factor: factor.is_some() };
        let mut options = public_key(&options)?;
        // One that the authenticator keeps, if it can: only that signs in without an address.
        options["authenticatorSelection"]["residentKey"] = json!("preferred");
        let token = self.ceremony_begin(&connection, Purpose::Register, Some(holder), Some(&state)).await?;
        Ok(Ceremony { token, options })
    }

    /// Adds the passkey that the browser has made: from now on it counts as a second factor.
    ///
    /// # Errors
    /// [`IdentityError::InvalidPasskey`]; [`IdentityError::Field`] for its name.
    pub async fn finish_passkey(
        &self,
        change: &FactorChange,
        token: &SecretString,
        answer: &Value,
        name: &str,
    ) -> Result<AddedPasskey, IdentityError> {
        const HAS_FACTOR: &str = "
            select 1 from control.second_factors where holder = $1 and confirmed_at is not null for update";
        const SHOW: &str = "update control.operator_sessions set mfa_at = now() where id = $1";
        let (relying_party, holder, name) = (self.relying_party()?, change.holder.id(), check_name(name)?);
        let attempt = self.attempt_by(LimitedRoute::PASSKEY, &holder.to_string(), &change.device);
        self.count(&self.control("add a passkey").await?, &attempt).await?;
        let Taken { holder: whose, state } = self.ceremony_take::<Registering>(Purpose::Register, token).await?;
        if whose != Some(holder) {
            return Err(IdentityError::InvalidPasskey);
        }
        let answer: RegisterPublicKeyCredential =
            serde_json::from_value(answer.clone()).map_err(|_| IdentityError::InvalidPasskey)?;
        let passkey = relying_party.finish_passkey_registration(&answer, &state.state).map_err(refused)?;
        let mut connection = self.control("add a passkey").await?;
        connection.begin().await?;
        if connection.query_opt(HAS_FACTOR, params![holder]).await?.is_some() && !state.with_factor {
            // One was set up since this began: it would have had to be shown.
            connection.rollback().await?;
            return Err(IdentityError::InvalidPasskey);
        }
        let passkey = put(&connection, change.holder, &passkey, &name).await?;
        if let Holder::Operator(_, session) = change.holder {
            connection.query(SHOW, params![session]).await?;
        }
        let recovery_codes = self.first_recovery_codes(&connection, holder).await?;
        let name = passkey.name.clone();
        self.tell_of_passkey(&connection, change, |deed| Message::PasskeyAdded { passkey: name, deed }).await?;
        self.end_change(connection, &attempt, change, "add_passkey", SecurityEventKind::PasskeyAdded).await?;
        Ok(AddedPasskey { passkey, recovery_codes })
    }

    /// Gives a passkey another name.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] if it is not the holder's; [`IdentityError::Field`].
    pub async fn rename_passkey(
        &self,
        change: &FactorChange,
        id: PasskeyId,
        name: &str,
    ) -> Result<PasskeyOut, IdentityError> {
        const RENAME: &str = "
            update control.passkeys set name = $3 where id = $1 and holder = $2
            returning id, name, created_at, last_used_at";
        let name = check_name(name)?;
        let mut connection = self.control("name a passkey").await?;
        connection.begin().await?;
        let Some(row) = connection.query_opt(RENAME, params![id, change.holder.id(), name]).await? else {
            connection.rollback().await?;
            return Err(IdentityError::NotFound);
        };
        change.actor.did("rename_passkey").on("passkey", id).write(&connection).await?;
        connection.commit().await?;
        Ok(PasskeyOut::from_row(&row))
    }

    /// Takes a passkey away, and with the last factor the recovery codes. By a code, or the proof of
    /// a passkey, also this one.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] if it is not the holder's, and the code stays good;
    /// [`IdentityError::WrongCode`]; [`IdentityError::TooManyAttempts`].
    pub async fn remove_passkey(
        &self,
        change: &FactorChange,
        id: PasskeyId,
        code: &SecretString,
    ) -> Result<(), IdentityError> {
        const IS_THERE: &str = "select 1 from control.passkeys where id = $1 and holder = $2";
        const REMOVE: &str = "delete from control.passkeys where id = $1 and holder = $2 returning name";
        let holder = change.holder.id();
        let there = self.control("remove a passkey").await?.query_opt(IS_THERE, params![id, holder]).await?;
        there.ok_or(IdentityError::NotFound)?;
        let (mut connection, attempt) = self.begin_change(change, code, Needed::Any).await?;
        let Some(row) = connection.query_opt(REMOVE, params![id, holder]).await? else {
            connection.rollback().await?;
            return Err(IdentityError::NotFound);
        };
        remove_if_empty(&connection, holder).await?;
        let name = row.get(0);
        self.tell_of_passkey(&connection, change, |deed| Message::PasskeyRemoved { passkey: name, deed }).await?;
        self.end_change(connection, &attempt, change, "remove_passkey", SecurityEventKind::PasskeyRemoved).await
    }
}

impl Identity {
    /// Queues the mail that tells a holder of a change, in the caller's transaction.
    async fn tell_of_passkey(
        &self,
        connection: &SystemConnection,
        change: &FactorChange,
        message: impl FnOnce(Deed) -> Message,
    ) -> Result<(), IdentityError> {
        const ADDRESS: &str = "
            select email from control.users where id = $1 union all select email from control.operators where id = $1";
        let row = connection.query_opt(ADDRESS, params![change.holder.id()]).await?;
        let Some(Ok(to)) = row.map(|row| row.get::<_, String>(0).parse()) else { return Ok(()) };
        let deed = Deed { at: Utc::now(), device: change.device.user_agent.clone(), ip: change.device.ip };
        // Mails know people only.
        let user = match change.holder {
            Holder::User(user) => Some(user),
            Holder::Operator(..) => None,
        };
        self.enqueue(connection, &Mail { to, user, brand: None, language: None, message: message(deed) }, true).await
    }
}

/// What the library keeps of a passkey.
pub(crate) fn read(credential: Value) -> Option<Passkey> {
    serde_json::from_value(credential).ok()
}

/// The options within what the library gives for a browser.
pub(crate) fn public_key(options: &impl Serialize) -> Result<Value, IdentityError> {
    let whole = serde_json::to_value(options).ok();
    let inner = whole.and_then(|mut whole| whole.get_mut("publicKey").map(Value::take));
    inner.ok_or(IdentityError::Keys("options of a passkey are no JSON"))
}

/// Whatever the library says is wrong is told as one: it is for the log.
#[expect(clippy::needless_pass_by_value, reason = "it maps an error")]
pub(crate) fn refused(error: webauthn_rs::prelude::WebauthnError) -> IdentityError {
    tracing::info!(%error, "a passkey was refused");
    IdentityError::InvalidPasskey
}

/// Makes the passkey a factor of its holder's. One that is somebody's already is nobody else's.
async fn put(
    connection: &SystemConnection,
    holder: Holder,
    passkey: &Passkey,
    name: &str,
) -> Result<PasskeyOut, IdentityError> {
    const COUNTS: &str = "
        insert into control.second_factors as f (holder, user_id, operator_id, confirmed_at)
        values ($1::uuid, case when $2 = 'user' then $1::uuid end, case when $2 = 'operator' then $1::uuid end, now())
        on conflict (holder) do update set confirmed_at = coalesce(f.confirmed_at, now())";
    const INSERT: &str = "
        insert into control.passkeys (id, holder, credential_id, credential, name) values ($1, $2, $3, $4, $5)
        returning id, name, created_at, last_used_at";
    let id: UserId = holder.id();
    let credential = serde_json::to_value(passkey).map_err(|_| IdentityError::Keys("a passkey is no JSON"))?;
    let credential_id: Vec<u8> = passkey.cred_id().to_vec();
    connection.query(COUNTS, params![id, holder.kind()]).await?;
    let values = params![PasskeyId::generate(), id, credential_id, credential, name];
    match connection.query_opt(INSERT, values).await {
        Ok(row) => row.as_ref().map(PasskeyOut::from_row).ok_or(IdentityError::InvalidPasskey),
        Err(DatabaseError::Constraint(violated)) if violated.kind == ConstraintKind::Unique => {
            Err(IdentityError::InvalidPasskey)
        }
        Err(error) => Err(error.into()),
    }
}
