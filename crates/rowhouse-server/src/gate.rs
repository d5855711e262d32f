//! The gate: no handler runs before the caller, the tenant, the membership and the tenant's
//! status are known. What it finds is a value in the handler's signature; there is no other way
//! to a tenant's rows over HTTP.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use rowhouse_audit::{Actor, SecurityEvent, SecurityEventKind};
use rowhouse_identity::{Claims, FactorChange, Holder, KeyAccess, Manager, OperatorRole, is_api_key};
use rowhouse_openid::{ClientAccess, is_client_token};
use rowhouse_postgres::TenantContext;
use rowhouse_records::Caller;
use rowhouse_tenants::{Tenant, TenantStatus};
use rowhouse_types::{Action, ApiError, ClientId, ErrorCode, Grants, KeyId, RoleKey, SessionId, TenantId, UserId};
use serde_json::{Value, json};

use crate::browser::web_session;
use crate::client::{client_ip, device};
use crate::envelope::Failure;
use crate::host::{host_of, slug_of_host};
pub(crate) use crate::person::{Person, SignedIn};
use crate::person::{note, require_own_session};
use crate::state::ServerState;
use crate::trace::{Facts, SharedFacts};

/// An operator of the service.
pub(crate) struct Operator {
    /// As the audit log names them, with this request.
    pub(crate) actor: Actor,
}

/// Somebody with their own account: what they may do although a second factor is missing.
pub(crate) struct Account {
    pub(crate) email: String,
    pub(crate) change: FactorChange,
}

/// A person as the keeper of their account.
pub(crate) struct PersonAccount(pub(crate) Account);

/// The same, if they have shown who they are within the last hour.
pub(crate) struct ProvedPersonAccount(pub(crate) Account);

/// An operator, of whatever role, as the keeper of their account.
pub(crate) struct OperatorAccount(pub(crate) Account);

impl From<PersonAccount> for Account {
    fn from(PersonAccount(account): PersonAccount) -> Self {
        account
    }
}

impl From<ProvedPersonAccount> for Account {
    fn from(ProvedPersonAccount(account): ProvedPersonAccount) -> Self {
        account
    }
}

impl From<OperatorAccount> for Account {
    fn from(OperatorAccount(account): OperatorAccount) -> Self {
        account
    }
}

/// Who works in a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// A person, in this session.
    Person(UserId, SessionId),
    /// A program, by an API key of the tenant.
    Key(KeyId),
    /// An OpenID client, for this person.
    Client(UserId, ClientId),
}

/// Somebody at work in a tenant, a person or an API key: the proof that the gate let the request
/// through. A route that takes it says so with [`crate::route::RouteDoc::for_keys`].
pub(crate) struct Party {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) context: TenantContext,
    /// None for a key with permissions of its own.
    pub(crate) role: Option<RoleKey>,
    pub(crate) grants: Arc<Grants>,
    who: Who,
    facts: SharedFacts,
}

/// The same for a route with `{tenant}` in its path, where strangers get 404.
pub(crate) struct PathParty(pub(crate) Party);

/// A person at work in a tenant. Keys are turned away: a route is open to them only if it takes a
/// [`Party`].
pub(crate) struct Member {
    pub(crate) user: UserId,
    party: Party,
}

/// The same for a route with `{tenant}` in its path, where strangers get 404.
pub(crate) struct PathMember(pub(crate) Member);

/// The same, of somebody who has shown who they are within the last hour: for what a stolen session
/// must not do.
pub(crate) struct ProvedPathMember(pub(crate) Member);

impl std::ops::Deref for Member {
    type Target = Party;
    fn deref(&self) -> &Party {
        &self.party
    }
}

impl Member {
    /// Refuses whoever may not manage the people of the tenant.
    pub(crate) fn require_manager(&self) -> Result<(), Failure> {
        if self.grants.allows("users", Action::Manage) {
            return Ok(());
        }
        Err(Failure(ApiError::permission_denied(
            "Your role may not manage people. Ask an owner or admin of the organisation.",
        )))
    }

    /// Who manages people, with the actor that the caller holds.
    pub(crate) fn manager<'a>(&'a self, actor: &'a Actor) -> Manager<'a> {
        Manager { tenant: self.tenant.id, user: self.user, actor, grants: &self.grants }
    }
}

