//! The signal to stop while hundreds of requests are under way: each that the service has taken is
//! answered in full; whoever comes later is refused. That a request was taken is seen from the
//! "100 Continue" which a handler gives when it asks for the body, or from the lock it waits for.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::beside::{Role, Session};
use crate::service::{ACME, Caller, GLOBEX, INITECH, Service, temporary};

/// How long the service lets a request wait for a connection; on a slow machine some may.
const BUSY: Duration = Duration::from_secs(5);
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

fn head(caller: &Caller, method: &Method, path: &str, more: &str) -> String {
    let token = caller.token.as_deref().unwrap();
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{more}\r\n")
}

async fn connect(address: &str) -> std::io::Result<TcpStream> {
    TcpStream::connect(address).await
}

fn address(service: &Service) -> String {
    service.url.trim_start_matches("http://").to_owned()
}

/// A write that the service has taken: its handler waits for the body.
struct Taken {
    stream: TcpStream,
    body: String,
}

impl Taken {
    async fn create(address: &str, caller: &Caller, mark: &str) -> Self {
        let body = json!({ "full_name": mark }).to_string();
        let more =
            format!("content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n", body.len());
        let mut stream = connect(address).await.unwrap();
        stream.write_all(head(caller, &Method::POST, "/api/leads", &more).as_bytes()).await.unwrap();
        let mut told = [0; CONTINUE.len()];
        stream.read_exact(&mut told).await.unwrap();
        assert_eq!(told, CONTINUE, "{}", String::from_utf8_lossy(&told));
        Self { stream, body }
    }

    async fn finish(mut self) -> u16 {
        let begun = Instant::now();
        self.stream.write_all(self.body.as_bytes()).await.unwrap();
        let status = answer(&mut self.stream).await;
        let waited = begun.elapsed();
        assert!(status != 503 || waited >= BUSY, "turned away after {waited:?} by a service that stops");
        status
    }
}

/// The status of an answer that is whole; anything else fails.
async fn answer(stream: &mut TcpStream) -> u16 {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes).await;
    whole(&bytes).unwrap_or_else(|| panic!("half an answer ({ended:?}): {:?}", String::from_utf8_lossy(&bytes)))
}

/// The status, if these bytes are an answer with all of its body.
fn whole(bytes: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    serde_json::from_str::<Value>(body).ok()?;
    (length == Some(body.len())).then(|| head.split(' ').nth(1)?.parse().ok())?
}

