//! Codes: good for a minute, once, for one client, one address and who holds PKCE's verifier.

use chrono::{DateTime, Utc};
use rowhouse_postgres::{Row, SystemConnection, params};
use rowhouse_types::{ClientId, GrantId, SessionId, TenantId, UserId};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::error::OpenIdError;
use crate::scope::Scopes;
use crate::secret::{CODE, generate, hash};

/// Seconds that a code is good for.
const CODE_SECONDS: i64 = 60;

/// A code to be given.
pub(crate) struct NewCode<'a> {
    pub(crate) client: ClientId,
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) scopes: &'a Scopes,
    pub(crate) redirect_uri: &'a str,
    pub(crate) nonce: Option<&'a str>,
    pub(crate) challenge: Option<&'a str>,
    pub(crate) auth_time: DateTime<Utc>,
}

impl NewCode<'_> {
    /// Makes it. A day later it is forgotten that there was one.
    pub(crate) async fn put(&self, connection: &SystemConnection) -> Result<SecretString, OpenIdError> {
        // Some of those that are over go each time, so the table stays small.
        const PUT: &str = "
            with gone as (
                delete from control.openid_grants where id in (
                    select id from control.openid_grants where expires_at < now() limit 10 for update skip locked))
            insert into control.openid_grants
                (id, client_id, user_id, session_id, tenant_id, scopes, redirect_uri, nonce, code_challenge, auth_time,
                 code_hash, code_expires_at, expires_at)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now() + make_interval(secs => $12::bigint),
                    now() + interval '1 day')";
        let code = generate(CODE);
        let values = params![
            GrantId::generate(),
            self.client,
            self.user,
            self.session,
            self.tenant,
            self.scopes.words(),
            self.redirect_uri,
            self.nonce,
            self.challenge,
            self.auth_time,
            hash(code.expose_secret()),
            CODE_SECONDS
        ];
        connection.query(PUT, values).await?;
        Ok(code)
    }
}

/// A code that is there, with all that it is bound to.
pub(crate) struct Code {
    pub(crate) grant: GrantId,
    pub(crate) client: ClientId,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: Option<String>,
    /// It was used before.
    pub(crate) is_used: bool,
    /// Its minute is not over.
    pub(crate) is_young: bool,
    /// A refresh token comes with it.
    pub(crate) is_offline: bool,
}

impl Code {
    /// Finds a code, and lets nobody else use it until the transaction ends.
    pub(crate) async fn lock(connection: &SystemConnection, text: &str) -> Result<Option<Self>, OpenIdError> {
        const FIND: &str = "
            select id, client_id, redirect_uri, code_challenge, redeemed_at is not null, code_expires_at > now(),
                   'offline_access' = any(scopes)
            from control.openid_grants where code_hash = $1 for update";
        let row = connection.query_opt(FIND, params![hash(text)]).await?;
        Ok(row.as_ref().map(|row: &Row| Self {
            grant: GrantId::from_uuid(row.get::<_, Uuid>(0)),
            client: ClientId::from_uuid(row.get::<_, Uuid>(1)),
            redirect_uri: row.get(2),
            challenge: row.get(3),
            is_used: row.get(4),
            is_young: row.get(5),
            is_offline: row.get(6),
        }))
    }
}
