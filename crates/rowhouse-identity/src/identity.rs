//! The identity service: what the gate asks on every request, and the doors in.
//!
//! Must never answer from a cache longer than [`crate::remembered::STALE`] what another process may
//! have changed: a role, a session's end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::sync::Cache;
use rowhouse_audit::Audit;
use rowhouse_mail::Mailer;
use rowhouse_postgres::{DatabaseResult, Databases, SystemAuthority, SystemConnection, params};
use rowhouse_types::{Grants, KeyId, MasterKey, RoleKey, SessionId, Signer, TenantId, UserId};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use webauthn_rs::Webauthn;

use crate::access::{Access, AccessCaches, Roles};
use crate::api_key_access::ApiKeyCaches;
use crate::error::IdentityError;
use crate::keys::{Claims, Keys, OPERATOR_AUDIENCE};
use crate::limit::LimitSettings;
use crate::password::{PasswordCost, Passwords};
use crate::refresh_token::RefreshKeys;
use crate::relying_party::relying_party;
use crate::second_factor::FactorKeys;
use crate::web_session::WebSessions;

/// Verified tokens that are remembered.
const TOKENS_MAX: u64 = 100_000;
/// A remembered token is looked at again at the latest after this.
const TOKEN_REMEMBERED: Duration = Duration::from_secs(300);

/// Settings of identity.
#[derive(Debug, Clone)]
pub struct IdentitySettings {
    /// What stands in `iss`: the service's public URL.
    pub issuer: String,
    /// The domain whose subdomains are tenants.
    pub base_domain: String,
    /// What stands in `aud` of people's tokens.
    pub audience: String,
    /// Seconds an access token is good for.
    pub access_token_seconds: i64,
    /// Days after which an unused session ends.
    pub session_days: i32,
    /// Days after which any session ends.
    pub session_days_max: i32,
    /// Whether this is for development: API keys are made and taken as `rh_test_`.
    pub development: bool,
    /// How often the sensitive routes may be tried.
    pub limits: LimitSettings,
    /// What authenticator apps call the service.
    pub service_name: String,
    /// Whether every operator must have a second factor, and members of tenants by their policies.
    pub mfa_demanded: bool,
    /// Whether people have their accounts and sessions elsewhere, and prove there who they are: then
    /// nothing of them is asked here that they could not show.
    pub accounts_elsewhere: bool,
    /// Whom to ask about domains, instead of the machine's own resolver.
    pub dns_server: Option<SocketAddr>,
    /// How hard a new password must be to guess: 0 to 4, as zxcvbn counts.
    pub password_score_min: u8,
    /// What hashing a password costs.
    pub password_cost: PasswordCost,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            issuer: "http://localhost:8080".into(),
            base_domain: "localhost".into(),
            audience: "rowhouse".into(),
            access_token_seconds: 15 * 60,
            session_days: 30,
            session_days_max: 90,
            development: false,
            limits: LimitSettings::default(),
            service_name: "Rowhouse".into(),
            mfa_demanded: true,
            accounts_elsewhere: false,
            dns_server: None,
            password_score_min: 3,
            password_cost: PasswordCost::default(),
        }
    }
}

/// The identity service.
pub struct Identity {
    pub(crate) databases: Arc<Databases>,
    pub(crate) authority: SystemAuthority,
    pub(crate) settings: IdentitySettings,
    pub(crate) keys: Keys,
    pub(crate) audit: Audit,
    pub(crate) refresh_keys: RefreshKeys,
    pub(crate) invitation_signer: Signer,
    pub(crate) link_signer: Signer,
    pub(crate) mailer: Option<Mailer>,
    pub(crate) attempt_signer: Signer,
    pub(crate) factor_keys: FactorKeys,
    pub(crate) passwords: Passwords,
    /// None where passkeys cannot be had.
    pub(crate) relying_party: Option<Webauthn>,
    pub(crate) caches: AccessCaches,
    pub(crate) key_caches: ApiKeyCaches,
    pub(crate) web_sessions: WebSessions,
    pub(crate) roles: ArcSwap<Roles>,
    tokens: Cache<[u8; 32], (KeyId, Arc<Claims>)>,
}

