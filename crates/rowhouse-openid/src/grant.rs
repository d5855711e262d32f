//! What a person let a client do, and what it is worth now: nothing once the session has ended, the person has
//! lost their place in the tenant, or the client may ask for less.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rowhouse_identity::{IdentityError, KeyAlgorithm, Org, TokenCheck};
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{ClientId, GrantId, SessionId, TenantId, UserId};
use uuid::Uuid;

use crate::claims::{AccessClaims, CLIENT_TOKEN_KIND};
use crate::error::OpenIdError;
use crate::scope::{Scope, Scopes};
use crate::service::OpenId;

/// A grant that is good, with all that its tokens tell.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) grant: GrantId,
    pub(crate) client: ClientId,
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) scopes: Scopes,
    pub(crate) nonce: Option<String>,
    pub(crate) auth_time: DateTime<Utc>,
    pub(crate) algorithm: KeyAlgorithm,
    pub(crate) email: String,
    pub(crate) email_verified: bool,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) avatar_url: Option<String>,
    pub(crate) org: Option<Org>,
}

/// A client at work for a person, by a token for the service's own API.
#[derive(Debug, Clone)]
pub struct ClientAccess {
    /// The client.
    pub client: ClientId,
    /// The person.
    pub user: UserId,
    /// Their session.
    pub session: SessionId,
    /// The tenant, which is the only one that the token opens.
    pub tenant: TenantId,
}

/// What a grant is worth, if anything.
pub(crate) async fn standing(connection: &SystemConnection, grant: GrantId) -> Result<Option<Standing>, OpenIdError> {
    const STANDING: &str = "
        select g.client_id, g.user_id, g.session_id, g.scopes, g.nonce, g.auth_time, c.id_token_algorithm,
               u.email, u.email_verified_at is not null, u.first_name, u.last_name, u.avatar_url, t.id, m.role, t.slug
        from control.openid_grants g join control.openid_clients c on c.id = g.client_id and g.scopes <@ c.scopes
        join control.sessions s on s.id = g.session_id and s.revoked_at is null and s.expires_at > now()
        join control.users u on u.id = g.user_id and u.active
        left join control.memberships m on m.tenant_id = g.tenant_id and m.user_id = g.user_id and m.active
        left join control.tenants t on t.id = m.tenant_id and t.status = 'active'
        where g.id = $1 and g.redeemed_at is not null and g.revoked_at is null and g.expires_at > now()
          and (g.tenant_id is null or t.id is not null)";
    let Some(row) = connection.query_opt(STANDING, params![grant]).await? else { return Ok(None) };
    let org = row.get::<_, Option<Uuid>>(12).map(|id| Org {
        id: TenantId::from_uuid(id),
        role: row.get(13),
        slug: row.get(14),
    });
    Ok(Some(Standing {
        grant,
        client: ClientId::from_uuid(row.get(0)),
        user: UserId::from_uuid(row.get(1)),
        session: SessionId::from_uuid(row.get(2)),
        scopes: Scopes::of_words(&row.get::<_, Vec<String>>(3)).unwrap_or_default(),
        nonce: row.get(4),
        auth_time: row.get(5),
        algorithm: KeyAlgorithm::of_name(&row.get::<_, String>(6)).unwrap_or(KeyAlgorithm::Es256),
        email: row.get(7),
        email_verified: row.get(8),
        first_name: row.get(9),
        last_name: row.get(10),
        avatar_url: row.get(11),
        org,
    }))
}

/// Ends a grant, with all its tokens. Gives whose it was, if it was alive.
pub(crate) async fn grant_revoke(
    connection: &SystemConnection,
    grant: GrantId,
) -> Result<Option<(UserId, Option<TenantId>)>, OpenIdError> {
    const REVOKE: &str = "
        update control.openid_grants set revoked_at = now() where id = $1 and revoked_at is null
        returning user_id, tenant_id";
    let row = connection.query_opt(REVOKE, params![grant]).await?;
    Ok(row.map(|row| (UserId::from_uuid(row.get(0)), row.get::<_, Option<Uuid>>(1).map(TenantId::from_uuid))))
}

impl OpenId {
    /// What an access token of ours for a client is worth now, for whoever it is.
    ///
    /// # Errors
    /// [`IdentityError::InvalidToken`].
    pub(crate) async fn verify_access(
        &self,
        token: &str,
        audience: Option<&str>,
    ) -> Result<(AccessClaims, Arc<Standing>), OpenIdError> {
        let check = TokenCheck { kind: CLIENT_TOKEN_KIND, audience, may_be_over: false };
        let claims: AccessClaims = self.identity.verify_claims(token, check).await?;
        let read = async {
            let connection = self.control("look up what an OpenID client may do").await?;
            standing(&connection, claims.grant).await.map(|found| found.map(Arc::new))
        };
        let standing = self.standings.get_or_read(claims.grant, read).await?.ok_or(IdentityError::InvalidToken)?;
        Ok((claims, standing))
    }

    /// Whom a token for the service's own API is of. It opens what an API key opens, with the rights of its
    /// person in its tenant, as long as the session, the grant and the client are there.
    ///
    /// # Errors
    /// [`IdentityError::InvalidToken`], whatever is wrong with it.
    pub async fn authenticate(&self, token: &str) -> Result<ClientAccess, OpenIdError> {
        let (claims, standing) = self.verify_access(token, Some(&self.api_audience())).await?;
        let is_for_api = standing.scopes.has(Scope::Api) && Scopes::requested(&claims.scope).has(Scope::Api);
        let org = standing.org.as_ref().filter(|_| is_for_api).ok_or(IdentityError::InvalidToken)?;
        Ok(ClientAccess { client: standing.client, user: standing.user, session: standing.session, tenant: org.id })
    }
}
