//! Signing a person in for a client: whether they are here, who they are, whether they consent, and then a
//! code. What a person decides on waits in the database, for their session and once.

use chrono::{DateTime, Utc};
use rowhouse_audit::{Actor, SecurityEventKind};
use rowhouse_identity::{Claims, Device, LimitedRoute, Org};
use rowhouse_postgres::{SystemConnection, params};
use rowhouse_types::{ClientId, TenantId};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::client::{Client, client_get};
use crate::code::NewCode;
use crate::consent::consent_put;
use crate::error::{OAuthCode, OpenIdError};
use crate::parameters::Parameters;
use crate::request::{LOGIN_MARK, Request, Return};
use crate::scope::{Scope, Scopes};
use crate::secret::{REQUEST, generate, hash};
use crate::service::OpenId;

/// Seconds that a person may think about a request.
const REQUEST_SECONDS: i64 = 10 * 60;
/// Requests of a session that may wait at a time.
const WAITING_MAX: i64 = 20;
/// Seconds that signing in may take.
const LOGIN_SECONDS: i64 = 60 * 60;

/// Where the person's browser goes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorized {
    /// To the client, with a code or a refusal.
    Client(String),
    /// To sign in, and then back to this path.
    SignIn {
        /// Path and query.
        return_to: String,
        /// Whom the client expects.
        login_hint: Option<String>,
    },
    /// To be asked about this request.
    Consent {
        /// Its id.
        request: String,
    },
}

/// A request that waits for a person's decision, as they are asked.
#[derive(Debug, Clone, Serialize)]
pub struct PendingOut {
    /// The client.
    pub client_id: ClientId,
    /// What it is called.
    pub client_name: String,
    /// What it wants to know and do.
    pub scopes: Vec<String>,
    /// The tenant, where the client gets to know it.
    pub org: Option<Org>,
    /// Where the person is sent back to.
    pub redirect_uri: String,
}

/// What a person decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The client may.
    Allow,
    /// It may not.
    Deny,
}

/// What is known of who asks.
struct Found {
    auth_time: DateTime<Utc>,
    consented: Scopes,
    org: Option<Org>,
}

/// A request of a person's, so far good.
struct Asked<'a> {
    client: &'a Client,
    back: &'a Return,
    request: &'a Request,
    claims: &'a Claims,
    device: &'a Device,
}

/// A refusal that the client is told, by the person's browser.
fn told(outcome: Result<Authorized, OpenIdError>, back: &Return, issuer: &str) -> Result<Authorized, OpenIdError> {
    match outcome {
        Err(OpenIdError::Refused { code, description }) => {
            Ok(Authorized::Client(back.refused(issuer, code, description)))
        }
        outcome => outcome,
    }
}

async fn find(connection: &SystemConnection, asked: &Asked<'_>) -> Result<Option<Found>, OpenIdError> {
    const FIND: &str = "
        select s.proved_at, c.scopes, t.id, m.role, t.slug
        from control.sessions s
        left join control.openid_consents c on c.user_id = s.user_id and c.client_id = $3
        left join control.tenants t
            on (t.slug = lower($4) or t.id::text = lower($4)) and t.status = 'active'
           and exists (select 1 from control.memberships where tenant_id = t.id and user_id = s.user_id and active)
        left join control.memberships m on m.tenant_id = t.id and m.user_id = s.user_id
        where s.id = $1 and s.user_id = $2 and s.revoked_at is null and s.expires_at > now()";
    let Asked { client, request, claims, .. } = asked;
    let tenant = request.tenant(claims.org.as_ref().map(|org| org.id));
    let values = params![claims.session, claims.user, client.id, tenant.as_deref()];
    let Some(row) = connection.query_opt(FIND, values).await? else { return Ok(None) };
    let org =
        row.get::<_, Option<Uuid>>(2).map(|id| Org { id: TenantId::from_uuid(id), role: row.get(3), slug: row.get(4) });
    let words: Option<Vec<String>> = row.get(1);
    let consented = words.and_then(|words| Scopes::of_words(&words)).unwrap_or_default();
    Ok(Some(Found { auth_time: row.get(0), consented, org }))
}

