//! TLS to the server, as libpq reads `sslmode` and `sslrootcert` ("SSL Support" in its
//! documentation): which of the modes may go on in the clear, and what is checked of a certificate.
//!
//! The driver knows three of the modes and no root certificates, so both words are taken out of the
//! URL before it reads the rest. Must never go on in the clear in a mode that demands TLS.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::{Config, Host};
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::DatabaseError;
use crate::server_url::TlsWords;

/// The root certificates of the operating system, by libpq's name for them.
const SYSTEM_ROOTS: &str = "system";
/// Where libpq looks for root certificates that nobody named, below the home directory.
const DEFAULT_ROOTS: &str = ".postgresql/root.crt";

const KNOWN_MODES: &str = "disable, prefer, require, verify-ca or verify-full";

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SslMode {
    /// Never.
    Disable,
    /// If the server offers it; else in the clear.
    Prefer,
    /// Always, with whoever answers.
    Require,
    /// Always, with a certificate that a root certificate vouches for.
    VerifyCa,
    /// Always, with such a certificate that is for this host.
    VerifyFull,
}

impl SslMode {
    const ALL: [Self; 5] = [Self::Disable, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        found.ok_or_else(|| format!("sslmode {text:?} is not known; use {KNOWN_MODES}"))
    }

    /// The driver's word: what it does before the certificate is looked at.
    pub(crate) const fn of_driver(self) -> tokio_postgres::config::SslMode {
        match self {
            Self::Disable => tokio_postgres::config::SslMode::Disable,
            Self::Prefer => tokio_postgres::config::SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => tokio_postgres::config::SslMode::Require,
        }
    }
}

/// How connections to one address are secured.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) mode: SslMode,
    /// `sslrootcert`, as libpq reads it; none if no certificate is looked at.
    root: Option<String>,
    config: Option<Arc<ClientConfig>>,
}

impl Tls {
    /// None at all: a socket.
    pub(crate) const OFF: Self = Self { mode: SslMode::Disable, root: None, config: None };

    /// Reads the words of a URL, and the root certificates that they name.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub(crate) fn read(words: &TlsWords) -> Result<Self, String> {
        let named = words.root.as_deref().filter(|text| !text.is_empty());
        let mode = words.mode.as_deref().filter(|text| !text.is_empty()).map(SslMode::read).transpose()?;
        // As in libpq: the system's roots vouch for half the world, so the name must be checked.
        if named == Some(SYSTEM_ROOTS) {
            return match mode.unwrap_or(SslMode::VerifyFull) {
                SslMode::VerifyFull => Self::checked(SslMode::VerifyFull, SYSTEM_ROOTS, &system_roots()),
                weak => Err(format!("sslmode {} is too weak for sslrootcert=system; use verify-full", weak.as_str())),
            };
        }
        let mode = mode.unwrap_or(SslMode::Prefer);
        if mode == SslMode::Disable {
            return Ok(Self::OFF);
        }
        let default = std::env::home_dir().map(|home| home.join(DEFAULT_ROOTS)).filter(|path| path.exists());
        match (named.map(PathBuf::from).or(default), mode) {
            (Some(path), _) => Self::checked(mode, &path.to_string_lossy(), &roots_of(&path)?),
            (None, SslMode::VerifyCa | SslMode::VerifyFull) => Err(format!(
                "sslmode {} needs root certificates: name their file with sslrootcert=FILE, or use those of the system \
                 with sslrootcert=system",
                mode.as_str()
            )),
            (None, _) => Ok(Self::of(mode, None, Vec::new())),
        }
    }

    fn checked(mode: SslMode, root: &str, certificates: &[CertificateDer<'static>]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(certificates.iter().cloned());
        if usable == 0 {
            return Err("sslrootcert: none of the root certificates can be used".to_owned());
        }
        let checks = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let checks = checks.map_err(|error| format!("sslrootcert: {error}"))?;
        Ok(Self { root: Some(root.to_owned()), ..Self::of(mode, Some(checks), certificates.to_vec()) })
    }

    fn of(mode: SslMode, checks: Option<Arc<WebPkiServerVerifier>>, roots: Vec<CertificateDer<'static>>) -> Self {
        let verifier = Verifier { mode, checks, roots, provider: provider() };
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider supports TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Self { mode, root: None, config: Some(Arc::new(config)) }
    }

    /// The same in libpq's environment, for its own programs.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let mode = ("PGSSLMODE", self.mode.as_str().to_owned());
        [mode].into_iter().chain(self.root.clone().map(|root| ("PGSSLROOTCERT", root))).collect()
    }

    /// What the driver is to connect with; none where TLS is not wanted: sockets have none.
    pub(crate) fn for_config(&self, config: &Config) -> Option<MakeRustlsConnect> {
        let local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        let tls = self.config.as_ref().filter(|_| !local)?;
        Some(MakeRustlsConnect::new((**tls).clone()))
    }

    /// Whether a connection that failed so is tried again in the clear.
    pub(crate) fn goes_on_in_the_clear(&self, error: &tokio_postgres::Error) -> bool {
        let refused = error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
        self.mode == SslMode::Prefer && (refused || fault(error).is_some())
    }

    /// A failure to connect, in words if it is one of TLS.
    pub(crate) fn in_words(&self, error: tokio_postgres::Error, config: &Config) -> DatabaseError {
        let mode = self.mode.as_str();
        if let Some(fault) = fault(&error) {
            let host = config.get_hosts().iter().find_map(|host| match host {
                Host::Tcp(name) => Some(name.as_str()),
                Host::Unix(_) => None,
            });
            return DatabaseError::Unavailable(fault.in_words(mode, host.unwrap_or_default()));
        }
        match DatabaseError::from(error) {
            DatabaseError::Other { code, message, position } if message.ends_with("no encryption") => {
                let message = format!(
                    "{message}: the server takes no plain connection, so sslmode={mode} does not do; use require, or better verify-full"
                );
                DatabaseError::Other { code, message, position }
            }
            error => error,
        }
    }
}

