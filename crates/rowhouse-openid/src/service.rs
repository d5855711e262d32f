//! The service.

use std::sync::Arc;

use rowhouse_audit::{Audit, SecurityEvent, SecurityEventKind};
use rowhouse_identity::{Device, Identity, Remembered};
use rowhouse_postgres::{DatabaseResult, Databases, SystemAuthority, SystemConnection};
use rowhouse_types::{GrantId, MasterKey, Signer, TenantId, UserId};
use serde_json::Value;

use crate::grant::Standing;
use crate::refresh_token::RefreshKeys;

/// The services that it stands on.
pub struct OpenIdServices {
    /// Connection pools.
    pub databases: Arc<Databases>,
    /// For the control database.
    pub authority: SystemAuthority,
    /// People, sessions and keys.
    pub identity: Arc<Identity>,
    /// Security events.
    pub audit: Audit,
}

/// The OpenID provider.
pub struct OpenId {
    databases: Arc<Databases>,
    authority: SystemAuthority,
    pub(crate) identity: Arc<Identity>,
    audit: Audit,
    /// What stands in `iss`: the service's public URL, without a slash at its end.
    pub(crate) issuer: String,
    pub(crate) refresh_keys: RefreshKeys,
    pub(crate) login_signer: Signer,
    pub(crate) standings: Remembered<GrantId, Option<Arc<Standing>>>,
}

impl OpenId {
    /// The provider of a service with this public URL.
    pub fn new(public_url: &str, master: &MasterKey, services: OpenIdServices) -> Self {
        let OpenIdServices { databases, authority, identity, audit } = services;
        Self {
            databases,
            authority,
            identity,
            audit,
            issuer: public_url.to_owned(),
            refresh_keys: RefreshKeys::new(master),
            login_signer: master.signer("openid login"),
            standings: Remembered::new(),
        }
    }

    pub(crate) async fn control(&self, purpose: &'static str) -> DatabaseResult<SystemConnection> {
        self.databases.control(&self.authority.scope(purpose)).await
    }

    /// An address below the service's own.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.issuer.trim_end_matches('/'))
    }

    /// Whom tokens for the service's own API are for.
    pub(crate) fn api_audience(&self) -> String {
        self.at("/api")
    }

    pub(crate) fn record(
        &self,
        kind: SecurityEventKind,
        user: Option<UserId>,
        tenant: Option<TenantId>,
        device: &Device,
        details: Value,
    ) {
        self.audit.record(SecurityEvent {
            kind,
            user,
            tenant,
            ip: device.ip,
            user_agent: device.user_agent.clone(),
            details,
            ..SecurityEvent::default()
        });
    }
}
