//! One PostgreSQL server that holds data databases: how to reach it and with which roles.

use std::time::Duration;

use rowhouse_types::MasterKey;
use secrecy::ExposeSecret;
use tokio_postgres::config::Config;

use crate::lanes::BusyLanes;
use crate::server_url;
use crate::tls::Tls;

/// The name of the cluster that holds the control database.
pub(crate) const HOME_CLUSTER: &str = "home";

/// The three roles of an installation and its databases, all named after the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleNames {
    instance: String,
    databases: String,
    service: Option<String>,
}

impl RoleNames {
    /// The names for an instance ("rowhouse" by default); several may share a server.
    pub fn new(instance: &str) -> Self {
        Self { instance: instance.to_owned(), databases: instance.to_owned(), service: None }
    }

    /// The same roles with databases of another prefix, so that many installations on one
    /// server need not make roles of their own (tests).
    #[must_use]
    pub fn with_databases(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.databases);
        self
    }

    /// The same with a service role of another name: one that was made ready beforehand.
    #[must_use]
    pub fn with_service(mut self, name: &str) -> Self {
        self.service = Some(name.to_owned());
        self
    }

    /// Owns every database and object; used by migrations and the system scope only.
    pub fn owner(&self) -> String {
        format!("{}_owner", self.instance)
    }

    /// Serves requests: owns nothing, is a member of nothing, cannot bypass.
    pub fn service(&self) -> String {
        self.service.clone().unwrap_or_else(|| format!("{}_service", self.instance))
    }

    /// Operators' read-only figures.
    pub fn reader(&self) -> String {
        format!("{}_reader", self.instance)
    }

    /// The control database.
    pub fn control_database(&self) -> String {
        format!("{}_control", self.databases)
    }

    /// The data database of pool and schema placement.
    pub fn data_database(&self) -> String {
        format!("{}_data", self.databases)
    }

    /// A database of one tenant's own, or a template, by a suffix that is unique.
    pub fn database(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.databases)
    }
}

/// Bounds on connections and statements (requirements K1, K3).
#[derive(Clone, Debug)]
pub struct PoolLimits {
    /// Connections of the service role to one database.
    pub service_connections_max: usize,
    /// Of these, how many quick requests that read share, and as many those that write; at most
    /// half of them and a quarter. About as many as the server has cores keep it busy, and the
    /// fewer they are, the less often it sleeps and is woken.
    pub lanes_max: usize,
    /// Connections of the owner role to one database.
    pub owner_connections_max: usize,
    /// Connections one tenant may hold at a time.
    pub tenant_connections_max: usize,
    /// Databases with an open pool; the least recently used is closed first.
    pub databases_max: usize,
    /// Time after which an unused connection is closed.
    pub idle: Duration,
    /// Time to establish a connection.
    pub connect: Duration,
    /// Time a request waits for a connection before it is told to come back.
    pub wait: Duration,
    /// Longest statement of a tenant.
    pub statement: Duration,
    /// Prepared statements kept on one connection; each costs the server memory.
    pub statements_cached_max: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        // The server is on this machine, or on one that is hardly smaller.
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
        Self {
            service_connections_max: 16,
            lanes_max: cores + 1,
            owner_connections_max: 10,
            tenant_connections_max: 5,
            databases_max: 50,
            idle: Duration::from_secs(60),
            connect: Duration::from_secs(10),
            wait: Duration::from_secs(5),
            statement: Duration::from_secs(15),
            statements_cached_max: 256,
        }
    }
}

