//! Browsers: one cookie for each host, codes that hand a session from host to host, and what pages of
//! other hosts cannot do.

use std::sync::Arc;

use reqwest::cookie::{CookieStore as _, Jar};
use reqwest::header::{LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, Url};
use serde_json::{Value, json};

use crate::service::{ACME, Answer, Caller, GLOBEX, PASSWORD, Service};

/// What a sign-in sends to get a cookie.
const WANTS_COOKIE: (&str, &str) = ("X-Rowhouse-Session", "cookie");
const HOSTS: [&str; 3] = ["localhost", "acme.localhost", "globex.localhost"];

/// A browser: it keeps cookies by host, and follows redirects only when it is told to.
pub(crate) struct Browser {
    client: Client,
    jar: Arc<Jar>,
    port: u16,
}

impl Browser {
    fn new(service: &Service) -> Self {
        Self::knowing(service, &HOSTS)
    }

    fn knowing(service: &Service, hosts: &[&str]) -> Self {
        let address = service.url.rsplit_once('/').unwrap().1.parse().unwrap();
        let jar = Arc::new(Jar::default());
        let mut client = Client::builder().cookie_provider(jar.clone()).redirect(Policy::none());
        for host in hosts {
            client = client.resolve(host, address);
        }
        Self { client: client.build().unwrap(), jar, port: address.port() }
    }

    /// A page of a host, which makes requests without a CSRF token.
    fn page(&self, host: &str) -> Caller {
        let url = format!("http://{host}:{}", self.port);
        Caller { url, client: self.client.clone(), token: None, headers: Vec::new() }
    }

    /// A page of a host, with the token that it has asked for.
    async fn at(&self, host: &str) -> Caller {
        let page = self.page(host);
        let given = page.get("/api/auth/csrf").await;
        assert_eq!(given.status, 200, "{}", given.body);
        page.with("X-CSRF-Token", &given.text("/data/csrf_token"))
    }

    /// Signs in on a host.
    async fn sign_in(&self, host: &str, email: &str, tenant: Option<&str>) -> Answer {
        let body = json!({ "email": email, "password": PASSWORD, "tenant": tenant });
        let page = self.page(host).with(WANTS_COOKIE.0, WANTS_COOKIE.1);
        page.post("/api/auth/sign-in", &body).await
    }

    /// The link by which the session goes on in a tenant.
    async fn hand_off(&self, tenant: &str, return_to: &str) -> String {
        let body = json!({ "tenant": tenant, "return_to": return_to });
        let given = self.at("localhost").await.post("/api/auth/hand-off", &body).await;
        assert_eq!(given.status, 200, "{}", given.body);
        given.text("/data/url")
    }

    /// Goes where the sign-in host leads.
    async fn follow(&self, link: &str) -> Response {
        self.client.get(link).header("Referer", format!("http://localhost:{}/", self.port)).send().await.unwrap()
    }

    async fn go_on(&self, tenant: &str) {
        let link = self.hand_off(tenant, "/").await;
        assert_eq!(self.follow(&link).await.status(), 303, "{tenant}");
    }

    /// The cookies that it sends to a host.
    fn cookies(&self, host: &str) -> Option<String> {
        let url = Url::parse(&format!("http://{host}:{}/", self.port)).unwrap();
        self.jar.cookies(&url).map(|line| line.to_str().unwrap().to_owned())
    }
}

impl Service {
    /// A browser's page on a tenant's own host, signed in as its owner: requests carry the cookie and
    /// its CSRF token, whatever host they are sent to.
    pub(crate) async fn owners_page(&self, slug: &str, email: &str) -> Caller {
        let link =
            self.token(slug, email).post("/api/auth/hand-off", &json!({ "tenant": slug })).await.text("/data/url");
        let path = &link[link.find("/api/").unwrap()..];
        let host = format!("{slug}.localhost");
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        let response = client.get(format!("{}{path}", self.url)).header("Host", &host).send().await.unwrap();
        let cookie = set_cookie(&response).unwrap().split(';').next().unwrap().to_owned();
        let page = self.anonymous().with("Cookie", &cookie);
        let token = page.with("Host", &host).get("/api/auth/csrf").await.text("/data/csrf_token");
        page.with("X-CSRF-Token", &token)
    }
}

