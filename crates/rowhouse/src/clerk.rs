//! The settings of Clerk, and the service made from them.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use rowhouse_audit::Audit;
use rowhouse_clerk::{BackendSettings, Clerk, ClerkServices, ClerkSettings, Parties, WebhookSecrets};
use rowhouse_identity::Identity;
use rowhouse_tenants::Tenants;
use secrecy::{ExposeSecret as _, SecretString};

use crate::compose::Ground;
use crate::settings::Settings;

/// Roles that are called otherwise here: Clerk's administrators may do everything in theirs.
const ROLES: &str = "admin=owner";
const API_URL: &str = "https://api.clerk.com";

/// The settings as given, before they are judged.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ClerkArgs {
    /// Who people sign in with: built-in or clerk [default: built-in]
    #[arg(long, env = "ROWHOUSE_IDENTITY_PROVIDER", global = true, value_name = "NAME", help_heading = "Settings")]
    pub(crate) identity_provider: Option<String>,

    /// Clerk's Frontend API URL, which stands in its tokens as issuer; needed with clerk
    #[arg(long, env = "ROWHOUSE_CLERK_ISSUER", global = true, value_name = "URL", help_heading = "Settings")]
    pub(crate) clerk_issuer: Option<String>,

    /// Where Clerk publishes its keys [default: /.well-known/jwks.json of the issuer]
    #[arg(long, env = "ROWHOUSE_CLERK_JWKS_URL", global = true, value_name = "URL", help_heading = "Settings")]
    pub(crate) clerk_jwks_url: Option<String>,

    /// Origins of the pages that tokens may be made for, such as https://app.example.com or
    /// https://*.example.com, divided by commas; needed with clerk
    #[arg(
        long,
        env = "ROWHOUSE_CLERK_AUTHORIZED_PARTIES",
        global = true,
        value_name = "ORIGINS",
        help_heading = "Settings"
    )]
    pub(crate) clerk_authorized_parties: Option<String>,

    /// Signing secrets of the webhook endpoint at Clerk (whsec_…), divided by commas; needed with clerk
    #[arg(
        long,
        env = "ROWHOUSE_CLERK_WEBHOOK_SECRETS",
        global = true,
        value_name = "SECRETS",
        hide_env_values = true,
        help_heading = "Settings"
    )]
    pub(crate) clerk_webhook_secrets: Option<String>,

    /// Roles at Clerk that have another name here, divided by commas [default: admin=owner]
    #[arg(long, env = "ROWHOUSE_CLERK_ROLES", global = true, value_name = "ROLES", help_heading = "Settings")]
    pub(crate) clerk_roles: Option<String>,

    /// Secret key of Clerk's Backend API (sk_…): organisations that are made here are made there too
    #[arg(
        long,
        env = "ROWHOUSE_CLERK_SECRET_KEY",
        global = true,
        value_name = "KEY",
        hide_env_values = true,
        help_heading = "Settings"
    )]
    pub(crate) clerk_secret_key: Option<String>,

    /// Where Clerk's Backend API is [default: https://api.clerk.com]
    #[arg(long, env = "ROWHOUSE_CLERK_API_URL", global = true, value_name = "URL", help_heading = "Settings")]
    pub(crate) clerk_api_url: Option<String>,
}

/// The settings, judged.
#[derive(Debug, Clone)]
pub(crate) struct ClerkChoice {
    issuer: String,
    jwks_url: Option<String>,
    parties: Parties,
    webhook_secrets: Vec<SecretString>,
    roles: HashMap<String, String>,
    secret_key: Option<SecretString>,
    api_url: String,
}

/// The parts of a list.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn is_address(text: &str) -> bool {
    let local = ["http://localhost", "http://127.0.0.1"]
        .iter()
        .any(|local| text.strip_prefix(local).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/'])));
    local || text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty())
}

