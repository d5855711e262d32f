//! Delivery to an SMTP server (RFC 5321), over connections that are used again.
//!
//! The dialog is our own and only its parts are lettre's: an attempt may be given up at any moment,
//! and a connection goes back to the others only after it answered all that it was asked. lettre's
//! pool takes back one that was dropped in the middle of a mail; the next mail would then be
//! answered with the replies of the one before.

use std::error::Error as _;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use secrecy::ExposeSecret as _;
use tokio::net::TcpStream;

use crate::error::{DeliveryError, Verdict};
use crate::letter::{Letter, Sender};
use crate::smtp_url::{SmtpUrl, Tls};
use crate::upgrade::ByteByByte;

/// Longest wait for a connection, each of the server's addresses.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest wait for an answer that only tells whether a connection is still good.
const CHECK_MAX: Duration = Duration::from_secs(5);
/// Connections that wait to be used again, and for how long.
const PARKED_MAX: usize = 4;
const PARKED_FOR: Duration = Duration::from_secs(60);

/// An SMTP server.
pub struct Smtp {
    url: SmtpUrl,
    /// None without TLS.
    tls: Option<TlsParameters>,
    sender: Sender,
    hello: ClientId,
    parked: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

/// The certificate that the server's is judged by cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SmtpTlsError {
    /// There is none in the text.
    #[error("there is no certificate in it: PEM begins with -----BEGIN CERTIFICATE-----")]
    Empty,
    /// It cannot be read.
    #[error("the certificate cannot be used: {0}")]
    Unusable(lettre::transport::smtp::Error),
}

impl Smtp {
    /// The server of a URL. Its certificate is judged by `ca` (PEM) if given, else by the system's.
    ///
    /// # Errors
    /// If `ca` is no certificate.
    pub fn new(url: SmtpUrl, ca: Option<&[u8]>, sender: &Sender) -> Result<Self, SmtpTlsError> {
        let tls = match url.tls {
            Tls::Off => None,
            Tls::Implicit | Tls::Upgrade => Some(tls_parameters(&url.host, ca)?),
        };
        let hello = ClientId::Domain(sender.host().to_owned());
        Ok(Self { url, tls, sender: sender.clone(), hello, parked: Mutex::new(Vec::new()) })
    }

    /// One attempt. May be dropped at any moment.
    pub(crate) async fn deliver(&self, letter: &Letter) -> Result<(), DeliveryError> {
        let mut connection = match self.unpark().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let outcome = self.dialog(&mut connection, letter).await;
        // Whatever was refused, the next mail begins anew.
        let sound = outcome.is_ok() || answers(connection.command(Rset)).await;
        if sound {
            self.park(connection);
        }
        outcome
    }

    /// Whether the server is there and takes what the service says of itself. Sends nothing.
    pub(crate) async fn check(&self) -> Result<(), DeliveryError> {
        let connection = self.connect().await?;
        self.park(connection);
        Ok(())
    }

    /// Where it is, without user and password.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.url.host, self.url.port)
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, DeliveryError> {
        let mut connection = match (self.url.tls, &self.tls) {
            (Tls::Upgrade, Some(tls)) => self.connect_and_upgrade(tls.clone()).await?,
            (_, tls) => {
                let server = (self.url.host.as_str(), self.url.port);
                AsyncSmtpConnection::connect_tokio1(server, Some(CONNECT_MAX), &self.hello, tls.clone(), None)
                    .await
                    .map_err(|error| failed("connect", Verdict::Away, &error))?
            }
        };
        if let Some((user, password)) = &self.url.credentials {
            let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
            let known = connection.auth(DEFAULT_MECHANISMS, &credentials).await;
            known.map_err(|error| failed("sign in to the mail server", Verdict::Away, &error))?;
        }
        Ok(connection)
    }