fn header(response: &Response, name: reqwest::header::HeaderName) -> Option<String> {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}

fn set_cookie(response: &Response) -> Option<String> {
    header(response, SET_COOKIE)
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.code())
}

/// Somebody new with an organisation of their own, signed in by cookie on the sign-in host.
async fn sign_up(service: &Service, slug: &str) -> Browser {
    let host = format!("{slug}.localhost");
    let browser = Browser::knowing(service, &["localhost", "acme.localhost", "globex.localhost", &host]);
    let body =
        json!({ "email": format!("{slug}@example.com"), "password": PASSWORD, "company_name": slug, "slug": slug });
    let page = browser.page("localhost").with(WANTS_COOKIE.0, WANTS_COOKIE.1);
    let answer = page.post("/api/auth/sign-up", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.text("/data/session"), "cookie");
    assert_eq!(answer.text("/data/tenant/slug"), slug);
    // Who founds another organisation has proved their address.
    let prove = format!("update control.users set email_verified_at = now() where email = '{slug}@example.com'");
    service.sql("rowhouse_control", &prove);
    browser
}

#[tokio::test]
async fn a_browser_gets_a_cookie_of_its_host_and_no_tokens() {
    let service = Service::shared();
    let browser = Browser::new(service);
    let body = json!({ "email": ACME.email, "password": PASSWORD });
    let url = format!("{}/api/auth/sign-in", browser.page("localhost").url);
    let asked = browser.client.post(&url).header(WANTS_COOKIE.0, WANTS_COOKIE.1).json(&body).send().await.unwrap();
    let cookie = set_cookie(&asked).unwrap();
    let parts: Vec<&str> = cookie.split("; ").collect();
    assert!(parts[0].starts_with("rowhouse_session=rh_ws_"), "{cookie}");
    assert!(parts[2].starts_with("Max-Age=77"), "90 days: {cookie}");
    assert_eq!([parts[1], parts[3], parts[4]], ["Path=/", "HttpOnly", "SameSite=Lax"], "{cookie}");
    assert_eq!(parts.len(), 5, "no Domain, and Secure only under https: {cookie}");
    let answer: Value = asked.json().await.unwrap();
    assert_eq!(answer["data"]["session"], "cookie");
    for token in ["access_token", "refresh_token"] {
        assert!(answer["data"].get(token).is_none(), "{answer}");
    }
    let page = browser.page("localhost").with("X-CSRF-Token", answer["data"]["csrf_token"].as_str().unwrap());
    assert_eq!(page.get("/api/auth/me").await.text("/data/tenant/slug"), "acme");
    assert_eq!(page.get("/api/leads").await.status, 200);
    assert_eq!(page.post("/api/leads", &json!({ "full_name": "By cookie" })).await.status, 201);
    assert_eq!(browser.page("acme.localhost").get("/api/leads").await.status, 401, "it stays on its host");
    let kept = "select count(*) from control.web_sessions where secret_hash = sha256($1)";
    let secret = parts[0].split_once('=').unwrap().1;
    let kept =
        service.sql_as("rowhouse_owner", "rowhouse_control", &kept.replace("$1", &format!("'{secret}'"))).unwrap();
    assert_eq!(kept, "1", "only a hash is kept");
    let other = browser.page("localhost").with(WANTS_COOKIE.0, "token").post("/api/auth/sign-in", &body).await;
    assert_eq!(refused(&other), (400, "invalid_request".into()));
}

