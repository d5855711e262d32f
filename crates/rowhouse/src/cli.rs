//! The command line: verbs, flags and help.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use rowhouse_identity::KeyAlgorithm;
use rowhouse_mail::MailStatus;

use crate::settings::SettingsArgs;

/// Rowhouse turns a PostgreSQL schema into a multi-tenant service.
#[derive(Debug, Parser)]
#[command(name = "rowhouse", version, propagate_version = true, max_term_width = 110, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// One JSON document on stdout instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No messages but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Config file [default: rowhouse.config.toml, if it exists]
    #[arg(long, env = "ROWHOUSE_CONFIG", global = true, value_name = "FILE", help_heading = "Settings")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  rowhouse app new desk                        a new app to start from
  rowhouse dev --app desk                      serve it with three demo tenants
  rowhouse app check --app desk                can its schema leak?
  rowhouse tenant create --app desk --name Acme --slug acme --owner ann@example.com
  rowhouse migrate up --app desk               bring every tenant to the newest schema";

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the app
    Serve,
    /// Serve the app on this machine with three demo tenants, one in each placement
    Dev {
        /// Rows of demo data for each tenant, over all tables
        #[arg(long, default_value_t = 300)]
        rows: u32,
    },
    /// Write, check and describe apps
    #[command(subcommand)]
    App(AppCommand),
    /// Tenants
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Bring schemas to the newest version
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// Mails to people: what became of them
    #[command(subcommand)]
    Mail(MailCommand),
    /// Operators: the people who run the service
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// People with an account
    #[command(subcommand)]
    User(UserCommand),
    /// Keys that sign tokens
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Programs that people sign in to with their account here (OpenID Connect)
    #[command(subcommand)]
    OauthClient(OauthClientCommand),
    /// Data for development
    #[command(subcommand)]
    Seed(SeedCommand),
    /// A token for a tenant, for development
    Token {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
        /// The member to act as [default: the tenant's first owner]
        #[arg(long = "as", value_name = "EMAIL")]
        member: Option<String>,
        /// How long it is valid, in minutes
        #[arg(long, default_value_t = 60)]
        minutes: u32,
    },
    /// The embedded PostgreSQL
    #[command(subcommand)]
    Db(DbCommand),
    /// Check settings, server and isolation
    Doctor,
    /// The OpenAPI document of the service with the app's entities
    Openapi,
}

/// `rowhouse app …`
#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// Write a small working app into a new directory
    New {
        /// The directory; its name is the app's name
        directory: PathBuf,
    },
    /// Check the app on a scratch database: can its schema leak, do its migrations work?
    Check,
    /// Print entities, columns, relations, roles, and what was completed
    Describe,
}

/// `rowhouse tenant …`
#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Make a tenant
    Create {
        /// Its name, for people
        #[arg(long)]
        name: String,
        /// Its name in URLs [default: made from the name]
        #[arg(long)]
        slug: Option<String>,
        /// E-mail address of its first owner; a person who is unknown gets an invitation
        #[arg(long, value_name = "EMAIL")]
        owner: Option<String>,
        /// Its plan [default: the app's]
        #[arg(long)]
        plan: Option<String>,
        /// Where its rows live
        #[arg(long, value_enum, default_value_t = PlacementArg::Pool)]
        placement: PlacementArg,
    },
    /// List tenants
    List {
        /// Only those whose name or slug contains this
        #[arg(long)]
        search: Option<String>,
        /// Only those of this status
        #[arg(long)]
        status: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Go on after this slug
        #[arg(long)]
        after: Option<String>,
    },
    /// Show one tenant
    Show {
        /// Slug or id
        tenant: String,
    },
    /// Refuse a tenant's requests until it is reactivated
    Suspend {
        /// Slug or id
        tenant: String,
        /// Why; its people see this
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Serve a suspended tenant again
    Reactivate {
        /// Slug or id
        tenant: String,
    },
    /// Delete a tenant and all its rows
    Delete {
        /// Slug or id
        tenant: String,
        /// The slug again: nothing is deleted without it
        #[arg(long, value_name = "SLUG")]
        confirm: Option<String>,
    },
}

/// Where a tenant's rows live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlacementArg {
    /// Shared tables
    Pool,
    /// A schema of its own
    Schema,
    /// A database of its own
    Database,
}

/// `rowhouse migrate …`
#[derive(Debug, Subcommand)]
pub(crate) enum MigrateCommand {
    /// Show what would be applied where
    Plan(MigrateTarget),
    /// Apply what is pending
    Up {
        #[command(flatten)]
        target: MigrateTarget,
        /// Show what would be applied, and apply nothing
        #[arg(long)]
        dry_run: bool,
        /// Targets at a time
        #[arg(long, default_value_t = 8)]
        parallel: usize,
    },
    /// Take the tenants' newest migration back, by its .down.sql
    Down {
        #[command(flatten)]
        target: MigrateTarget,
        /// Show what would be taken back, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show which targets are on which version
    Status {
        #[command(flatten)]
        target: MigrateTarget,
        /// Compare the real schemas instead of what was recorded
        #[arg(long)]
        verify: bool,
    },
}

/// Which targets a migration concerns.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct MigrateTarget {
    /// Which targets
    #[arg(long, value_enum, default_value_t = TargetArg::All)]
    pub(crate) target: TargetArg,
}