impl Identity {
    /// Opens the service on a migrated control database.
    ///
    /// # Errors
    /// If the signing keys cannot be loaded or made, or people's tokens would have the audience
    /// of operators'.
    pub async fn open(
        databases: Arc<Databases>,
        authority: SystemAuthority,
        master: MasterKey,
        audit: Audit,
        settings: IdentitySettings,
    ) -> Result<Self, IdentityError> {
        if settings.audience == OPERATOR_AUDIENCE {
            return Err(IdentityError::Keys("the audience \"operator\" is taken: choose another for people's tokens"));
        }
        let relying_party = relying_party(&settings.issuer, &settings.base_domain, &settings.service_name);
        let (cost, score_min) = (settings.password_cost, settings.password_score_min);
        let passwords = Passwords::open(cost, score_min, settings.service_name.clone()).await?;
        let mut connection = databases.control(&authority.scope("load signing keys")).await?;
        let (issuer, audience) = (settings.issuer.clone(), settings.audience.clone());
        let keys = Keys::load(&mut connection, &master, issuer, audience).await?;
        Ok(Self {
            databases,
            authority,
            settings,
            keys,
            audit,
            refresh_keys: RefreshKeys::new(&master),
            invitation_signer: master.signer("invitation"),
            link_signer: master.signer("mail link"),
            mailer: None,
            attempt_signer: master.signer("attempt"),
            factor_keys: FactorKeys::new(&master),
            passwords,
            relying_party,
            caches: AccessCaches::new(),
            key_caches: ApiKeyCaches::new(),
            web_sessions: WebSessions::new(&master),
            roles: ArcSwap::from_pointee(Roles::new(HashMap::new())),
            tokens: Cache::builder().max_capacity(TOKENS_MAX).time_to_live(TOKEN_REMEMBERED).build(),
        })
    }

    /// The same service, which sends mails. Without it nothing is mailed: for commands that only
    /// look or make operators.
    #[must_use]
    pub fn with_mailer(mut self, mailer: Mailer) -> Self {
        self.mailer = Some(mailer);
        self
    }

    /// Makes the app's own roles known.
    pub fn set_roles(&self, roles: HashMap<RoleKey, Grants>) {
        self.roles.store(Arc::new(Roles::new(roles)));
        self.caches.memberships.forget_all();
        self.key_caches.keys.forget_all();
    }

    pub(crate) async fn control(&self, purpose: &'static str) -> DatabaseResult<SystemConnection> {
        self.databases.control(&self.authority.scope(purpose)).await
    }

    /// Hashes a new password, which must be hard to guess also for who knows the person: by their
    /// own words, such as address, names and organisation.
    ///
    /// # Errors
    /// [`IdentityError::Password`] if it is too short, too long or too easy to guess.
    pub async fn hash_password(&self, password: &str, own_words: &[&str]) -> Result<String, IdentityError> {
        let words = own_words.iter().map(|word| (*word).to_owned()).collect();
        Ok(self.passwords.hash_new(SecretString::from(password), words).await?)
    }

