//! Clerk's Backend API: the few calls by which what is made here becomes known there.
//!
//! Must never be asked while a connection of the database is held: it is another company's service.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rowhouse_types::TenantId;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clerk_id::{OfferId, OrganizationId, PersonId};
use crate::event::Organization;

/// The form of the API that is spoken here.
const API_VERSION: &str = "2026-05-12";
/// Longest call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Clerk does not answer, or not in time.
    #[error("call Clerk's Backend API")]
    Call(#[from] reqwest::Error),
    /// Clerk refuses, by its status and code.
    #[error("Clerk's Backend API answers {status} {code}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The first error's code.
        code: String,
    },
    /// The answer is not what was asked for.
    #[error("Clerk's Backend API answers with something else")]
    Answer,
}

impl BackendError {
    fn is(&self, word: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == word)
    }
}

/// The API of one instance.
pub(crate) struct Backend {
    url: String,
    secret: SecretString,
    client: reqwest::Client,
}

#[derive(Deserialize)]
struct Refusal {
    errors: Vec<RefusalError>,
}

#[derive(Deserialize)]
struct RefusalError {
    code: String,
}

impl Backend {
    /// `url` is the API's, such as `https://api.clerk.com`.
    pub(crate) fn new(url: &str, secret: SecretString) -> Result<Self, reqwest::Error> {
        // The secret goes nowhere else.
        let client = reqwest::Client::builder()
            .timeout(CALL_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("rowhouse/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { url: format!("{}/v1", url.trim_end_matches('/')), secret, client })
    }

    /// Makes the organisation of a tenant, whose maker becomes its administrator. One of the same
    /// slug that was made for this tenant before is found again.
    pub(crate) async fn make_organization(
        &self,
        tenant: TenantId,
        name: &str,
        slug: &str,
        maker: &PersonId,
    ) -> Result<Organization, BackendError> {
        let wanted = |slug: Option<&str>| {
            let mut body = json!({ "name": name, "created_by": maker.as_str(),
                                   "private_metadata": Organization::private_metadata(tenant) });
            if let Some(slug) = slug {
                body["slug"] = json!(slug);
            }
            body
        };
        let made = self.post_organization(&wanted(Some(slug))).await;
        match made {
            Err(error) if error.is("form_identifier_exists") || error.is("form_slug_exists") => {
                let other = self.organization(slug).await?;
                if let Some(found) = other.filter(|found| found.tenant == Some(tenant)) {
                    return Ok(found);
                }
                self.post_organization(&wanted(None)).await
            }
            // An instance without slugs.
            Err(error) if error.is("form_param_unknown") || error.is("organization_slugs_not_enabled") => {
                self.post_organization(&wanted(None)).await
            }
            made => made,
        }
    }

    async fn post_organization(&self, body: &Value) -> Result<Organization, BackendError> {
        let request = self.request(Method::POST, "organizations").json(body);
        Organization::read(answer(request).await?).map_err(|_| BackendError::Answer)
    }

    /// The organisation of this id or slug.
    pub(crate) async fn organization(&self, id_or_slug: &str) -> Result<Option<Organization>, BackendError> {
        // Slugs are words; anything else would become another path.
        if !id_or_slug.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
            return Ok(None);
        }
        match answer(self.request(Method::GET, &format!("organizations/{id_or_slug}"))).await {
            Ok(found) => Organization::read(found).map(Some).map_err(|_| BackendError::Answer),
            Err(BackendError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Offers somebody a part in an organisation; Clerk writes to them.
    pub(crate) async fn invite(
        &self,
        organization: &OrganizationId,
        email: &str,
        role: &str,
        inviter: &PersonId,
    ) -> Result<OfferId, BackendError> {
        let body =
            json!({ "email_address": email, "role": format!("org:{role}"), "inviter_user_id": inviter.as_str() });
        let path = format!("organizations/{organization}/invitations");
        let made = answer(self.request(Method::POST, &path).json(&body)).await?;
        made.get("id").and_then(Value::as_str).and_then(OfferId::parse).ok_or(BackendError::Answer)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}/{path}", self.url));
        request.bearer_auth(self.secret.expose_secret()).header("clerk-api-version", API_VERSION)
    }
}

async fn answer(request: RequestBuilder) -> Result<Value, BackendError> {
    let response = request.send().await?;
    let status = response.status();
    let body = bytes(response).await?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|_| BackendError::Answer);
    }
    let refusal = serde_json::from_slice::<Refusal>(&body).ok().and_then(|refusal| refusal.errors.into_iter().next());
    let code = refusal.map(|error| error.code).unwrap_or_default();
    Err(BackendError::Refused { status, code: code.chars().take(100).collect() })
}

async fn bytes(mut response: Response) -> Result<Vec<u8>, BackendError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(BackendError::Answer);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
