//! Consents: what a person has let which client know and do, until they take it back.

use chrono::{DateTime, Utc};
use rowhouse_audit::Actor;
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{ClientId, GrantId, PER_PAGE_DEFAULT, PER_PAGE_MAX, UserId};
use serde::Serialize;
use serde_json::json;

use crate::client::Client;
use crate::error::OpenIdError;
use crate::scope::Scopes;
use crate::service::OpenId;

/// A consent as its person sees it.
#[derive(Debug, Clone, Serialize)]
pub struct ConsentOut {
    /// The client.
    pub id: ClientId,
    /// What it is called.
    pub client_name: String,
    /// What it may know and do.
    pub scopes: Vec<String>,
    /// Since when.
    pub granted_at: DateTime<Utc>,
}

/// Which consents to list, by client: the newest client first.
#[derive(Debug, Clone, Default)]
pub struct ConsentPage {
    /// Those of clients older than this one.
    pub before: Option<ClientId>,
    /// How many at most.
    pub limit: Option<u32>,
}

/// Keeps a consent, in the caller's transaction; what was consented to before stays.
pub(crate) async fn consent_put(
    connection: &SystemConnection,
    actor: &Actor,
    user: UserId,
    client: &Client,
    scopes: &Scopes,
) -> Result<(), OpenIdError> {
    const PUT: &str = "
        insert into control.openid_consents as c (user_id, client_id, scopes) values ($1, $2, $3)
        on conflict (user_id, client_id) do update
        set scopes = array(select distinct unnest(c.scopes || excluded.scopes)), granted_at = now()";
    connection.query(PUT, params![user, client.id, scopes.words()]).await?;
    let details = json!({ "client": client.name, "scopes": scopes.words() });
    actor.did("grant_consent").on("oauth_client", client.id).with_details(details).write(connection).await?;
    Ok(())
}

impl OpenId {
    /// What a person has consented to.
    pub async fn consents(&self, user: UserId, page: &ConsentPage) -> Result<Vec<ConsentOut>, OpenIdError> {
        const LIST: &str = "
            select c.client_id, k.name, c.scopes, c.granted_at
            from control.openid_consents c join control.openid_clients k on k.id = c.client_id
            where c.user_id = $1 and ($2::uuid is null or c.client_id < $2) order by c.client_id desc limit $3";
        let limit = i64::from(page.limit.unwrap_or(PER_PAGE_DEFAULT).clamp(1, PER_PAGE_MAX + 1));
        let connection = self.control("list a person's consents").await?;
        let rows = connection.query(LIST, params![user, page.before, limit]).await?;
        Ok(rows
            .iter()
            .map(|row| ConsentOut {
                id: ClientId::from_uuid(row.get(0)),
                client_name: row.get(1),
                scopes: row.get(2),
                granted_at: row.get(3),
            })
            .collect())
    }

    /// Takes a consent back, and ends all tokens that the client has of the person.
    ///
    /// # Errors
    /// [`OpenIdError::NotFound`] if there is none.
    pub async fn revoke_consent(&self, actor: &Actor, user: UserId, client: ClientId) -> Result<(), OpenIdError> {
        const DELETE: &str = "
            delete from control.openid_consents where user_id = $1 and client_id = $2 returning 1";
        const END: &str = "
            update control.openid_grants set revoked_at = now()
            where user_id = $1 and client_id = $2 and revoked_at is null returning id";
        let mut connection = self.control("take a consent back").await?;
        connection.begin().await?;
        if connection.query_opt(DELETE, params![user, client]).await?.is_none() {
            connection.rollback().await?;
            return Err(OpenIdError::NotFound);
        }
        let ended = connection.query(END, params![user, client]).await?;
        actor.did("revoke_consent").on("oauth_client", client).write(&connection).await?;
        connection.commit().await?;
        for row in &ended {
            self.standings.forget(&GrantId::from_uuid(row.get(0))).await;
        }
        Ok(())
    }
}
