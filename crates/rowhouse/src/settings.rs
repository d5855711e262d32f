//! Settings: each is a flag, an environment variable `ROWHOUSE_…` and a key of the config file,
//! in that order. They are read as text and judged together, so that everything that is wrong
//! or missing is named at once.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rowhouse_server::TrustedProxies;

use crate::clerk::{ClerkArgs, ClerkChoice};
use crate::mail::{MailArgs, MailChoice};

/// The settings as given, before they are judged.
#[derive(Debug, Clone, Args)]
pub(crate) struct SettingsArgs {
    /// The app's directory (rowhouse.toml, migrations, seed)
    #[arg(long, env = "ROWHOUSE_APP", global = true, value_name = "DIR", help_heading = "Settings")]
    pub(crate) app: Option<PathBuf>,

    /// Where Rowhouse keeps its own PostgreSQL, keys and files [default: .rowhouse]
    #[arg(long, env = "ROWHOUSE_DATA_DIR", global = true, value_name = "DIR", help_heading = "Settings")]
    pub(crate) data_dir: Option<PathBuf>,

    /// A PostgreSQL server of your own (15 or later) instead of the embedded one
    #[arg(
        long,
        env = "ROWHOUSE_DATABASE_URL",
        global = true,
        value_name = "URL",
        hide_env_values = true,
        help_heading = "Settings"
    )]
    pub(crate) database_url: Option<String>,

    /// Prefix of roles and databases, so that several installations share a server [default: rowhouse]
    #[arg(long, env = "ROWHOUSE_INSTANCE", global = true, value_name = "NAME", help_heading = "Settings")]
    pub(crate) instance: Option<String>,

    /// Directory of PostgreSQL's server programs, for the embedded server
    #[arg(long, env = "ROWHOUSE_PG_BIN", global = true, value_name = "DIR", help_heading = "Settings")]
    pub(crate) pg_bin: Option<PathBuf>,

    /// File with the master key, 32 bytes in base64 [default: master.key in the data directory]
    #[arg(long, env = "ROWHOUSE_MASTER_KEY_FILE", global = true, value_name = "FILE", help_heading = "Settings")]
    pub(crate) master_key_file: Option<PathBuf>,

    /// Address to listen on [default: 127.0.0.1:8080, or the port in PORT]
    #[arg(long, env = "ROWHOUSE_LISTEN", global = true, value_name = "ADDR", help_heading = "Settings")]
    pub(crate) listen: Option<String>,

    /// Address for /metrics alone; without it operators read it on the main address
    #[arg(long, env = "ROWHOUSE_METRICS_LISTEN", global = true, value_name = "ADDR", help_heading = "Settings")]
    pub(crate) metrics_listen: Option<String>,

    /// Domain whose subdomains are the tenants [default: localhost]
    #[arg(long, env = "ROWHOUSE_BASE_DOMAIN", global = true, value_name = "DOMAIN", help_heading = "Settings")]
    pub(crate) base_domain: Option<String>,

    /// Whom to ask about tenants' mail domains [default: the machine's own resolver]
    #[arg(long, env = "ROWHOUSE_DNS_SERVER", global = true, value_name = "ADDR", help_heading = "Settings")]
    pub(crate) dns_server: Option<String>,

    /// What clients call this server: issuer of tokens and start of links [default: from --listen]
    #[arg(long, env = "ROWHOUSE_PUBLIC_URL", global = true, value_name = "URL", help_heading = "Settings")]
    pub(crate) public_url: Option<String>,

    /// Connections of the service role to one database [default: 16]
    #[arg(long, env = "ROWHOUSE_CONNECTIONS", global = true, value_name = "N", help_heading = "Settings")]
    pub(crate) connections: Option<String>,

    /// Longest statement of a tenant, in milliseconds [default: 15000]
    #[arg(long, env = "ROWHOUSE_STATEMENT_TIMEOUT_MS", global = true, value_name = "MS", help_heading = "Settings")]
    pub(crate) statement_timeout_ms: Option<String>,

    /// Longest request, in milliseconds [default: 30000]
    #[arg(long, env = "ROWHOUSE_REQUEST_TIMEOUT_MS", global = true, value_name = "MS", help_heading = "Settings")]
    pub(crate) request_timeout_ms: Option<String>,

    /// Largest request body, in bytes [default: 1048576]
    #[arg(long, env = "ROWHOUSE_BODY_BYTES", global = true, value_name = "BYTES", help_heading = "Settings")]
    pub(crate) body_bytes: Option<String>,

    /// Attempts at signing in and the like, of an address and at an account, in 15 minutes [default: 100]
    #[arg(long, env = "ROWHOUSE_AUTH_ATTEMPTS", global = true, value_name = "N", help_heading = "Settings")]
    pub(crate) auth_attempts: Option<String>,

    /// How hard a new password must be to guess: 2, 3 or 4, as zxcvbn counts [default: 3]
    #[arg(long, env = "ROWHOUSE_PASSWORD_SCORE", global = true, value_name = "N", help_heading = "Settings")]
    pub(crate) password_score: Option<String>,

    /// Days after which a session that is not used ends, at the latest [default: 30]
    #[arg(long, env = "ROWHOUSE_SESSION_IDLE_DAYS", global = true, value_name = "DAYS", help_heading = "Settings")]
    pub(crate) session_idle_days: Option<String>,

    /// Days after which any session ends, at the latest [default: 90]
    #[arg(long, env = "ROWHOUSE_SESSION_DAYS", global = true, value_name = "DAYS", help_heading = "Settings")]
    pub(crate) session_days: Option<String>,

    /// Proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8,192.0.2.1 [default: none]
    #[arg(long, env = "ROWHOUSE_TRUSTED_PROXIES", global = true, value_name = "NETWORKS", help_heading = "Settings")]
    pub(crate) trusted_proxies: Option<String>,

    /// A pooler in transaction mode before the server: the service role goes through it, migrations
    /// do not
    #[arg(long, env = "ROWHOUSE_POOLER_URL", global = true, value_name = "URL", help_heading = "Settings")]
    pub(crate) pooler_url: Option<String>,

    /// "off" behind a pooler in transaction mode without prepared statements [default: on]
    #[arg(long, env = "ROWHOUSE_PREPARED_STATEMENTS", global = true, value_name = "on|off", help_heading = "Settings")]
    pub(crate) prepared_statements: Option<String>,

    /// "off" behind a pooler that cannot pipeline [default: on]
    #[arg(long, env = "ROWHOUSE_PIPELINING", global = true, value_name = "on|off", help_heading = "Settings")]
    pub(crate) pipelining: Option<String>,

    /// Schemas and databases kept prepared for new tenants, each [default: 2]
    #[arg(long, env = "ROWHOUSE_WARM", global = true, value_name = "N", help_heading = "Settings")]
    pub(crate) warm: Option<String>,

    #[command(flatten)]
    pub(crate) mail: MailArgs,

    #[command(flatten)]
    pub(crate) clerk: ClerkArgs,

    /// Log filter, such as info or rowhouse_server=debug [default: info]
    #[arg(long, env = "ROWHOUSE_LOG", global = true, value_name = "FILTER", help_heading = "Settings")]
    pub(crate) log: Option<String>,

    /// "json" or "pretty" [default: pretty on a terminal, else json]
    #[arg(long, env = "ROWHOUSE_LOG_FORMAT", global = true, value_name = "FORMAT", help_heading = "Settings")]
    pub(crate) log_format: Option<String>,
}

