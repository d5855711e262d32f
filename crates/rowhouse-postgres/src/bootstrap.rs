//! The first contact with a server: the roles and the two databases an installation needs.
//! Needs a role with CREATEROLE and CREATEDB once; never a superuser.

use secrecy::ExposeSecret;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::cluster::{ClusterSettings, ConnectAs};
use crate::connection::connect;
use crate::error::{DatabaseError, DatabaseResult};
use crate::{quote_identifier, quote_literal};

/// The oldest server that is supported.
const SERVER_VERSION_MIN: i32 = 150_000;
/// Two processes that start at once must not create the same role twice.
const BOOTSTRAP_LOCK: i64 = 0x726f_7768_6f75_7365;

/// What the bootstrap found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrapped {
    /// `server_version_num`, such as 150020.
    pub server_version: i32,
    /// Whether roles or databases had to be created.
    pub created: bool,
}

/// Makes sure that roles and databases exist and that the derived passwords open them.
///
/// # Errors
/// [`DatabaseError::Unavailable`] if the server cannot be reached; otherwise the server's word.
pub async fn bootstrap(settings: &ClusterSettings) -> DatabaseResult<Bootstrapped> {
    if let Some(server_version) = already_set_up(settings).await? {
        return Ok(Bootstrapped { server_version, created: false });
    }
    let admin = connect(&settings.base, settings.tls(ConnectAs::Owner)).await?;
    let server_version = server_version(&admin).await?;
    require_rights(&admin).await?;
    admin.execute("select pg_advisory_lock($1)", &[&BOOTSTRAP_LOCK]).await?;
    create_roles(&admin, settings).await?;
    create_databases(&admin, settings).await?;
    Ok(Bootstrapped { server_version, created: true })
}

/// The server's version if both roles can already open both databases.
async fn already_set_up(settings: &ClusterSettings) -> DatabaseResult<Option<i32>> {
    let mut version = 0;
    for role in [ConnectAs::Owner, ConnectAs::Service] {
        for database in [settings.roles.control_database(), settings.roles.data_database()] {
            let config = settings.config(role, &database);
            match connect(&config, settings.tls(role)).await {
                Ok(client) => version = server_version(&client).await?,
                // A wrong password, an absent role or database: what the bootstrap is for.
                Err(DatabaseError::Other { .. } | DatabaseError::Driver(_)) => return Ok(None),
                Err(other) => return Err(other),
            }
        }
    }
    Ok(Some(version))
}

async fn server_version(client: &Client) -> DatabaseResult<i32> {
    // Asked in the simple form: a pooler in transaction mode may lie between.
    let answer = client.simple_query("show server_version_num").await?;
    let told = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    });
    let version: i32 = told.unwrap_or_default();
    if version < SERVER_VERSION_MIN {
        return Err(DatabaseError::Other {
            code: "server_version".into(),
            message: format!("PostgreSQL 15 or later is needed; this server is {}", version / 10_000),
            position: None,
        });
    }
    Ok(version)
}

/// Asked before anything is made, so that nothing is left half-made.
async fn require_rights(admin: &Client) -> DatabaseResult<()> {
    const RIGHTS: &str = "
        select rolname::text, rolsuper or (rolcreaterole and rolcreatedb) from pg_roles where rolname = current_user";
    let row = admin.query_one(RIGHTS, &[]).await?;
    if row.get(1) {
        return Ok(());
    }
    let role = quote_identifier(row.get(0));
    Err(DatabaseError::Other {
        code: SqlState::INSUFFICIENT_PRIVILEGE.code().to_owned(),
        message: format!(
            "the role {role} may not make roles and databases, which the first start must: \
             alter role {role} createrole createdb, or name a role that has both"
        ),
        position: None,
    })
}

async fn create_roles(admin: &Client, settings: &ClusterSettings) -> DatabaseResult<()> {
    let roles = &settings.roles;
    let statement_ms = settings.limits.statement.as_millis();
    // Settings are kept with the role, not sent at connect: poolers refuse startup options.
    let service_defaults = format!(
        "statement_timeout = '{statement_ms}ms'; idle_in_transaction_session_timeout = '30s'; \
         lock_timeout = '5s'; search_path = 'pg_catalog'; jit = 'off'"
    );
    for (name, attributes, defaults) in [
        (roles.owner(), "login createdb", "jit = 'off'; client_min_messages = 'warning'"),
        (roles.service(), "login", service_defaults.as_str()),
        (roles.reader(), "login", service_defaults.as_str()),
    ] {
        let quoted = quote_identifier(&name);
        let created = admin.batch_execute(&format!("create role {quoted} {attributes}")).await;
        if let Err(error) = created
            && error.code() != Some(&SqlState::DUPLICATE_OBJECT)
        {
            return Err(error.into());
        }
        let password = quote_literal(settings.master_key.password(&name).expose_secret());
        admin.batch_execute(&format!("alter role {quoted} {attributes} password {password}")).await?;
        for default in defaults.split("; ") {
            admin.batch_execute(&format!("alter role {quoted} set {default}")).await?;
        }
    }
    Ok(())
}

async fn create_databases(admin: &Client, settings: &ClusterSettings) -> DatabaseResult<()> {
    let roles = &settings.roles;
    // The owner creates its databases itself, so that the bootstrapping role needs no
    // membership in it. It starts from whichever database the URL names.
    let mut config = settings.config(ConnectAs::Owner, settings.base.get_dbname().unwrap_or("postgres"));
    config.application_name("rowhouse bootstrap");
    let owner = connect(&config, settings.tls(ConnectAs::Owner)).await?;
    for database in [roles.control_database(), roles.data_database()] {
        let exists = admin.query_opt("select 1 from pg_database where datname = $1", &[&database]).await?;
        if exists.is_none() {
            let create = format!("create database {} template template0 encoding 'UTF8'", quote_identifier(&database));
            owner.batch_execute(&create).await?;
        }
        // Nobody but the three roles connects, and nobody makes temporary tables.
        let lock_down = format!(
            "revoke all on database {db} from public; grant connect on database {db} to {}, {}",
            quote_identifier(&roles.service()),
            quote_identifier(&roles.reader()),
            db = quote_identifier(&database),
        );
        owner.batch_execute(&lock_down).await?;
    }
    Ok(())
}
