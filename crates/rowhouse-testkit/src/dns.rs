//! A DNS server of a test's own, which knows TXT records and nothing else.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

const TXT: [u8; 2] = [0, 16];
const INTERNET: [u8; 2] = [0, 1];
/// "No such name", in an answer's flags.
const ABSENT: u8 = 3;

/// The server. It answers until the test program ends.
pub struct TestDns {
    /// Where it listens.
    pub address: SocketAddr,
    records: Arc<Mutex<HashMap<String, Vec<String>>>>,
}

impl TestDns {
    /// Starts one that knows no record.
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let address = socket.local_addr().expect("the socket is bound");
        let records = Arc::new(Mutex::new(HashMap::new()));
        let known = records.clone();
        std::thread::spawn(move || {
            let mut packet = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut packet) {
                let answer = answer(&packet[..length], &known.lock().expect("nobody panicked"));
                // Who does not wait any more gets none.
                let _ = answer.map(|answer| socket.send_to(&answer, client));
            }
        });
        Self { address, records }
    }

    /// Sets the texts of a name, in the place of those from before.
    pub fn set(&self, name: &str, texts: &[&str]) {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        self.records.lock().expect("nobody panicked").insert(name.to_owned(), texts);
    }
}

/// The answer to a query with one question; none for what is no query.
fn answer(query: &[u8], records: &HashMap<String, Vec<String>>) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    while *query.get(at)? != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(query.get(at + 1..end)?).to_lowercase());
        at = end;
    }
    let (question, kind) = (query.get(12..at + 5)?, query.get(at + 1..at + 3)?);
    let texts = records.get(&labels.join(".")).filter(|_| kind == TXT.as_slice());
    let texts = texts.map(Vec::as_slice).unwrap_or_default();
    let code = if texts.is_empty() { ABSENT } else { 0 };
    let count = u8::try_from(texts.len()).expect("a test has few records");
    // An authoritative answer with one question, so many answers, and nothing else.
    let mut answer = [&query[..2], &[0x84, code, 0, 1, 0, count, 0, 0, 0, 0], question].concat();
    for text in texts {
        let length = u8::try_from(text.len()).expect("a test's texts are short");
        // The name is the question's.
        answer
            .extend([&[0xc0, 12], TXT.as_slice(), INTERNET.as_slice(), &[0, 0, 0, 60, 0, length + 1, length]].concat());
        answer.extend(text.as_bytes());
    }
    Some(answer)
}