/// What went wrong before the server was spoken to.
enum Fault<'a> {
    NotOffered,
    Certificate(&'a CertificateError),
    Other(String),
}

fn fault(error: &tokio_postgres::Error) -> Option<Fault<'_>> {
    // The driver keeps its kinds to itself, but for their text.
    if !error.to_string().contains("TLS handshake") {
        return None;
    }
    let source = error.source()?;
    let inner = source.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    Some(match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(fault)) => Fault::Certificate(fault),
        Some(other) => Fault::Other(other.to_string()),
        None if source.to_string().contains("does not support TLS") => Fault::NotOffered,
        None => Fault::Other(source.to_string()),
    })
}

impl Fault<'_> {
    fn in_words(&self, mode: &str, host: &str) -> String {
        match self {
            Self::NotOffered => format!("the server offers no TLS, which sslmode={mode} demands"),
            Self::Certificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
                format!("the server's certificate is not for {host}, which sslmode={mode} demands")
            }
            Self::Certificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                "no certificate in sslrootcert vouches for the server's certificate".to_owned()
            }
            // It calls itself an authority, and is none of those.
            Self::Certificate(CertificateError::Other(fault)) => {
                format!("no certificate in sslrootcert vouches for the server's certificate ({fault})")
            }
            Self::Certificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
                "the server's certificate has expired".to_owned()
            }
            Self::Certificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
                "the server's certificate is not valid yet".to_owned()
            }
            Self::Certificate(other) => format!("the server's certificate cannot be used: {other}"),
            Self::Other(text) => format!("TLS with the server failed: {text}"),
        }
    }
}

/// Looks at a server's certificate, as far as the mode demands.
#[derive(Debug)]
struct Verifier {
    mode: SslMode,
    /// None without root certificates: TLS with whoever answers.
    checks: Option<Arc<WebPkiServerVerifier>>,
    roots: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext, Other};
        use rustls::Error::InvalidCertificate;
        let Some(checks) = &self.checks else { return Ok(ServerCertVerified::assertion()) };
        let by_name = self.mode == SslMode::VerifyFull;
        match checks.verify_server_cert(certificate, intermediates, host, ocsp, now) {
            // The name is looked at last: all else is in order.
            Err(InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) if !by_name => {
                Ok(ServerCertVerified::assertion())
            }
            // A self-signed certificate that calls itself an authority, as PostgreSQL's documentation
            // makes one. The library takes none such for a server's, libpq does. That it is in time
            // has been looked at before.
            Err(InvalidCertificate(Other(_))) if self.roots.iter().any(|root| root == certificate) => {
                if by_name {
                    verify_server_name(&ParsedCertificate::try_from(certificate)?, host)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn system_roots() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

fn roots_of(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let told = |error: &dyn std::fmt::Display| format!("sslrootcert {} cannot be read: {error}", path.display());
    let text = std::fs::read(path).map_err(|error| told(&error))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.map_err(|error| told(&error))?;
    if certificates.is_empty() {
        return Err(format!("sslrootcert {} holds no certificate in PEM form", path.display()));
    }
    Ok(certificates)
}