impl Party {
    /// Who asks, as the data API needs it. A key owns no records.
    pub(crate) fn caller(&self) -> Caller<'_> {
        let user = match self.who {
            Who::Person(user, _) | Who::Client(user, _) => Some(user),
            Who::Key(_) => None,
        };
        Caller { context: &self.context, user, grants: &self.grants }
    }

    /// As the audit log names them, with this request.
    pub(crate) fn actor(&self) -> Actor {
        let actor = match self.who {
            Who::Person(user, _) | Who::Client(user, _) => Actor::user(user),
            Who::Key(key) => Actor::key(key),
        };
        actor.in_request(&self.facts.request_id).in_place_by(self.facts.operator.get().copied())
    }

    /// Refuses an operator in the person's place.
    pub(crate) fn require_own_session(&self) -> Result<(), Failure> {
        require_own_session(&self.facts)
    }
}

/// What a request to a tenant proves itself with.
enum Credential {
    Token(Arc<Claims>),
    Key(Arc<KeyAccess>),
    Client(ClientAccess),
}

impl Credential {
    async fn of(parts: &Parts, state: &ServerState) -> Result<Self, Failure> {
        if let Some(web) = web_session(parts, state).await? {
            note(&facts(parts), &web.claims);
            return Ok(Self::Token(web.claims.clone()));
        }
        let token = bearer(&parts.headers)?;
        if is_api_key(token) {
            let key = state.identity.verify_api_key(token, || device(state, parts)).await?;
            let _ = facts(parts).key.set(key.id);
            return Ok(Self::Key(key));
        }
        if let Some(openid) = state.openid.as_ref().filter(|_| is_client_token(token)) {
            let access = openid.authenticate(token).await?;
            let _ = facts(parts).user.set(access.user);
            return Ok(Self::Client(access));
        }
        let claims = claims(state, token).await?;
        note(&facts(parts), &claims);
        Ok(Self::Token(claims))
    }

    /// The tenant that it names.
    fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Token(claims) => claims.org.as_ref().map(|org| org.id),
            Self::Key(key) => Some(key.tenant),
            Self::Client(access) => Some(access.tenant),
        }
    }

    fn who(&self) -> Who {
        match self {
            Self::Token(claims) => Who::Person(claims.user, claims.session),
            Self::Key(key) => Who::Key(key.id),
            Self::Client(access) => Who::Client(access.user, access.client),
        }
    }
}

/// Where a tenant was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Claim,
    Header,
    Host,
    Path,
    Query,
}

impl FromRequestParts<ServerState> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Self, Failure> {
        let claims = state.identity.verify_operator_token(bearer(&parts.headers)?).await?;
        if claims.mfa_missing {
            return Err(Failure(ApiError::new(
                ErrorCode::MfaRequired,
                "Operators need a second factor. Set it up with /api/operators/mfa/enrol and confirm, or sign in with it.",
            )));
        }
        if claims.role == OperatorRole::Support && !parts.method.is_safe() {
            return Err(Failure(ApiError::permission_denied(
                "Operators of the role support may look, but not change.",
            )));
        }
        Ok(Self { actor: Actor::operator(claims.operator).in_request(&facts(parts).request_id) })
    }
}

impl FromRequestParts<ServerState> for PersonAccount {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Self, Failure> {
        let person = <Person as FromRequestParts<_>>::from_request_parts(parts, state).await?;
        let holder = Holder::User(person.claims.user);
        let change = FactorChange { holder, actor: person.actor(), device: device(state, parts) };
        Ok(Self(Account { email: person.claims.email.clone(), change }))
    }
}

impl FromRequestParts<ServerState> for ProvedPersonAccount {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Self, Failure> {
        let person = <Person as FromRequestParts<_>>::from_request_parts(parts, state).await?;
        state.identity.require_recent_proof(person.claims.session).await?;
        let PersonAccount(account) = PersonAccount::from_request_parts(parts, state).await?;
        Ok(Self(account))
    }
}

impl FromRequestParts<ServerState> for OperatorAccount {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Self, Failure> {
        let token = bearer(&parts.headers)?;
        let claims = state.identity.verify_operator_token(token).await?;
        let actor = Actor::operator(claims.operator).in_request(&facts(parts).request_id);
        let holder = Holder::Operator(claims.operator, claims.session);
        let change = FactorChange { holder, actor, device: device(state, parts) };
        Ok(Self(Account { email: claims.email.clone(), change }))
    }
}

/// Somebody whom a public route makes a person: who signs up.
pub(crate) fn visitor(parts: &Parts) -> Actor {
    Actor::visitor().in_request(&facts(parts).request_id)
}

impl FromRequestParts<ServerState> for Party {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Self, Failure> {
        let credential = Credential::of(parts, state).await?;
        admit(parts, state, credential, None).await
    }
}