/// Waits until nobody can connect any more: the service has begun to stop.
async fn until_refused(address: &str) {
    loop {
        match connect(address).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
            // Taken by the system before the service closed its door, or a reset on the way.
            Ok(_) | Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn owners(service: &Service) -> Vec<Caller> {
    let mut owners = Vec::new();
    for demo in [&ACME, &GLOBEX, &INITECH] {
        owners.push(service.owner(demo).await);
    }
    owners
}

/// How many of each status.
async fn count(answers: Vec<tokio::task::JoinHandle<u16>>) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.await.unwrap()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_writes_whose_bodies_come_after_the_signal_are_all_answered() {
    let directory = temporary();
    let mut service = Service::start_in(directory.path().to_owned(), "solar", None);
    let (address, owners) = (address(&service), owners(&service).await);
    let mut taken = Vec::new();
    for number in 0..300 {
        taken.push(Taken::create(&address, &owners[number % owners.len()], &format!("late-{number:03}")).await);
    }
    service.signal("-TERM");
    until_refused(&address).await;
    let answers = taken.into_iter().map(|taken| tokio::spawn(taken.finish())).collect();
    let counts = count(answers).await;
    assert!(service.wait().success(), "{}", service.log());
    assert!(counts.keys().all(|status| matches!(status, 201 | 503)), "{counts:?}");
    let service = Service::start_in(directory.path().to_owned(), "solar", None);
    let mut kept = 0;
    for demo in [&ACME, &GLOBEX, &INITECH] {
        let leads = service.owner(demo).await.get("/api/leads?full_name[starts_with]=late-&per_page=200").await;
        kept += leads.data().len();
    }
    assert_eq!(Some(&kept), counts.get(&201), "each 201 is a record, and each record a 201");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_wait_for_a_lock_are_answered_before_the_end() {
    let mut service = Service::start("solar");
    let (address, owners) = (address(&service), owners(&service).await);
    // The tenants of one database: with the pool's tables, and with tables of its own.
    let owners = &owners[..2];
    let mut session = Session::open(&service.data_dir, "rowhouse_data");
    let tables = session.ask(
        "select string_agg(quote_ident(schemaname) || '.leads', ', ') from pg_tables
         where tablename = 'leads' and schemaname ~ '^(app$|s_)'",
    );
    session.ask(&format!("begin; lock table {} in access exclusive mode", tables[0]));
    let mut answers = Vec::new();
    for number in 0..8 {
        let mut stream = connect(&address).await.unwrap();
        let list = head(&owners[number % 2], &Method::GET, "/api/leads?per_page=1", "");
        stream.write_all(list.as_bytes()).await.unwrap();
        answers.push(tokio::spawn(async move { answer(&mut stream).await }));
    }
    session.until_waiting(Role::Service, 8);
    for number in 0..200 {
        let taken = Taken::create(&address, &owners[number % 2], &format!("held-{number:03}")).await;
        answers.push(tokio::spawn(taken.finish()));
    }
    service.signal("-TERM");
    until_refused(&address).await;
    session.ask("commit");
    let counts = count(answers).await;
    // Whoever waited longer than the service lets anybody wait is told so.
    assert!(counts.keys().all(|status| matches!(status, 200 | 201 | 503 | 504)), "{counts:?}");
    assert_eq!(counts.values().sum::<usize>(), 208);
    drop(session);
    assert!(service.wait().success(), "{}", service.log());
}

/// One of a crowd: asks again and again until it is refused. Gives the number of its answers.
async fn ask_until_refused(address: String, list: String, answered: Arc<AtomicUsize>) -> usize {
    let mut count = 0;
    loop {
        let Ok(mut stream) = connect(&address).await else { return count };
        let sent = stream.write_all(list.as_bytes()).await;
        let mut bytes = Vec::new();
        let ended = stream.read_to_end(&mut bytes).await;
        if bytes.is_empty() {
            // It was in the system's queue when the service closed its door.
            continue;
        }
        let status = whole(&bytes);
        assert!(
            matches!(status, Some(200 | 503)),
            "half an answer ({sent:?}, {ended:?}): {:?}",
            String::from_utf8_lossy(&bytes)
        );
        count += 1;
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_crowd_nobody_gets_half_an_answer() {
    let mut service = Service::start("solar");
    let (address, owners) = (address(&service), owners(&service).await);
    let answered = Arc::new(AtomicUsize::new(0));
    let mut crowd = Vec::new();
    for number in 0..200 {
        let list = head(&owners[number % 3], &Method::GET, "/api/leads?per_page=200", "connection: close\r\n");
        crowd.push(tokio::spawn(ask_until_refused(address.clone(), list, answered.clone())));
    }
    while answered.load(Ordering::Relaxed) < 300 {
        assert!(crowd.iter().all(|one| !one.is_finished()), "somebody was refused by a service that serves");
        tokio::task::yield_now().await;
    }
    service.signal("-TERM");
    for one in crowd {
        one.await.unwrap();
    }
    assert!(service.wait().success(), "{}", service.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_waits_for_nobody_and_the_next_start_works() {
    let directory = temporary();
    let mut service = Service::start_in(directory.path().to_owned(), "solar", None);
    let address = address(&service);
    let taken = Taken::create(&address, &service.owner(&ACME).await, "never").await;
    service.signal("-TERM");
    until_refused(&address).await;
    service.signal("-TERM");
    assert_eq!(service.wait().code(), Some(130));
    drop(taken);
    let service = Service::start_in(directory.path().to_owned(), "solar", None);
    let found = service.owner(&ACME).await.get("/api/leads?full_name=never").await;
    assert_eq!((found.status.as_u16(), found.data().len()), (200, 0));
}
