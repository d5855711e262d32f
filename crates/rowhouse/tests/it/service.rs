//! A running service for tests: `rowhouse dev` on a data directory of its own, shared by the
//! tests of this program, with the three demo tenants.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// A demo tenant: one in each placement.
pub(crate) struct Demo {
    pub(crate) slug: &'static str,
    pub(crate) email: &'static str,
}

pub(crate) const ACME: Demo = Demo { slug: "acme", email: "ann@acme.example" };
pub(crate) const GLOBEX: Demo = Demo { slug: "globex", email: "bob@globex.example" };
pub(crate) const INITECH: Demo = Demo { slug: "initech", email: "cleo@initech.example" };
/// A second tenant in the shared tables, beside ACME.
pub(crate) const NEIGHBOUR: Demo = Demo { slug: "demo-0001", email: "owner-0001@demo.example" };
pub(crate) const DEMOS: [Demo; 4] = [ACME, GLOBEX, INITECH, NEIGHBOUR];

/// A service and the process behind it.
pub(crate) struct Service {
    pub(crate) url: String,
    pub(crate) data_dir: PathBuf,
    child: Child,
    _directory: Option<TempDir>,
}

static SHARED: OnceLock<Service> = OnceLock::new();

pub(crate) fn app_dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../apps").join(name)
}

/// A directory that the server's unprivileged account can pass through.
pub(crate) fn temporary() -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::Builder::new().prefix("rh").tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// The program. It gets a death signal from its parent, so that an aborted test leaves nothing.
pub(crate) fn rowhouse(data_dir: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_rowhouse")]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ROWHOUSE_") && name != "ROWHOUSE_PG_BIN") {
        command.env_remove(name);
    }
    command.env("ROWHOUSE_DATA_DIR", data_dir).env_remove("DATABASE_URL").env_remove("PORT");
    // All tests sign in from one address.
    command.env("ROWHOUSE_AUTH_ATTEMPTS", "1000000");
    command
}

