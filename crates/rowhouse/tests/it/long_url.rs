//! URLs that are far too long: a clear refusal each time, and a service that goes on.

use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::service::{ACME, Caller, Service};

/// The longest URL that HTTP libraries take.
const URL_BYTES_MAX: usize = 65_534;

fn filters(filter: &str, count: usize) -> String {
    format!("/api/leads?{}", vec![filter; count].join("&"))
}

/// The answer to a request of this path, read while it is sent: a server that has seen enough does
/// not read it to its end.
async fn answer(service: &Service, caller: &Caller, path: &str) -> String {
    let stream = TcpStream::connect(service.url.trim_start_matches("http://")).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let token = caller.token.as_deref().unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n");
    let sending = tokio::spawn(async move {
        // What is not read any more cannot be sent.
        let _ = writer.write_all(request.as_bytes()).await;
        writer
    });
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match reader.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(error) => panic!("no answer ({error}): {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    drop(sending.await.unwrap());
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn ten_thousand_filters_are_refused_and_counted() {
    let caller = Service::shared().owner(&ACME).await;
    for filter in ["a=b", "q=x", "city="] {
        let path = filters(filter, 10_000);
        assert!(path.len() < URL_BYTES_MAX);
        let answer = caller.get(&path).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "invalid_request"));
        let message = answer.text("/error/message");
        assert!(message.contains("at most 50 filters") && message.contains("10000"), "{message}");
    }
    for method in [Method::POST, Method::PATCH, Method::DELETE] {
        let path = match method {
            Method::POST => filters("a=b", 10_000),
            _ => filters("a=b", 10_000).replace('?', "/01900000-0000-7000-8000-000000000000?"),
        };
        let answer = caller.send(method, &path, Some(&serde_json::json!({}))).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "invalid_request"));
    }
    assert_eq!(caller.get("/api/leads?per_page=1").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_beyond_what_http_libraries_take_has_a_status_of_its_own() {
    let service = Service::shared();
    let caller = service.owner(&ACME).await;
    let long = "full_name%5Bcontains%5D=abcdefghijklmnopqrstuvwxyz";
    for (path, status) in [
        (filters("status=open", 10_000), "414 URI Too Long"),
        (filters(&long[..30], 10_000), "414 URI Too Long"),
        (filters(long, 10_000), "431 Request Header Fields Too Large"),
        (filters(long, 100_000), "431 Request Header Fields Too Large"),
    ] {
        assert!(path.len() > URL_BYTES_MAX);
        let answer = answer(service, &caller, &path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{} bytes: {answer}", path.len());
    }
    assert_eq!(caller.get("/api/leads?per_page=1").await.status, 200);
}