/// The settings' names in the config file: those of the flags, with underscores.
pub(crate) const SETTING_KEYS: &[&str] = &[
    "app",
    "data_dir",
    "database_url",
    "instance",
    "pg_bin",
    "master_key_file",
    "listen",
    "metrics_listen",
    "base_domain",
    "dns_server",
    "public_url",
    "connections",
    "statement_timeout_ms",
    "request_timeout_ms",
    "body_bytes",
    "auth_attempts",
    "password_score",
    "session_idle_days",
    "session_days",
    "trusted_proxies",
    "pooler_url",
    "prepared_statements",
    "pipelining",
    "warm",
    "smtp_url",
    "smtp_ca_file",
    "mail_from",
    "mail_language",
    "mail_templates",
    "identity_provider",
    "clerk_issuer",
    "clerk_jwks_url",
    "clerk_authorized_parties",
    "clerk_webhook_secrets",
    "clerk_roles",
    "clerk_secret_key",
    "clerk_api_url",
    "log",
    "log_format",
];

/// The settings, judged.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) app: Option<PathBuf>,
    pub(crate) data_dir: PathBuf,
    pub(crate) database_url: Option<String>,
    pub(crate) instance: String,
    pub(crate) pg_bin: Option<PathBuf>,
    pub(crate) master_key_file: Option<PathBuf>,
    pub(crate) listen: SocketAddr,
    pub(crate) metrics_listen: Option<SocketAddr>,
    pub(crate) base_domain: String,
    pub(crate) dns_server: Option<SocketAddr>,
    pub(crate) public_url: String,
    /// Whether somebody set it; else it follows from where the service listens.
    pub(crate) public_url_chosen: bool,
    pub(crate) connections: usize,
    pub(crate) statement_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) body_bytes_max: usize,
    pub(crate) auth_attempts: i32,
    pub(crate) password_score_min: u8,
    pub(crate) session_idle_days: i32,
    pub(crate) session_days: i32,
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) pooler_url: Option<String>,
    pub(crate) prepared_statements: bool,
    pub(crate) pipelining: bool,
    pub(crate) warm: usize,
    /// Whether this is `rowhouse dev`: no flag, so that nobody runs a service like that by accident.
    pub(crate) development: bool,
    pub(crate) mail: MailChoice,
    /// Where people sign in, if it is Clerk.
    pub(crate) clerk: Option<ClerkChoice>,
    pub(crate) log: String,
    pub(crate) log_format: Option<LogFormat>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Json,
    Pretty,
}