#[tokio::test]
async fn a_session_goes_on_from_host_to_host_by_codes_and_ends_on_all() {
    let service = Service::shared();
    let browser = sign_up(service, "two-houses").await;
    let second = json!({ "name": "Second house", "slug": "second-house" });
    let founded = browser.at("localhost").await.post("/api/tenants", &second).await;
    assert_eq!(founded.status, 201, "{}", founded.body);
    let address = service.url.rsplit_once('/').unwrap().1.parse().unwrap();
    let client = Client::builder().cookie_provider(browser.jar.clone()).redirect(Policy::none());
    let client = client.resolve("two-houses.localhost", address).resolve("second-house.localhost", address);
    let browser = Browser { client: client.resolve("localhost", address).build().unwrap(), ..browser };
    for slug in ["two-houses", "second-house"] {
        let link = browser.hand_off(slug, "/leads?status=new").await;
        assert!(link.starts_with(&format!("http://{slug}.localhost:{}/api/auth/hand-off/redeem?code=", browser.port)));
        let led = browser.follow(&link).await;
        assert_eq!((led.status().as_u16(), header(&led, LOCATION).as_deref()), (303, Some("/leads?status=new")));
        let cookie = set_cookie(&led).unwrap();
        assert!(!cookie.to_lowercase().contains("domain"), "{cookie}");
        let again = browser.follow(&link).await;
        assert_eq!((again.status().as_u16(), set_cookie(&again)), (404, None), "a code is good once");
    }
    let mut cookies = Vec::new();
    for (host, slug) in [
        ("localhost", "second-house"),
        ("two-houses.localhost", "two-houses"),
        ("second-house.localhost", "second-house"),
    ] {
        let me = browser.page(host).get("/api/auth/me").await;
        assert_eq!(me.status, 200, "{host}: {}", me.body);
        // The sign-in host's own goes where its person went last; founding does not go anywhere.
        assert!(host == "localhost" || me.text("/data/tenant/slug") == slug, "{host}: {}", me.body);
        assert_eq!(browser.page(host).get("/api/auth/csrf").await.status, 200);
        cookies.push(browser.cookies(host).unwrap());
    }
    cookies.dedup();
    assert_eq!(cookies.len(), 3, "each host has its own");
    let switched = browser.at("localhost").await.post("/api/auth/switch", &json!({ "tenant": "second-house" })).await;
    assert_eq!(
        (switched.status.as_u16(), switched.text("/data/session").as_str()),
        (200, "cookie"),
        "{}",
        switched.body
    );
    assert_eq!(browser.page("localhost").get("/api/auth/me").await.text("/data/tenant/slug"), "second-house");
    let devices = browser.page("localhost").get("/api/auth/sessions").await;
    assert_eq!(devices.data().len(), 1, "it is one session: {}", devices.body);
    let out = browser.at("two-houses.localhost").await.post("/api/auth/sign-out", &json!({})).await;
    assert_eq!(out.status, 200, "{}", out.body);
    assert_eq!(browser.cookies("two-houses.localhost"), None, "the cookie is taken away");
    for host in ["localhost", "second-house.localhost"] {
        assert_eq!(browser.page(host).get("/api/auth/me").await.status, 401, "{host}");
    }
}

#[tokio::test]
async fn signing_in_on_an_organisations_host_opens_that_organisation_only() {
    let service = Service::shared();
    let browser = Browser::new(service);
    let stranger = browser.sign_in("globex.localhost", ACME.email, None).await;
    assert_eq!(refused(&stranger), (403, "tenant_mismatch".into()));
    let other = browser.sign_in("globex.localhost", ACME.email, Some("acme")).await;
    assert_eq!(refused(&other), (403, "tenant_mismatch".into()));
    assert_eq!(browser.cookies("globex.localhost"), None);
    assert_eq!(browser.sign_in("acme.localhost", ACME.email, None).await.status, 200);
    assert_eq!(browser.page("acme.localhost").get("/api/leads").await.status, 200);
    let elsewhere = browser.page("acme.localhost").with("X-Tenant-ID", "globex").get("/api/leads").await;
    assert_eq!(refused(&elsewhere), (403, "tenant_mismatch".into()));
    let body = json!({ "email": "x@example.com", "password": PASSWORD, "company_name": "X" });
    let founding =
        browser.page("acme.localhost").with(WANTS_COOKIE.0, WANTS_COOKIE.1).post("/api/auth/sign-up", &body).await;
    assert_eq!(refused(&founding), (400, "invalid_request".into()));
}