    /// Verifies a person's token and that its session is alive.
    ///
    /// # Errors
    /// [`IdentityError::InvalidToken`], whatever is wrong with it.
    pub async fn verify_access_token(&self, token: &str) -> Result<Arc<Claims>, IdentityError> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let ring = self.key_ring().await?;
        let (key, claims) = match self.tokens.get(&digest) {
            Some(verified) => verified,
            None => {
                let verified = self.keys.verify_access(&ring, token)?;
                self.tokens.insert(digest, verified.clone());
                verified
            }
        };
        if !ring.holds(key) {
            return Err(IdentityError::InvalidToken);
        }
        if claims.expires_at <= chrono::Utc::now().timestamp() || !self.session_is_alive(claims.session).await? {
            return Err(IdentityError::InvalidToken);
        }
        Ok(claims)
    }

    pub(crate) async fn session_is_alive(&self, session: SessionId) -> Result<bool, IdentityError> {
        self.caches.sessions.get_or_read(session, self.read_session(session)).await
    }

    async fn read_session(&self, session: SessionId) -> Result<bool, IdentityError> {
        const ALIVE: &str = "
            select s.revoked_at is null and s.expires_at > now() and u.active and coalesce(o.active, true)
            from control.sessions s join control.users u on u.id = s.user_id
            left join control.impersonations i on i.session_id = s.id
            left join control.operators o on o.id = i.operator_id where s.id = $1";
        let connection = self.control("check a session").await?;
        Ok(connection.query_opt(ALIVE, params![session]).await?.is_some_and(|row| row.get(0)))
    }

    /// A person's part in a tenant, if they have one.
    pub async fn access(&self, user: UserId, tenant: TenantId) -> Result<Option<Arc<Access>>, IdentityError> {
        self.caches.memberships.get_or_read((user, tenant), self.read_access(user, tenant)).await
    }

    async fn read_access(&self, user: UserId, tenant: TenantId) -> Result<Option<Arc<Access>>, IdentityError> {
        const ROLE: &str = "
            select m.role, r.permissions,
                   f.holder is not null, p.demanded_of, p.grace_days, greatest(m.mfa_asked_at, p.changed_at)
            from control.memberships m join control.users u on u.id = m.user_id
            left join control.roles r on r.tenant_id = m.tenant_id and r.key = m.role
            left join control.second_factors f on f.holder = u.id and f.confirmed_at is not null
            left join control.mfa_policies p on p.tenant_id = m.tenant_id
            where m.tenant_id = $1 and m.user_id = $2 and m.active and u.active";
        let connection = self.control("look up a membership").await?;
        let Some(row) = connection.query_opt(ROLE, params![tenant, user]).await? else { return Ok(None) };
        self.member_seen(user, tenant);
        let role = RoleKey::new(row.get::<_, String>(0));
        let own: Option<Vec<String>> = row.get(1);
        let grants = self.roles.load().grants_in_tenant(&role, own.as_deref()).unwrap_or_default();
        let mfa_due_at = self.mfa_due_at(&row, 2, &grants);
        Ok(Some(Arc::new(Access { role, grants, mfa_due_at })))
    }

    /// Notes that a member is at work, at most every few minutes, while the request goes on.
    fn member_seen(&self, user: UserId, tenant: TenantId) {
        const SEEN: &str = "
            update control.memberships set last_seen_at = now()
            where tenant_id = $1 and user_id = $2
              and (last_seen_at is null or last_seen_at < now() - interval '4 minutes')";
        if !self.caches.seen.entry((user, tenant)).or_insert(()).is_fresh() {
            return;
        }
        let (databases, scope) = (self.databases.clone(), self.authority.scope("note that a member is at work"));
        tokio::spawn(async move {
            let noted: DatabaseResult<()> = async {
                let connection = databases.control(&scope).await?;
                connection.query(SEEN, params![tenant, user]).await.map(drop)
            }
            .await;
            if let Err(error) = noted {
                tracing::warn!(tenant_id = %tenant, user_id = %user, %error, "note that a member is at work");
            }
        });
    }

    /// What a role may do; none for one that nobody knows.
    pub fn role_grants(&self, role: &RoleKey) -> Option<Arc<Grants>> {
        self.roles.load().grants(role)
    }

    /// Forgets what is cached of a person's part in a tenant: after it changed.
    pub async fn forget_access(&self, user: UserId, tenant: TenantId) {
        self.caches.memberships.forget(&(user, tenant)).await;
    }
}