impl OpenId {
    /// Judges a request to sign a person in, of whoever is here.
    ///
    /// # Errors
    /// A refusal that is told to who is here: the client or its address is not known. Any other goes to the
    /// client. [`rowhouse_identity::IdentityError::TooManyAttempts`].
    pub async fn authorize(
        &self,
        query: &[u8],
        person: Option<&Claims>,
        device: &Device,
    ) -> Result<Authorized, OpenIdError> {
        let parameters = Parameters::parse(query);
        let connection = self.control("judge an OpenID request").await?;
        let opened = self.client_of(&connection, &parameters).await;
        let (client, back) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                drop(connection);
                self.refuse_sender(&parameters, &error, device).await?;
                return Err(error);
            }
        };
        let outcome = match Request::read(&client, &parameters) {
            Ok(request) => match person {
                Some(claims) => {
                    let asked = Asked { client: &client, back: &back, request: &request, claims, device };
                    self.judge(connection, &parameters, &asked).await
                }
                None => self.sign_in(&client, &request, &parameters),
            },
            Err(error) => Err(error),
        };
        told(outcome, &back, &self.issuer)
    }

    /// The client of a request, and where it wants its answer.
    async fn client_of(
        &self,
        connection: &SystemConnection,
        parameters: &Parameters,
    ) -> Result<(Client, Return), OpenIdError> {
        let id = parameters.need("client_id", "client_id is missing")?;
        let client = client_get(connection, id).await?;
        let client = client.ok_or(OpenIdError::invalid_request("client_id is not known here"))?;
        let back = Return::read(&client, parameters)?;
        Ok((client, back))
    }

    async fn refuse_sender(
        &self,
        parameters: &Parameters,
        error: &OpenIdError,
        device: &Device,
    ) -> Result<(), OpenIdError> {
        let OpenIdError::Refused { description, .. } = error else { return Ok(()) };
        let id = parameters.get("client_id").ok().flatten().and_then(|id| id.parse::<ClientId>().ok());
        let details = json!({ "client_id": id, "why": description });
        self.record(SecurityEventKind::ClientRefused, None, None, device, details);
        Ok(self.identity.count_attempt(LimitedRoute::OAUTH_AUTHORIZE, None, device).await?)
    }

    /// Sends somebody to sign in, if the client lets them be asked.
    fn sign_in(&self, client: &Client, request: &Request, parameters: &Parameters) -> Result<Authorized, OpenIdError> {
        if request.prompt.none {
            return Err(OpenIdError::refused(OAuthCode::LoginRequired, "nobody is signed in"));
        }
        let mark = self.login_signer.sign(&mark_payload(client, Utc::now().timestamp()));
        let query = parameters.without(&[LOGIN_MARK]).with(LOGIN_MARK, &mark).to_query();
        Ok(Authorized::SignIn {
            return_to: format!("/oauth/authorize?{query}"),
            login_hint: request.login_hint.clone(),
        })
    }

    /// Since when somebody was sent to sign in for this request, if they were.
    fn sent_at(&self, client: &Client, request: &Request) -> Option<i64> {
        let payload = self.login_signer.verify(request.login_mark.as_deref()?)?;
        let seconds = i64::from_be_bytes(payload.get(..8)?.try_into().ok()?);
        let is_young = Utc::now().timestamp() - seconds < LOGIN_SECONDS;
        (payload == mark_payload(client, seconds) && is_young).then_some(seconds)
    }

    /// Whether a person has to show once more who they are.
    fn must_sign_in(&self, asked: &Asked<'_>, auth_time: DateTime<Utc>) -> bool {
        let proved_at = auth_time.timestamp();
        let request = asked.request;
        // They did so for this very request.
        if self.sent_at(asked.client, request).is_some_and(|sent_at| proved_at >= sent_at) {
            return false;
        }
        request.prompt.login || request.max_age.is_some_and(|age| Utc::now().timestamp() - proved_at > age)
    }

    /// Goes on with somebody who is signed in.
    async fn judge(
        &self,
        connection: SystemConnection,
        parameters: &Parameters,
        asked: &Asked<'_>,
    ) -> Result<Authorized, OpenIdError> {
        let Asked { client, request, claims, .. } = *asked;
        let Some(found) = find(&connection, asked).await? else { return self.sign_in(client, request, parameters) };
        if self.must_sign_in(asked, found.auth_time) {
            return self.sign_in(client, request, parameters);
        }
        let is_known = client.first_party || found.consented.covers(&request.scopes);
        drop(connection);
        if let Some(hint) = &request.id_token_hint {
            let hint = self.read_hint(hint).await?;
            if hint.aud != client.id {
                return Err(OpenIdError::invalid_request("id_token_hint is another client's"));
            }
            if hint.sub != claims.user {
                // Whoever came back from signing in as somebody else again is not sent there for ever.
                if self.sent_at(client, request).is_some() {
                    return Err(OpenIdError::refused(OAuthCode::LoginRequired, "another person is signed in"));
                }
                return self.sign_in(client, request, parameters);
            }
        }
        self.require_tenant(asked, &found)?;
        self.require_second_factor(asked, &found).await?;
        self.identity.count_attempt_by(LimitedRoute::OAUTH_AUTHORIZE, &claims.session.to_string()).await?;
        if is_known && !request.prompt.consent {
            let connection = self.control("give an OpenID client a code").await?;
            return self.give_code(&connection, asked, &found).await;
        }
        if request.prompt.none {
            return Err(OpenIdError::refused(OAuthCode::ConsentRequired, "the person has not consented"));
        }
        self.ask(parameters, asked).await
    }

    /// Refuses whoever names a tenant that they have no part in, or needs one and has none.
    fn require_tenant(&self, asked: &Asked<'_>, found: &Found) -> Result<(), OpenIdError> {
        if found.org.is_some() || !asked.request.needs_tenant() {
            return Ok(());
        }
        if let Some(named) = &asked.request.org {
            let named: String = named.chars().take(64).collect();
            let (user, tenant) = (Some(asked.claims.user), asked.claims.org.as_ref().map(|org| org.id));
            let details = json!({ "client_id": asked.client.id, "org": named });
            self.record(SecurityEventKind::CrossTenantAccessAttempt, user, tenant, asked.device, details);
        }
        Err(OpenIdError::refused(OAuthCode::AccessDenied, "the person has no part in that organisation"))
    }

    /// Refuses whoever may do nothing in the tenant before they have set up a second factor.
    async fn require_second_factor(&self, asked: &Asked<'_>, found: &Found) -> Result<(), OpenIdError> {
        let Some(org) = &found.org else { return Ok(()) };
        let access = self.identity.access(asked.claims.user, org.id).await?;
        if access.is_some_and(|access| access.is_mfa_overdue()) {
            let description = "the organisation demands a second factor, which the person has not set up";
            return Err(OpenIdError::refused(OAuthCode::AccessDenied, description));
        }
        Ok(())
    }

    async fn give_code(
        &self,
        connection: &SystemConnection,
        asked: &Asked<'_>,
        found: &Found,
    ) -> Result<Authorized, OpenIdError> {
        let Asked { client, back, request, claims, .. } = *asked;
        let shows_org = request.scopes.has(Scope::Org) || request.scopes.has(Scope::Api);
        let code = NewCode {
            client: client.id,
            user: claims.user,
            session: claims.session,
            tenant: found.org.as_ref().filter(|_| shows_org).map(|org| org.id),
            scopes: &request.scopes,
            redirect_uri: &back.redirect_uri,
            nonce: request.nonce.as_deref(),
            challenge: request.challenge.as_deref(),
            auth_time: found.auth_time,
        };
        let code = code.put(connection).await?;
        Ok(Authorized::Client(back.with(&self.issuer, &[("code", code.expose_secret())])))
    }

    /// Keeps a request for the person's decision.
    async fn ask(&self, parameters: &Parameters, asked: &Asked<'_>) -> Result<Authorized, OpenIdError> {
        // Some of those that are over go each time, so the table stays small.
        const KEEP: &str = "
            with gone as (
                delete from control.openid_requests where hash in (
                    select hash from control.openid_requests where expires_at < now() limit 10 for update skip locked))
            insert into control.openid_requests (hash, session_id, client_id, query, expires_at)
            select $1, $2, $3, $4, now() + make_interval(secs => $5::bigint)
            where (select count(*) from control.openid_requests where session_id = $2 and expires_at > now()) < $6::bigint
            returning 1";
        let id = generate(REQUEST);
        // What was asked once is not asked again after the decision.
        let query = parameters.without(&["prompt", LOGIN_MARK]).to_query();
        let values = params![
            hash(id.expose_secret()),
            asked.claims.session,
            asked.client.id,
            query,
            REQUEST_SECONDS,
            WAITING_MAX
        ];
        let kept = self.control("keep an OpenID request").await?.query_opt(KEEP, values).await?;
        if kept.is_none() {
            return Err(OpenIdError::refused(OAuthCode::AccessDenied, "too many requests wait for a decision"));
        }
        Ok(Authorized::Consent { request: id.expose_secret().to_owned() })
    }

    /// A request that waits for the decision of this session.
    ///
    /// # Errors
    /// [`OpenIdError::NotFound`], also for another session's.
    pub async fn pending(&self, claims: &Claims, id: &str) -> Result<PendingOut, OpenIdError> {
        const GET: &str = "
            select query from control.openid_requests where hash = $1 and session_id = $2 and expires_at > now()";
        let connection = self.control("show an OpenID request").await?;
        let row = connection.query_opt(GET, params![hash(id), claims.session]).await?.ok_or(OpenIdError::NotFound)?;
        let (client, back, request) = self.reread(&connection, &row.get::<_, String>(0)).await?;
        let device = Device::default();
        let asked = Asked { client: &client, back: &back, request: &request, claims, device: &device };
        let found = find(&connection, &asked).await?.ok_or(OpenIdError::NotFound)?;
        let shows_org = request.scopes.has(Scope::Org) || request.scopes.has(Scope::Api);
        Ok(PendingOut {
            client_id: client.id,
            client_name: client.name.clone(),
            scopes: request.scopes.words(),
            org: found.org.filter(|_| shows_org),
            redirect_uri: back.redirect_uri.clone(),
        })
    }

    /// Does what a person has decided. Gives where their browser goes.
    ///
    /// # Errors
    /// [`OpenIdError::NotFound`] for a request that is not there, is another session's, or was decided.
    pub async fn decide(
        &self,
        actor: &Actor,
        claims: &Claims,
        id: &str,
        decision: Decision,
        device: &Device,
    ) -> Result<String, OpenIdError> {
        const TAKE: &str = "
            delete from control.openid_requests where hash = $1 and session_id = $2 and expires_at > now()
            returning query";
        let mut connection = self.control("decide on an OpenID request").await?;
        connection.begin().await?;
        let row = connection.query_opt(TAKE, params![hash(id), claims.session]).await?.ok_or(OpenIdError::NotFound)?;
        let (client, back, request) = self.reread(&connection, &row.get::<_, String>(0)).await?;
        if decision == Decision::Deny {
            connection.commit().await?;
            return Ok(back.refused(&self.issuer, OAuthCode::AccessDenied, "the person said no"));
        }
        let asked = Asked { client: &client, back: &back, request: &request, claims, device };
        let found = find(&connection, &asked).await?.ok_or(OpenIdError::NotFound)?;
        consent_put(&connection, actor, claims.user, &client, &request.scopes).await?;
        let given = match self.require_tenant(&asked, &found) {
            Ok(()) => self.give_code(&connection, &asked, &found).await,
            Err(error) => Err(error),
        };
        let Authorized::Client(to) = told(given, &back, &self.issuer)? else { return Err(OpenIdError::NotFound) };
        connection.commit().await?;
        Ok(to)
    }

    /// A request that was kept, by what its client may ask for now.
    async fn reread(
        &self,
        connection: &SystemConnection,
        query: &str,
    ) -> Result<(Client, Return, Request), OpenIdError> {
        let parameters = Parameters::parse(query.as_bytes());
        let (client, back) = self.client_of(connection, &parameters).await?;
        let request = Request::read(&client, &parameters)?;
        Ok((client, back, request))
    }
}

/// What a mark signs: when somebody was sent to sign in, and for whom.
fn mark_payload(client: &Client, seconds: i64) -> Vec<u8> {
    [seconds.to_be_bytes().as_slice(), client.id.uuid().as_bytes()].concat()
}
