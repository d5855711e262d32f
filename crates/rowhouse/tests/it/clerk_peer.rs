//! A service whose people sign in with Clerk, and what stands where Clerk stands: a program that signs
//! with the packages of Clerk and Svix.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::service::{Answer, Caller, Service};

pub(crate) const PARTY: &str = "https://app.example.com";
/// The endpoint's secrets: the old one and the new.
pub(crate) const SECRETS: [&str; 2] =
    ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];

/// The two programs.
pub(crate) struct Clerk {
    pub(crate) service: Service,
    url: String,
    /// Ends with the thread that started it.
    _peer: Child,
}

static SHARED: OnceLock<Option<Clerk>> = OnceLock::new();
static NEXT: AtomicU64 = AtomicU64::new(1);

/// An id that no test has used.
pub(crate) fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::new_v4().simple())
}

/// A time of Clerk's clock, later than all before.
pub(crate) fn tick() -> i64 {
    now() * 1000 + i64::try_from(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap()
}

pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

impl Clerk {
    /// The service that all tests share; none without the packages, which the test command installs.
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
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clerk/peer.cjs");
        let mut peer = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "node"])
            .arg(script)
            .env("NODE_PATH", std::path::absolute(modules).unwrap())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(peer.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        let settings = [
            "--identity-provider",
            "clerk",
            "--clerk-issuer",
            &url,
            "--clerk-authorized-parties",
            "https://app.example.com,https://*.example.org",
            "--clerk-api-url",
            &url,
            "--clerk-secret-key",
            "sk_test_0123456789",
            "--clerk-webhook-secrets",
            &SECRETS.join(","),
        ];
        Self { service: Service::start_with("solar", &settings), url, _peer: peer }
    }

    /// Asks the peer.
    pub(crate) async fn ask(&self, path: &str, body: &Value) -> Value {
        // A client's connections end with the test that made it.
        let request = Client::new().post(format!("{}{path}", self.url)).json(body);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// How often keys were fetched.
    pub(crate) async fn fetches(&self) -> u64 {
        let answer = Client::new().get(format!("{}/fetches", self.url)).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// What stands in a session token of a person, now.
    pub(crate) fn claims(&self, person: &str) -> Value {
        json!({
            "iss": self.url, "sub": person, "sid": new_id("sess"), "azp": PARTY,
            "iat": now(), "nbf": now() - 10, "exp": now() + 60,
        })
    }

    /// A token by Clerk's key, which Clerk's own library accepts.
    pub(crate) async fn token(&self, claims: &Value) -> String {
        let made = self.ask("/token", &json!({ "claims": claims, "parties": [PARTY] })).await;
        assert_eq!(made["verdict"], "accepted", "{made}");
        made["token"].as_str().unwrap().to_owned()
    }

    /// Somebody with such a token.
    pub(crate) async fn caller(&self, claims: &Value) -> Caller {
        self.service.anonymous().with_token(&self.token(claims).await)
    }

    /// A person at work in an organisation, by a token of version 2.
    pub(crate) async fn member(&self, person: &str, organization: &str, role: &str) -> Caller {
        let mut claims = self.claims(person);
        claims["v"] = json!(2);
        claims["o"] = json!({ "id": organization, "rol": role, "slg": null });
        self.caller(&claims).await
    }

    /// Delivers a message as Svix does.
    pub(crate) async fn deliver(&self, id: &str, event: &Value) -> Answer {
        let (timestamp, body) = (now(), event.to_string());
        let message = json!({ "id": id, "timestamp": timestamp, "body": body, "secrets": SECRETS });
        let made = self.ask("/message", &message).await;
        assert_eq!(made["verdict"], "accepted", "{made}");
        self.send_signed(id, timestamp, made["signature"].as_str().unwrap(), &body).await
    }

    pub(crate) async fn send_signed(&self, id: &str, timestamp: i64, signature: &str, body: &str) -> Answer {
        let caller = self.service.anonymous().with("svix-id", id).with("svix-timestamp", &timestamp.to_string());
        let caller = caller.with("svix-signature", signature);
        caller.send_text(reqwest::Method::POST, "/api/webhooks/clerk", Some(body)).await
    }

    /// Delivers an event, which must be taken.
    pub(crate) async fn tell(&self, event: &Value) {
        let answer = self.deliver(&new_id("msg"), event).await;
        assert_eq!(answer.status, 200, "{event}: {}", answer.body);
    }

    /// A value of the control database.
    pub(crate) fn control(&self, sql: &str) -> String {
        self.service.sql_as("rowhouse_owner", "rowhouse_control", sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

/// An event of Clerk's.
pub(crate) fn event(kind: &str, data: &Value, at: i64) -> Value {
    json!({ "object": "event", "type": kind, "data": data, "timestamp": at, "instance_id": "ins_1" })
}

/// An organisation, as Clerk describes one.
pub(crate) fn organization(id: &str, name: &str, creator: Option<&str>, at: i64) -> Value {
    json!({
        "object": "organization", "id": id, "name": name, "slug": name.to_lowercase().replace(' ', "-"),
        "created_by": creator, "image_url": "https://img.clerk.com/x", "public_metadata": {}, "private_metadata": {},
        "max_allowed_memberships": 5, "created_at": at, "updated_at": at,
    })
}

/// A person's part in an organisation, as Clerk describes it.
pub(crate) fn part(id: &str, organization: &Value, person: &str, role: &str, at: i64) -> Value {
    json!({
        "object": "organization_membership", "id": id, "organization": organization, "role": format!("org:{role}"),
        "public_user_data": { "user_id": person, "first_name": "Ann", "last_name": "Lee", "identifier": "x@example.com",
                              "has_image": false, "image_url": "https://img.clerk.com/y" },
        "public_metadata": {}, "created_at": at, "updated_at": at,
    })
}

/// A person, as Clerk describes one.
pub(crate) fn person(id: &str, email: &str, verified: bool, at: i64) -> Value {
    let status = if verified { "verified" } else { "unverified" };
    json!({
        "object": "user", "id": id, "first_name": "Ann", "last_name": "Lee", "banned": false, "locked": false,
        "image_url": "https://img.clerk.com/y", "primary_email_address_id": "idn_1", "phone_numbers": [],
        "email_addresses": [{ "id": "idn_1", "object": "email_address", "email_address": email,
                              "verification": { "status": status, "strategy": "email_code" } }],
        "public_metadata": {}, "private_metadata": {}, "unsafe_metadata": {}, "created_at": at, "updated_at": at,
    })
}
