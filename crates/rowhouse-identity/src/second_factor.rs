//! The second factor of people and operators: an authenticator app's codes, recovery codes, and proofs
//! of passkeys, which stand wherever a code does.
//!
//! Must never accept a code twice, and never show a secret or a recovery code again. Whoever
//! changes something has to give a code, so that a stolen session cannot take the factor away.

use std::fmt;

use chrono::{DateTime, Utc};
use rowhouse_audit::{Actor, SecurityEvent, SecurityEventKind};
use rowhouse_postgres::{Row, SystemConnection, params};
use rowhouse_types::{EmailAddress, MasterKey, SessionId, Signer, UserId};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::json;

use crate::ceremony::is_proof;
use crate::error::IdentityError;
use crate::identity::Identity;
use crate::limit::{Attempt, LimitedRoute, Target};
use crate::recovery_code;
use crate::session::Device;
use crate::totp::{DIGITS, TotpSecret};
use crate::trusted_device::devices_forget;

/// What secrets are sealed, and recovery codes hashed with.
pub(crate) struct FactorKeys {
    master: MasterKey,
    recovery: Signer,
}

impl FactorKeys {
    /// Those of an installation.
    pub(crate) fn new(master: &MasterKey) -> Self {
        Self { master: master.clone(), recovery: master.signer("recovery code") }
    }

    fn seal(&self, holder: UserId, secret: &TotpSecret) -> Vec<u8> {
        self.seal_at(&place(holder), &secret.to_text())
    }

    /// Seals a secret for its place.
    pub(crate) fn seal_at(&self, place: &str, secret: &SecretString) -> Vec<u8> {
        self.master.seal(place, secret)
    }

    /// Opens what was sealed for the place.
    pub(crate) fn open_at(&self, place: &str, sealed: &[u8]) -> Option<SecretString> {
        self.master.open(place, sealed).ok()
    }

    fn open(&self, holder: UserId, sealed: &[u8]) -> Result<TotpSecret, IdentityError> {
        let opened = self.open_at(&place(holder), sealed);
        opened
            .and_then(|text| TotpSecret::from_text(&text))
            .ok_or(IdentityError::Keys("a second factor was sealed with another master key"))
    }
}

fn place(holder: UserId) -> String {
    format!("second_factors/{holder}")
}

/// Whose factor it is.
#[derive(Debug, Clone, Copy)]
pub enum Holder {
    /// A person.
    User(UserId),
    /// An operator, in this session.
    Operator(UserId, SessionId),
}

impl Holder {
    /// Their id.
    pub(crate) fn id(self) -> UserId {
        match self {
            Self::User(id) | Self::Operator(id, _) => id,
        }
    }

    /// The kind, as the audit log names it.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Operator(..) => "operator",
        }
    }

    pub(crate) const fn route(self) -> LimitedRoute {
        match self {
            Self::User(_) => LimitedRoute::MFA,
            Self::Operator(..) => LimitedRoute::OPERATOR_MFA,
        }
    }
}

/// Somebody who changes their own second factor.
#[derive(Debug)]
pub struct FactorChange {
    /// Whose.
    pub holder: Holder,
    /// Who, for the audit log.
    pub actor: Actor,
    /// Where from.
    pub device: Device,
}

/// What is known of somebody's second factor.
#[derive(Debug, Clone, Serialize)]
pub struct FactorOut {
    /// Whether signing in takes a code.
    pub enabled: bool,
    /// Since when.
    pub enabled_at: Option<DateTime<Utc>>,
    /// Whether there is an authenticator app.
    pub totp: bool,
    /// How many passkeys there are.
    pub passkeys: i64,
    /// Recovery codes that were not used yet.
    pub recovery_codes_left: i64,
}

/// A secret that waits to be confirmed by a code. Shown once.
pub struct Enrolment {
    /// The secret in base 32, for people who type it.
    pub secret: String,
    /// The same for apps that scan it.
    pub otpauth_uri: String,
}

/// Without the secret: debug output ends up in logs.
impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Enrolment(…)")
    }
}

/// How a second factor was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Totp,
    RecoveryCode,
    Passkey,
}

/// A second factor that counts.
pub(crate) struct Factor {
    /// Of the authenticator app, if there is one.
    sealed_secret: Option<Vec<u8>>,
}