/// Everything that is wrong with the settings.
#[derive(Debug)]
pub(crate) struct SettingsError(pub(crate) Vec<String>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for SettingsError {}

/// Collects faults, so that all are told.
struct Judge {
    problems: Vec<String>,
}

impl Judge {
    fn address(&mut self, name: &str, text: &str) -> Option<SocketAddr> {
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.problems.push(format!("--{name} {text:?} is not an address; write host:port, such as 127.0.0.1:8080"));
        }
        parsed
    }

    fn number(&mut self, name: &str, text: Option<&str>, default: u64, low: u64, high: u64) -> u64 {
        let Some(text) = text else { return default };
        match text.parse() {
            Ok(number) if (low..=high).contains(&number) => number,
            _ => {
                self.problems.push(format!("--{name} {text:?} must be a number from {low} to {high}"));
                default
            }
        }
    }

    /// The name under which roles and databases are found.
    fn instance(&mut self, text: Option<String>) -> String {
        let instance = text.unwrap_or_else(|| "rowhouse".into());
        let fits = (1..=30).contains(&instance.len())
            && instance.starts_with(|c: char| c.is_ascii_lowercase())
            && instance.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !fits {
            self.problems
                .push(format!("--instance {instance:?} must be 1 to 30 of a-z, 0-9 and _, beginning with a letter"));
        }
        instance
    }

    /// How hard passwords must be to guess: less than 2 would take those that are tried first.
    fn score(&mut self, text: Option<&str>) -> u8 {
        u8::try_from(self.number("password-score", text, 3, 2, 4)).unwrap_or(3)
    }

    fn count(&mut self, name: &str, text: Option<&str>, default: i32, most: i32) -> i32 {
        let bounds = (u64::from(default.unsigned_abs()), u64::from(most.unsigned_abs()));
        i32::try_from(self.number(name, text, bounds.0, 1, bounds.1)).unwrap_or(default)
    }

    fn proxies(&mut self, text: Option<&str>) -> TrustedProxies {
        text.unwrap_or_default().parse().unwrap_or_else(|error| {
            self.problems.push(format!("--trusted-proxies: {error}"));
            TrustedProxies::default()
        })
    }

    fn switch(&mut self, name: &str, text: Option<&str>) -> bool {
        match text {
            None | Some("on" | "true" | "1") => true,
            Some("off" | "false" | "0") => false,
            Some(other) => {
                self.problems.push(format!("--{name} {other:?} must be on or off"));
                true
            }
        }
    }
}

