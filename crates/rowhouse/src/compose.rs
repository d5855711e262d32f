//! The composition root: opens the server, hands out the authorities, puts the services
//! together. The only place where they meet.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use rowhouse_app::{App, MANIFEST_FILE};
use rowhouse_audit::Audit;
use rowhouse_clerk::Clerk;
use rowhouse_identity::{Identity, IdentitySettings, LimitSettings};
use rowhouse_mail::{Folder, Mailer};
use rowhouse_openid::{OpenId, OpenIdServices};
use rowhouse_postgres::{Authorities, Databases, bootstrap};
use rowhouse_records::Records;
use rowhouse_server::{ServerSettings, ServerState, Services};
use rowhouse_tenants::{Tenants, TenantsSettings};
use rowhouse_types::MasterKey;
use tokio::signal::unix::{SignalKind, signal};

use crate::local::{self, Server};
use crate::output::Output;
use crate::settings::Settings;

/// A server with its databases, without an app.
pub(crate) struct Ground {
    pub(crate) server: Server,
    pub(crate) databases: Arc<Databases>,
    pub(crate) authorities: Authorities,
    pub(crate) master_key: MasterKey,
}

impl Ground {
    /// Opens or starts the server and makes sure that roles and databases exist.
    pub(crate) async fn open(settings: &Settings, command: &str) -> anyhow::Result<Self> {
        let opening = settings.clone();
        let name = command.to_owned();
        let server = tokio::task::spawn_blocking(move || local::open(&opening, &name)).await??;
        let master_key = server.settings.master_key.clone();
        bootstrap(&server.settings)
            .await
            .with_context(|| format!("cannot use the server at {}", server.settings.address()))?;
        let (databases, authorities) = Databases::open(server.settings.clone());
        Ok(Self { server, databases, authorities, master_key })
    }

    /// Identity on a control database of the newest version, for commands that need no app.
    pub(crate) async fn identity(
        &self,
        settings: &Settings,
        purpose: &'static str,
    ) -> anyhow::Result<(Arc<Identity>, Audit)> {
        let system = &self.authorities.system;
        rowhouse_tenants::migrate_control(&self.databases, &system.scope(purpose)).await?;
        let audit = Audit::start(self.databases.clone(), system.clone());
        let identity_settings = IdentitySettings { issuer: settings.public_url.clone(), ..IdentitySettings::default() };
        let (databases, master) = (self.databases.clone(), self.master_key.clone());
        let identity = Identity::open(databases, system.clone(), master, audit.clone(), identity_settings).await?;
        Ok((Arc::new(identity), audit))
    }

    /// The OpenID provider.
    pub(crate) fn openid(&self, settings: &Settings, identity: &Arc<Identity>, audit: &Audit) -> OpenId {
        let services = OpenIdServices {
            databases: self.databases.clone(),
            authority: self.authorities.system.clone(),
            identity: identity.clone(),
            audit: audit.clone(),
        };
        OpenId::new(&settings.public_url, &self.master_key, services)
    }

    /// Closes the pools and stops the server if this process runs it.
    pub(crate) async fn close(self) {
        self.databases.shut_down();
        // Stopping waits for the server's end; the runtime's workers must not wait with it.
        let stopped = tokio::task::spawn_blocking(move || self.server.stop()).await;
        if let Err(error) = stopped {
            tracing::error!(%error, "stop the embedded PostgreSQL");
        }
    }
}

/// Everything, with an app.
pub(crate) struct Rowhouse {
    pub(crate) ground: Ground,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) clerk: Option<Arc<Clerk>>,
    pub(crate) audit: Audit,
    pub(crate) mailer: Mailer,
}

/// A person pressed Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; what was finished stays, and running the command again goes on from there")]
pub(crate) struct Interrupted;

/// Loads the app that the settings name.
pub(crate) fn load_app(settings: &Settings) -> anyhow::Result<App> {
    let directory = settings.app.as_deref().unwrap_or_else(|| Path::new("."));
    App::load(directory).with_context(|| match settings.app {
        Some(_) if !directory.exists() => format!("there is no app {}.{}", directory.display(), app_hint(directory)),
        Some(_) => format!("the app in {} cannot be used", directory.display()),
        None => "no app was named with --app, and the current directory holds none that can be used".to_owned(),
    })
}

/// The apps beside a directory that is not there: one of them may be meant.
fn app_hint(directory: &Path) -> String {
    let Some(name) = directory.file_name().and_then(|name| name.to_str()) else { return String::new() };
    let beside = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let entries = std::fs::read_dir(beside).into_iter().flatten().flatten();
    let apps = entries.filter(|entry| entry.path().join(MANIFEST_FILE).exists());
    let names: Vec<String> = apps.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    rowhouse_types::did_you_mean(name, names.iter().map(String::as_str))
}

