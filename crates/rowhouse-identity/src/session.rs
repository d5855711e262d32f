//! Sessions: signing in, switching tenants, signing out.

use std::fmt;
use std::net::IpAddr;

use rowhouse_audit::{Actor, SecurityEvent, SecurityEventKind};
use rowhouse_postgres::{Row, SystemConnection, params};
use rowhouse_types::{EmailAddress, SessionId, TenantId, UserId};
use secrecy::SecretString;
use serde::Serialize;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::key_change::key_signed_until;
use crate::key_ring::KeyAlgorithm;
use crate::keys::{Claims, Org};
use crate::limit::{Attempt, LimitedRoute, Target, admit};
use crate::member::MembershipOut;
use crate::password_again::Hashed;
use crate::refresh_token::RefreshToken;
use crate::second_factor::Factor;
use crate::trusted_device::{DeviceTrust, devices_forget};
use crate::user::{UserOut, user_get};

/// The device a session is on.
#[derive(Debug, Clone, Default)]
pub struct Device {
    /// Its address.
    pub ip: Option<IpAddr>,
    /// Its program.
    pub user_agent: Option<String>,
}

/// A sign-in by password.
#[derive(Debug)]
pub struct SignIn {
    /// The address.
    pub email: EmailAddress,
    /// The password.
    pub password: SecretString,
    /// A code of the second factor, or a recovery code; for accounts that have one.
    pub code: Option<SecretString>,
    /// Id or slug of the tenant to work in; the only one, or the one used last, if absent.
    pub tenant: Option<String>,
    /// What is said of the device, for accounts that have a second factor.
    pub trust: DeviceTrust,
    /// Where from.
    pub device: Device,
}

/// What a sign-in or refresh gives. Handed to the client, kept nowhere.
pub struct Tokens {
    /// The access token.
    pub access_token: String,
    /// The refresh token; good once.
    pub refresh_token: String,
    /// Seconds the access token is good for.
    pub expires_in: i64,
    /// The person's address.
    pub email: String,
    /// What stands for the second factor on this device from now on, if that was asked for and may be.
    pub device_token: Option<SecretString>,
    /// The session.
    pub session: SessionId,
    /// The tenant that was chosen, if one was.
    pub tenant: Option<TenantId>,
}

/// Without the secrets: debug output ends up in logs.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// The caller and their tenants.
#[derive(Debug, Clone, Serialize)]
pub struct Me {
    /// The person.
    pub user: UserOut,
    /// The tenant of the token.
    pub tenant: Option<Org>,
    /// All their tenants.
    pub memberships: Vec<MembershipOut>,
}

/// A session to be opened, for a person who has proved who they are.
#[derive(Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) user: UserId,
    pub(crate) email: &'a str,
    /// Id or slug of the tenant to work in, if one is named.
    pub(crate) tenant: Option<&'a str>,
    /// Of the password that was checked: another by now opens nothing.
    pub(crate) password_hash: Option<&'a str>,
    /// What is forgiven by it ([`Identity::attempt_succeeded`]).
    pub(crate) attempt: &'a Attempt,
    pub(crate) device: &'a Device,
}

/// A session that was opened.
pub(crate) struct Opened {
    pub(crate) session: SessionId,
    pub(crate) tokens: Tokens,
    pub(crate) tenant: Option<TenantId>,
}

/// Who may sign in with an address, if anybody may.
pub(crate) struct Account {
    pub(crate) id: Option<UserId>,
    /// The password's.
    pub(crate) hash: Option<String>,
    pub(crate) factor: Option<Factor>,
}

/// Somebody who has shown their password.
pub(crate) struct Shown {
    pub(crate) user: UserId,
    /// The password's.
    pub(crate) hash: Option<String>,
    pub(crate) factor: Option<Factor>,
}

impl Account {
    /// That of a row that tells first how long the attempt has to wait.
    pub(crate) fn admitted(row: &Row) -> Result<Self, IdentityError> {
        admit(row.get(0))?;
        let id = row.get::<_, Option<uuid::Uuid>>(1).map(UserId::from_uuid);
        Ok(Self { id, hash: row.get(2), factor: Factor::of_columns(row, 3) })
    }
}

