//! A relying party in another program, by a library that others wrote, and a browser of a person's.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::service::{ACME, Answer, Caller, Service};

pub(crate) const REDIRECT: &str = "http://127.0.0.1:4711/callback";
pub(crate) const AFTER: &str = "https://app.example.com/goodbye";
// RFC 7636, appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The relying party.
pub(crate) struct Peer {
    url: String,
    /// Ends with the thread that started it.
    _program: Child,
}

static SHARED: OnceLock<Option<Peer>> = OnceLock::new();

impl Peer {
    /// The one that all tests share; none without the package, which the test command installs.
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
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openid/peer.mjs");
        let mut program = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "node"])
            .arg(script)
            .env("NODE_PATH", std::path::absolute(modules).unwrap())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(program.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { url: url.trim().to_owned(), _program: program }
    }

    pub(crate) async fn ask(&self, what: &str, body: &Value) -> Value {
        // A client's connections end with the test that made it.
        let request = Client::new().post(format!("{}/{what}", self.url)).json(body);
        request.send().await.unwrap().json().await.unwrap()
    }
}

/// What a browser is told.
pub(crate) struct Seen {
    pub(crate) status: StatusCode,
    pub(crate) location: Option<String>,
    pub(crate) text: String,
}

impl Seen {
    /// A parameter of the address that the browser is sent to.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        parameter(self.location.as_deref()?, name)
    }
}

/// A parameter of an address.
pub(crate) fn parameter(url: &str, name: &str) -> Option<String> {
    let url = reqwest::Url::parse(url).unwrap();
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// Opens an address as a browser does, without following.
pub(crate) async fn open(url: &str, token: Option<&str>) -> Seen {
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    // The service listens on one address of those that the name has.
    let mut request = client.get(url.replace("//localhost:", "//127.0.0.1:"));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.unwrap();
    let location = answer.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
    Seen { status: answer.status(), location, text: answer.text().await.unwrap() }
}

/// Sends a form.
pub(crate) async fn send_form(
    service: &Service,
    path: &str,
    basic: Option<(&str, &str)>,
    form: &[(&str, &str)],
) -> Answer {
    let body = query(form);
    let mut request = Client::new().post(format!("{}{path}", service.url));
    if let Some((id, secret)) = basic {
        request = request.basic_auth(id, Some(secret));
    }
    let answer = request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap();
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (status, etag, retry_after) = (answer.status(), header("www-authenticate"), header("retry-after"));
    let text = answer.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, body, etag, retry_after }
}

/// Parameters as a query or a form.
pub(crate) fn query(parameters: &[(&str, &str)]) -> String {
    let mut url = reqwest::Url::parse("http://x/").unwrap();
    url.query_pairs_mut().extend_pairs(parameters);
    url.query().unwrap_or_default().to_owned()
}

/// The claims of a token, unverified.
pub(crate) fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// A client that is registered.
#[derive(Clone)]
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) secret: Option<String>,
}

impl Registered {
    /// Registers one: what is not said is as for a page that is not the service's own.
    pub(crate) async fn new(operator: &Caller, other: &Value) -> Self {
        let mut body = json!({
            "name": "Board", "redirect_uris": [REDIRECT], "post_logout_redirect_uris": [AFTER],
            "scopes": ["openid", "profile", "email", "org", "offline_access"],
        });
        for (name, value) in other.as_object().unwrap() {
            body[name] = value.clone();
        }
        let made = operator.post("/api/admin/oauth-clients", &body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        Self { id: made.text("/data/id"), secret: made.body["data"]["secret"].as_str().map(str::to_owned) }
    }

    /// The usual request of it, with other parameters; one without a value is left out.
    pub(crate) fn url(&self, service: &Service, other: &[(&str, &str)]) -> String {
        let mut parameters = vec![
            ("client_id", self.id.as_str()),
            ("redirect_uri", REDIRECT),
            ("response_type", "code"),
            ("scope", "openid email org offline_access"),
            ("state", "s-t-a-t-e"),
            ("nonce", "n-o-n-c-e"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        parameters.retain(|(name, _)| other.iter().all(|(changed, _)| changed != name));
        parameters.extend(other.iter().filter(|(_, value)| !value.is_empty()));
        format!("{}/oauth/authorize?{}", service.url, query(&parameters))
    }

    /// A code for who has this token; the person says yes if they are asked.
    pub(crate) async fn code(&self, service: &Service, person: &Caller, other: &[(&str, &str)]) -> String {
        let seen = open(&self.url(service, other), person.token.as_deref()).await;
        let to = allow(person, seen).await;
        parameter(&to, "code").unwrap_or_else(|| panic!("{to}"))
    }

    /// Shows itself in the form.
    pub(crate) fn form<'a>(&'a self, other: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let secret = self.secret.as_deref().map(|secret| ("client_secret", secret));
        [("client_id", self.id.as_str())].into_iter().chain(secret).chain(other.iter().copied()).collect()
    }

    /// A code for tokens.
    pub(crate) async fn redeem(&self, service: &Service, code: &str) -> Answer {
        let form = self.form(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ]);
        send_form(service, "/oauth/token", None, &form).await
    }

    pub(crate) async fn refresh(&self, service: &Service, token: &str) -> Answer {
        let form = self.form(&[("grant_type", "refresh_token"), ("refresh_token", token)]);
        send_form(service, "/oauth/token", None, &form).await
    }

    /// Tokens for a person, from the beginning.
    pub(crate) async fn tokens(&self, service: &Service, person: &Caller, other: &[(&str, &str)]) -> Value {
        let answer = self.redeem(service, &self.code(service, person, other).await).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }
}

/// The address that a person is sent to, who says yes if they are asked.
pub(crate) async fn allow(person: &Caller, seen: Seen) -> String {
    let location = seen.location.unwrap_or_else(|| panic!("{} {}", seen.status, seen.text));
    match parameter(&location, "request") {
        None => location,
        Some(request) => {
            let body = json!({ "request": request, "decision": "allow" });
            let decided = person.post("/oauth/authorize/decision", &body).await;
            assert_eq!(decided.status, 200, "{}", decided.body);
            decided.text("/data/redirect_to")
        }
    }
}

/// What an access token of a client's tells of its person.
pub(crate) async fn userinfo(service: &Service, token: &str) -> Answer {
    service.anonymous().with_token(token).get("/oauth/userinfo").await
}

/// A session of its own, so that ending it disturbs no other test.
pub(crate) async fn ann(service: &Service) -> Caller {
    service.sign_in(ACME.email).await
}

/// Whether a refresh token or an access token is good.
pub(crate) async fn are_good(service: &Service, client: &Registered, tokens: &Value) -> (bool, bool) {
    let access = userinfo(service, tokens["access_token"].as_str().unwrap()).await.status == 200;
    let refresh = client.refresh(service, tokens["refresh_token"].as_str().unwrap()).await.status == 200;
    (refresh, access)
}

/// Waits until all processes have noticed.
pub(crate) async fn until_refused(service: &Service, token: &str) {
    while userinfo(service, token).await.status == 200 {
        tokio::task::yield_now().await;
    }
}

/// An operator, who registers a test's clients.
pub(crate) async fn operator(service: &Service, test: &str) -> Caller {
    service.operator(&format!("openid-{test}")).await
}
