//! Sessions: signing in, refreshing, switching tenants, signing out.

use std::net::IpAddr;

use rowhouse_audit::{SecurityEvent, SecurityEventKind};
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{EmailAddress, SessionId, TenantId, UserId};
use secrecy::SecretString;
use serde::Serialize;
use uuid::Uuid;

use crate::error::IdentityError;
use crate::identity::Identity;
use crate::keys::{Claims, Org};
use crate::member::{MembershipOut, memberships_of};
use crate::password::verify_password;
use crate::user::{UserOut, user_get};

const REFRESH_PREFIX: &str = "rh_rt_";

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
        let (user, hash) = {
            let connection = self.control("sign in").await?;
            let row = connection.query_opt(FIND, params![sign_in.email.as_str()]).await?;
            row.map_or((None, None), |row| (Some(UserId::from_uuid(row.get(0))), row.get::<_, Option<String>>(1)))
        };
        // No connection is held while the hash is computed.
        let fits = verify_password(sign_in.password, hash).await;
        let Some(user) = user.filter(|_| fits) else {
            self.record(SecurityEventKind::SignInFailed, user, None, &sign_in.device);
            return Err(IdentityError::WrongCredentials);
        };
        let tokens =
            self.open_session(user, sign_in.email.as_str(), sign_in.tenant.as_deref(), &sign_in.device).await?;
        self.record(SecurityEventKind::SignIn, Some(user), None, &sign_in.device);
        Ok(tokens)
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
            insert into control.sessions (id, user_id, tenant_id, ip, user_agent, expires_at)
            values ($1, $2, $3, $4, $5, now() + make_interval(days => $6))";
        let connection = self.control("open a session").await?;
        let org = choose_tenant(&connection, user, tenant).await?;
        let session = SessionId::generate();
        let ip = device.ip.map(|ip| ip.to_string());
        let tenant = org.as_ref().map(|org| org.id);
        let values =
            params![session, user, tenant, ip.as_deref(), device.user_agent.as_deref(), self.settings.session_days];
        connection.query(INSERT, values).await?;
        self.tokens_for(user, email, session, org, 0)
    }

    fn tokens_for(
        &self,
        user: UserId,
        email: &str,
        session: SessionId,
        org: Option<Org>,
        generation: i32,
    ) -> Result<Tokens, IdentityError> {
        let seconds = self.settings.access_token_seconds;
        let access_token = self.keys.sign_access(user, email, session, org, seconds)?;
        let payload =
            [session.uuid().as_bytes().as_slice(), &generation.to_be_bytes(), Uuid::new_v4().as_bytes()].concat();
        let refresh_token = format!("{REFRESH_PREFIX}{}", self.refresh_signer.sign(&payload));
        Ok(Tokens { access_token, refresh_token, expires_in: seconds, email: email.to_owned() })
    }

    /// Exchanges a refresh token for new tokens. One that was used before has been stolen from
    /// somebody: the session ends for both.
    ///
    /// # Errors
    /// [`IdentityError::InvalidToken`].
    pub async fn refresh(&self, token: &str, device: Device) -> Result<Tokens, IdentityError> {
        const NEXT: &str = "
            update control.sessions s set generation = generation + 1, last_used_at = now(),
                   expires_at = now() + make_interval(days => $3)
            from control.users u
            where s.id = $1 and s.generation = $2 and s.revoked_at is null and s.expires_at > now() and u.id = s.user_id and u.active
            returning s.user_id, u.email, s.tenant_id, s.generation";
        const REVOKE: &str = "
            update control.sessions set revoked_at = now()
            where id = $1 and generation > $2 and revoked_at is null returning user_id";
        let signed = token.strip_prefix(REFRESH_PREFIX).ok_or(IdentityError::InvalidToken)?;
        let payload = self.refresh_signer.verify(signed).ok_or(IdentityError::InvalidToken)?;
        let (session, generation) = read_payload(&payload).ok_or(IdentityError::InvalidToken)?;
        let connection = self.control("refresh a session").await?;
        let values = params![session, generation, self.settings.session_days];
        if let Some(row) = connection.query_opt(NEXT, values).await? {
            let (user, email): (Uuid, String) = (row.get(0), row.get(1));
            let (tenant, next): (Option<Uuid>, i32) = (row.get(2), row.get(3));
            let user = UserId::from_uuid(user);
            let named = tenant.map(|id| id.to_string());
            // A person who has lost their place in the tenant goes on without one.
            let org = match named {
                Some(named) => choose_tenant(&connection, user, Some(&named)).await.ok().flatten(),
                None => None,
            };
            return self.tokens_for(user, &email, session, org, next);
        }
        if let Some(row) = connection.query_opt(REVOKE, params![session, generation]).await? {
            self.caches.sessions.invalidate(&session).await;
            self.record(SecurityEventKind::TokenReuse, Some(UserId::from_uuid(row.get(0))), None, &device);
        }
        Err(IdentityError::InvalidToken)
    }

    /// New tokens for another tenant of the caller, in the same session.
    ///
    /// # Errors
    /// [`IdentityError::NotAMember`], also for a tenant that does not exist.
    pub async fn switch(&self, claims: &Claims, tenant: &str, device: Device) -> Result<Tokens, IdentityError> {
        const SWITCH: &str = "
            update control.sessions set tenant_id = $2, generation = generation + 1, last_used_at = now()
            where id = $1 and revoked_at is null returning generation";
        let connection = self.control("switch the tenant").await?;
        let org = match choose_tenant(&connection, claims.user, Some(tenant)).await {
            Err(IdentityError::NotAMember) => {
                self.record(SecurityEventKind::CrossTenantAccessAttempt, Some(claims.user), Some(tenant), &device);
                return Err(IdentityError::NotAMember);
            }
            chosen => chosen?,
        };
        let id = org.as_ref().map(|org| org.id);
        let row =
            connection.query_opt(SWITCH, params![claims.session, id]).await?.ok_or(IdentityError::InvalidToken)?;
        self.tokens_for(claims.user, &claims.email, claims.session, org, row.get(0))
    }

    /// Ends the caller's session.
    pub async fn sign_out(&self, claims: &Claims) -> Result<(), IdentityError> {
        const REVOKE: &str = "update control.sessions set revoked_at = now() where id = $1 and revoked_at is null";
        self.control("sign out").await?.query(REVOKE, params![claims.session]).await?;
        self.caches.sessions.invalidate(&claims.session).await;
        Ok(())
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
    pub async fn developer_token(&self, user: UserId, tenant: TenantId, seconds: i64) -> Result<String, IdentityError> {
        const INSERT: &str = "
            insert into control.sessions (id, user_id, tenant_id, user_agent, expires_at)
            values ($1, $2, $3, 'rowhouse token', to_timestamp($4::bigint))";
        let connection = self.control("make a developer's token").await?;
        let user_out = user_get(&connection, user).await?.ok_or(IdentityError::NotAMember)?;
        let org = choose_tenant(&connection, user, Some(&tenant.to_string())).await?;
        let session = SessionId::generate();
        let ends = chrono::Utc::now().timestamp() + seconds;
        connection.query(INSERT, params![session, user, tenant, ends]).await?;
        self.keys.sign_access(user, &user_out.email, session, org, seconds)
    }

    fn record(&self, kind: SecurityEventKind, user: Option<UserId>, attempted: Option<&str>, device: &Device) {
        self.audit.record(SecurityEvent {
            kind,
            user,
            attempted_tenant: attempted.map(|text| text.chars().take(64).collect()),
            ip: device.ip,
            user_agent: device.user_agent.clone(),
            ..SecurityEvent::default()
        });
    }
}

fn read_payload(payload: &[u8]) -> Option<(SessionId, i32)> {
    let id = Uuid::from_slice(payload.get(..16)?).ok()?;
    let generation = i32::from_be_bytes(payload.get(16..20)?.try_into().ok()?);
    Some((SessionId::from_uuid(id), generation))
}

/// The tenant to work in: the named one, else the only one, else the one used last.
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
        Some(named) => {
            let row = connection.query_opt(NAMED, params![user, named]).await?;
            Some(row.ok_or(IdentityError::NotAMember)?)
        }
        None => connection.query_opt(LAST, params![user]).await?,
    };
    Ok(row.map(|row| Org { id: TenantId::from_uuid(row.get(0)), role: row.get(1), slug: row.get(2) }))
}