impl Service {
    /// The service that all tests share.
    pub(crate) fn shared() -> &'static Self {
        SHARED.get_or_init(|| {
            let (sender, receiver) = std::sync::mpsc::sync_channel(1);
            // The death signal fires when the thread that started the child ends: this one stays.
            std::thread::spawn(move || {
                let directory = temporary();
                let data_dir = directory.path().to_owned();
                let service = Self::start_in(data_dir, "solar", Some(directory));
                service.seed_neighbour();
                sender.send(service).unwrap();
                loop {
                    std::thread::park();
                }
            });
            receiver.recv().unwrap()
        })
    }

    /// A service of one test's own. The test's thread must live as long as it.
    pub(crate) fn start(app: &str) -> Self {
        let directory = temporary();
        let data_dir = directory.path().to_owned();
        Self::start_in(data_dir, app, Some(directory))
    }

    /// The same with settings of its own.
    pub(crate) fn start_with(app: &str, settings: &[&str]) -> Self {
        let directory = temporary();
        Self::start_set(directory.path().to_owned(), app, Some(directory), settings)
    }

    pub(crate) fn start_in(data_dir: PathBuf, app: &str, directory: Option<TempDir>) -> Self {
        Self::start_set(data_dir, app, directory, &[])
    }

    /// The same data served as it is in production, by a new process.
    pub(crate) fn restart_in_production(mut self, app: &str) -> Self {
        self.signal("-TERM");
        assert!(self.wait().success());
        Self::start_as(&["serve"], self.data_dir.clone(), app, self._directory.take(), &[])
    }

    /// The same data served by a new process with other settings.
    pub(crate) fn restart(mut self, app: &str, settings: &[&str]) -> Self {
        self.signal("-TERM");
        assert!(self.wait().success());
        Self::start_set(self.data_dir.clone(), app, self._directory.take(), settings)
    }

    fn start_set(data_dir: PathBuf, app: &str, directory: Option<TempDir>, settings: &[&str]) -> Self {
        Self::start_as(&["dev", "--rows", "200"], data_dir, app, directory, settings)
    }

    fn start_as(verb: &[&str], data_dir: PathBuf, app: &str, directory: Option<TempDir>, settings: &[&str]) -> Self {
        let mut child = rowhouse(&data_dir)
            .args(verb)
            .args(["--json", "--listen", "127.0.0.1:0", "--app"])
            .arg(app_dir(app))
            .args(settings)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(data_dir.join("stderr.log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let log = || std::fs::read_to_string(data_dir.join("stderr.log")).unwrap_or_default();
        let ready: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("the service did not start: {line}\n{}", log()));
        let url = ready["data"]["url"].as_str().unwrap_or_else(|| panic!("{line}\n{}", log())).to_owned();
        // Whatever name it has there, it listens here.
        let url = format!("http://127.0.0.1:{}", url.rsplit_once(':').unwrap().1);
        Self { url, data_dir, child, _directory: directory }
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.process().to_string()]).status().unwrap().success());
    }

    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    /// A client without credentials.
    pub(crate) fn anonymous(&self) -> Caller {
        Caller { url: self.url.clone(), client: Client::new(), token: None, headers: Vec::new() }
    }

    /// A client that is signed in.
    pub(crate) async fn sign_in(&self, email: &str) -> Caller {
        let body = json!({ "email": email, "password": PASSWORD });
        let answer = self.anonymous().post("/api/auth/sign-in", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        Caller { token: Some(answer.text("/data/access_token")), ..self.anonymous() }
    }

    /// The owner of a demo tenant.
    pub(crate) async fn owner(&self, demo: &Demo) -> Caller {
        match demo.slug == NEIGHBOUR.slug {
            true => self.token(demo.slug, demo.email),
            false => self.sign_in(demo.email).await,
        }
    }

    /// Makes the tenant that shares its tables with ACME.
    pub(crate) fn seed_neighbour(&self) {
        let made = self.command(&["seed", "demo", "--tenants", "1", "--rows", "200", "--placement", "pool"]);
        assert_eq!(made["success"], true, "{made}");
    }

    /// A member, by a token from the command line.
    pub(crate) fn token(&self, tenant: &str, email: &str) -> Caller {
        let made = self.command(&["token", "--tenant", tenant, "--as", email]);
        let token = made["data"]["access_token"].as_str().unwrap_or_else(|| panic!("{made}"));
        self.anonymous().with_token(token)
    }

    /// Somebody with a role in a demo tenant. Membership by invitation comes with the identity
    /// issue, so the test makes the rows as the platform's owner would.
    pub(crate) async fn member(&self, demo: &Demo, role: &str) -> Caller {
        let email = format!("{role}@{}.example", demo.slug);
        let Place { tenant, database, .. } = self.place(demo);
        let join = format!(
            "insert into control.users (id, email) values (rowhouse.new_id(), '{email}') on conflict do nothing;
             insert into control.memberships (tenant_id, user_id, role)
             select '{tenant}', id, '{role}' from control.users where email = '{email}' on conflict do nothing;
             select id from control.users where email = '{email}'"
        );
        let user = self.sql_as("rowhouse_owner", "rowhouse_control", &join).unwrap();
        let mirror = format!(
            "insert into rowhouse.members (tenant_id, user_id, role, email)
             values ('{tenant}', '{user}', '{role}', '{email}') on conflict do nothing"
        );
        self.sql(&database, &mirror);
        self.token(demo.slug, &email)
    }

    /// Where a demo tenant's rows live.
    pub(crate) fn place(&self, demo: &Demo) -> Place {
        let find = format!("select id, database, schema from control.tenants where slug = '{}'", demo.slug);
        let found = self.sql_as("rowhouse_owner", "rowhouse_control", &find).unwrap();
        let [tenant, database, schema] = found.split('|').collect::<Vec<_>>().try_into().unwrap();
        Place { tenant: tenant.to_owned(), database: database.to_owned(), schema: schema.to_owned() }
    }

    /// The token of an operator.
    pub(crate) async fn operator(&self, name: &str) -> Caller {
        let email = format!("{name}@operators.example");
        let made = self.command(&["operator", "create", &email]);
        let password = made["data"]["password"].as_str().unwrap();
        let body = json!({ "email": email, "password": password });
        let answer = self.anonymous().post("/api/operators/sign-in", &body).await;
        self.anonymous().with_token(&answer.text("/data/access_token"))
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data_dir.join("stderr.log")).unwrap()
    }

    /// Runs a command on the service's data directory and gives its JSON.
    pub(crate) fn command(&self, arguments: &[&str]) -> Value {
        let output =
            rowhouse(&self.data_dir).args(arguments).args(["--json", "--app"]).arg(app_dir("solar")).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)))
    }
}

impl Service {
    /// Runs SQL as the platform's owner, for what has no route yet.
    pub(crate) fn sql(&self, database: &str, sql: &str) {
        self.sql_as("rowhouse_owner", database, sql).unwrap_or_else(|error| panic!("{error}"));
    }

    /// A role's password.
    pub(crate) fn password(&self, role: &str) -> String {
        let master = std::fs::read_to_string(self.data_dir.join("master.key")).unwrap();
        let key = rowhouse_types::MasterKey::from_base64(&master).unwrap();
        secrecy::ExposeSecret::expose_secret(&key.password(role)).to_owned()
    }

