//! URLs that are far too long: a clear refusal each time, and a service that goes on.

use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::service::{ACME, Caller, Service};

/// The longest URL that HTTP libraries take.
const URL_BYTES_MAX: usize = 65_534;

fn filters(filter: &str, count: usize) -> String {
    format!("/api/leads?{}", vec![filter; count].join("&"))
}

/// The answer to these bytes, read while they are sent: a server that has seen enough does not read
/// them to their end. Its head and its body.
async fn answer(service: &Service, request: String) -> (String, Value) {
    let stream = TcpStream::connect(service.url.trim_start_matches("http://")).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let sending = tokio::spawn(async move {
        // What is not read any more cannot be sent.
        let _ = writer.write_all(request.as_bytes()).await;
        writer
    });
    let mut bytes = Vec::new();
    let (head, length) = loop {
        match reader.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(error) => panic!("no answer ({error}): {:?}", String::from_utf8_lossy(&bytes)),
        }
        if bytes.ends_with(b"\r\n\r\n") {
            let head = String::from_utf8(bytes).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
            break (head, length);
        }
    };
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.unwrap();
    drop(sending.await.unwrap());
    (head, serde_json::from_slice(&body).unwrap())
}

fn request(caller: &Caller, path: &str, headers: &str) -> String {
    let token = caller.token.as_deref().unwrap();
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}authorization: Bearer {token}\r\n\r\n")
}

/// A refusal has the status and the code, and one request id in head, body and log.
fn assert_refusal(service: &Service, (head, body): &(String, Value), status: &str, code: &str) {
    assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
    assert_eq!((&body["success"], &body["error"]["code"]), (&false.into(), &code.into()), "{body}");
    assert!(body["error"]["message"].as_str().unwrap().ends_with('.') && body["error"]["details"].is_array());
    let id = body["error"]["request_id"].as_str().unwrap();
    assert!(head.contains(&format!("\r\nx-request-id: {id}\r\n")), "{head}");
    assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
    assert!(service.log().contains(id), "the log has {id}");
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
    for (path, status, code) in [
        (filters("status=open", 10_000), "414 URI Too Long", "uri_too_long"),
        (filters(&long[..30], 10_000), "414 URI Too Long", "uri_too_long"),
        (filters(long, 10_000), "431 Request Header Fields Too Large", "headers_too_large"),
        (filters(long, 100_000), "431 Request Header Fields Too Large", "headers_too_large"),
    ] {
        assert!(path.len() > URL_BYTES_MAX);
        assert_refusal(service, &answer(service, request(&caller, &path, "")).await, status, code);
    }
    assert_eq!(caller.get("/api/leads?per_page=1").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_or_has_too_many_headers_is_refused_in_the_envelope_too() {
    let service = Service::shared();
    let caller = service.owner(&ACME).await;
    let many: String = (0..101).map(|number| format!("x-{number}: 1\r\n")).collect();
    let large = format!("x-large: {}\r\n", "a".repeat(500_000));
    for headers in [many, large] {
        let refused = answer(service, request(&caller, "/api/leads", &headers)).await;
        assert_refusal(service, &refused, "431 Request Header Fields Too Large", "headers_too_large");
    }
    for text in
        ["GET /api/leads HTTP/7.0\r\n\r\n", "\u{1}\u{2}\u{3} / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n: x\r\n\r\n"]
    {
        let refused = answer(service, text.to_owned()).await;
        assert_refusal(service, &refused, "400 Bad Request", "invalid_request");
    }
    assert_eq!(caller.get("/api/leads?per_page=1").await.status, 200);
}
