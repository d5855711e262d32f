//! The service: whom a session token belongs to, and in which tenant.
//!
//! Must never remember longer than other processes may take to notice that somebody is shut out.

use std::collections::HashMap;
use std::sync::Arc;

use moka::sync::Cache;
use rowhouse_audit::{Audit, SecurityEvent, SecurityEventKind};
use rowhouse_identity::{Claims, Identity, Org, Remembered};
use rowhouse_postgres::{DatabaseResult, Databases, SystemAuthority, SystemConnection, params};
use rowhouse_tenants::Tenants;
use rowhouse_types::{SessionId, TenantId, UserId};
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use crate::backend::Backend;
use crate::claims::{Parties, SessionClaims};
use crate::clerk_id::{ClerkSessionId, OrganizationId, PersonId};
use crate::error::ClerkError;
use crate::jwks::JwksError;
use crate::signature::WebhookSecrets;
use crate::token::TokenVerifier;

/// The namespace of our ids for Clerk's sessions.
const SESSIONS: Uuid = Uuid::from_u128(0x6d1f_0c8e_52a7_4b1e_9a63_7f2d_c05e_b914);

/// Settings of Clerk.
#[derive(Debug)]
pub struct ClerkSettings {
    /// What stands in `iss`: the instance's frontend API, such as `https://clerk.example.com`.
    pub issuer: String,
    /// Where its keys are published; below the issuer unless said otherwise.
    pub jwks_url: Option<String>,
    /// The pages that tokens may be made for.
    pub parties: Parties,
    /// The secrets of the webhook endpoint: while one is replaced, the old and the new.
    pub webhook_secrets: WebhookSecrets,
    /// How Clerk is told of what is made here; without it, it is not.
    pub backend: Option<BackendSettings>,
    /// Roles at Clerk, without `org:`, that have another name here.
    pub roles: HashMap<String, String>,
}

/// Settings of the Backend API.
#[derive(Debug)]
pub struct BackendSettings {
    /// Where it is, such as `https://api.clerk.com`.
    pub url: String,
    /// The instance's secret key.
    pub secret: SecretString,
}

/// The services that Clerk's objects become known to.
pub struct ClerkServices {
    /// Connection pools.
    pub databases: Arc<Databases>,
    /// For the control database.
    pub authority: SystemAuthority,
    /// Memberships.
    pub identity: Arc<Identity>,
    /// Tenants.
    pub tenants: Arc<Tenants>,
    /// Security events.
    pub audit: Audit,
}

type SessionKey = (PersonId, ClerkSessionId, Option<OrganizationId>);

/// Clerk as the identity provider.
pub struct Clerk {
    databases: Arc<Databases>,
    authority: SystemAuthority,
    pub(crate) identity: Arc<Identity>,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) audit: Audit,
    pub(crate) roles: HashMap<String, String>,
    pub(crate) secrets: WebhookSecrets,
    pub(crate) backend: Option<Backend>,
    verifier: TokenVerifier,
    known: Remembered<SessionKey, Arc<Known>>,
    settled: Remembered<SessionKey, ()>,
    /// Sessions of impersonators that were told of.
    impersonated: Cache<ClerkSessionId, ()>,
}

const IMPERSONATED_MAX: u64 = 10_000;

/// What is known here of a token's person, session and organisation.
#[derive(Debug)]
struct Known {
    person: Option<KnownPerson>,
    session_ended: bool,
    /// The tenant of the organisation, its slug, and whether the person is a member.
    tenant: Option<(TenantId, String, bool)>,
    /// Whether the organisation was told of before, though it has no tenant.
    organization_gone: bool,
}

#[derive(Debug)]
struct KnownPerson {
    user: UserId,
    email: String,
    active: bool,
}

impl Known {
    /// Whether the token tells more than is known.
    fn lacks(&self, session: &SessionClaims) -> bool {
        let Some(person) = &self.person else { return true };
        if !person.active || self.session_ended || session.organization.is_none() {
            return false;
        }
        match &self.tenant {
            Some((_, _, member)) => !member,
            None => !self.organization_gone,
        }
    }
}

impl Clerk {
    /// Opens the service. Keys are fetched with the first token.
    ///
    /// # Errors
    /// If no HTTP client can be made.
    pub fn open(settings: ClerkSettings, services: ClerkServices) -> Result<Self, JwksError> {
        let ClerkSettings { issuer, jwks_url, parties, webhook_secrets, backend, roles } = settings;
        let backend = backend.map(|backend| Backend::new(&backend.url, backend.secret)).transpose()?;
        let ClerkServices { databases, authority, identity, tenants, audit } = services;
        let jwks_url = jwks_url.unwrap_or_else(|| format!("{issuer}/.well-known/jwks.json"));
        let verifier = TokenVerifier::new(&issuer, jwks_url, parties)?;
        Ok(Self {
            databases,
            authority,
            identity,
            tenants,
            audit,
            roles,
            secrets: webhook_secrets,
            backend,
            verifier,
            known: Remembered::new(),
            settled: Remembered::new(),
            impersonated: Cache::new(IMPERSONATED_MAX),
        })
    }

