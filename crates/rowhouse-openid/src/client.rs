//! Clients: the programs that people sign in to with their account here. Operators register them.
//!
//! Must never show a secret again, nor keep it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rowhouse_audit::Actor;
use rowhouse_identity::KeyAlgorithm;
use rowhouse_postgres::{Param, Row, SystemConnection, params};
use rowhouse_types::{ClientId, PER_PAGE_DEFAULT, PER_PAGE_MAX};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::error::OpenIdError;
use crate::redirect_uri::judge;
use crate::scope::{Scope, Scopes};
use crate::secret::{CLIENT_SECRET, generate, hash};
use crate::service::OpenId;

/// All clients of an installation.
const CLIENTS_MAX: i64 = 1000;
const URIS_MAX: usize = 20;
const NAME_LENGTH_MAX: usize = 100;
/// How long a secret that was replaced may still be good.
const OVERLAP_SECONDS_MAX: u32 = 7 * 24 * 60 * 60;

/// A client to be registered.
#[derive(Debug, Clone)]
pub struct NewClient {
    /// What people are told it is called.
    pub name: String,
    /// Whether it cannot keep a secret: a page in a browser, an app on a device.
    pub public: bool,
    /// Where people are sent back to.
    pub redirect_uris: Vec<String>,
    /// Where they may be sent after signing out.
    pub post_logout_redirect_uris: Vec<String>,
    /// What it may ask for; `openid profile email org` unless said.
    pub scopes: Option<Vec<String>>,
    /// What its ID tokens are signed with: `ES256`, or `RS256` if it knows nothing else.
    pub id_token_algorithm: Option<String>,
    /// Whether it is the service's own, so that people are not asked.
    pub first_party: bool,
}

/// What changes of a client. Whether it keeps a secret does not.
#[derive(Debug, Clone, Default)]
pub struct ClientPatch {
    /// What people are told it is called.
    pub name: Option<String>,
    /// Where people are sent back to.
    pub redirect_uris: Option<Vec<String>>,
    /// Where they may be sent after signing out.
    pub post_logout_redirect_uris: Option<Vec<String>>,
    /// What it may ask for; tokens with more end at once.
    pub scopes: Option<Vec<String>>,
    /// What its ID tokens are signed with.
    pub id_token_algorithm: Option<String>,
    /// Whether it is the service's own.
    pub first_party: Option<bool>,
}

/// A client as operators see it.
#[derive(Debug, Clone, Serialize)]
pub struct ClientOut {
    /// Its `client_id`.
    pub id: ClientId,
    /// What people are told it is called.
    pub name: String,
    /// Whether it has no secret.
    pub public: bool,
    /// Where people are sent back to.
    pub redirect_uris: Vec<String>,
    /// Where they may be sent after signing out.
    pub post_logout_redirect_uris: Vec<String>,
    /// What it may ask for.
    pub scopes: Vec<String>,
    /// `ES256` or `RS256`.
    pub id_token_algorithm: String,
    /// Whether people are not asked.
    pub first_party: bool,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
}

/// A client with its secret, which is shown this once; a public one has none.
#[derive(Debug)]
pub struct MadeClient {
    /// The client.
    pub client: ClientOut,
    /// Its secret.
    pub secret: Option<SecretString>,
}

/// Which clients to list: the newest 50 unless said otherwise.
#[derive(Debug, Clone, Default)]
pub struct ClientPage {
    /// Those older than this one.
    pub before: Option<ClientId>,
    /// How many at most.
    pub limit: Option<u32>,
}

/// A client as requests need it.
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) name: String,
    pub(crate) secret_hash: Option<Vec<u8>>,
    /// The one before, while it is good.
    pub(crate) previous_hash: Option<Vec<u8>>,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) post_logout_redirect_uris: Vec<String>,
    pub(crate) scopes: Scopes,
    pub(crate) first_party: bool,
}

impl Client {
    pub(crate) fn is_public(&self) -> bool {
        self.secret_hash.is_none()
    }
}

/// The client of an id, as it came.
pub(crate) async fn client_get(connection: &SystemConnection, id: &str) -> Result<Option<Client>, OpenIdError> {
    const GET: &str = "
        select id, name, secret_hash, case when previous_secret_until > now() then previous_secret_hash end,
               redirect_uris, post_logout_redirect_uris, scopes, first_party
        from control.openid_clients where id = $1";
    let Some(id) = id.parse::<ClientId>().ok().filter(|parsed| parsed.to_string() == id) else { return Ok(None) };
    let row = connection.query_opt(GET, params![id]).await?;
    Ok(row.map(|row| Client {
        id: ClientId::from_uuid(row.get(0)),
        name: row.get(1),
        secret_hash: row.get(2),
        previous_hash: row.get(3),
        redirect_uris: row.get(4),
        post_logout_redirect_uris: row.get(5),
        scopes: Scopes::of_words(&row.get::<_, Vec<String>>(6)).unwrap_or_default(),
        first_party: row.get(7),
    }))
}