impl Identity {
    /// Signs in by password.
    ///
    /// # Errors
    /// [`IdentityError::WrongCredentials`] whether the address or the password is wrong, after
    /// the same time; [`IdentityError::NotAMember`] only to who has proved who they are;
    /// [`IdentityError::MfaRequired`] and [`IdentityError::WrongCode`] only to who has given the
    /// right password; [`IdentityError::TooManyAttempts`].
    pub async fn sign_in(&self, sign_in: SignIn) -> Result<Tokens, IdentityError> {
        // Of what a trusted device has helped to open nobody has shown a second factor lately.
        const NOT_PROVED: &str = "update control.sessions set proved_at = to_timestamp(0) where id = $1";
        let SignIn { email, password, code, tenant, trust, device } = sign_in;
        let attempt = self.attempt_at(LimitedRoute::SIGN_IN, email.as_str(), &device);
        let Shown { user, hash, factor } = self.check_password(&email, &password, &attempt, &device).await?;
        let mut stands_in = false;
        if let Some(factor) = &factor {
            stands_in = code.is_none() && self.is_trusted(user, trust.token.as_ref(), &device).await?;
            if !stands_in {
                self.demand_code(LimitedRoute::MFA, user, factor, code.as_ref(), &device).await?;
            }
        }
        let opening = Opening {
            user,
            email: email.as_str(),
            tenant: tenant.as_deref(),
            password_hash: hash.as_deref(),
            attempt: &attempt,
            device: &device,
        };
        let mut tokens = if stands_in {
            let mut connection = self.control("open a session").await?;
            connection.begin().await?;
            let opened = self.open_session_on(&connection, &opening).await?;
            connection.query(NOT_PROVED, params![opened.session]).await?;
            connection.commit().await?;
            self.record(SecurityEventKind::SignIn, Some(user), opened.tenant, None, &device);
            opened.tokens
        } else {
            self.open_session(&opening).await?
        };
        if factor.is_some() && !stands_in && trust.wanted {
            tokens.device_token = self.trust_device(user, &device).await?;
        }
        self.hash_again(Hashed::User(user), password, hash.as_deref()).await;
        Ok(tokens)
    }

    /// Whose address and password these are.
    ///
    /// # Errors
    /// [`IdentityError::WrongCredentials`], after the same time whatever is wrong;
    /// [`IdentityError::TooManyAttempts`].
    pub(crate) async fn check_password(
        &self,
        email: &EmailAddress,
        password: &SecretString,
        attempt: &Attempt,
        device: &Device,
    ) -> Result<Shown, IdentityError> {
        const FIND: &str = "
            with attempt as materialized (select control.attempt($2, $3, $4, $5, $6) as wait_seconds)
            select attempt.wait_seconds, u.id, u.password_hash, f.holder is not null, f.sealed_secret
            from attempt left join control.users u on u.email = $1 and u.active
            left join control.second_factors f on f.holder = u.id and f.confirmed_at is not null";
        let Account { id: user, hash, factor } = self.find_account(FIND, email, attempt).await?;
        // No connection is held while the hash is computed.
        let fits = self.passwords.verify(password.clone(), hash.clone()).await?;
        let Some(user) = user.filter(|_| fits) else {
            self.record(SecurityEventKind::SignInFailed, user, None, None, device);
            self.attempt_failed(attempt, Target::Address(email, user), device).await?;
            return Err(IdentityError::WrongCredentials);
        };
        Ok(Shown { user, hash, factor })
    }

    /// Counts the attempt, and finds the account with the address, as `sql` reads it.
    pub(crate) async fn find_account(
        &self,
        sql: &str,
        email: &EmailAddress,
        attempt: &Attempt,
    ) -> Result<Account, IdentityError> {
        let limits = &self.settings.limits;
        let (guarded, account, network) = (attempt.guarded(), attempt.account(), attempt.network());
        let values = params![email.as_str(), guarded, account, network, limits.attempts_max, limits.window_seconds];
        let row = self.control("sign in").await?.query_opt(sql, values).await?;
        Account::admitted(&row.ok_or(IdentityError::WrongCredentials)?)
    }