impl Factor {
    /// That of two columns: whether there is one, and the app's sealed secret.
    pub(crate) fn of_columns(row: &Row, first: usize) -> Option<Self> {
        let there_is_one: bool = row.get(first);
        there_is_one.then(|| Self { sealed_secret: row.get(first + 1) })
    }
}

/// By what somebody can show their second factor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FactorKinds {
    /// Codes of an authenticator app.
    pub totp: bool,
    /// A passkey.
    pub passkey: bool,
    /// A recovery code.
    pub recovery_code: bool,
}

/// Of which factor a code must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needed {
    /// One that counts.
    Any,
    /// An authenticator app's that counts, or whatever stands for it.
    App,
    /// The app's that waits to be confirmed.
    WaitingApp,
}

impl Identity {
    /// What is known of somebody's second factor.
    pub async fn second_factor(&self, holder: Holder) -> Result<FactorOut, IdentityError> {
        const GET: &str = "
            select f.confirmed_at, (select count(*) from control.recovery_codes c where c.holder = f.holder),
                   f.sealed_secret is not null, (select count(*) from control.passkeys p where p.holder = f.holder)
            from control.second_factors f where f.holder = $1 and f.confirmed_at is not null";
        const NONE: FactorOut =
            FactorOut { enabled: false, enabled_at: None, totp: false, passkeys: 0, recovery_codes_left: 0 };
        let row = self.control("look at a second factor").await?.query_opt(GET, params![holder.id()]).await?;
        Ok(row.map_or(NONE, |row| FactorOut {
            enabled: true,
            enabled_at: row.get(0),
            totp: row.get(2),
            passkeys: row.get(3),
            recovery_codes_left: row.get(1),
        }))
    }

    /// Makes a secret; it counts from [`Self::confirm_second_factor`] on. One that was not
    /// confirmed is replaced.
    ///
    /// # Errors
    /// [`IdentityError::FactorExists`] if there is a confirmed app.
    pub async fn enrol_second_factor(&self, holder: Holder, email: &str) -> Result<Enrolment, IdentityError> {
        const ENROL: &str = "
            insert into control.second_factors as f (holder, user_id, operator_id, pending_secret)
            values ($1::uuid, case when $2 = 'user' then $1::uuid end, case when $2 = 'operator' then $1::uuid end, $3)
            on conflict (holder) do update set pending_secret = excluded.pending_secret, last_step = 0, created_at = now()
            where f.sealed_secret is null
            returning 1";
        let secret = TotpSecret::generate();
        let sealed = self.factor_keys.seal(holder.id(), &secret);
        let connection = self.control("enrol a second factor").await?;
        let made = connection.query_opt(ENROL, params![holder.id(), holder.kind(), sealed]).await?;
        made.ok_or(IdentityError::FactorExists)?;
        let shown = secret.shown(&self.settings.service_name, email);
        let (secret, otpauth_uri) = shown.ok_or(IdentityError::Keys("a secret could not be shown"))?;
        Ok(Enrolment { secret, otpauth_uri })
    }

    /// The first code of a new secret: from now on signing in takes one. Gives recovery codes, unless
    /// there are some from before. Who has passkeys already shows one, or a recovery code, as well: a
    /// session from before them must not add an app.
    ///
    /// # Errors
    /// [`IdentityError::WrongCode`], also if nothing waits to be confirmed;
    /// [`IdentityError::MfaRequired`] if `shown` is missing; [`IdentityError::TooManyAttempts`].
    pub async fn confirm_second_factor(
        &self,
        change: &FactorChange,
        code: &SecretString,
        shown: Option<&SecretString>,
    ) -> Result<Vec<SecretString>, IdentityError> {
        const HAS: &str = "select 1 from control.second_factors where holder = $1 and confirmed_at is not null";
        const CONFIRM: &str = "
            update control.second_factors
            set sealed_secret = pending_secret, pending_secret = null, confirmed_at = coalesce(confirmed_at, now())
            where holder = $1 and pending_secret is not null returning 1";
        const SHOW: &str = "update control.operator_sessions set mfa_at = now() where id = $1";
        let holder = change.holder.id();
        let (mut connection, attempt) = self.begin_change(change, code, Needed::WaitingApp).await?;
        if connection.query_opt(HAS, params![holder]).await?.is_some() {
            let Some(shown) = shown else {
                connection.rollback().await?;
                return Err(self.factor_required(holder).await?);
            };
            if self.use_code(&connection, holder, None, shown).await?.is_none() {
                connection.rollback().await?;
                drop(connection);
                return Err(self.wrong_code(&attempt, holder, &change.device).await?);
            }
        }
        if connection.query_opt(CONFIRM, params![holder]).await?.is_none() {
            connection.rollback().await?;
            return Err(IdentityError::WrongCode);
        }
        if let Holder::Operator(_, session) = change.holder {
            connection.query(SHOW, params![session]).await?;
        }
        let codes = self.first_recovery_codes(&connection, holder).await?;
        self.end_change(connection, &attempt, change, "enable_mfa", SecurityEventKind::MfaEnabled).await?;
        Ok(codes)
    }