#[tokio::test]
async fn a_code_is_refused_where_it_was_not_made_for() {
    let service = Service::shared();
    let browser = Browser::new(service);
    assert_eq!(browser.sign_in("localhost", ACME.email, None).await.status, 200);
    let refuses = async |link: &str, why: &str| {
        let answer = browser.follow(link).await;
        assert_eq!((answer.status().as_u16(), set_cookie(&answer)), (404, None), "{why}");
    };
    let link = browser.hand_off("acme", "/").await;
    refuses(&link.replace("acme.", "globex."), "another tenant's host").await;
    refuses(&link, "and it is used up by that").await;
    refuses(&browser.hand_off("acme", "/").await.replace("acme.", ""), "the sign-in host").await;
    let link = browser.hand_off("acme", "/").await;
    refuses(&link.replace("rh_ho_", "rh_ho_A"), "made up").await;
    let older = browser.hand_off("acme", "/").await;
    let newer = browser.hand_off("acme", "/").await;
    refuses(&older, "there is a newer one").await;
    service.sql("rowhouse_control", "update control.hand_offs set expires_at = now() - interval '1 second'");
    refuses(&newer, "it is over").await;
    let elsewhere = browser.at("localhost").await.post("/api/auth/hand-off", &json!({ "tenant": "globex" })).await;
    assert_eq!(refused(&elsewhere), (403, "tenant_mismatch".into()));
    for path in ["//evil.example", "https://evil.example", "/\\evil.example", "leads", "/a\r\nX: y"] {
        let body = json!({ "tenant": "acme", "return_to": path });
        let answer = browser.at("localhost").await.post("/api/auth/hand-off", &body).await;
        assert_eq!(refused(&answer), (422, "validation_failed".into()), "{path}");
    }
    let page = browser.client.get(&newer).header("Accept", "text/html,*/*").send().await.unwrap();
    let selection = format!("http://localhost:{}/organisations?refused=hand_off", browser.port);
    assert_eq!((page.status().as_u16(), header(&page, LOCATION)), (303, Some(selection)), "people are led on");
    let link = browser.hand_off("acme", "/").await;
    assert_eq!(browser.at("localhost").await.post("/api/auth/sign-out", &json!({})).await.status, 200);
    refuses(&link, "the session has ended").await;
}

#[tokio::test]
async fn a_code_outlives_no_membership() {
    let service = Service::shared();
    let browser = sign_up(service, "leaver").await;
    let link = browser.hand_off("leaver", "/").await;
    browser.go_on("leaver").await;
    let link = if link.is_empty() { link } else { browser.hand_off("leaver", "/").await };
    service.sql(
        "rowhouse_control",
        "update control.memberships set active = false where tenant_id = (select id from control.tenants where slug = 'leaver')",
    );
    let answer = browser.follow(&link).await;
    assert_eq!((answer.status().as_u16(), set_cookie(&answer)), (404, None));
}