/// Which targets a migration concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetArg {
    /// The control database
    Control,
    /// Every place where tenants' rows live
    Tenants,
    /// Both, in this order
    All,
}

/// `rowhouse mail …`
#[derive(Debug, Subcommand)]
pub(crate) enum MailCommand {
    /// List mails, the newest first, with what went wrong
    List {
        /// Only those that stand here
        #[arg(long, value_enum)]
        status: Option<MailStatusArg>,
        /// Only those to this address
        #[arg(long, value_name = "EMAIL")]
        to: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
    },
}

/// Where a mail stands.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum MailStatusArg {
    /// It is yet to be sent
    Waiting,
    /// A server took it, or it was kept as a file
    Sent,
    /// It was given up
    Failed,
}

impl From<MailStatusArg> for MailStatus {
    fn from(status: MailStatusArg) -> Self {
        match status {
            MailStatusArg::Waiting => Self::Waiting,
            MailStatusArg::Sent => Self::Sent,
            MailStatusArg::Failed => Self::Failed,
        }
    }
}

/// `rowhouse operator …`
#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// Make an operator; the password is read from ROWHOUSE_OPERATOR_PASSWORD, or made and shown once
    Create {
        /// E-mail address
        email: String,
    },
    /// List operators
    List,
    /// Take an operator's second factor away and end their sessions: they have lost app and codes
    ResetMfa {
        /// E-mail address
        email: String,
    },
}

/// `rowhouse user …`
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Take a person's second factor away and end their sessions: they have lost all of it. They are told by mail
    ResetMfa {
        /// E-mail address
        email: String,
    },
}

/// `rowhouse keys …`
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List signing keys: which signs, which is next, which only verifies
    List,
    /// Make new keys: published at once, signing ten minutes later; no token breaks
    Rotate {
        /// Only that of this algorithm
        #[arg(long, value_enum)]
        algorithm: Option<KeyAlgorithmArg>,
    },
    /// Tell when a key ends, or end it now
    Retire {
        /// Its id, as `keys list` shows it
        key: String,
        /// It is compromised: refuse all that it has signed
        #[arg(long)]
        now: bool,
    },
}

/// What a key signs with.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KeyAlgorithmArg {
    /// ECDSA on P-256
    Es256,
    /// RSA
    Rs256,
}

impl From<KeyAlgorithmArg> for KeyAlgorithm {
    fn from(algorithm: KeyAlgorithmArg) -> Self {
        match algorithm {
            KeyAlgorithmArg::Es256 => Self::Es256,
            KeyAlgorithmArg::Rs256 => Self::Rs256,
        }
    }
}

/// `rowhouse oauth-client …`
#[derive(Debug, Subcommand)]
pub(crate) enum OauthClientCommand {
    /// Register a program; its secret is shown once
    Create {
        /// What people are told it is called
        #[arg(long)]
        name: String,
        /// Where people are sent back to; may be given several times
        #[arg(long = "redirect-uri", value_name = "URI", required = true)]
        redirect_uris: Vec<String>,
        /// Where they may be sent after signing out; may be given several times
        #[arg(long = "post-logout-redirect-uri", value_name = "URI")]
        post_logout_redirect_uris: Vec<String>,
        /// What it may ask for: some of openid, profile, email, org, offline_access, api
        #[arg(long, value_delimiter = ',', default_value = "openid,profile,email,org")]
        scopes: Vec<String>,
        /// What its ID tokens are signed with
        #[arg(long, value_enum, default_value_t = KeyAlgorithmArg::Es256)]
        id_token_algorithm: KeyAlgorithmArg,
        /// It cannot keep a secret: a page in a browser, an app on a device
        #[arg(long)]
        public: bool,
        /// It is the service's own: people are not asked
        #[arg(long)]
        first_party: bool,
    },
    /// List programs, the newest first
    List {
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
    },
    /// Give a program another secret
    RotateSecret {
        /// Its client_id
        client: String,
        /// How long the secret before is good too
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        overlap: u32,
    },
    /// Remove a program, and all tokens that it has
    Delete {
        /// Its client_id
        client: String,
    },
}

/// `rowhouse seed …`
#[derive(Debug, Subcommand)]
pub(crate) enum SeedCommand {
    /// Tenants with plausible rows: the same on every machine
    Demo {
        /// How many tenants
        #[arg(long, default_value_t = 3)]
        tenants: u32,
        /// Rows over all tenants and tables
        #[arg(long, default_value_t = 1000)]
        rows: u64,
        /// Where they live
        #[arg(long, value_enum, default_value_t = PlacementArg::Pool)]
        placement: PlacementArg,
    },
}

/// `rowhouse db …`
#[derive(Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Run the embedded server in the foreground, until Ctrl-C
    Start,
    /// Stop an embedded server that `db start` runs
    Stop,
    /// Tell whether it runs, and how to reach it
    Status,
    /// Open psql, as the owner or as one tenant
    Psql {
        /// Slug or id: the session sees this tenant's rows only
        #[arg(long)]
        tenant: Option<String>,
        /// Further arguments for psql, after --
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}