    /// New recovery codes in the place of all that were left.
    ///
    /// # Errors
    /// [`IdentityError::WrongCode`], also if there is no second factor;
    /// [`IdentityError::TooManyAttempts`].
    pub async fn renew_recovery_codes(
        &self,
        change: &FactorChange,
        code: &SecretString,
    ) -> Result<Vec<SecretString>, IdentityError> {
        let (connection, attempt) = self.begin_change(change, code, Needed::Any).await?;
        let codes = self.replace_recovery_codes(&connection, change.holder.id()).await?;
        let kind = SecurityEventKind::RecoveryCodesRenewed;
        self.end_change(connection, &attempt, change, "renew_recovery_codes", kind).await?;
        Ok(codes)
    }

    /// Takes the authenticator app away, and the recovery codes if there is no passkey either.
    ///
    /// # Errors
    /// [`IdentityError::WrongCode`], also if there is none; [`IdentityError::TooManyAttempts`].
    pub async fn disable_second_factor(&self, change: &FactorChange, code: &SecretString) -> Result<(), IdentityError> {
        const TAKE: &str = "
            update control.second_factors set sealed_secret = null, pending_secret = null, last_step = 0
            where holder = $1";
        let (connection, attempt) = self.begin_change(change, code, Needed::App).await?;
        connection.query(TAKE, params![change.holder.id()]).await?;
        remove_if_empty(&connection, change.holder.id()).await?;
        self.end_change(connection, &attempt, change, "disable_mfa", SecurityEventKind::MfaDisabled).await
    }

    /// Takes an operator's second factor away and ends their sessions, for one who has lost both
    /// app and codes; with the line that tells of it in the audit log. Gives whether they had one.
    ///
    /// # Errors
    /// [`IdentityError::UnknownOperator`].
    pub async fn reset_operator_factor(&self, email: &EmailAddress) -> Result<bool, IdentityError> {
        const FIND: &str = "select id from control.operators where email = $1 for update";
        const END: &str = "
            update control.operator_sessions set revoked_at = now() where operator_id = $1 and revoked_at is null";
        let mut connection = self.control("reset an operator's second factor").await?;
        connection.begin().await?;
        let row = connection.query_opt(FIND, params![email.as_str()]).await?;
        let operator = UserId::from_uuid(row.ok_or(IdentityError::UnknownOperator)?.get(0));
        let had = remove(&connection, operator).await?;
        if had {
            connection.query(END, params![operator]).await?;
            Actor::system().did("reset_operator_mfa").on("operator", operator).write(&connection).await?;
        }
        connection.commit().await?;
        if had {
            let details = json!({ "holder": "operator", "reset": true });
            self.record_factor(SecurityEventKind::MfaDisabled, operator, details, &Device::default());
        }
        Ok(had)
    }

    /// Whether the code is one of this factor's, and uses it up. In a transaction it is used up
    /// with whatever else that does.
    pub(crate) async fn use_code(
        &self,
        connection: &SystemConnection,
        holder: UserId,
        sealed: Option<&[u8]>,
        code: &SecretString,
    ) -> Result<Option<Shown>, IdentityError> {
        // One statement each: whoever is second with the same code finds it used.
        const USE_STEP: &str = "
            update control.second_factors set last_step = $2 where holder = $1 and last_step < $2 returning 1";
        const USE_RECOVERY: &str = "
            delete from control.recovery_codes where holder = $1 and code_hash = $2 returning 1";
        if is_proof(code.expose_secret()) {
            return Ok(self.use_proof(connection, holder, code).await?.then_some(Shown::Passkey));
        }
        let plain: String = code.expose_secret().chars().filter(|letter| !letter.is_whitespace()).collect();
        if plain.len() == DIGITS && plain.bytes().all(|digit| digit.is_ascii_digit()) {
            let now = u64::try_from(Utc::now().timestamp()).unwrap_or(0);
            let Some(sealed) = sealed else { return Ok(None) };
            let Some(step) = self.factor_keys.open(holder, sealed)?.step_of(&plain, now) else { return Ok(None) };
            let used = connection.query_opt(USE_STEP, params![holder, step]).await?;
            return Ok(used.map(|_| Shown::Totp));
        }
        let Some(hash) = recovery_code::hash(&self.factor_keys.recovery, holder, code) else { return Ok(None) };
        let used = connection.query_opt(USE_RECOVERY, params![holder, hash]).await?;
        Ok(used.map(|_| Shown::RecoveryCode))
    }

