//! Sessions: signing in, switching tenants, signing out.

use std::fmt;
use std::net::IpAddr;

use rowhouse_audit::{Actor, SecurityEvent, SecurityEventKind};
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{EmailAddress, SessionId, TenantId, UserId};
use secrecy::SecretString;
use serde::Serialize;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::keys::{Claims, Org};
use crate::member::{MembershipOut, memberships_of};
use crate::password::verify_password;
use crate::refresh_token::RefreshToken;
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
    /// Id or slug of the tenant to work in; the only one, or the one used last, if absent.
    pub tenant: Option<String>,
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

impl Identity {
    /// Signs in by password.
    ///
    /// # Errors
    /// [`IdentityError::WrongCredentials`] whether the address or the password is wrong, after
    /// the same time; [`IdentityError::NotAMember`] only to who has proved who they are.
    pub async fn sign_in(&self, sign_in: SignIn) -> Result<Tokens, IdentityError> {
        const FIND: &str = "select id, password_hash from control.users where email = $1 and active";
        let SignIn { email, password, tenant, device } = sign_in;
        let (user, hash) = {
            let connection = self.control("sign in").await?;
            let row = connection.query_opt(FIND, params![email.as_str()]).await?;
            row.map_or((None, None), |row| (Some(UserId::from_uuid(row.get(0))), row.get::<_, Option<String>>(1)))
        };
        // No connection is held while the hash is computed.
        let fits = verify_password(password, hash).await?;
        let Some(user) = user.filter(|_| fits) else {
            self.record(SecurityEventKind::SignInFailed, user, None, None, &device);
            return Err(IdentityError::WrongCredentials);
        };
        self.open_session(user, email.as_str(), tenant.as_deref(), &device).await
    }

    /// Opens a session for a person who has proved who they are.
    pub(crate) async fn open_session(
        &self,
        user: UserId,
        email: &str,
        tenant: Option<&str>,
        device: &Device,
    ) -> Result<Tokens, IdentityError> {
        const INSERT: &str = "
            with seen as (update control.users set last_seen_at = now() where id = $2)
            insert into control.sessions (id, user_id, tenant_id, token_hash, ip, user_agent, expires_at)
            values ($1, $2, $3, $4, $5, $6, now() + make_interval(days => $7))";
        let connection = self.control("open a session").await?;
        let org = self.choose_or_report(&connection, user, tenant, None, device).await?;
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
            self.settings.session_days.min(self.settings.session_days_max)
        ];
        connection.query(INSERT, values).await?;
        self.record(SecurityEventKind::SignIn, Some(user), tenant, None, device);
        self.tokens_for(user, email, &refresh, org)
    }

    pub(crate) fn tokens_for(
        &self,
        user: UserId,
        email: &str,
        refresh: &RefreshToken,
        org: Option<Org>,
    ) -> Result<Tokens, IdentityError> {
        let seconds = self.settings.access_token_seconds;
        let access_token = self.keys.sign_access(user, email, refresh.session, org, seconds)?;
        let refresh_token = refresh.expose().to_owned();
        Ok(Tokens { access_token, refresh_token, expires_in: seconds, email: email.to_owned() })
    }

    /// New tokens for another tenant of the caller, in the same session.
    ///
    /// # Errors
    /// [`IdentityError::NotAMember`], also for a tenant that does not exist.
    pub async fn switch(&self, claims: &Claims, tenant: &str, device: Device) -> Result<Tokens, IdentityError> {
        // Locked, so that the next token follows from the newest.
        const NEWEST: &str = "
            select token_hash from control.sessions
            where id = $1 and revoked_at is null and expires_at > now() for update";
        // A session that cannot be refreshed (a developer's) does not become one that can.
        const SWITCH: &str = "
            update control.sessions
            set tenant_id = $2, token_hash = case when token_hash is not null then $3::bytea end,
                rotated_at = (array_prepend(now(), rotated_at))[1:16], last_used_at = now()
            where id = $1";
        let mut connection = self.control("switch the tenant").await?;
        let from = claims.org.as_ref().map(|org| org.id);
        let org = self.choose_or_report(&connection, claims.user, Some(tenant), from, &device).await?;
        let id = org.as_ref().map(|org| org.id);
        connection.begin().await?;
        let Some(row) = connection.query_opt(NEWEST, params![claims.session]).await? else {
            connection.rollback().await?;
            return Err(IdentityError::InvalidToken);
        };
        let next = match row.get::<_, Option<Vec<u8>>>(0) {
            Some(newest) => RefreshToken::after(&self.refresh_keys, claims.session, &newest),
            None => RefreshToken::generate(&self.refresh_keys, claims.session),
        };
        connection.query(SWITCH, params![claims.session, id, next.hash()]).await?;
        connection.commit().await?;
        self.record(SecurityEventKind::TenantSwitch, Some(claims.user), id, None, &device);
        self.tokens_for(claims.user, &claims.email, &next, org)
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
        let memberships = memberships_of(&connection, claims.user).await?;
        Ok(Me { user, tenant: claims.org.clone(), memberships })
    }

    /// A token for a member, for development: opens a session without a password. The caller is
    /// whoever may use the command line on the server.
    ///
    /// # Errors
    /// [`IdentityError::NotAMember`] if the person has no part in the tenant.
    pub async fn developer_token(&self, user: UserId, tenant: TenantId, seconds: i64) -> Result<String, IdentityError> {
        const INSERT: &str = "
            insert into control.sessions (id, user_id, tenant_id, user_agent, expires_at)
            values ($1, $2, $3, 'rowhouse token', to_timestamp($4::bigint))";
        let mut connection = self.control("make a developer's token").await?;
        let user_out = user_get(&connection, user).await?.ok_or(IdentityError::NotAMember)?;
        let org = choose_tenant(&connection, user, Some(&tenant.to_string())).await?;
        let session = SessionId::generate();
        let ends = chrono::Utc::now().timestamp() + seconds;
        connection.begin().await?;
        connection.query(INSERT, params![session, user, tenant, ends]).await?;
        Actor::system().did("create_developer_token").on("user", user).on_tenant(tenant).write(&connection).await?;
        connection.commit().await?;
        self.keys.sign_access(user, &user_out.email, session, org, seconds)
    }

    /// The tenant to work in. A person who names one that is not theirs is reported.
    async fn choose_or_report(
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

/// Ends all sessions of a person, but for the one that is to stay. Gives them: once the caller's
/// transaction is committed they are to be forgotten ([`Identity::forget_sessions`]).
pub(crate) async fn sessions_end(
    connection: &SystemConnection,
    user: UserId,
    stays: Option<SessionId>,
) -> Result<Vec<SessionId>, IdentityError> {
    const END: &str = "
        update control.sessions set revoked_at = now()
        where user_id = $1 and revoked_at is null and id is distinct from $2::uuid returning id";
    let rows = connection.query(END, params![user, stays]).await?;
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