    /// A session for somebody whom this very request has made: who signed up.
    pub async fn open_first_session(
        &self,
        user: UserId,
        email: &EmailAddress,
        tenant: TenantId,
        device: &Device,
    ) -> Result<Tokens, IdentityError> {
        let named = tenant.to_string();
        let tenant = Some(named.as_str());
        let attempt = self.attempt_at(LimitedRoute::SIGN_IN, email.as_str(), device);
        let opening = Opening { user, email: email.as_str(), tenant, password_hash: None, attempt: &attempt, device };
        self.open_session(&opening).await
    }

    /// Opens a session for a person who has proved who they are.
    ///
    /// # Errors
    /// [`IdentityError::NotAMember`]; [`IdentityError::WrongCredentials`] if what was proved holds
    /// no more.
    pub(crate) async fn open_session(&self, opening: &Opening<'_>) -> Result<Tokens, IdentityError> {
        let connection = self.control("open a session").await?;
        let opened = self.open_session_on(&connection, opening).await?;
        self.record(SecurityEventKind::SignIn, Some(opening.user), opened.tenant, None, opening.device);
        Ok(opened.tokens)
    }

    /// The same in the caller's transaction, without the event.
    pub(crate) async fn open_session_on(
        &self,
        connection: &SystemConnection,
        opening: &Opening<'_>,
    ) -> Result<Opened, IdentityError> {
        // The person's row is changed, not only read: of a reset at the same moment one waits for the
        // other. So either the password is seen to be another, or the reset sees this session and ends it.
        const INSERT: &str = "
            with person as (
                update control.users set last_seen_at = now()
                where id = $2 and active and ($9::text is null or password_hash = $9) returning id
            ), forgiven as (
                insert into control.attempts (subject, counted, window_ends_at, known_until)
                select $8, 0, now(), now() + interval '90 days' from person where $8::text is not null
                on conflict (subject) do update
                set failures = 0, blocked_until = null, known_until = excluded.known_until
            )
            insert into control.sessions (id, user_id, tenant_id, token_hash, ip, user_agent, expires_at)
            select $1, id, $3::uuid, $4::bytea, $5::text, $6::text, control.session_end($3, now(), $7, $10) from person
            returning 1";
        let Opening { user, email, tenant, password_hash, attempt, device } = *opening;
        let org = self.choose_or_report(connection, user, tenant, None, device).await?;
        let refresh = RefreshToken::generate(&self.refresh_keys, SessionId::generate());
        let ip = device.ip.map(|ip| ip.to_string());
        let tenant = org.as_ref().map(|org| org.id);
        let values = params![
            refresh.session,
            user,
            tenant,
            refresh.hash(),
            ip.as_deref(),
            device.user_agent.as_deref(),
            self.settings.session_days,
            attempt.guarded(),
            password_hash,
            self.settings.session_days_max
        ];
        connection.query_opt(INSERT, values).await?.ok_or(IdentityError::WrongCredentials)?;
        let tokens = self.tokens_for(connection, user, email, &refresh, org).await?;
        Ok(Opened { session: refresh.session, tokens, tenant })
    }

    pub(crate) async fn tokens_for(
        &self,
        connection: &SystemConnection,
        user: UserId,
        email: &str,
        refresh: &RefreshToken,
        org: Option<Org>,
    ) -> Result<Tokens, IdentityError> {
        let seconds = self.settings.access_token_seconds;
        let tenant = org.as_ref().map(|org| org.id);
        let ring = self.keys.ring.on(connection).await?;
        let access_token = self.keys.sign_access(&ring, user, email, refresh.session, org, seconds)?;
        let refresh_token = refresh.expose().to_owned();
        let (email, session) = (email.to_owned(), refresh.session);
        Ok(Tokens { access_token, refresh_token, expires_in: seconds, email, session, tenant, device_token: None })
    }