    /// Runs SQL as a role of the platform. Gives its rows as text, one a line, or the error.
    pub(crate) fn sql_as(&self, role: &str, database: &str, sql: &str) -> Result<String, String> {
        self.sql_at(&self.data_dir.join("postgres/run"), 5432, role, database, sql)
    }

    /// The same where somebody else listens: a pooler.
    pub(crate) fn sql_at(
        &self,
        host: &Path,
        port: u16,
        role: &str,
        database: &str,
        sql: &str,
    ) -> Result<String, String> {
        psql(host, port, (role, &self.password(role)), database, sql)
    }

    /// Runs SQL as the server's superuser, who is no role of the platform.
    pub(crate) fn sql_as_superuser(&self, sql: &str) -> String {
        let password = std::fs::read_to_string(self.data_dir.join("postgres/superuser.password")).unwrap();
        let done = psql(&self.data_dir.join("postgres/run"), 5432, ("postgres", password.trim()), "postgres", sql);
        done.unwrap_or_else(|error| panic!("{error}"))
    }
}

fn psql(host: &Path, port: u16, (role, password): (&str, &str), database: &str, sql: &str) -> Result<String, String> {
    let output = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", role, "-d", database, "-c", sql])
        .args(["-p", &port.to_string(), "-h"])
        .arg(host)
        .env("PGPASSWORD", password)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already; the server dies with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a tenant's rows live.
pub(crate) struct Place {
    pub(crate) tenant: String,
    pub(crate) database: String,
    pub(crate) schema: String,
}

impl Place {
    /// The ids of the tenant's rows in a table, as the platform's owner sees them.
    pub(crate) fn ids(&self, service: &Service, table: &str) -> BTreeSet<String> {
        let Self { tenant, database, schema } = self;
        let select = format!("select id from {schema}.{table} where tenant_id = '{tenant}'");
        let found = service.sql_as("rowhouse_owner", database, &select).unwrap_or_default();
        found.lines().map(str::to_owned).collect()
    }

    /// The ids of what all tenants read.
    pub(crate) fn shared_ids(&self, service: &Service) -> BTreeSet<String> {
        let found = service.sql_as("rowhouse_owner", &self.database, "select id from shared.panel_models").unwrap();
        found.lines().map(str::to_owned).collect()
    }
}

/// Somebody who makes requests.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) token: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    pub(crate) etag: Option<String>,
    pub(crate) retry_after: Option<String>,
}

impl Answer {
    /// A text in the body, by JSON pointer.
    pub(crate) fn text(&self, pointer: &str) -> String {
        self.body
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no {pointer} in {}", self.body))
            .to_owned()
    }

    pub(crate) fn code(&self) -> String {
        self.text("/error/code")
    }

    pub(crate) fn data(&self) -> &Vec<Value> {
        self.body["data"].as_array().unwrap_or_else(|| panic!("no list in {}", self.body))
    }

    /// The body without what differs from request to request.
    pub(crate) fn comparable(&self) -> (StatusCode, Value) {
        let mut body = self.body.clone();
        if let Some(error) = body.get_mut("error").and_then(Value::as_object_mut) {
            error.remove("request_id");
        }
        (self.status, body)
    }
}

impl Caller {
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut caller = self.clone();
        caller.headers.push((name.to_owned(), value.to_owned()));
        caller
    }

    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let text = body.map(Value::to_string);
        self.send_text(method, path, text.as_deref()).await
    }

    pub(crate) async fn send_text(&self, method: Method, path: &str, body: Option<&str>) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        let response = request.send().await.unwrap();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (status, etag, retry_after) = (response.status(), header("etag"), header("retry-after"));
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, body, etag, retry_after }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// Makes an API key in a tenant.
    pub(crate) async fn make_key(&self, tenant: &str, body: &Value) -> Answer {
        let made = self.post(&format!("/api/tenants/{tenant}/api-keys"), body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made
    }

    /// A program with a new API key of a role.
    pub(crate) async fn key(&self, tenant: &str, role: &str) -> Self {
        let made = self.make_key(tenant, &json!({ "name": format!("Key of {role}"), "role": role })).await;
        self.with_token(&made.text("/data/key"))
    }

    /// The id of some record.
    pub(crate) async fn some_id(&self, entity: &str) -> String {
        let answer = self.get(&format!("/api/{entity}?per_page=1&fields=id")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer
            .body
            .pointer("/data/0/id")
            .and_then(Value::as_str)
            .map_or_else(|| "01900000-0000-7000-8000-000000000000".into(), str::to_owned)
    }
}
