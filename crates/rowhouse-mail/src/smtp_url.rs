//! Where the SMTP server is, in one line: `smtps://user:password@mail.example.com`.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::{Host, Url};

/// How the way to the server is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// From the first byte.
    Implicit,
    /// Asked for, and required.
    Upgrade,
    /// Not at all.
    Off,
}

/// An SMTP server's address with user and password, which nothing prints.
#[derive(Clone)]
pub struct SmtpUrl {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Tls,
    pub(crate) credentials: Option<(String, SecretString)>,
}

/// Why an address is refused. Holds nothing of it: it has a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SmtpUrlError {
    /// It cannot be read.
    #[error(
        "must be smtps://USER:PASSWORD@HOST:PORT, or smtp:// for STARTTLS, with other characters than letters and \
         digits of the password as %XX"
    )]
    Malformed,
    /// It has parameters that do not exist.
    #[error("may have one parameter: ?tls=starttls, ?tls=implicit or ?tls=none")]
    Parameter,
    /// It would send the password unencrypted.
    #[error("must not send a password without TLS to another machine")]
    PasswordInTheClear,
}

impl FromStr for SmtpUrl {
    type Err = SmtpUrlError;

    fn from_str(text: &str) -> Result<Self, SmtpUrlError> {
        let url = Url::parse(text.trim()).map_err(|_| SmtpUrlError::Malformed)?;
        let of_scheme = match url.scheme() {
            "smtps" => Tls::Implicit,
            "smtp" => Tls::Upgrade,
            _ => return Err(SmtpUrlError::Malformed),
        };
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(SmtpUrlError::Malformed);
        }
        let tls = match (of_scheme, url.query()) {
            (tls, None) => tls,
            (Tls::Implicit, Some("tls=implicit")) | (Tls::Upgrade, Some("tls=starttls")) => of_scheme,
            (Tls::Upgrade, Some("tls=implicit")) => Tls::Implicit,
            (Tls::Upgrade, Some("tls=none")) => Tls::Off,
            _ => return Err(SmtpUrlError::Parameter),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(SmtpUrlError::Malformed)?;
        let (host, local) = match Host::parse(host).map_err(|_| SmtpUrlError::Malformed)? {
            Host::Domain(host) => (host.clone(), host == "localhost"),
            Host::Ipv4(ip) => (ip.to_string(), ip.is_loopback()),
            Host::Ipv6(ip) => (ip.to_string(), ip.is_loopback()),
        };
        let port = url.port().unwrap_or(match tls {
            Tls::Implicit => 465,
            Tls::Upgrade => 587,
            Tls::Off => 25,
        });
        let credentials = match (decoded(url.username())?, url.password()) {
            (user, Some(password)) if !user.is_empty() => Some((user, decoded(password)?.into())),
            (user, None) if user.is_empty() => None,
            _ => return Err(SmtpUrlError::Malformed),
        };
        if credentials.is_some() && tls == Tls::Off && !local {
            return Err(SmtpUrlError::PasswordInTheClear);
        }
        Ok(Self { host, port, tls, credentials })
    }
}

fn decoded(text: &str) -> Result<String, SmtpUrlError> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| SmtpUrlError::Malformed)?;
    // Line breaks would end the command that carries it.
    if text.chars().any(char::is_control) { Err(SmtpUrlError::Malformed) } else { Ok(text.into_owned()) }
}

/// Without user and password: debug output ends up in logs.
impl fmt::Debug for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmtpUrl({}:{}, {:?})", self.host, self.port, self.tls)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn read(text: &str) -> (String, u16, Tls, Option<(String, String)>) {
        let url: SmtpUrl = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let credentials = url.credentials.map(|(user, password)| (user, password.expose_secret().to_owned()));
        (url.host, url.port, url.tls, credentials)
    }

    #[test]
    fn the_scheme_says_how_the_way_is_secured() {
        let of = |host: &str, port, tls| (host.to_owned(), port, tls, None);
        assert_eq!(read("smtps://mail.example.com"), of("mail.example.com", 465, Tls::Implicit));
        assert_eq!(read("smtp://mail.example.com"), of("mail.example.com", 587, Tls::Upgrade));
        assert_eq!(read("smtp://mail.example.com:2525?tls=starttls"), of("mail.example.com", 2525, Tls::Upgrade));
        assert_eq!(read("smtp://mail.example.com?tls=implicit"), of("mail.example.com", 465, Tls::Implicit));
        assert_eq!(read("smtp://127.0.0.1:1025?tls=none"), of("127.0.0.1", 1025, Tls::Off));
        assert_eq!(read("smtp://[::1]/?tls=none"), of("::1", 25, Tls::Off));
    }

    #[test]
    fn user_and_password_are_decoded_and_never_printed() {
        let text = "smtps://ann%40example.com:p%3Aass%2Fw%C3%B6rd+@mail.example.com";
        let credentials = Some(("ann@example.com".to_owned(), "p:ass/wörd+".to_owned()));
        assert_eq!(read(text).3, credentials);
        assert_eq!(format!("{:?}", text.parse::<SmtpUrl>().unwrap()), "SmtpUrl(mail.example.com:465, Implicit)");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        use SmtpUrlError::{Malformed, Parameter, PasswordInTheClear};
        for (text, error) in [
            ("", Malformed),
            ("mail.example.com:587", Malformed),
            ("https://mail.example.com", Malformed),
            ("smtp://", Malformed),
            ("smtp://mail.example.com/path", Malformed),
            ("smtp://ann@mail.example.com", Malformed),
            ("smtp://:password@mail.example.com", Malformed),
            ("smtp://ann:a%0d%0aQUIT@mail.example.com", Malformed),
            ("smtp://mail.example.com?tls=maybe", Parameter),
            ("smtps://mail.example.com?tls=none", Parameter),
            ("smtp://mail.example.com?tls=none&tls=none", Parameter),
            ("smtp://ann:secret@mail.example.com?tls=none", PasswordInTheClear),
        ] {
            assert_eq!(text.parse::<SmtpUrl>().unwrap_err(), error, "{text}");
        }
        assert!("smtp://ann:secret@localhost:1025?tls=none".parse::<SmtpUrl>().is_ok());
    }
}
