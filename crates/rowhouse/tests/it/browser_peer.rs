//! A browser beside the service: people in it have authenticators that are programs.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use reqwest::Client;
use serde_json::{Value, json};

use crate::service::{Answer, Caller, Service};

/// Where the browser may be.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The browser's program.
pub(crate) struct Browser {
    url: String,
    /// Ends with the thread that started it.
    _peer: Child,
}

/// Somebody at a browser.
pub(crate) struct Visitor<'a> {
    browser: &'a Browser,
    person: Value,
}

static SHARED: OnceLock<Option<Browser>> = OnceLock::new();

impl Browser {
    /// The browser that all tests share; none without the packages, which the test command installs.
    pub(crate) fn shared() -> Option<&'static Self> {
        SHARED
            .get_or_init(|| {
                let modules = std::env::var_os("ROWHOUSE_NODE_MODULES")?;
                let (sender, receiver) = std::sync::mpsc::sync_channel(1);
                // The death signal fires when the thread that started a child ends: this one stays.
                std::thread::spawn(move || {
                    sender.send(Self::start(Path::new(&modules))).unwrap();
                    loop {
                        std::thread::park();
                    }
                });
                Some(receiver.recv().unwrap())
            })
            .as_ref()
    }

    fn start(modules: &Path) -> Self {
        let path = std::env::var("PATH").unwrap();
        let places = path.split(':').flat_map(|place| PROGRAMS.map(|name| Path::new(place).join(name)));
        let chromium = places.into_iter().find(|place| place.exists()).expect("the test command installs Chromium");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/passkeys/peer.cjs");
        let mut peer = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "node"])
            .arg(script)
            .env("NODE_PATH", std::path::absolute(modules).unwrap())
            .env("CHROMIUM", chromium)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(peer.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { url: url.trim().to_owned(), _peer: peer }
    }

    async fn ask(&self, path: &str, body: &Value) -> Value {
        // A client's connections end with the test that made it.
        let request = Client::new().post(format!("{}{path}", self.url)).json(body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert!(answer.get("failed").is_none(), "{path}: {answer}");
        answer
    }

    /// Somebody on a page of the service.
    pub(crate) async fn visitor(&self, service: &Service) -> Visitor<'_> {
        let person = self.ask("/people", &json!({ "url": page(service) })).await["person"].clone();
        Visitor { browser: self, person }
    }
}

/// Any page of the service, under the name that its passkeys are bound to.
pub(crate) fn page(service: &Service) -> String {
    format!("{}/api/health", service.url.replace("127.0.0.1", "localhost"))
}

impl Visitor<'_> {
    async fn tell(&self, path: &str, mut body: Value) -> Value {
        body["person"] = self.person.clone();
        self.browser.ask(path, &body).await
    }

    pub(crate) async fn visit(&self, url: &str) {
        self.tell("/visit", json!({ "url": url })).await;
    }

    /// Whether the authenticator asks its person for a finger, and gets it.
    pub(crate) async fn is_verified(&self, verified: bool) {
        self.tell("/verified", json!({ "verified": verified })).await;
    }

    /// Puts the counts of the passkeys back.
    pub(crate) async fn rewind(&self, count: u32) -> Value {
        self.tell("/rewind", json!({ "count": count })).await["counts"].clone()
    }

    /// What the browser says to a challenge: a credential, or the name of its refusal.
    pub(crate) async fn answer(&self, kind: &str, begun: &Answer) -> Result<Value, String> {
        assert_eq!(begun.status, 200, "{}", begun.body);
        let options = &begun.body["data"]["public_key"];
        let told = self.tell("/answer", json!({ "kind": kind, "options": options })).await;
        match told.get("credential") {
            Some(credential) => Ok(json!({ "ceremony": begun.text("/data/ceremony"), "credential": credential })),
            None => Err(told["refused"].as_str().unwrap().to_owned()),
        }
    }

    /// The body that ends a ceremony.
    pub(crate) async fn show(&self, begun: &Answer) -> Value {
        self.answer("get", begun).await.unwrap_or_else(|refused| panic!("{refused}: {}", begun.body))
    }

    /// Adds a passkey.
    pub(crate) async fn add_passkey(&self, caller: &Caller, name: &str, code: Option<&str>) -> Answer {
        let begun = caller.post("/api/auth/passkeys/register/begin", &json!({ "code": code })).await;
        let mut body = self.answer("create", &begun).await.unwrap_or_else(|refused| panic!("{refused}"));
        body["name"] = json!(name);
        let added = caller.post("/api/auth/passkeys/register/finish", &body).await;
        assert_eq!(added.status, 201, "{}", added.body);
        added
    }
}