    async fn connect_and_upgrade(&self, tls: TlsParameters) -> Result<AsyncSmtpConnection, DeliveryError> {
        let away = |detail: String| DeliveryError::new(Verdict::Away, format!("connect: {detail}"));
        let stream = TcpStream::connect((self.url.host.as_str(), self.url.port));
        let stream = tokio::time::timeout(CONNECT_MAX, stream).await.map_err(|error| away(error.to_string()))?;
        let (stream, secured) = ByteByByte::new(stream.map_err(|error| away(error.to_string()))?);
        let greeted = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &self.hello).await;
        let mut connection = greeted.map_err(|error| failed("connect", Verdict::Away, &error))?;
        let upgraded = connection.starttls(tls, &self.hello).await;
        upgraded.map_err(|error| failed("start TLS", Verdict::Away, &error))?;
        secured.store(true, Ordering::Relaxed);
        Ok(connection)
    }

    async fn dialog(&self, connection: &mut AsyncSmtpConnection, letter: &Letter) -> Result<(), DeliveryError> {
        let mut parameters = Vec::new();
        if !letter.bytes.is_ascii() {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                let detail = "the server takes no address with other characters than ASCII";
                return Err(DeliveryError::new(Verdict::Refused, detail));
            }
            parameters = vec![MailParameter::SmtpUtfEight, MailParameter::Body(MailBodyParameter::EightBitMime)];
        }
        let sender = Some(self.sender.address().clone());
        let taken = connection.command(Mail::new(sender, parameters)).await;
        taken.map_err(|error| failed("name the sender", verdict_of_server(&error), &error))?;
        let taken = connection.command(Rcpt::new(letter.recipient.clone(), Vec::new())).await;
        taken.map_err(|error| failed("name the recipient", verdict_of_recipient(&error), &error))?;
        // From here on a broken connection may be about this mail: it must not hold up the others.
        let taken = connection.command(Data).await;
        taken.map_err(|error| failed("send the mail", Verdict::Deferred, &error))?;
        let taken = connection.message(&letter.bytes).await;
        taken.map_err(|error| failed("send the mail", Verdict::Deferred, &error))?;
        Ok(())
    }

    /// A connection that waits and is still good.
    async fn unpark(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let (mut connection, since) = self.parked.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if since.elapsed() < PARKED_FOR
                && tokio::time::timeout(CHECK_MAX, connection.test_connected()).await.unwrap_or(false)
            {
                return Some(connection);
            }
        }
    }

    fn park(&self, connection: AsyncSmtpConnection) {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        parked.retain(|(_, since)| since.elapsed() < PARKED_FOR);
        if parked.len() < PARKED_MAX {
            parked.push((connection, Instant::now()));
        }
    }
}

fn tls_parameters(host: &str, ca: Option<&[u8]>) -> Result<TlsParameters, SmtpTlsError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(pem) = ca {
        // lettre reads any other text as no certificates, and would then trust nobody.
        if !String::from_utf8_lossy(pem).contains("-----BEGIN CERTIFICATE-----") {
            return Err(SmtpTlsError::Empty);
        }
        let ca = Certificate::from_pem(pem).map_err(SmtpTlsError::Unusable)?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(ca);
    }
    builder.build().map_err(SmtpTlsError::Unusable)
}

async fn answers<T>(command: impl Future<Output = Result<T, lettre::transport::smtp::Error>>) -> bool {
    tokio::time::timeout(CHECK_MAX, command).await.is_ok_and(|answer| answer.is_ok())
}

fn failed(doing: &'static str, verdict: Verdict, error: &lettre::transport::smtp::Error) -> DeliveryError {
    let code = error.status().map(|code| code.to_string());
    DeliveryError { verdict, code, doing, detail: error.to_string() }
}

/// What an answer means that is not about the recipient: with 421, or none, the server is going.
fn verdict_of_server(error: &lettre::transport::smtp::Error) -> Verdict {
    match error.status() {
        Some(code) if code.to_string() != "421" => Verdict::Deferred,
        _ => Verdict::Away,
    }
}

/// What an answer to the recipient's name means. A refusal is final unless it is about us: we did
/// not sign in (530, 503), or the server's policy is against it (5.7.x: "relay access denied"),
/// which somebody may set right.
fn verdict_of_recipient(error: &lettre::transport::smtp::Error) -> Verdict {
    let code = error.status().map(|code| code.to_string());
    let text = error.source().map(ToString::to_string).unwrap_or_default();
    match code.as_deref() {
        Some("503" | "530") => Verdict::Deferred,
        Some(code) if code.starts_with('5') && !text.starts_with("5.7.") => Verdict::Refused,
        _ => verdict_of_server(error),
    }
}
