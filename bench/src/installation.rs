//! An installation of Rowhouse on the ground's server, driven as an operator would: through its
//! command line and its HTTP interface.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use totp_rs::{Builder, Secret};

use crate::ground::{Ground, output};
use crate::http::Client;

/// How long a server may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(300);
const OPERATOR: &str = "operator@bench.example";
const OPERATOR_PASSWORD: &str = "a-long-password-for-measuring";

/// Roles, databases and keys under a name of their own.
pub(crate) struct Installation<'a> {
    ground: &'a Ground,
    instance: String,
    /// The app's directory.
    pub(crate) app: PathBuf,
    /// Where it listens when it serves.
    pub(crate) port: u16,
    /// The data directory's name: a second process has one of its own.
    directory: String,
    /// Under which it is known to clients: the first process's.
    public_port: u16,
}

/// A tenant and a token of its owner.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The tenant's id.
    pub(crate) tenant: String,
    /// The access token.
    pub(crate) token: String,
}

impl<'a> Installation<'a> {
    /// An installation of the benchmark's app; nothing happens yet.
    pub(crate) fn new(ground: &'a Ground, instance: &str) -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (instance, directory) = (instance.to_owned(), instance.to_owned());
        Ok(Self { ground, instance, app: std::path::absolute("bench/app")?, port, directory, public_port: port })
    }

    /// A second process of the same installation.
    pub(crate) fn beside(&self) -> Result<Self> {
        let directory = format!("{}_beside", self.directory);
        let public_port = self.public_port;
        Ok(Self { directory, public_port, app: self.app.clone(), ..Self::new(self.ground, &self.instance)? })
    }

    /// The database of pool and schema placement.
    pub(crate) fn data_database(&self) -> String {
        format!("{}_data", self.instance)
    }

    /// Runs SQL in the control database, as its superuser.
    pub(crate) fn sql_in_control(&self, sql: &str) -> Result<()> {
        self.ground.sql(&format!("{}_control", self.instance), sql).map(drop)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.ground.rowhouse);
        command
            .env("ROWHOUSE_DATABASE_URL", self.ground.url())
            .env("ROWHOUSE_DATA_DIR", self.ground.directory.join("ground").join(&self.directory))
            .env("ROWHOUSE_INSTANCE", &self.instance)
            .env("ROWHOUSE_APP", &self.app)
            .env("ROWHOUSE_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("ROWHOUSE_PUBLIC_URL", format!("http://localhost:{}", self.public_port))
            .env("ROWHOUSE_LOG", "warn")
            // All of its requests come from one address.
            .env("ROWHOUSE_AUTH_ATTEMPTS", "1000000")
            .stdin(Stdio::null());
        if self.directory != self.instance {
            let first = self.ground.directory.join("ground").join(&self.instance);
            command.env("ROWHOUSE_MASTER_KEY_FILE", first.join("master.key"));
        }
        command
    }

    /// Runs a verb and gives its result.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Value> {
        let text = output(self.command().arg("--json").args(arguments).env("ROWHOUSE_WARM", "0"))?;
        let document: Value = serde_json::from_str(&text).with_context(|| format!("rowhouse printed {text:?}"))?;
        Ok(document["data"].clone())
    }

    /// Makes tenants with about so many rows each.
    pub(crate) fn seed(&self, tenants: u32, rows: u32, placement: &str) -> Result<()> {
        let all = u64::from(tenants) * u64::from(rows);
        let (tenants, all) = (tenants.to_string(), all.to_string());
        self.run(&["seed", "demo", "--tenants", &tenants, "--rows", &all, "--placement", placement]).map(drop)
    }

    /// A token for each of the tenants that [`Self::seed`] made.
    pub(crate) fn callers(&self) -> Result<Vec<Caller>> {
        let tenants = self.run(&["tenant", "list", "--limit", "10000"])?;
        let mut callers = Vec::new();
        for tenant in tenants.as_array().context("a list of tenants")? {
            let id = tenant["id"].as_str().context("a tenant has an id")?;
            let made = self.run(&["token", "--tenant", id, "--minutes", "1440"])?;
            let token = made["access_token"].as_str().context("a token")?;
            callers.push(Caller { tenant: id.to_owned(), token: token.to_owned() });
        }
        Ok(callers)
    }

    /// Starts serving with `warm` prepared schemas and databases; ready when it answers.
    pub(crate) fn serve(&self, clients: u32, warm: u32) -> Result<Serving> {
        let started = Instant::now();
        let child = self
            .command()
            .arg("serve")
            .env("ROWHOUSE_CONNECTIONS", clients.to_string())
            .env("ROWHOUSE_WARM", warm.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        let mut serving = Serving { child, port: self.port, start: Duration::ZERO };
        serving.wait_until_ready()?;
        serving.start = started.elapsed();
        Ok(serving)
    }

    /// Makes an operator and signs in; gives the token. The server must be serving.
    pub(crate) fn operator(&self) -> Result<String> {
        let mut create = self.command();
        create.args(["--json", "operator", "create", OPERATOR]).env("ROWHOUSE_OPERATOR_PASSWORD", OPERATOR_PASSWORD);
        output(&mut create)?;
        self.operator_again()
    }

    /// Signs the operator in who was made before, with a new second factor: every operator needs
    /// one, and a code is good once.
    pub(crate) fn operator_again(&self) -> Result<String> {
        self.run(&["operator", "reset-mfa", OPERATOR])?;
        let mut client = Client::connect(self.port)?;
        let body = serde_json::json!({ "email": OPERATOR, "password": OPERATOR_PASSWORD }).to_string();
        let answer = client.must("POST", "/api/operators/sign-in", &[], &body)?;
        let token = answer["data"]["access_token"].as_str().context("an operator's token")?.to_owned();
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        let enrolled = client.must("POST", "/api/operators/mfa/enrol", &headers, "{}")?;
        let secret = Secret::try_from_base32(enrolled["data"]["secret"].as_str().context("a secret")?)?;
        let code = Builder::new().with_secret(secret).with_account_name(OPERATOR).build()?.generate_current();
        let body = serde_json::json!({ "code": code.to_string() }).to_string();
        client.must("POST", "/api/operators/mfa/confirm", &headers, &body)?;
        Ok(token)
    }

    /// The text by which Rowhouse completes the app's tables in every schema.
    pub(crate) fn completion(&self) -> Result<String> {
        let described = self.run(&["app", "describe"])?;
        Ok(described["completed"].as_str().context("what was completed")?.to_owned())
    }
}

/// A server that serves until dropped.
pub(crate) struct Serving {
    child: Child,
    port: u16,
    /// From the process's start to its first answer.
    pub(crate) start: Duration,
}

impl Serving {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("rowhouse serve ended by itself ({status})");
            }
            let answer = Client::connect(self.port).and_then(|mut client| client.send("GET", "/api/health", &[], ""));
            if answer.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        bail!("rowhouse serve did not answer in {} s", START_TIMEOUT.as_secs())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// Ends a process in order and waits for it.
pub(crate) fn stop(child: &mut Child) {
    let told = Command::new("kill").arg(child.id().to_string()).status();
    if !told.is_ok_and(|status| status.success()) {
        // It has ended already, or there is no kill program.
        drop(child.kill());
    }
    drop(child.wait());
}
