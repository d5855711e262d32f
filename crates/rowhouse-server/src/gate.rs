//! The gate: no handler runs before the caller, the tenant, the membership and the tenant's
//! status are known. What it finds is a value in the handler's signature; there is no other way
//! to a tenant's rows over HTTP.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use rowhouse_audit::{Actor, SecurityEvent, SecurityEventKind};
use rowhouse_identity::{Claims, OperatorRole};
use rowhouse_postgres::TenantContext;
use rowhouse_records::Caller;
use rowhouse_tenants::{Tenant, TenantStatus};
use rowhouse_types::{ApiError, ErrorCode, Grants, RoleKey, UserId};

use crate::envelope::Failure;
use crate::host::slug_of_host;
use crate::state::ServerState;
use crate::trace::{Facts, SharedFacts};

/// A person who is signed in.
pub(crate) struct Person {
    pub(crate) claims: Arc<Claims>,
    facts: SharedFacts,
}

impl Person {
    /// As the audit log names them, with this request.
    pub(crate) fn actor(&self) -> Actor {
        Actor::user(self.claims.user).in_request(&self.facts.request_id)
    }
}

impl Person {
    /// As the audit log names them, with this request.
    pub(crate) fn actor(&self, parts: &Parts) -> Actor {
        Actor::user(self.claims.user).in_request(&facts(parts).request_id)
    }
}

/// An operator of the service.
pub(crate) struct Operator {
    /// As the audit log names them, with this request.
    pub(crate) actor: Actor,
}

/// A member at work in a tenant: the proof that the gate let the request through.
pub(crate) struct Member {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) context: TenantContext,
    pub(crate) user: UserId,
    pub(crate) role: RoleKey,
    pub(crate) grants: Arc<Grants>,
}

/// The same for a route with `{tenant}` in its path, where strangers get 404.
pub(crate) struct PathMember(pub(crate) Member);

impl Member {
    /// As the audit log names them, with this request.
    pub(crate) fn actor(&self, parts: &Parts) -> Actor {
        Actor::user(self.user).in_request(&facts(parts).request_id)
    }

    /// Who asks, as the data API needs it.
    pub(crate) fn caller(&self) -> Caller<'_> {
        Caller { context: &self.context, user: Some(self.user), grants: &self.grants }
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

impl FromRequestParts<ServerState> for Person {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Self, Failure> {
        let claims = state.identity.verify_access_token(bearer(&parts.headers)?).await?;
        let facts = facts(parts);
        let _ = facts.user.set(claims.user);
        Ok(Self { claims, facts })
    }
}

impl FromRequestParts<ServerState> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Self, Failure> {
        let claims = state.identity.verify_operator_token(bearer(&parts.headers)?).await?;
        if claims.role == OperatorRole::Support && !parts.method.is_safe() {
            return Err(Failure(ApiError::permission_denied(
                "Operators of the role support may look, but not change.",
            )));
        }
        Ok(Self { actor: Actor::operator(claims.operator).in_request(&facts(parts).request_id) })
    }
}

/// Somebody whom a public route makes a person: who signs up.
pub(crate) fn visitor(parts: &Parts) -> Actor {
    Actor::visitor().in_request(&facts(parts).request_id)
}

impl FromRequestParts<ServerState> for Member {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Self, Failure> {
        let Person { claims, .. } = Person::from_request_parts(parts, state).await?;
        admit(parts, state, claims, None).await
    }
}

impl FromRequestParts<ServerState> for PathMember {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &ServerState) -> Result<Self, Failure> {
        let Person { claims, .. } = Person::from_request_parts(parts, state).await?;
        let Ok(params) = RawPathParams::from_request_parts(parts, state).await else {
            return Err(Failure(ApiError::not_found()));
        };
        let named = params.iter().find(|(name, _)| *name == "tenant").map(|(_, value)| value.to_owned());
        admit(parts, state, claims, named).await.map(Self)
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Failure> {
    let missing = || ApiError::unauthenticated("Send an access token: Authorization: Bearer <token>.");
    let value = headers.get(header::AUTHORIZATION).ok_or_else(missing)?;
    let text = value.to_str().map_err(|_| missing())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Failure(missing()));
    }
    Ok(token.trim())
}