/// How to reach one cluster.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// Host and port; role and database are set per connection.
    pub(crate) base: Config,
    tls: Tls,
    /// A pooler in transaction mode before the server, for the service role. The owner goes past
    /// it: its locks and long transactions need a session of their own.
    pooler: Option<(Config, Tls)>,
    /// The roles and databases.
    pub roles: RoleNames,
    /// The key from which the roles' passwords are derived.
    pub master_key: MasterKey,
    /// Bounds.
    pub limits: PoolLimits,
    /// False behind a pooler in transaction mode that knows no prepared statements
    /// (pgbouncer before 1.21). It concerns the service role.
    pub prepared_statements: bool,
    /// False behind a pooler that hangs on pipelined statements (Supavisor in transaction mode).
    pub pipelining: bool,
    pub(crate) busy_reads: BusyLanes,
    pub(crate) busy_writes: BusyLanes,
}

/// Which of the three roles a connection uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ConnectAs {
    Owner,
    Service,
}

impl ClusterSettings {
    /// Settings for the server at a connection URL; role and database of the URL are used by
    /// the bootstrap only. Of TLS it says what libpq reads: `sslmode` and `sslrootcert`.
    ///
    /// # Errors
    /// The URL's fault, in words, without its password.
    pub fn from_url(url: &str, roles: RoleNames, master_key: MasterKey) -> Result<Self, String> {
        let (base, tls) = server_url::read(url).map_err(|fault| format!("the database URL {fault}"))?;
        Ok(Self { tls, ..Self::from_config(base, roles, master_key) })
    }

    pub(crate) fn from_config(base: Config, roles: RoleNames, master_key: MasterKey) -> Self {
        Self {
            base,
            tls: Tls::OFF,
            pooler: None,
            roles,
            master_key,
            limits: PoolLimits::default(),
            prepared_statements: true,
            pipelining: true,
            busy_reads: BusyLanes::default(),
            busy_writes: BusyLanes::default(),
        }
    }

    /// The same server behind a pooler, which the service role uses. Of the URL only host, port
    /// and TLS count.
    ///
    /// # Errors
    /// The URL's fault, in words, without its password.
    pub fn behind_pooler(mut self, url: &str) -> Result<Self, String> {
        let pooler = server_url::read(url).map_err(|fault| format!("the pooler's URL {fault}"))?;
        self.pooler = Some(pooler);
        Ok(self)
    }

    /// Whether the service role goes through a pooler of its own.
    pub(crate) fn is_pooled(&self) -> bool {
        self.pooler.is_some()
    }

    /// Whether a role's statements may be prepared.
    pub(crate) fn prepares(&self, role: ConnectAs) -> bool {
        // Without a pooler's own URL the database URL may be one, and both roles go through it.
        self.prepared_statements || (role == ConnectAs::Owner && self.pooler.is_some())
    }

    /// The driver's configuration for one role and database.
    pub(crate) fn config(&self, role: ConnectAs, database: &str) -> Config {
        let name = match role {
            ConnectAs::Owner => self.roles.owner(),
            ConnectAs::Service => self.roles.service(),
        };
        let mut config = self.way(role).0.clone();
        config
            .password(self.master_key.password(&name).expose_secret())
            .user(name)
            .dbname(database)
            .application_name("rowhouse")
            .connect_timeout(self.limits.connect);
        config
    }

    /// How a role's connections are secured.
    pub(crate) fn tls(&self, role: ConnectAs) -> &Tls {
        self.way(role).1
    }

    /// How programs of PostgreSQL's (psql) are to secure their connections: libpq's environment.
    pub fn tls_environment(&self) -> Vec<(&'static str, String)> {
        self.tls.environment()
    }

    fn way(&self, role: ConnectAs) -> (&Config, &Tls) {
        match &self.pooler {
            Some((config, tls)) if role == ConnectAs::Service => (config, tls),
            _ => (&self.base, &self.tls),
        }
    }

    /// Host and port in words, for messages.
    pub fn address(&self) -> String {
        let host = self.base.get_hosts().first().map(|host| match host {
            tokio_postgres::config::Host::Tcp(name) => name.clone(),
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        });
        let port = self.base.get_ports().first().copied().unwrap_or(5432);
        format!("{}:{port}", host.unwrap_or_else(|| "localhost".into()))
    }
}