    pub(crate) async fn control(&self, purpose: &'static str) -> DatabaseResult<SystemConnection> {
        self.databases.control(&self.authority.scope(purpose)).await
    }

    /// Forgets what is remembered of sessions: after something changed. Messages are few.
    pub(crate) fn forget_known(&self) {
        self.known.forget_all();
    }

    /// Verifies a session token, and gives it in the form of our own. Somebody who was not told of
    /// yet is made known from it.
    ///
    /// # Errors
    /// If it is not valid, its session has ended, or its person is shut out.
    pub async fn authenticate(&self, token: &str) -> Result<Arc<Claims>, ClerkError> {
        let session = self.verifier.verify(token).await.inspect_err(|refusal| {
            // The sender is told nothing; whoever sets this up has to find out.
            tracing::debug!(%refusal, cause = ?std::error::Error::source(refusal), "refuse a session token");
        })?;
        let organization = session.organization.as_ref().map(|active| active.id.clone());
        let key = (session.person.clone(), session.session.clone(), organization);
        let mut known = self.known.get_or_read(key.clone(), self.read_known(&session)).await?;
        if known.lacks(&session) {
            self.settled.get_or_read(key.clone(), self.settle(&session)).await?;
            self.known.forget(&key).await;
            known = self.known.get_or_read(key, self.read_known(&session)).await?;
        }
        let Known { person, session_ended, tenant, organization_gone: _ } = &*known;
        let person = person.as_ref().filter(|person| person.active && !session_ended).ok_or(ClerkError::Ended)?;
        if let Some(impersonator) = &session.impersonator {
            self.report_impersonation(&session, impersonator, person.user, tenant.as_ref().map(|(id, _, _)| *id));
        }
        let role = session.organization.as_ref().map(|active| active.role.as_str());
        let org = tenant.as_ref().map(|(id, slug, _)| Org {
            id: *id,
            role: self.role(role.unwrap_or_default()).to_string(),
            slug: slug.clone(),
        });
        Ok(Arc::new(Claims {
            user: person.user,
            email: person.email.clone(),
            session: SessionId::from_uuid(Uuid::new_v5(&SESSIONS, session.session.as_str().as_bytes())),
            org,
            expires_at: session.expires_at,
            act: None,
        }))
    }

    /// Tells once of each session in which somebody acts in another's place.
    fn report_impersonation(&self, session: &SessionClaims, by: &str, user: UserId, tenant: Option<TenantId>) {
        let key = &session.session;
        if self.impersonated.entry_by_ref(key).or_insert(()).is_fresh() {
            self.audit.record(SecurityEvent {
                kind: SecurityEventKind::SuspiciousActivity,
                user: Some(user),
                tenant,
                details: json!({ "reason": "clerk_impersonation", "by": by, "session": key.as_str() }),
                ..SecurityEvent::default()
            });
        }
    }

    /// Asks Clerk for its keys, to tell whether it can be reached.
    ///
    /// # Errors
    /// If it cannot, or answers with something else.
    pub async fn check(&self) -> Result<(), JwksError> {
        self.verifier.check().await
    }

    async fn read_known(&self, session: &SessionClaims) -> Result<Arc<Known>, ClerkError> {
        const READ: &str = "
            select u.id, u.email, u.active, exists (select 1 from control.clerk_sessions s where s.clerk_id = $2),
                   t.id, t.slug, exists (
                       select 1 from control.memberships m
                       where m.tenant_id = t.id and m.user_id = u.id and m.active),
                   exists (select 1 from control.clerk_objects o where o.clerk_id = $3)
            from (select) as always
            left join control.clerk_users c on c.clerk_id = $1
            left join control.users u on u.id = c.user_id
            left join control.clerk_tenants o on o.clerk_id = $3
            left join control.tenants t on t.id = o.tenant_id";
        let organization = session.organization.as_ref().map(|active| active.id.as_str());
        let values = params![session.person.as_str(), session.session.as_str(), organization];
        let row = self.control("look up a session at Clerk").await?.query_opt(READ, values).await?;
        let row = row.ok_or(ClerkError::Ended)?;
        let person = row.get::<_, Option<Uuid>>(0).map(|id| KnownPerson {
            user: UserId::from_uuid(id),
            email: row.get(1),
            active: row.get(2),
        });
        let tenant = row.get::<_, Option<Uuid>>(4).map(|id| (TenantId::from_uuid(id), row.get(5), row.get(6)));
        let organization_gone = tenant.is_none() && row.get(7);
        Ok(Arc::new(Known { person, session_ended: row.get(3), tenant, organization_gone }))
    }
}