fn facts(parts: &Parts) -> SharedFacts {
    parts.extensions.get::<SharedFacts>().cloned().unwrap_or_default()
}

/// Resolves the tenant, checks that everything that names one agrees, and admits the member.
async fn admit(
    parts: &Parts,
    state: &ServerState,
    claims: Arc<Claims>,
    path_tenant: Option<String>,
) -> Result<Member, Failure> {
    let facts = facts(parts);
    let in_path = path_tenant.is_some();
    let named = named_tenants(parts, state, &claims, path_tenant)?;
    let Some((_, first)) = named.first() else {
        return Err(Failure(ApiError::invalid(
            "Name a tenant: sign in to one, or send X-Tenant-ID with its id or slug, or use its subdomain.",
        )));
    };
    // A tenant in the path that is not the caller's is as absent as one that does not exist.
    if let Some((_, text)) = named.iter().find(|(source, _)| *source == Source::Path)
        && membership(state, &claims, text).await?.is_none()
    {
        report(parts, state, &facts, &claims, None, text);
        return Err(Failure(ApiError::not_found()));
    }
    let Some((tenant, access)) = membership(state, &claims, first).await? else {
        report(parts, state, &facts, &claims, None, first);
        return Err(Failure(mismatch()));
    };
    let is_it = |text: &str| text.eq_ignore_ascii_case(tenant.slug.as_str()) || text.parse() == Ok(tenant.id);
    if let Some((_, other)) = named.iter().find(|(_, text)| !is_it(text)) {
        report(parts, state, &facts, &claims, Some(&tenant), other);
        return Err(Failure(mismatch()));
    }
    let _ = facts.tenant.set(tenant.id);
    check_status(&tenant, in_path)?;
    let context = tenant.context(&state.tenant_authority);
    Ok(Member { context, user: claims.user, role: access.role.clone(), grants: access.grants.clone(), tenant })
}

/// Every tenant the request names, in the order in which they decide.
fn named_tenants(
    parts: &Parts,
    state: &ServerState,
    claims: &Claims,
    path_tenant: Option<String>,
) -> Result<Vec<(Source, String)>, Failure> {
    let mut named = Vec::with_capacity(2);
    if let Some(org) = &claims.org {
        named.push((Source::Claim, org.id.to_string()));
    }
    for value in parts.headers.get_all("x-tenant-id") {
        let text = value.to_str().map_err(|_| mismatch())?;
        named.push((Source::Header, text.trim().to_owned()));
    }
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
    if let Some(slug) = host.and_then(|host| slug_of_host(host, &state.settings.base_domain)) {
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

type Membership = (Arc<Tenant>, Arc<rowhouse_identity::Access>);

/// The tenant of this id or slug and the caller's part in it; none if either is absent, so that
/// a foreign tenant looks like one that does not exist.
async fn membership(state: &ServerState, claims: &Claims, text: &str) -> Result<Option<Membership>, ApiError> {
    let Some(tenant) = state.tenants.find(text).await? else { return Ok(None) };
    if matches!(tenant.status, TenantStatus::Deleting | TenantStatus::Archived) {
        return Ok(None);
    }
    let access = state.identity.access(claims.user, tenant.id).await?;
    Ok(access.map(|access| (tenant, access)))
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

/// The address of the client. Proxies are declared with the identity issue; until then the
/// peer's own address is the only one that cannot be forged.
pub(crate) fn client_ip(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}

/// Records an attempt to reach another tenant.
fn report(
    parts: &Parts,
    state: &ServerState,
    facts: &Facts,
    claims: &Claims,
    actual: Option<&Tenant>,
    attempted: &str,
) {
    let actual = actual.map(|tenant| tenant.id).or(claims.org.as_ref().map(|org| org.id));
    let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    state.audit.record(SecurityEvent {
        kind: SecurityEventKind::CrossTenantAccessAttempt,
        user: Some(claims.user),
        tenant: actual,
        attempted_tenant: Some(attempted.chars().take(64).collect()),
        resource: Some(parts.uri.path().chars().take(200).collect()),
        method: Some(parts.method.to_string()),
        ip: client_ip(parts),
        user_agent: user_agent.map(|text| text.chars().take(200).collect()),
        request_id: Some(facts.request_id.clone()),
        ..SecurityEvent::default()
    });
}
