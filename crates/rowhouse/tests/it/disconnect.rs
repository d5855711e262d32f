//! Clients who go away at every moment: within their request, while it is worked on, within the
//! answer. Afterwards the service is as if they had waited, or had never come.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::beside::{Role, Session};
use crate::service::{ACME, Caller, GLOBEX, INITECH, PASSWORD, Service};

/// How long a state is waited for that must come.
const PATIENCE: Duration = Duration::from_secs(120);

/// A request as it goes over the wire.
fn wire(caller: &Caller, method: &Method, path: &str, body: Option<&Value>) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    if let Some(token) = &caller.token {
        head.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    if !body.is_empty() {
        head.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    }
    format!("{head}\r\n{body}").into_bytes()
}

async fn connect(service: &Service) -> TcpStream {
    TcpStream::connect(service.url.trim_start_matches("http://")).await.unwrap()
}

/// Sends bytes and goes away at once.
async fn send_and_leave(service: &Service, bytes: &[u8]) {
    connect(service).await.write_all(bytes).await.unwrap();
}

/// Sends a whole request, and goes away when so many bytes of the answer have been read, or when
/// none came for so many milliseconds. What is left unread makes the system reset the connection.
async fn read_and_leave(service: &Service, bytes: &[u8], answer_bytes: usize, wait_ms: u64) {
    let mut stream = connect(service).await;
    stream.write_all(bytes).await.unwrap();
    let mut buffer = vec![0; answer_bytes];
    let reading = stream.read_exact(&mut buffer);
    let _ = tokio::time::timeout(Duration::from_millis(wait_ms), reading).await;
}

/// Sends a whole request, and goes away when it is held by a lock in the middle of its work. Lets
/// the lock go only when the service has noticed.
async fn leave_in_the_middle(service: &Service, operator: &Caller, session: &mut Session, lock: &str, bytes: &[u8]) {
    session.ask(&format!("begin; lock table {lock} in access exclusive mode"));
    let mut stream = connect(service).await;
    stream.write_all(bytes).await.unwrap();
    // Tables of the control database are the platform's own.
    let role = if lock.starts_with("control.") { Role::Owner } else { Role::Service };
    session.until_waiting(role, 1);
    // Who waits may be somebody else, while nobody has read the request yet.
    until_under_way(operator).await;
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    // Either end of the connection: it was closed, or reset.
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(String::from_utf8_lossy(&rest), "", "{lock}: it was answered before the client went");
    session.ask("commit");
}

/// Moments within a request: every few bytes, and each byte of its end but the last.
fn moments(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let len = bytes.len();
    let every = (0..len).step_by(41).chain(len.saturating_sub(6)..len);
    every.map(|count| &bytes[..count])
}

/// How many requests are under way beside the one that asks.
fn others_under_way(figures: &Value) -> u32 {
    let mut lines = figures.as_str().unwrap().lines();
    let under_way = lines.find_map(|line| line.strip_prefix("rowhouse_http_requests_under_way ")).unwrap();
    under_way.parse::<u32>().unwrap() - 1
}

async fn until_under_way(operator: &Caller) {
    let patience = Instant::now() + PATIENCE;
    while others_under_way(&operator.get("/metrics").await.body) == 0 {
        assert!(Instant::now() < patience, "the request is not begun");
    }
}

/// Waits until no request is under way and all pools are at rest, as the operators' figures tell
/// it, and no session of the service is within a transaction.
async fn until_at_rest(operator: &Caller, session: &mut Session) {
    const OPEN: &str = "select coalesce(string_agg(query, '; '), '') from pg_stat_activity
        where usename like 'rowhouse%' and state <> 'idle' and pid <> pg_backend_pid()";
    let patience = Instant::now() + PATIENCE;
    loop {
        let figures = operator.get("/metrics").await.body;
        let (crowd, busy, open) = (others_under_way(&figures), busy_pools(&figures), session.ask(OPEN));
        if crowd == 0 && busy.is_empty() && open == [""] {
            return;
        }
        assert!(Instant::now() < patience, "not at rest: {crowd} requests, {busy:?}, {open:?}");
    }
}