    /// The second factor of somebody who has shown the first and signs in.
    ///
    /// # Errors
    /// [`IdentityError::MfaRequired`] without a code; [`IdentityError::WrongCode`];
    /// [`IdentityError::TooManyAttempts`].
    pub(crate) async fn demand_code(
        &self,
        route: LimitedRoute,
        holder: UserId,
        factor: &Factor,
        code: Option<&SecretString>,
        device: &Device,
    ) -> Result<(), IdentityError> {
        let Some(code) = code else { return Err(self.factor_required(holder).await?) };
        let attempt = self.attempt_by(route, &holder.to_string(), device);
        let shown = {
            let connection = self.control("check a second factor").await?;
            self.count(&connection, &attempt).await?;
            let shown = self.use_code(&connection, holder, factor.sealed_secret.as_deref(), code).await?;
            if shown.is_some() {
                Self::attempt_succeeded(&connection, &attempt).await?;
            }
            shown
        };
        match shown {
            Some(Shown::Totp | Shown::Passkey) => Ok(()),
            Some(Shown::RecoveryCode) => {
                self.record_factor(SecurityEventKind::RecoveryCodeUsed, holder, json!({}), device);
                Ok(())
            }
            None => Err(self.wrong_code(&attempt, holder, device).await?),
        }
    }

    /// That a second factor is needed, with what the holder has.
    async fn factor_required(&self, holder: UserId) -> Result<IdentityError, IdentityError> {
        const KINDS: &str = "
            select f.sealed_secret is not null, exists (select 1 from control.passkeys p where p.holder = f.holder),
                   exists (select 1 from control.recovery_codes c where c.holder = f.holder)
            from control.second_factors f where f.holder = $1";
        let row = self.control("look at a second factor").await?.query_opt(KINDS, params![holder]).await?;
        let kinds = row.map_or(FactorKinds::default(), |row| FactorKinds {
            totp: row.get(0),
            passkey: row.get(1),
            recovery_code: row.get(2),
        });
        Ok(IdentityError::MfaRequired(kinds))
    }

    async fn wrong_code(
        &self,
        attempt: &Attempt,
        holder: UserId,
        device: &Device,
    ) -> Result<IdentityError, IdentityError> {
        self.record_factor(SecurityEventKind::MfaFailed, holder, json!({}), device);
        self.attempt_failed(attempt, Target::Holder(holder), device).await?;
        Ok(IdentityError::WrongCode)
    }

    /// Counts the attempt and begins a transaction in which the code is used up, and the factor is
    /// locked. A secret waits for an hour at most.
    pub(crate) async fn begin_change(
        &self,
        change: &FactorChange,
        code: &SecretString,
        needed: Needed,
    ) -> Result<(SystemConnection, Attempt), IdentityError> {
        const FIND: &str = "
            select case when $2 then pending_secret else sealed_secret end from control.second_factors
            where holder = $1
              and case when $2 then pending_secret is not null and created_at > now() - interval '1 hour'
                       else confirmed_at is not null and (sealed_secret is not null or not $3) end
            for update";
        let holder = change.holder.id();
        let attempt = self.attempt_by(change.holder.route(), &holder.to_string(), &change.device);
        let mut connection = self.control("change a second factor").await?;
        self.count(&connection, &attempt).await?;
        connection.begin().await?;
        let is_waiting = needed == Needed::WaitingApp;
        let values = params![holder, is_waiting, needed == Needed::App];
        let shown = match connection.query_opt(FIND, values).await? {
            Some(row) => {
                let sealed: Option<Vec<u8>> = row.get(0);
                self.use_code(&connection, holder, sealed.as_deref(), code).await?
            }
            None => None,
        };
        // Only a code of its own shows that a new app works.
        match shown.filter(|shown| !is_waiting || *shown == Shown::Totp) {
            Some(Shown::RecoveryCode) => {
                self.record_factor(SecurityEventKind::RecoveryCodeUsed, holder, json!({}), &change.device);
            }
            Some(Shown::Totp | Shown::Passkey) => {}
            None => {
                connection.rollback().await?;
                drop(connection);
                return Err(self.wrong_code(&attempt, holder, &change.device).await?);
            }
        }
        Ok((connection, attempt))
    }