    /// New tokens for another tenant of the caller, in the same session.
    ///
    /// # Errors
    /// [`IdentityError::NotAMember`], also for a tenant that does not exist.
    pub async fn switch(&self, claims: &Claims, tenant: &str, device: Device) -> Result<Tokens, IdentityError> {
        // Locked, so that the next token follows from the newest.
        const NEWEST: &str = "
            select token_hash, has_fixed_end or control.session_end($2, created_at, $3, $4) > now()
            from control.sessions where id = $1 and revoked_at is null and expires_at > now() for update";
        // A session that cannot be refreshed (a developer's) does not become one that can.
        const SWITCH: &str = "
            with switched as (
                update control.sessions
                set tenant_id = $2, token_hash = case when token_hash is not null then $3::bytea end,
                    rotated_at = (array_prepend(now(), rotated_at))[1:16], last_used_at = now(),
                    expires_at = case when token_hash is null then expires_at
                                      else control.session_end($2, created_at, $4, $5) end
                where id = $1 returning id, created_at
            )
            update control.web_sessions w
            set expires_at = least(w.ends_at, control.session_end($2, s.created_at, $4, $5))
            from switched s where w.session_id = s.id and w.tenant_id is null";
        let mut connection = self.control("switch the tenant").await?;
        let from = claims.org.as_ref().map(|org| org.id);
        let org = self.choose_or_report(&connection, claims.user, Some(tenant), from, &device).await?;
        let id = org.as_ref().map(|org| org.id);
        connection.begin().await?;
        let (idle, most) = (self.settings.session_days, self.settings.session_days_max);
        let Some(row) = connection.query_opt(NEWEST, params![claims.session, id, idle, most]).await? else {
            connection.rollback().await?;
            return Err(IdentityError::InvalidToken);
        };
        if !row.get::<_, bool>(1) {
            connection.rollback().await?;
            return Err(IdentityError::SignInTooOld);
        }
        let next = match row.get::<_, Option<Vec<u8>>>(0) {
            Some(newest) => RefreshToken::after(&self.refresh_keys, claims.session, &newest),
            None => RefreshToken::generate(&self.refresh_keys, claims.session),
        };
        connection.query(SWITCH, params![claims.session, id, next.hash(), idle, most]).await?;
        connection.commit().await?;
        self.record(SecurityEventKind::TenantSwitch, Some(claims.user), id, None, &device);
        self.tokens_for(&connection, claims.user, &claims.email, &next, org).await
    }

    /// Ends the caller's session.
    pub async fn sign_out(&self, claims: &Claims) -> Result<(), IdentityError> {
        const REVOKE: &str = "
            update control.sessions set revoked_at = now() where id = $1 and revoked_at is null returning 1";
        let ended = self.control("sign out").await?.query_opt(REVOKE, params![claims.session]).await?;
        self.caches.sessions.forget(&claims.session).await;
        if ended.is_some() {
            let tenant = claims.org.as_ref().map(|org| org.id);
            self.record(SecurityEventKind::SignOut, Some(claims.user), tenant, None, &Device::default());
        }
        Ok(())
    }

    /// Forgets that these sessions were alive: after they were ended. Other processes notice by
    /// themselves.
    pub(crate) async fn forget_sessions(&self, ended: &[SessionId]) {
        for session in ended {
            self.caches.sessions.forget(session).await;
        }
    }

    /// The caller and their tenants.
    pub async fn me(&self, claims: &Claims) -> Result<Me, IdentityError> {
        let connection = self.control("tell who the caller is").await?;
        let user = user_get(&connection, claims.user).await?.ok_or(IdentityError::InvalidToken)?;
        let memberships = self.memberships_of(&connection, claims.user).await?;
        Ok(Me { user, tenant: claims.org.clone(), memberships })
    }