/// Pools with connections that are not idle, or with somebody who waits.
fn busy_pools(figures: &Value) -> Vec<String> {
    let mut pools: BTreeMap<(String, String), BTreeMap<String, f64>> = BTreeMap::new();
    for line in figures.as_str().unwrap().lines() {
        let Some(rest) = line.strip_prefix("rowhouse_db_pool_connections{") else { continue };
        let (labels, value) = rest.split_once("} ").unwrap();
        let label =
            |name: &str| labels.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned();
        let pool = pools.entry((label("database"), label("role"))).or_default();
        pool.insert(label("state"), value.parse().unwrap());
    }
    assert!(pools.len() >= 4, "the figures tell of {} pools only", pools.len());
    let busy = pools.into_iter().filter(|(_, states)| states["open"] > states["idle"] || states["waiting"] > 0.0);
    busy.map(|(pool, states)| format!("{pool:?} {states:?}")).collect()
}

/// Tenants in the same tables and in others, each with records that bear its name.
async fn marked(service: &Service) -> Vec<(String, Caller)> {
    let body = json!({ "email": "eve@second.example", "password": PASSWORD, "company_name": "Second" });
    let second = service.anonymous().post("/api/auth/sign-up", &body).await;
    let second = service.anonymous().with_token(&second.text("/data/access_token"));
    let mut tenants = vec![("second".to_owned(), second)];
    for demo in [&ACME, &GLOBEX, &INITECH] {
        tenants.push((demo.slug.to_owned(), service.owner(demo).await));
    }
    for (slug, caller) in &tenants {
        for number in 0..3 {
            let made = caller.post("/api/leads", &json!({ "full_name": format!("of {slug} {number}") })).await;
            assert_eq!(made.status, 201, "{}", made.body);
        }
    }
    tenants
}

/// More requests at a time than a tenant has connections, of all tenants in turn, on connections
/// that others used before: each is answered, with rows of its own tenant.
async fn assert_separate(tenants: &[(String, Caller)]) {
    let mut reading = Vec::new();
    for round in 0..12 {
        for (slug, caller) in tenants {
            let (slug, caller) = (slug.clone(), caller.clone());
            reading.push(tokio::spawn(async move {
                let answer = caller.get("/api/leads?full_name[starts_with]=of%20&per_page=200").await;
                assert_eq!(answer.status, 200, "{slug} in round {round}: {}", answer.body);
                let names: Vec<&str> = answer.data().iter().map(|lead| lead["full_name"].as_str().unwrap()).collect();
                let own = format!("of {slug} ");
                assert!(names.len() == 3 && names.iter().all(|name| name.starts_with(&own)), "{slug}: {names:?}");
            }));
        }
    }
    for read in reading {
        read.await.unwrap();
    }
}

/// What the service has logged of requests that did not succeed.
fn refusals(service: &Service) -> String {
    let log = service.log();
    let lines = log.lines().filter(|line| line.contains("request refused") || line.contains("request failed"));
    lines.collect::<Vec<_>>().join("\n")
}

/// A lead whose first and last values are the same mark: half of one would be seen.
fn lead(mark: &str) -> Value {
    json!({ "full_name": mark, "details": { "filler": "x".repeat(150) }, "notes": mark })
}