    pub(crate) async fn end_change(
        &self,
        mut connection: SystemConnection,
        attempt: &Attempt,
        change: &FactorChange,
        action: &'static str,
        kind: SecurityEventKind,
    ) -> Result<(), IdentityError> {
        let holder = change.holder;
        Self::attempt_succeeded(&connection, attempt).await?;
        if let Holder::User(user) = holder {
            devices_forget(&connection, user).await?;
        }
        change.actor.did(action).on(holder.kind(), holder.id()).write(&connection).await?;
        connection.commit().await?;
        self.nudge_mails();
        // Policies of tenants ask for it.
        self.caches.memberships.forget_all();
        self.record_factor(kind, holder.id(), json!({ "holder": holder.kind() }), &change.device);
        Ok(())
    }

    /// Recovery codes for somebody who has none left; none for others.
    pub(crate) async fn first_recovery_codes(
        &self,
        connection: &SystemConnection,
        holder: UserId,
    ) -> Result<Vec<SecretString>, IdentityError> {
        const LEFT: &str = "select 1 from control.recovery_codes where holder = $1 limit 1";
        match connection.query_opt(LEFT, params![holder]).await? {
            Some(_) => Ok(Vec::new()),
            None => self.replace_recovery_codes(connection, holder).await,
        }
    }

    async fn replace_recovery_codes(
        &self,
        connection: &SystemConnection,
        holder: UserId,
    ) -> Result<Vec<SecretString>, IdentityError> {
        const CLEAR: &str = "delete from control.recovery_codes where holder = $1";
        const INSERT: &str = "
            insert into control.recovery_codes (holder, code_hash)
            select $1, decode(hash, 'hex') from unnest($2::text[]) as hash";
        let codes: Vec<SecretString> =
            std::iter::repeat_with(recovery_code::generate).take(recovery_code::CODES).collect();
        let hash = |code| recovery_code::hash(&self.factor_keys.recovery, holder, code);
        let hex = |hash: Vec<u8>| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let hashes: Vec<String> = codes.iter().filter_map(hash).map(hex).collect();
        connection.query(CLEAR, params![holder]).await?;
        connection.query(INSERT, params![holder, hashes]).await?;
        Ok(codes)
    }

    pub(crate) fn record_factor(
        &self,
        kind: SecurityEventKind,
        holder: UserId,
        details: serde_json::Value,
        device: &Device,
    ) {
        self.audit.record(SecurityEvent {
            kind,
            user: Some(holder),
            ip: device.ip,
            user_agent: device.user_agent.clone(),
            details,
            ..SecurityEvent::default()
        });
    }
}

/// Removes a factor that is none any more: without an app and without a passkey.
pub(crate) async fn remove_if_empty(connection: &SystemConnection, holder: UserId) -> Result<(), IdentityError> {
    const IS_EMPTY: &str = "
        select 1 from control.second_factors f
        where f.holder = $1 and f.sealed_secret is null
          and not exists (select 1 from control.passkeys p where p.holder = f.holder)";
    if connection.query_opt(IS_EMPTY, params![holder]).await?.is_some() {
        remove(connection, holder).await?;
    }
    Ok(())
}

/// Removes a factor with its codes and passkeys; an operator's sessions have shown none any more.
pub(crate) async fn remove(connection: &SystemConnection, holder: UserId) -> Result<bool, IdentityError> {
    const REMOVE: &str = "
        with sessions as (update control.operator_sessions set mfa_at = null where operator_id = $1)
        delete from control.second_factors where holder = $1 returning confirmed_at";
    Ok(connection.query_opt(REMOVE, params![holder]).await?.is_some())
}
