//! What every handler may use.

use std::sync::Arc;
use std::time::Duration;

use rowhouse_audit::Audit;
use rowhouse_clerk::Clerk;
use rowhouse_identity::Identity;
use rowhouse_mail::Folder;
use rowhouse_openid::OpenId;
use rowhouse_postgres::{Databases, SystemAuthority, TenantAuthority};
use rowhouse_records::Records;
use rowhouse_tenants::Tenants;

use crate::client::TrustedProxies;

/// Settings of the HTTP side.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// The domain whose subdomains are tenants.
    pub base_domain: String,
    /// What clients call this server.
    pub public_url: String,
    /// Longest request.
    pub request_timeout: Duration,
    /// Largest body, in bytes.
    pub body_bytes_max: usize,
    /// Whose word on a client's address is believed.
    pub trusted_proxies: TrustedProxies,
    /// Version of the program, for health and documents.
    pub version: &'static str,
    /// Mails that were kept instead of sent and are shown to a developer; none in production.
    pub kept_mails: Option<Folder>,
}

impl ServerSettings {
    /// Whether browsers reach this server by https.
    pub(crate) fn is_https(&self) -> bool {
        self.public_url.starts_with("https://")
    }

    /// Scheme, host and port of the sign-in host, as browsers write them.
    pub(crate) fn public_origin(&self) -> &str {
        let (scheme, rest) = self.public_url.split_once("://").unwrap_or(("", &self.public_url));
        let authority = rest.split('/').next().unwrap_or(rest);
        self.public_url.get(..scheme.len() + "://".len() + authority.len()).unwrap_or(&self.public_url)
    }

    /// The same of another host, which is reached by the same scheme and port.
    pub(crate) fn origin_of(&self, host: &str) -> String {
        let (scheme, authority) = self.public_origin().split_once("://").unwrap_or(("http", ""));
        let port = authority.rsplit_once(':').map(|(_, port)| port).filter(|port| port.parse::<u16>().is_ok());
        match port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }
}

/// Everything behind the routes. Cloned per request: a pointer.
#[derive(Clone)]
pub struct ServerState(Arc<Inner>);

/// What stands behind [`ServerState`]; its fields are for this crate only.
pub struct Inner {
    pub(crate) settings: ServerSettings,
    pub(crate) databases: Arc<Databases>,
    pub(crate) tenant_authority: TenantAuthority,
    pub(crate) system_authority: SystemAuthority,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) identity: Arc<Identity>,
    /// In place of what `identity` knows of people's tokens, if people sign in with Clerk.
    pub(crate) clerk: Option<Arc<Clerk>>,
    /// Other programs' sign-in with accounts here; none where accounts are elsewhere.
    pub(crate) openid: Option<Arc<OpenId>>,
    pub(crate) audit: Audit,
    pub(crate) records: Records,
}

/// The services that the composition root has put together.
pub struct Services {
    /// Connection pools.
    pub databases: Arc<Databases>,
    /// For the gate.
    pub tenant_authority: TenantAuthority,
    /// For health.
    pub system_authority: SystemAuthority,
    /// Registry, provisioning and lifecycle.
    pub tenants: Arc<Tenants>,
    /// People and tokens.
    pub identity: Arc<Identity>,
    /// Where people sign in, if it is Clerk.
    pub clerk: Option<Arc<Clerk>>,
    /// Other programs' sign-in with accounts here; none where accounts are elsewhere.
    pub openid: Option<Arc<OpenId>>,
    /// Security events.
    pub audit: Audit,
    /// The data API.
    pub records: Records,
}

impl ServerState {
    /// Binds the services to the HTTP side.
    pub fn new(settings: ServerSettings, services: Services) -> Self {
        let Services {
            databases,
            tenant_authority,
            system_authority,
            tenants,
            identity,
            clerk,
            openid,
            audit,
            records,
        } = services;
        Self(Arc::new(Inner {
            settings,
            databases,
            tenant_authority,
            system_authority,
            tenants,
            identity,
            clerk,
            openid,
            audit,
            records,
        }))
    }
}

impl std::ops::Deref for ServerState {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}