impl Rowhouse {
    /// Puts the services together and brings the control and the shared databases to the newest
    /// version. Fails if the app's schema can leak.
    pub(crate) async fn open(settings: &Settings, app: App, command: &str) -> anyhow::Result<Self> {
        let ground = Ground::open(settings, command).await?;
        rowhouse_tenants::migrate_control(&ground.databases, &ground.authorities.system.scope("serve")).await?;
        Self::open_on(ground, settings, app, true).await
    }

    /// The same on a ground whose control database has been migrated. If not `migrate`, the shared
    /// database is not changed either: to tell what a migration would do.
    pub(crate) async fn open_on(ground: Ground, settings: &Settings, app: App, migrate: bool) -> anyhow::Result<Self> {
        let audit = Audit::start(ground.databases.clone(), ground.authorities.system.clone());
        let (databases, system) = (ground.databases.clone(), ground.authorities.system.clone());
        let title = app.manifest.app.title.clone();
        let mailer = crate::mail::open(settings, &title, databases, system, ground.master_key.clone())?;
        let identity = Identity::open(
            ground.databases.clone(),
            ground.authorities.system.clone(),
            ground.master_key.clone(),
            audit.clone(),
            IdentitySettings {
                issuer: settings.public_url.clone(),
                base_domain: settings.base_domain.clone(),
                development: settings.development,
                service_name: title,
                mfa_demanded: !settings.development,
                accounts_elsewhere: settings.clerk.is_some(),
                limits: LimitSettings { attempts_max: settings.auth_attempts, ..LimitSettings::default() },
                dns_server: settings.dns_server,
                password_score_min: settings.password_score_min,
                session_days: settings.session_idle_days,
                session_days_max: settings.session_days,
                ..IdentitySettings::default()
            },
        )
        .await?;
        // With Clerk nobody has an account here: a link in a mail of ours would open nothing.
        let identity = if settings.clerk.is_some() { identity } else { identity.with_mailer(mailer.clone()) };
        let identity = Arc::new(identity);
        let tenants = Tenants::open(
            ground.databases.clone(),
            &ground.authorities,
            identity.clone(),
            app,
            TenantsSettings { warm: settings.warm, migrate_at_open: migrate, ..TenantsSettings::default() },
        )
        .await?;
        let clerk = crate::clerk::open(settings, &ground, &identity, &tenants, &audit)?;
        Ok(Self { ground, tenants, identity, clerk, audit, mailer })
    }

    /// The mails that a developer is shown.
    pub(crate) fn kept_mails(&self, settings: &Settings) -> Option<&Folder> {
        self.mailer.folder().filter(|_| settings.development && settings.clerk.is_none())
    }

    /// The HTTP side's state.
    pub(crate) fn server_state(&self, settings: &Settings) -> ServerState {
        let http = ServerSettings {
            base_domain: settings.base_domain.clone(),
            public_url: settings.public_url.clone(),
            request_timeout: settings.request_timeout,
            body_bytes_max: settings.body_bytes_max,
            trusted_proxies: settings.trusted_proxies.clone(),
            version: env!("CARGO_PKG_VERSION"),
            kept_mails: self.kept_mails(settings).cloned(),
        };
        let records = Records::new(self.ground.databases.clone(), self.ground.master_key.signer("cursor"));
        let services = Services {
            databases: self.ground.databases.clone(),
            tenant_authority: self.ground.authorities.tenant.clone(),
            system_authority: self.ground.authorities.system.clone(),
            tenants: self.tenants.clone(),
            identity: self.identity.clone(),
            clerk: self.clerk.clone(),
            // With Clerk nobody has an account here to sign in to other programs with.
            openid: self.clerk.is_none().then(|| Arc::new(self.ground.openid(settings, &self.identity, &self.audit))),
            audit: self.audit.clone(),
            records,
        };
        ServerState::new(http, services)
    }

    /// Opens everything, does a verb's work and closes. Ctrl-C ends the work, but not the
    /// operations that it has begun; a second one ends those too.
    pub(crate) async fn work(
        settings: &Settings,
        output: Output,
        command: &str,
        work: impl AsyncFnOnce(&Self) -> anyhow::Result<ExitCode>,
    ) -> anyhow::Result<ExitCode> {
        // One listener for both: a new one would miss what came a moment before it.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let rowhouse = tokio::select! {
            opened = Self::open(settings, load_app(settings)?, command) => opened?,
            _ = interrupt.recv() => return Err(Interrupted.into()),
        };
        let outcome = tokio::select! {
            outcome = work(&rowhouse) => outcome,
            _ = interrupt.recv() => {
                output.message("bringing to its end what was begun; Ctrl-C again leaves it for the next run");
                tokio::select! { () = rowhouse.close() => {}, _ = interrupt.recv() => {} }
                return Err(Interrupted.into());
            }
        };
        rowhouse.close().await;
        outcome
    }

    /// Brings to their end the operations that were begun, writes out what is still in memory,
    /// then closes the databases.
    pub(crate) async fn close(self) {
        self.tenants.finish().await;
        self.audit.flush().await;
        self.ground.close().await;
    }
}