    /// A token for a member, for development: opens a session without a password. The caller is
    /// whoever may use the command line on the server.
    ///
    /// # Errors
    /// [`IdentityError::NotAMember`] if the person has no part in the tenant.
    pub async fn developer_token(&self, user: UserId, tenant: TenantId, seconds: i64) -> Result<String, IdentityError> {
        const INSERT: &str = "
            insert into control.sessions (id, user_id, tenant_id, user_agent, expires_at, has_fixed_end)
            values ($1, $2, $3, 'rowhouse token', to_timestamp($4::bigint), true)";
        let mut connection = self.control("make a developer's token").await?;
        let user_out = user_get(&connection, user).await?.ok_or(IdentityError::NotAMember)?;
        let org = choose_tenant(&connection, user, Some(&tenant.to_string())).await?;
        let session = SessionId::generate();
        let ends = chrono::Utc::now().timestamp() + seconds;
        let ring = self.keys.ring.on(&connection).await?;
        connection.begin().await?;
        key_signed_until(&connection, ring.signer(KeyAlgorithm::Es256)?.id, ends).await?;
        connection.query(INSERT, params![session, user, tenant, ends]).await?;
        Actor::system().did("create_developer_token").on("user", user).on_tenant(tenant).write(&connection).await?;
        connection.commit().await?;
        self.keys.sign_access(&ring, user, &user_out.email, session, org, seconds)
    }

    /// The tenant to work in. A person who names one that is not theirs is reported.
    pub(crate) async fn choose_or_report(
        &self,
        connection: &SystemConnection,
        user: UserId,
        named: Option<&str>,
        from: Option<TenantId>,
        device: &Device,
    ) -> Result<Option<Org>, IdentityError> {
        let chosen = choose_tenant(connection, user, named).await;
        if matches!(chosen, Err(IdentityError::NotAMember)) {
            self.record(SecurityEventKind::CrossTenantAccessAttempt, Some(user), from, named, device);
        }
        chosen
    }

    pub(crate) fn record(
        &self,
        kind: SecurityEventKind,
        user: Option<UserId>,
        tenant: Option<TenantId>,
        attempted: Option<&str>,
        device: &Device,
    ) {
        self.audit.record(SecurityEvent {
            kind,
            user,
            tenant,
            attempted_tenant: attempted.map(str::to_owned),
            ip: device.ip,
            user_agent: device.user_agent.clone(),
            ..SecurityEvent::default()
        });
    }
}

/// Ends all sessions of a person, but for the one that is to stay, and trusts no device of theirs any
/// more. Gives the sessions: once the caller's transaction is committed they are to be forgotten
/// ([`Identity::forget_sessions`]).
pub(crate) async fn sessions_end(
    connection: &SystemConnection,
    user: UserId,
    stays: Option<SessionId>,
) -> Result<Vec<SessionId>, IdentityError> {
    const END: &str = "
        update control.sessions set revoked_at = now()
        where user_id = $1 and revoked_at is null and id is distinct from $2::uuid returning id";
    let rows = connection.query(END, params![user, stays]).await?;
    devices_forget(connection, user).await?;
    Ok(rows.iter().map(|row| SessionId::from_uuid(row.get(0))).collect())
}

/// The tenant to work in: the named one, else the one used last, else the one joined first.
async fn choose_tenant(
    connection: &SystemConnection,
    user: UserId,
    named: Option<&str>,
) -> Result<Option<Org>, IdentityError> {
    const NAMED: &str = "
        select t.id, m.role, t.slug from control.memberships m join control.tenants t on t.id = m.tenant_id
        where m.user_id = $1 and m.active and (t.slug = lower($2) or t.id::text = lower($2))
          and t.status in ('active', 'suspended', 'provisioning')";
    const LAST: &str = "
        select t.id, m.role, t.slug from control.memberships m join control.tenants t on t.id = m.tenant_id
        left join lateral (select max(s.last_used_at) as used from control.sessions s
                           where s.user_id = m.user_id and s.tenant_id = m.tenant_id) s on true
        where m.user_id = $1 and m.active and t.status in ('active', 'suspended', 'provisioning')
        order by s.used desc nulls last, m.joined_at, t.id limit 1";
    let row = match named {
        // PostgreSQL takes no NUL in a text, and no tenant has one in its name.
        Some(named) if named.contains('\0') => return Err(IdentityError::NotAMember),
        Some(named) => {
            let row = connection.query_opt(NAMED, params![user, named]).await?;
            Some(row.ok_or(IdentityError::NotAMember)?)
        }
        None => connection.query_opt(LAST, params![user]).await?,
    };
    Ok(row.map(|row| Org { id: TenantId::from_uuid(row.get(0)), role: row.get(1), slug: row.get(2) }))
}