impl FromRequestParts<ServerState> for PathMember {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Self, Failure> {
        let PathParty(party) = PathParty::from_request_parts(parts, state).await?;
        match party.who {
            Who::Person(user, _) => Ok(Self(Member { user, party })),
            Who::Key(_) | Who::Client(..) => {
                Err(Failure(ApiError::permission_denied("This is for people: an API key does not open it. Sign in.")))
            }
        }
    }
}

impl FromRequestParts<ServerState> for ProvedPathMember {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Self, Failure> {
        let PathMember(member) = PathMember::from_request_parts(parts, state).await?;
        member.require_own_session()?;
        if let Who::Person(_, session) = member.who {
            state.identity.require_recent_proof(session).await?;
        }
        Ok(Self(member))
    }
}

impl FromRequestParts<ServerState> for PathParty {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Self, Failure> {
        let credential = Credential::of(parts, state).await?;
        let Ok(params) = RawPathParams::from_request_parts(parts, state).await else {
            return Err(Failure(ApiError::not_found()));
        };
        let named = params.iter().find(|(name, _)| *name == "tenant").map(|(_, value)| value.to_owned());
        admit(parts, state, credential, named).await.map(Self)
    }
}

pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Failure> {
    let missing = || ApiError::unauthenticated("Sign in, or send an access token: Authorization: Bearer <token>.");
    let value = headers.get(header::AUTHORIZATION).ok_or_else(missing)?;
    let text = value.to_str().map_err(|_| missing())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Failure(missing()));
    }
    Ok(token.trim())
}

/// What a person's token says, by whoever gives tokens here.
pub(crate) async fn claims(state: &ServerState, token: &str) -> Result<Arc<Claims>, Failure> {
    match &state.clerk {
        Some(clerk) => Ok(clerk.authenticate(token).await.map_err(ApiError::from)?),
        None => Ok(state.identity.verify_access_token(token).await?),
    }
}

pub(crate) fn facts(parts: &Parts) -> SharedFacts {
    parts.extensions.get::<SharedFacts>().cloned().unwrap_or_default()
}

/// Resolves the tenant, checks that everything that names one agrees, and admits the member or key.
async fn admit(
    parts: &Parts,
    state: &ServerState,
    credential: Credential,
    path_tenant: Option<String>,
) -> Result<Party, Failure> {
    let facts = facts(parts);
    let in_path = path_tenant.is_some();
    let named = named_tenants(parts, state, credential.tenant(), path_tenant)?;
    let Some((_, first)) = named.first() else {
        return Err(Failure(ApiError::invalid(
            "Name a tenant: sign in to one, or send X-Tenant-ID with its id or slug, or use its subdomain.",
        )));
    };
    // A tenant in the path that is not the caller's is as absent as one that does not exist.
    if let Some((_, text)) = named.iter().find(|(source, _)| *source == Source::Path)
        && membership(state, &credential, text).await?.is_none()
    {
        report(parts, state, &facts, &credential, None, text);
        return Err(Failure(ApiError::not_found()));
    }
    let Some((tenant, part)) = membership(state, &credential, first).await? else {
        report(parts, state, &facts, &credential, None, first);
        return Err(Failure(mismatch()));
    };
    let is_it = |text: &str| text.eq_ignore_ascii_case(tenant.slug.as_str()) || text.parse() == Ok(tenant.id);
    if let Some((_, other)) = named.iter().find(|(_, text)| !is_it(text)) {
        report(parts, state, &facts, &credential, Some(&tenant), other);
        return Err(Failure(mismatch()));
    }
    let _ = facts.tenant.set(tenant.id);
    check_status(&tenant, in_path)?;
    if part.is_mfa_overdue {
        return Err(Failure(ApiError::new(
            ErrorCode::MfaRequired,
            "This organisation demands a second factor of you. Set it up with /api/auth/mfa/enrol and confirm.",
        )));
    }
    if let Credential::Key(key) = &credential {
        state.identity.key_used(key, client_ip(state, parts));
    }
    let context = tenant.context(&state.tenant_authority);
    let Part { role, grants, .. } = part;
    Ok(Party { context, role, grants, who: credential.who(), facts, tenant })
}