fn client_out(row: &Row) -> ClientOut {
    ClientOut {
        id: ClientId::from_uuid(row.get::<_, Uuid>(0)),
        name: row.get(1),
        public: row.get(2),
        redirect_uris: row.get(3),
        post_logout_redirect_uris: row.get(4),
        scopes: row.get(5),
        id_token_algorithm: row.get(6),
        first_party: row.get(7),
        created_at: row.get(8),
    }
}

impl ClientOut {
    fn patched(mut self, patch: &ClientPatch) -> Result<Self, OpenIdError> {
        let ClientPatch { name, redirect_uris, post_logout_redirect_uris, scopes, id_token_algorithm, first_party } =
            patch;
        if let Some(name) = name {
            self.name = judge_name(name)?;
        }
        if let Some(uris) = redirect_uris {
            self.redirect_uris = judge_uris("redirect_uris", uris, true)?;
        }
        if let Some(uris) = post_logout_redirect_uris {
            self.post_logout_redirect_uris = judge_uris("post_logout_redirect_uris", uris, false)?;
        }
        if let Some(scopes) = scopes {
            self.scopes = judge_scopes(scopes)?;
        }
        if let Some(algorithm) = id_token_algorithm {
            self.id_token_algorithm = judge_algorithm(algorithm)?.as_str().to_owned();
        }
        self.first_party = first_party.unwrap_or(self.first_party);
        Ok(self)
    }
}

fn judge_name(name: &str) -> Result<String, OpenIdError> {
    let name = name.trim();
    if !(1..=NAME_LENGTH_MAX).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(OpenIdError::Field { field: "name", message: "must have 1 to 100 characters, all of which print" });
    }
    Ok(name.to_owned())
}

fn judge_uris(field: &'static str, uris: &[String], is_needed: bool) -> Result<Vec<String>, OpenIdError> {
    if uris.len() > URIS_MAX || (is_needed && uris.is_empty()) {
        return Err(OpenIdError::Field { field, message: "must be one address to twenty" });
    }
    for uri in uris {
        judge(uri).map_err(|message| OpenIdError::Field { field, message })?;
    }
    let each: BTreeSet<&String> = uris.iter().collect();
    Ok(each.into_iter().cloned().collect())
}

fn judge_scopes(words: &[String]) -> Result<Vec<String>, OpenIdError> {
    const MESSAGE: &str = "must be some of openid, profile, email, org, offline_access and api";
    let scopes = Scopes::of_words(words).filter(|scopes| !scopes.is_empty());
    Ok(scopes.ok_or(OpenIdError::Field { field: "scopes", message: MESSAGE })?.words())
}

fn judge_algorithm(name: &str) -> Result<KeyAlgorithm, OpenIdError> {
    let message = "must be ES256 or RS256";
    KeyAlgorithm::of_name(name).ok_or(OpenIdError::Field { field: "id_token_algorithm", message })
}

impl OpenId {
    /// Registers a client.
    ///
    /// # Errors
    /// [`OpenIdError::Field`]; [`OpenIdError::TooManyClients`].
    pub async fn create_client(&self, actor: &Actor, new: &NewClient) -> Result<MadeClient, OpenIdError> {
        const INSERT: &str = "
            insert into control.openid_clients
                (id, name, secret_hash, redirect_uris, post_logout_redirect_uris, scopes, id_token_algorithm,
                 first_party)
            select $1, $2, $3::bytea, $4, $5, $6, $7, $8
            where (select count(*) from control.openid_clients) < $9::bigint
            returning id, name, secret_hash is null, redirect_uris, post_logout_redirect_uris, scopes,
                      id_token_algorithm, first_party, created_at";
        let usual = || [Scope::OpenId, Scope::Profile, Scope::Email, Scope::Org].map(|scope| scope.as_str().to_owned());
        let scopes = judge_scopes(&new.scopes.clone().unwrap_or_else(|| usual().to_vec()))?;
        let algorithm = judge_algorithm(new.id_token_algorithm.as_deref().unwrap_or("ES256"))?;
        let secret = (!new.public).then(|| generate(CLIENT_SECRET));
        let values = params![
            ClientId::generate(),
            judge_name(&new.name)?,
            Param::Bytes(secret.as_ref().map(|secret| hash(secret.expose_secret()).into())),
            judge_uris("redirect_uris", &new.redirect_uris, true)?,
            judge_uris("post_logout_redirect_uris", &new.post_logout_redirect_uris, false)?,
            scopes,
            algorithm.as_str(),
            new.first_party,
            CLIENTS_MAX
        ];
        let mut connection = self.control("register an OpenID client").await?;
        connection.begin().await?;
        let row = connection.query_opt(INSERT, values).await?.ok_or(OpenIdError::TooManyClients(CLIENTS_MAX))?;
        let client = client_out(&row);
        let details = json!({ "name": client.name, "public": client.public, "first_party": client.first_party,
                              "scopes": client.scopes, "redirect_uris": client.redirect_uris });
        actor.did("create_oauth_client").on("oauth_client", client.id).with_details(details).write(&connection).await?;
        connection.commit().await?;
        Ok(MadeClient { client, secret })
    }

