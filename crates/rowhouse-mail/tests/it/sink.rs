//! A real SMTP server, aiosmtpd, run as a process.

use std::process::Stdio;

use rowhouse_mail::{Delivery, Smtp, SmtpUrl};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

/// More than any test sends.
const LINES_MAX: usize = 1000;

/// A mail as the server received it.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) to: String,
    pub(crate) sender: String,
    pub(crate) mail: String,
    pub(crate) tls: bool,
    pub(crate) user: Option<String>,
    /// The port at our end: the same for mails of one connection.
    pub(crate) peer: u64,
}

impl Received {
    pub(crate) fn message_id(&self) -> &str {
        self.mail.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap()
    }
}

/// The server. It ends with the test.
pub(crate) struct Sink {
    child: Child,
    input: ChildStdin,
    lines: mpsc::Receiver<Value>,
    pub(crate) port: u16,
    /// The certificate that a client judges the server's by.
    pub(crate) ca: Option<String>,
}

impl Sink {
    /// Starts a server. None without Python: the test command installs it and names it.
    pub(crate) async fn start(settings: Value) -> Option<Self> {
        let python = std::env::var_os("ROWHOUSE_PYTHON")?;
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/sink.py"))
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        // Read at once: a full pipe would hold the server up.
        let (told, mut lines) = mpsc::channel(LINES_MAX);
        tokio::spawn(async move {
            let mut output = BufReader::new(output).lines();
            while let Ok(Some(line)) = output.next_line().await {
                let value = serde_json::from_str(&line).unwrap();
                if told.send(value).await.is_err() {
                    return;
                }
            }
        });
        let ready: Value = lines.recv().await.expect("the server starts");
        let port = ready["port"].as_u64().unwrap().try_into().unwrap();
        let ca = ready["ca"].as_str().map(str::to_owned);
        Some(Self { child, input, lines, port, ca })
    }

    /// A server that asks for nothing.
    pub(crate) async fn plain() -> Option<Self> {
        Self::start(json!({})).await
    }

    /// The way to it as a setting: `scheme://[user:password@]localhost:port[?…]`.
    pub(crate) fn url(&self, scheme: &str, user: &str, parameters: &str) -> SmtpUrl {
        format!("{scheme}://{user}localhost:{}{parameters}", self.port).parse().unwrap()
    }

    /// Delivery without TLS.
    pub(crate) fn delivery(&self) -> Delivery {
        delivery(self.url("smtp", "", "?tls=none"), None)
    }

    /// The next mail that it receives.
    pub(crate) async fn received(&mut self) -> Received {
        let told = self.lines.recv().await.expect("the server runs");
        let text = |key: &str| told[key].as_str().map(str::to_owned);
        Received {
            to: told["to"][0].as_str().unwrap().to_owned(),
            sender: text("sender").unwrap(),
            mail: text("mail").unwrap(),
            tls: told["tls"].as_bool().unwrap(),
            user: text("user"),
            peer: told["peer"].as_u64().unwrap(),
        }
    }

    /// Lets it answer those that hang, and all that would.
    pub(crate) async fn release(&mut self) {
        self.input.write_all(b"\n").await.unwrap();
    }

    /// Kills it, and gives its port and what it had received and nobody read.
    pub(crate) async fn kill(mut self) -> (u16, usize) {
        self.child.kill().await.unwrap();
        let mut unread = 0;
        while self.lines.recv().await.is_some() {
            unread += 1;
        }
        (self.port, unread)
    }
}

/// Delivery to a server, judged by a certificate if given.
pub(crate) fn delivery(url: SmtpUrl, ca: Option<&str>) -> Delivery {
    let sender = crate::SENDER.parse().unwrap();
    Delivery::Smtp(Box::new(Smtp::new(url, ca.map(str::as_bytes), &sender).unwrap()))
}