impl SettingsArgs {
    /// Judges the settings.
    pub(crate) fn resolve(self) -> Result<Settings, SettingsError> {
        let mut judge = Judge { problems: Vec::new() };
        let listen = match (&self.listen, std::env::var("PORT")) {
            (Some(text), _) => judge.address("listen", text),
            (None, Ok(port)) => judge.address("listen", &format!("0.0.0.0:{port}")),
            (None, Err(_)) => None,
        }
        .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
        let metrics_listen = self.metrics_listen.as_deref().and_then(|text| judge.address("metrics-listen", text));
        let dns_server = self.dns_server.as_deref().and_then(|text| judge.address("dns-server", text));
        let instance = judge.instance(self.instance);
        let log_format = match self.log_format.as_deref() {
            None => None,
            Some("json") => Some(LogFormat::Json),
            Some("pretty") => Some(LogFormat::Pretty),
            Some(other) => {
                judge.problems.push(format!("--log-format {other:?} must be json or pretty"));
                None
            }
        };
        let statement_ms =
            judge.number("statement-timeout-ms", self.statement_timeout_ms.as_deref(), 15_000, 1, 3_600_000);
        let request_ms = judge.number("request-timeout-ms", self.request_timeout_ms.as_deref(), 30_000, 1, 3_600_000);
        let body_bytes = judge.number("body-bytes", self.body_bytes.as_deref(), 1 << 20, 1 << 10, 1 << 30);
        let connections = judge.number("connections", self.connections.as_deref(), 16, 1, 1000);
        let warm = judge.number("warm", self.warm.as_deref(), 2, 0, 1000);
        let settings = Settings {
            app: self.app,
            data_dir: self.data_dir.unwrap_or_else(|| PathBuf::from(".rowhouse")),
            database_url: self
                .database_url
                .or_else(|| std::env::var("DATABASE_URL").ok())
                .filter(|url| !url.is_empty()),
            instance,
            pg_bin: self.pg_bin,
            master_key_file: self.master_key_file,
            listen,
            metrics_listen,
            dns_server,
            base_domain: self.base_domain.unwrap_or_else(|| "localhost".into()).to_lowercase(),
            public_url_chosen: self.public_url.is_some(),
            public_url: self.public_url.unwrap_or_else(|| format!("http://localhost:{}", listen.port())),
            connections: usize::try_from(connections).unwrap_or(16),
            statement_timeout: Duration::from_millis(statement_ms),
            request_timeout: Duration::from_millis(request_ms),
            body_bytes_max: usize::try_from(body_bytes).unwrap_or(1 << 20),
            development: false,
            auth_attempts: judge.count("auth-attempts", self.auth_attempts.as_deref(), 100, 1_000_000_000),
            password_score_min: judge.score(self.password_score.as_deref()),
            session_idle_days: judge.count("session-idle-days", self.session_idle_days.as_deref(), 30, 3650),
            session_days: judge.count("session-days", self.session_days.as_deref(), 90, 3650),
            trusted_proxies: judge.proxies(self.trusted_proxies.as_deref()),
            pooler_url: self.pooler_url.filter(|url| !url.is_empty()),
            prepared_statements: judge.switch("prepared-statements", self.prepared_statements.as_deref()),
            pipelining: judge.switch("pipelining", self.pipelining.as_deref()),
            warm: usize::try_from(warm).unwrap_or(2),
            mail: self.mail.resolve(&mut judge.problems),
            clerk: self.clerk.resolve(&mut judge.problems),
            log: self.log.unwrap_or_else(|| "info".into()),
            log_format,
        };
        if judge.problems.is_empty() { Ok(settings) } else { Err(SettingsError(judge.problems)) }
    }
}

/// Reads the config file: the keys of [`SETTING_KEYS`], values as text, number or boolean.
///
/// # Errors
/// Names the file and every unknown key.
pub(crate) fn read_config(path: &Path) -> Result<Vec<(String, String)>, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError(vec![format!("cannot read the config file {}: {error}", path.display())]))?;
    let table: toml::Table =
        text.parse().map_err(|error| SettingsError(vec![format!("{}: {error}", path.display())]))?;
    let mut values = Vec::new();
    let mut problems = Vec::new();
    for (key, value) in table {
        if !SETTING_KEYS.contains(&key.as_str()) {
            let hint = rowhouse_types::did_you_mean(&key, SETTING_KEYS.iter().copied());
            problems.push(format!("{}: unknown setting {key:?}.{hint}", path.display()));
            continue;
        }
        match value {
            toml::Value::String(text) => values.push((key, text)),
            toml::Value::Integer(_) | toml::Value::Boolean(_) => values.push((key, value.to_string())),
            _ => problems.push(format!("{}: {key} must be a text, a number or a boolean", path.display())),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(SettingsError(problems)) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: SettingsArgs,
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let line = ["x", "--listen", "nowhere", "--connections", "0", "--pipelining", "maybe", "--instance", "Big"];
        let error = Line::parse_from(line).settings.resolve().unwrap_err();
        assert_eq!(error.0.len(), 4, "{error}");
    }

    #[test]
    fn a_config_file_names_unknown_keys() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rowhouse.config.toml");
        std::fs::write(&path, "lisen = \"x\"\nconnections = 8\n").unwrap();
        assert!(read_config(&path).unwrap_err().to_string().contains("Did you mean \"listen\"?"));
    }
}