/// Somebody else's code would sign the browser in as somebody else.
#[tokio::test]
async fn no_page_but_the_sign_in_hosts_sends_a_browser_with_a_code() {
    let service = Service::shared();
    let browser = Browser::new(service);
    assert_eq!(browser.sign_in("localhost", ACME.email, None).await.status, 200);
    let link = browser.hand_off("acme", "/").await;
    let own = format!("http://localhost:{}/", browser.port);
    let sibling = format!("http://globex.localhost:{}/", browser.port);
    let tries: [(&[(&str, &str)], u16); 9] = [
        (&[("Referer", "https://evil.example/")], 403),
        (&[("Referer", &sibling), ("Sec-Fetch-Site", "same-site")], 403),
        (&[("Referer", "http://localhost.evil.example/")], 403),
        (&[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")], 403),
        (&[("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "navigate")], 403),
        (&[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "navigate")], 403),
        (&[("Referer", &own), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")], 403),
        (&[("Referer", &own), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")], 303),
        (&[("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate")], 404),
    ];
    let head = browser.client.head(&link).send().await.unwrap();
    assert_eq!(head.status(), 400, "a look does not use it up");
    for (headers, status) in tries {
        let mut request = browser.client.get(&link);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        assert_eq!(request.send().await.unwrap().status(), status, "{headers:?}");
    }
}

#[tokio::test]
async fn an_unsafe_request_by_cookie_takes_the_token_and_a_page_of_the_same_host() {
    let service = Service::shared();
    let browser = Browser::new(service);
    assert_eq!(browser.sign_in("localhost", ACME.email, None).await.status, 200);
    browser.go_on("acme").await;
    let other = Browser::new(service);
    assert_eq!(other.sign_in("acme.localhost", ACME.email, None).await.status, 200);
    let csrf =
        async |browser: &Browser, host: &str| browser.page(host).get("/api/auth/csrf").await.text("/data/csrf_token");
    let host = "acme.localhost";
    let (token, of_sign_in_host, of_other) =
        (csrf(&browser, host).await, csrf(&browser, "localhost").await, csrf(&other, host).await);
    let own = format!("http://acme.localhost:{}", browser.port);
    let origins = [
        (None, true),
        (Some(own.clone()), true),
        (Some("null".to_owned()), false),
        (Some("https://evil.example".to_owned()), false),
        (Some(own.replace("http:", "https:")), false),
        (Some(own.replace("acme.", "globex.")), false),
        (Some(own.replace("acme.", "")), false),
        (Some("http://acme.localhost".to_owned()), false),
    ];
    let sites = [(None, true), (Some("same-origin"), true), (Some("same-site"), false), (Some("cross-site"), false)];
    let tokens = [
        (Some(token.clone()), true),
        (None, false),
        (Some(String::new()), false),
        (Some(of_sign_in_host), false),
        (Some(of_other), false),
        (Some(format!("{token}A")), false),
        (Some("AAAA".to_owned()), false),
    ];
    for (origin, is_own_origin) in &origins {
        for (site, is_own_site) in &sites {
            for (token, is_own_token) in &tokens {
                let mut page = browser.page(host);
                for (name, value) in
                    [("Origin", origin.as_deref()), ("Sec-Fetch-Site", *site), ("X-CSRF-Token", token.as_deref())]
                {
                    page = value.map_or_else(|| page.clone(), |value| page.with(name, value));
                }
                let what = format!("{origin:?} {site:?} {token:?}");
                assert_eq!(page.get("/api/leads?limit=1").await.status, 200, "reading takes none of it: {what}");
                let answer = page.post("/api/leads", &json!({ "full_name": "By cookie" })).await;
                if *is_own_origin && *is_own_site && *is_own_token {
                    assert_eq!(answer.status, 201, "{what}: {}", answer.body);
                } else {
                    assert_eq!(refused(&answer), (403, "csrf_failed".into()), "{what}");
                }
            }
        }
    }
    for (method, path) in [
        (Method::PATCH, "/api/leads/01900000-0000-7000-8000-00000000dead"),
        (Method::DELETE, "/api/leads/01900000-0000-7000-8000-00000000dead"),
        (Method::POST, "/api/auth/sign-out"),
        (Method::PATCH, "/api/tenants/acme"),
    ] {
        let answer = browser.page(host).send(method, path, Some(&json!({}))).await;
        assert_eq!(refused(&answer), (403, "csrf_failed".into()), "{path}");
    }
}

#[tokio::test]
async fn nobody_is_signed_in_by_a_page_of_another_host() {
    let service = Service::shared();
    let browser = Browser::new(service);
    let body = json!({ "email": ACME.email, "password": PASSWORD });
    let page = browser.page("localhost").with(WANTS_COOKIE.0, WANTS_COOKIE.1);
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        for path in
            ["/api/auth/sign-in", "/api/auth/sign-up", "/api/auth/magic-link/redeem", "/api/auth/invitations/accept"]
        {
            let answer = page.with(name, value).post(path, &body).await;
            assert_eq!(refused(&answer), (403, "csrf_failed".into()), "{path} {name}: {value}");
        }
    }
    let url = format!("{}/api/auth/sign-in", page.url);
    let form = browser.client.post(&url).header(WANTS_COOKIE.0, WANTS_COOKIE.1).header("Content-Type", "text/plain");
    assert_eq!(form.body(body.to_string()).send().await.unwrap().status(), 415, "no form can send JSON");
    let form = browser.client.post(&url).json(&body).send().await.unwrap();
    assert_eq!((form.status().as_u16(), set_cookie(&form)), (200, None), "nor ask for a cookie");
    assert_eq!(browser.cookies("localhost"), None);
}

#[tokio::test]
async fn a_token_counts_where_a_cookie_comes_beside_it() {
    let service = Service::shared();
    let browser = Browser::new(service);
    assert_eq!(browser.sign_in("localhost", ACME.email, None).await.status, 200);
    let globex = service.owner(&GLOBEX).await.token.unwrap();
    let page = browser.page("localhost").with_token(&globex);
    assert_eq!(page.get("/api/auth/me").await.text("/data/tenant/slug"), "globex");
    let made =
        page.with("Origin", "https://evil.example").post("/api/leads", &json!({ "full_name": "By token" })).await;
    assert_eq!(made.status, 201, "no browser adds a token by itself: {}", made.body);
    assert_eq!(refused(&page.get("/api/auth/csrf").await), (400, "invalid_request".into()));
    for wrong in ["Bearer nonsense", "Basic YTpi", "Bearer"] {
        let answer = browser.page("localhost").with("Authorization", wrong).get("/api/auth/me").await;
        assert_eq!(answer.status, 401, "a wrong one does not fall back: {wrong}");
    }
    let twice = browser.cookies("localhost").unwrap();
    let twice = service.anonymous().with("Host", "localhost").with("Cookie", &format!("{twice}; {twice}"));
    assert_eq!(twice.get("/api/auth/me").await.status, 401, "one of two was set by somebody else");
}

#[tokio::test]
async fn what_is_of_an_account_is_not_done_on_an_organisations_host() {
    let service = Service::shared();
    let browser = sign_up(service, "homebody").await;
    let second = json!({ "name": "Elsewhere", "slug": "homebody-elsewhere" });
    assert_eq!(browser.at("localhost").await.post("/api/tenants", &second).await.status, 201);
    browser.go_on("homebody").await;
    let page = browser.at("homebody.localhost").await;
    for (method, path) in [
        ("POST", "/api/auth/hand-off"),
        ("POST", "/api/auth/switch"),
        ("GET", "/api/auth/sessions"),
        ("DELETE", "/api/auth/sessions"),
        ("POST", "/api/auth/password/change"),
        ("POST", "/api/auth/email/change"),
        ("POST", "/api/auth/mfa/enrol"),
        ("PATCH", "/api/auth/me"),
        ("GET", "/api/tenants"),
        ("POST", "/api/tenants"),
    ] {
        let body = json!({ "tenant": "homebody-elsewhere" });
        let answer = page.send(method.parse().unwrap(), path, (method != "GET").then_some(&body)).await;
        assert_eq!(refused(&answer), (403, "permission_denied".into()), "{method} {path}");
    }
    let seen = |me: &Answer| me.body["data"]["memberships"].as_array().unwrap().len();
    assert_eq!(seen(&page.get("/api/auth/me").await), 1, "its scripts see no other organisation");
    assert_eq!(seen(&browser.page("localhost").get("/api/auth/me").await), 2);
    let shown = page.post("/api/auth/step-up", &json!({ "current_password": PASSWORD })).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
}

#[tokio::test]
async fn a_cookie_is_used_for_as_long_as_its_session() {
    let service = Service::start("garage");
    let browser = Browser::knowing(&service, &["localhost", "homes.localhost"]);
    let body = json!({ "email": "user@homes.example", "password": PASSWORD, "company_name": "Homes", "slug": "homes" });
    let page = browser.page("localhost").with(WANTS_COOKIE.0, WANTS_COOKIE.1);
    assert_eq!(page.post("/api/auth/sign-up", &body).await.status, 201);
    let days = "select round(extract(epoch from max(expires_at) - now()) / 86400) from control.sessions where token_hash is null and not has_fixed_end";
    let days = || service.sql_as("rowhouse_owner", "rowhouse_control", days).unwrap();
    assert_eq!(days(), "30");
    service.sql(
        "rowhouse_control",
        "update control.sessions set expires_at = now() + interval '3 days', last_used_at = now() - interval '27 days';
         update control.web_sessions set last_used_at = now() - interval '27 days'",
    );
    // What is noted is noted beside the request, and by the next process: this one has noted nothing yet.
    assert_eq!(browser.page("localhost").get("/api/auth/me").await.status, 200);
    for _ in 0..2000 {
        if days() == "30" {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(days(), "30", "use puts its end off");
    let tokens = service.sql_as(
        "rowhouse_owner",
        "rowhouse_control",
        "select count(*) from control.sessions where token_hash is not null",
    );
    assert_eq!(tokens.unwrap(), "0", "nothing else refreshes it");
    browser.go_on("homes").await;
    let id = browser.page("localhost").get("/api/auth/sessions").await.text("/data/0/id");
    let ended = browser.at("localhost").await.delete(&format!("/api/auth/sessions/{id}")).await;
    assert_eq!(ended.status, 200, "{}", ended.body);
    for host in ["localhost", "homes.localhost"] {
        assert_eq!(browser.page(host).get("/api/auth/me").await.status, 401, "{host}");
    }
}

#[tokio::test]
async fn under_https_the_cookie_is_of_one_host_and_secure() {
    let service = Service::start_with("garage", &["--public-url", "https://localhost:0"]);
    let url = service.url.replace("https:", "http:");
    let body =
        json!({ "email": "user@secure.example", "password": PASSWORD, "company_name": "Secure", "slug": "secure" });
    let asked =
        Client::new().post(format!("{url}/api/auth/sign-up")).header(WANTS_COOKIE.0, WANTS_COOKIE.1).json(&body);
    let asked = asked.send().await.unwrap();
    assert_eq!(asked.status(), 201);
    let cookie = set_cookie(&asked).unwrap();
    assert!(cookie.starts_with("__Host-rowhouse_session=rh_ws_"), "{cookie}");
    assert!(cookie.contains("; Path=/; ") && cookie.ends_with("; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    assert!(!cookie.to_lowercase().contains("domain"), "{cookie}");
    assert_eq!(asked.headers()["strict-transport-security"], "max-age=31536000");
    let page = Caller { url, ..service.anonymous() }.with("Cookie", cookie.split(';').next().unwrap());
    assert_eq!(page.get("/api/auth/me").await.status, 200);
    let plain = page.with("Cookie", "rowhouse_session=rh_ws_AAAA").get("/api/auth/me").await;
    assert_eq!(plain.status, 200, "the name without the prefix is nobody's");
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_pages_out() {
    let service = Service::shared();
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    for path in ["/api/health", "/api/leads", "/nowhere", "/api/auth/hand-off/redeem?code=x", "/api/openapi.json"] {
        let answer = client.get(format!("{}{path}", service.url)).send().await.unwrap();
        let headers = answer.headers();
        let status = answer.status();
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ] {
            let given = headers.get(name).unwrap_or_else(|| panic!("{status} without {name}"));
            assert_eq!(given, value, "{status} {name}");
        }
        assert!(headers.get("strict-transport-security").is_none(), "this service is not reached by https");
    }
    let owner = service.owner(&ACME).await;
    let answer =
        client.get(format!("{}/api/leads", service.url)).bearer_auth(owner.token.unwrap()).send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "private, no-store");
}