/// The marks of the leads whose name begins so, each of which is whole.
async fn marks(caller: &Caller, prefix: &str) -> Vec<String> {
    let answer = caller.get(&format!("/api/leads?full_name[starts_with]={prefix}&per_page=200")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for lead in answer.data() {
        assert_eq!(lead["full_name"], lead["notes"], "half a record: {lead}");
    }
    let mut marks: Vec<String> =
        answer.data().iter().map(|lead| lead["full_name"].as_str().unwrap().to_owned()).collect();
    marks.sort();
    marks
}

/// Waits until what was begun is done, and done once. Between two attempts at a write, on a shared
/// connection and on one of its own, everything may seem to be at rest.
async fn until_marks(service: &Service, caller: &Caller, prefix: &str, expected: &[String]) {
    let patience = Instant::now() + PATIENCE;
    loop {
        let done = marks(caller, prefix).await;
        if done == expected {
            return;
        }
        assert!(Instant::now() < patience, "what was begun is done, and once: {done:?}: {}", refusals(service));
    }
}

/// How a connection works; each has dangers of its own.
const WAYS: [&[&str]; 2] = [&[], &["--pipelining", "off"]];

#[tokio::test(flavor = "multi_thread")]
async fn reading_may_end_at_any_moment() {
    for way in WAYS {
        let service = Service::start_with("solar", way);
        let operator = service.operator("reading").await;
        let tenants = marked(&service).await;
        let mut session = Session::open(&service.data_dir, "rowhouse_data");
        for (_, caller) in &tenants {
            let list =
                wire(caller, &Method::GET, "/api/leads?per_page=200&include=owner&count=exact&sort=-created_at", None);
            for part in moments(&list) {
                send_and_leave(&service, part).await;
            }
            for answer_bytes in [0, 1, 100, 700] {
                send_and_leave(&service, &list).await;
                read_and_leave(&service, &list, answer_bytes, 10_000).await;
            }
            for wait_ms in 0..12 {
                read_and_leave(&service, &list, usize::from(u16::MAX), wait_ms).await;
            }
        }
        // The pool's tables, and those of the tenant with a schema of its own.
        let schemas = session
            .ask("select distinct schemaname from pg_tables where tablename = 'leads' and schemaname ~ '^(app|s_)'");
        for _ in 0..4 {
            for (slug, caller) in &tenants[..3] {
                let list = wire(caller, &Method::GET, "/api/leads?full_name=of%20one", None);
                let locks: Vec<String> = schemas.iter().map(|schema| format!("{schema}.leads")).collect();
                assert_eq!(caller.get("/api/leads?full_name=of%20one").await.status, 200, "{slug}");
                leave_in_the_middle(&service, &operator, &mut session, &locks.join(", "), &list).await;
            }
        }
        until_at_rest(&operator, &mut session).await;
        assert_separate(&tenants).await;
        until_at_rest(&operator, &mut session).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_whole_or_not_there() {
    for way in WAYS {
        let service = Service::start_with("solar", way);
        let operator = service.operator("writing").await;
        let tenants = marked(&service).await;
        let mut session = Session::open(&service.data_dir, "rowhouse_data");
        let (_, caller) = &tenants[0];
        let create = |mark: &str| wire(caller, &Method::POST, "/api/leads", Some(&lead(mark)));
        for part in moments(&create("cut-short")) {
            send_and_leave(&service, part).await;
        }
        let held: Vec<String> = (0..6).map(|number| format!("held-{number}")).collect();
        for mark in &held {
            leave_in_the_middle(&service, &operator, &mut session, "app.leads", &create(mark)).await;
        }
        for wait_ms in 0..20 {
            read_and_leave(&service, &create(&format!("left-{wait_ms:02}")), 5000, wait_ms).await;
        }
        until_at_rest(&operator, &mut session).await;
        assert_eq!(marks(caller, "cut-").await, Vec::<String>::new(), "a request that was never whole was obeyed");
        until_marks(&service, caller, "held-", &held).await;
        let left = marks(caller, "left-").await;
        assert!(left.windows(2).all(|two| two[0] != two[1]), "twice: {left:?}");
        change_and_leave(&service, &operator, &mut session, caller).await;
        until_at_rest(&operator, &mut session).await;
        assert_separate(&tenants).await;
    }
}

/// The same for changes: of two values that are changed together, both are or none is.
async fn change_and_leave(service: &Service, operator: &Caller, session: &mut Session, caller: &Caller) {
    let made = caller.post("/api/leads", &lead("changed-at-first")).await;
    let path = format!("/api/leads/{}", made.text("/data/id"));
    let change = |mark: &str| {
        let body = json!({ "full_name": mark, "city": "x".repeat(100), "notes": mark });
        wire(caller, &Method::PATCH, &path, Some(&body))
    };
    for part in moments(&change("changed-by-a-part")) {
        send_and_leave(service, part).await;
    }
    assert_eq!(marks(caller, "changed-").await, ["changed-at-first"]);
    for wait_ms in 0..10 {
        read_and_leave(service, &change(&format!("changed-{wait_ms}")), 5000, wait_ms).await;
        assert_eq!(marks(caller, "changed-").await.len(), 1);
    }
    leave_in_the_middle(service, operator, session, "app.leads", &change("changed-at-last")).await;
    until_marks(service, caller, "changed-", &["changed-at-last".to_owned()]).await;
}

/// A sign-up of this name.
fn sign_up(service: &Service, name: &str) -> Vec<u8> {
    let body = json!({ "email": format!("{name}@gone.example"), "password": PASSWORD, "company_name": name });
    wire(&service.anonymous(), &Method::POST, "/api/auth/sign-up", Some(&body))
}

/// Whether there is an account of this name. If there is, it is whole: its owner can work in its
/// tenant. If not, the name is free.
async fn is_signed_up(service: &Service, name: &str) -> bool {
    let body = json!({ "email": format!("{name}@gone.example"), "password": PASSWORD });
    let signed_in = service.anonymous().post("/api/auth/sign-in", &body).await;
    if signed_in.status == 401 {
        let body = json!({ "email": format!("{name}@gone.example"), "password": PASSWORD, "company_name": name });
        let again = service.anonymous().post("/api/auth/sign-up", &body).await;
        assert_eq!(again.status, 201, "{name} is not there, and yet taken: {}", again.body);
        return false;
    }
    assert_eq!(signed_in.status, 200, "{name}: {}", signed_in.body);
    let caller = service.anonymous().with_token(&signed_in.text("/data/access_token"));
    assert_eq!(caller.get("/api/auth/me").await.text("/data/tenant/slug"), name);
    let made = caller.post("/api/leads", &json!({ "full_name": "First" })).await;
    assert_eq!(made.status, 201, "{name}: {}", made.body);
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_leaves_a_whole_tenant_or_none() {
    let service = Service::start("solar");
    let operator = service.operator("signing").await;
    let tenants = marked(&service).await;
    let mut control = Session::open(&service.data_dir, "rowhouse_control");
    for part in moments(&sign_up(&service, "cut-short")) {
        send_and_leave(&service, part).await;
    }
    // In the middle of each of its steps, and of the sign-in behind them.
    let tables = ["control.users", "control.tenants", "control.memberships", "control.sessions"];
    for (number, table) in tables.into_iter().enumerate() {
        leave_in_the_middle(&service, &operator, &mut control, table, &sign_up(&service, &format!("held-{number}")))
            .await;
    }
    let mut shared = Session::open(&service.data_dir, "rowhouse_data");
    leave_in_the_middle(&service, &operator, &mut shared, "rowhouse.members", &sign_up(&service, "held-seed")).await;
    for wait_ms in (0..100).step_by(9) {
        read_and_leave(&service, &sign_up(&service, &format!("left-{wait_ms}")), 5000, wait_ms).await;
    }
    until_at_rest(&operator, &mut control).await;
    const OPEN: &str = "select count(*) from control.sagas where status <> 'succeeded'";
    assert_eq!(control.ask(OPEN), ["0"], "whoever began an operation has ended it");
    assert_eq!(control.ask("select count(*) from control.tenants where status <> 'active'"), ["0"]);
    assert!(!service.log().contains("an operation was brought to its end"), "an operation had to be taken over");
    assert!(!is_signed_up(&service, "cut-short").await);
    for name in ["held-0", "held-1", "held-2", "held-3", "held-seed"] {
        assert!(is_signed_up(&service, name).await, "{name}: what was begun is done: {}", refusals(&service));
    }
    for wait_ms in (0..100).step_by(9) {
        is_signed_up(&service, &format!("left-{wait_ms}")).await;
    }
    assert_separate(&tenants).await;
    until_at_rest(&operator, &mut control).await;
}