impl ClerkArgs {
    /// Judges the settings, and adds what is wrong to `problems`. None if people sign in here.
    pub(crate) fn resolve(self, problems: &mut Vec<String>) -> Option<ClerkChoice> {
        let Self {
            identity_provider,
            clerk_issuer,
            clerk_jwks_url,
            clerk_authorized_parties,
            clerk_webhook_secrets,
            clerk_roles,
            clerk_secret_key,
            clerk_api_url,
        } = self;
        match identity_provider.as_deref() {
            None | Some("" | "built-in") => return None,
            Some("clerk") => {}
            Some(other) => {
                problems.push(format!("--identity-provider {other:?} must be built-in or clerk"));
                return None;
            }
        }
        let mut needed = |name: &str, value: Option<String>, what: &str| {
            let value = value.filter(|text| !text.trim().is_empty());
            if value.is_none() {
                problems.push(format!("--identity-provider clerk needs --{name}: {what}"));
            }
            value.unwrap_or_default()
        };
        let issuer = needed("clerk-issuer", clerk_issuer, "the Frontend API URL of the instance");
        let issuer = issuer.trim_end_matches('/').to_owned();
        let origins = needed("clerk-authorized-parties", clerk_authorized_parties, "the origins of your pages");
        let secrets = needed("clerk-webhook-secrets", clerk_webhook_secrets, "the endpoint's signing secret");
        let jwks_url = clerk_jwks_url.filter(|url| !url.is_empty());
        let api_url = clerk_api_url.filter(|url| !url.is_empty()).unwrap_or_else(|| API_URL.to_owned());
        let urls = [("issuer", Some(&issuer)), ("jwks-url", jwks_url.as_ref()), ("api-url", Some(&api_url))];
        for (name, url) in urls.into_iter().filter_map(|(name, url)| Some((name, url?))) {
            if !url.is_empty() && !is_address(url) {
                problems.push(format!("--clerk-{name} {url:?} must begin with https://"));
            }
        }
        let secret_key = clerk_secret_key.filter(|key| !key.is_empty()).map(SecretString::from);
        if secret_key.as_ref().is_some_and(|key| !key.expose_secret().starts_with("sk_")) {
            problems.push("--clerk-secret-key must begin with sk_, as Clerk shows it".to_owned());
        }
        let parties = Parties::new(parts(&origins)).unwrap_or_else(|error| {
            problems.push(format!("--clerk-authorized-parties {origins:?}: each {error}"));
            Parties::default()
        });
        let webhook_secrets: Vec<SecretString> = parts(&secrets).map(SecretString::from).collect();
        // The text is not repeated.
        if !secrets.is_empty() && WebhookSecrets::new(&webhook_secrets).is_err() {
            problems.push("--clerk-webhook-secrets: each must be whsec_ and base64, as Clerk shows it".to_owned());
        }
        let text = clerk_roles.unwrap_or_else(|| ROLES.to_owned());
        let mut roles = HashMap::new();
        for part in parts(&text) {
            match part.split_once('=').map(|(at_clerk, here)| (at_clerk.trim(), here.trim())) {
                Some((at_clerk, here)) if !at_clerk.is_empty() && !here.is_empty() => {
                    roles.insert(at_clerk.strip_prefix("org:").unwrap_or(at_clerk).to_owned(), here.to_owned());
                }
                _ => problems.push(format!("--clerk-roles {part:?} must be a role at Clerk, = and a role here")),
            }
        }
        Some(ClerkChoice { issuer, jwks_url, parties, webhook_secrets, roles, secret_key, api_url })
    }
}

/// The service, if people sign in with Clerk.
pub(crate) fn open(
    settings: &Settings,
    ground: &Ground,
    identity: &Arc<Identity>,
    tenants: &Arc<Tenants>,
    audit: &Audit,
) -> anyhow::Result<Option<Arc<Clerk>>> {
    let Some(choice) = &settings.clerk else { return Ok(None) };
    let ClerkChoice { issuer, jwks_url, parties, webhook_secrets, roles, secret_key, api_url } = choice.clone();
    let webhook_secrets = WebhookSecrets::new(&webhook_secrets).context("--clerk-webhook-secrets")?;
    let backend = secret_key.map(|secret| BackendSettings { url: api_url, secret });
    let settings = ClerkSettings { issuer, jwks_url, parties, webhook_secrets, backend, roles };
    let services = ClerkServices {
        databases: ground.databases.clone(),
        authority: ground.authorities.system.clone(),
        identity: identity.clone(),
        tenants: tenants.clone(),
        audit: audit.clone(),
    };
    Ok(Some(Arc::new(Clerk::open(settings, services)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(args: ClerkArgs) -> Vec<String> {
        let mut problems = Vec::new();
        args.resolve(&mut problems);
        problems
    }

    fn clerk() -> ClerkArgs {
        let text = |text: &str| Some(text.to_owned());
        ClerkArgs {
            identity_provider: text("clerk"),
            clerk_issuer: text("https://clerk.example.com/"),
            clerk_authorized_parties: text("https://app.example.com, https://*.example.com"),
            clerk_webhook_secrets: text("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            ..ClerkArgs::default()
        }
    }

    #[test]
    fn without_clerk_nothing_is_needed() {
        assert!(ClerkArgs::default().resolve(&mut Vec::new()).is_none());
        assert_eq!(problems(ClerkArgs { identity_provider: Some("auth0".into()), ..ClerkArgs::default() }).len(), 1);
    }

    #[test]
    fn all_that_is_missing_or_wrong_is_told_and_no_secret() {
        let mut told = Vec::new();
        let choice = clerk().resolve(&mut told).unwrap();
        assert!(told.is_empty(), "{told:?}");
        assert_eq!(choice.issuer, "https://clerk.example.com");
        assert_eq!(choice.roles["admin"], "owner");
        assert_eq!(problems(ClerkArgs { identity_provider: Some("clerk".into()), ..ClerkArgs::default() }).len(), 3);
        let wrong = ClerkArgs {
            clerk_issuer: Some("http://clerk.example.com".into()),
            clerk_jwks_url: Some("file:///etc/passwd".into()),
            clerk_authorized_parties: Some("app.example.com".into()),
            clerk_webhook_secrets: Some("s3cret".into()),
            clerk_roles: Some("admin".into()),
            clerk_secret_key: Some("s3cret".into()),
            clerk_api_url: Some("api.clerk.com".into()),
            ..clerk()
        };
        let told = problems(wrong);
        assert_eq!(told.len(), 7, "{told:?}");
        assert!(!told.join("\n").contains("s3cret"), "{told:?}");
    }
}