/// Every tenant the request names, in the order in which they decide.
fn named_tenants(
    parts: &Parts,
    state: &ServerState,
    claim: Option<TenantId>,
    path_tenant: Option<String>,
) -> Result<Vec<(Source, String)>, Failure> {
    let mut named = Vec::with_capacity(2);
    named.extend(claim.map(|tenant| (Source::Claim, tenant.to_string())));
    for value in parts.headers.get_all("x-tenant-id") {
        let text = value.to_str().map_err(|_| mismatch())?;
        named.push((Source::Header, text.trim().to_owned()));
    }
    if let Some(slug) = slug_of_host(host_of(parts), &state.settings.base_domain) {
        named.push((Source::Host, slug.to_owned()));
    }
    named.extend(path_tenant.map(|text| (Source::Path, text)));
    for (_, value) in query_pairs(parts.uri.query()).into_iter().filter(|(name, _)| name == "tenant_id") {
        named.push((Source::Query, value));
    }
    Ok(named)
}

/// The query's pairs, decoded.
pub(crate) fn query_pairs(query: Option<&str>) -> Vec<(String, String)> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// The caller's part in a tenant.
struct Part {
    role: Option<RoleKey>,
    grants: Arc<Grants>,
    /// They may do nothing before they have set up a second factor.
    is_mfa_overdue: bool,
}

/// The tenant of this id or slug and the caller's part in it; none if either is absent, so that
/// a foreign tenant looks like one that does not exist.
async fn membership(
    state: &ServerState,
    credential: &Credential,
    text: &str,
) -> Result<Option<(Arc<Tenant>, Part)>, ApiError> {
    let Some(tenant) = state.tenants.find(text).await? else { return Ok(None) };
    if matches!(tenant.status, TenantStatus::Deleting | TenantStatus::Archived) {
        return Ok(None);
    }
    let part = match credential {
        Credential::Token(claims) => {
            let part = persons_part(state, claims.user, tenant.id).await?;
            // An operator has shown a factor of their own.
            part.map(|part| Part { is_mfa_overdue: part.is_mfa_overdue && claims.act.is_none(), ..part })
        }
        // It opens the tenant that it was given for, whatever others its person belongs to.
        Credential::Client(access) if access.tenant != tenant.id => None,
        Credential::Client(access) => persons_part(state, access.user, tenant.id).await?,
        Credential::Key(key) => (key.tenant == tenant.id).then(|| Part {
            role: key.role.clone(),
            grants: key.grants.clone(),
            is_mfa_overdue: false,
        }),
    };
    Ok(part.map(|part| (tenant, part)))
}

async fn persons_part(state: &ServerState, user: UserId, tenant: TenantId) -> Result<Option<Part>, ApiError> {
    let access = state.identity.access(user, tenant).await?;
    Ok(access.map(|access| Part {
        role: Some(access.role.clone()),
        grants: access.grants.clone(),
        is_mfa_overdue: access.is_mfa_overdue(),
    }))
}

fn mismatch() -> ApiError {
    ApiError::new(
        ErrorCode::TenantMismatch,
        "The request names a tenant that you do not belong to, or several that disagree. \
         Use POST /api/auth/switch to change the tenant.",
    )
}

fn check_status(tenant: &Tenant, _in_path: bool) -> Result<(), Failure> {
    match tenant.status {
        TenantStatus::Active => Ok(()),
        TenantStatus::Suspended => Err(Failure(ApiError::new(
            ErrorCode::TenantSuspended,
            "This organisation is suspended. Its owner can ask the operator of the service to reactivate it.",
        ))),
        TenantStatus::Provisioning => Err(Failure(
            ApiError::new(ErrorCode::Unavailable, "This organisation is being set up. Try again in a moment.")
                .retry_after(1),
        )),
        TenantStatus::Deleting | TenantStatus::Archived => Err(Failure(ApiError::not_found())),
    }
}

/// Records an attempt to reach another tenant.
fn report(
    parts: &Parts,
    state: &ServerState,
    facts: &Facts,
    credential: &Credential,
    actual: Option<&Tenant>,
    attempted: &str,
) {
    let actual = actual.map(|tenant| tenant.id).or(credential.tenant());
    let (user, details) = match credential.who() {
        Who::Person(user, _) => (Some(user), Value::Null),
        Who::Key(key) => (None, json!({ "api_key": key })),
        Who::Client(user, client) => (Some(user), json!({ "client_id": client })),
    };
    let device = device(state, parts);
    state.audit.record(SecurityEvent {
        kind: SecurityEventKind::CrossTenantAccessAttempt,
        user,
        tenant: actual,
        attempted_tenant: Some(attempted.chars().take(64).collect()),
        resource: Some(parts.uri.path().chars().take(200).collect()),
        method: Some(parts.method.to_string()),
        ip: device.ip,
        user_agent: device.user_agent,
        request_id: Some(facts.request_id.clone()),
        details,
    });
}