    /// The clients, the newest first.
    pub async fn clients(&self, page: &ClientPage) -> Result<Vec<ClientOut>, OpenIdError> {
        const LIST: &str = "
            select id, name, secret_hash is null, redirect_uris, post_logout_redirect_uris, scopes, id_token_algorithm,
                   first_party, created_at
            from control.openid_clients where $1::uuid is null or id < $1 order by id desc limit $2";
        let limit = i64::from(page.limit.unwrap_or(PER_PAGE_DEFAULT).clamp(1, PER_PAGE_MAX + 1));
        let rows = self.control("list OpenID clients").await?.query(LIST, params![page.before, limit]).await?;
        Ok(rows.iter().map(client_out).collect())
    }

    /// Changes a client.
    ///
    /// # Errors
    /// [`OpenIdError::NotFound`]; [`OpenIdError::Field`].
    pub async fn change_client(
        &self,
        actor: &Actor,
        id: ClientId,
        patch: &ClientPatch,
    ) -> Result<ClientOut, OpenIdError> {
        const GET: &str = "
            select id, name, secret_hash is null, redirect_uris, post_logout_redirect_uris, scopes, id_token_algorithm,
                   first_party, created_at
            from control.openid_clients where id = $1 for update";
        const UPDATE: &str = "
            update control.openid_clients
            set name = $2, redirect_uris = $3, post_logout_redirect_uris = $4, scopes = $5, id_token_algorithm = $6,
                first_party = $7, updated_at = now()
            where id = $1";
        let mut connection = self.control("change an OpenID client").await?;
        connection.begin().await?;
        let row = connection.query_opt(GET, params![id]).await?.ok_or(OpenIdError::NotFound)?;
        let client = client_out(&row).patched(patch)?;
        let values = params![
            id,
            client.name.as_str(),
            client.redirect_uris.clone(),
            client.post_logout_redirect_uris.clone(),
            client.scopes.clone(),
            client.id_token_algorithm.as_str(),
            client.first_party
        ];
        connection.query(UPDATE, values).await?;
        let details = json!({ "name": client.name, "first_party": client.first_party, "scopes": client.scopes,
                              "redirect_uris": client.redirect_uris });
        actor.did("change_oauth_client").on("oauth_client", id).with_details(details).write(&connection).await?;
        connection.commit().await?;
        self.standings.forget_all();
        Ok(client)
    }

    /// Gives a client another secret; the one before is good for a while longer.
    ///
    /// # Errors
    /// [`OpenIdError::NotFound`], also for one that has none; [`OpenIdError::Field`] for a while that is
    /// too long.
    pub async fn rotate_client_secret(
        &self,
        actor: &Actor,
        id: ClientId,
        overlap_seconds: u32,
    ) -> Result<SecretString, OpenIdError> {
        const ROTATE: &str = "
            update control.openid_clients
            set previous_secret_hash = secret_hash, previous_secret_until = now() + make_interval(secs => $3::bigint),
                secret_hash = $2, updated_at = now()
            where id = $1 and secret_hash is not null returning 1";
        if overlap_seconds > OVERLAP_SECONDS_MAX {
            let message = "must be a week at most: 604800";
            return Err(OpenIdError::Field { field: "overlap_seconds", message });
        }
        let secret = generate(CLIENT_SECRET);
        let mut connection = self.control("rotate an OpenID client's secret").await?;
        connection.begin().await?;
        let values = params![id, hash(secret.expose_secret()), i64::from(overlap_seconds)];
        if connection.query_opt(ROTATE, values).await?.is_none() {
            connection.rollback().await?;
            return Err(OpenIdError::NotFound);
        }
        let details = json!({ "overlap_seconds": overlap_seconds });
        let entry = actor.did("rotate_oauth_client_secret").on("oauth_client", id).with_details(details);
        entry.write(&connection).await?;
        connection.commit().await?;
        Ok(secret)
    }

    /// Removes a client, with all that people let it do.
    ///
    /// # Errors
    /// [`OpenIdError::NotFound`].
    pub async fn delete_client(&self, actor: &Actor, id: ClientId) -> Result<(), OpenIdError> {
        const DELETE: &str = "delete from control.openid_clients where id = $1 returning name";
        let mut connection = self.control("delete an OpenID client").await?;
        connection.begin().await?;
        let Some(row) = connection.query_opt(DELETE, params![id]).await? else {
            connection.rollback().await?;
            return Err(OpenIdError::NotFound);
        };
        let details = json!({ "name": row.get::<_, String>(0) });
        actor.did("delete_oauth_client").on("oauth_client", id).with_details(details).write(&connection).await?;
        connection.commit().await?;
        self.standings.forget_all();
        Ok(())
    }
}
