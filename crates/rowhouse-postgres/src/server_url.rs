//! A server's URL, or list of `key=value`: what libpq knows of TLS and the driver does not is taken
//! out of it, the rest is the driver's.

use std::borrow::Cow;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Config, Host, SslNegotiation};

use crate::tls::{SslMode, Tls};

/// What a URL says of TLS.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsWords {
    pub(crate) mode: Option<String>,
    pub(crate) root: Option<String>,
}

impl TlsWords {
    /// Keeps a word of TLS; false for any other.
    fn keep(&mut self, key: &str, value: String) -> bool {
        match key {
            "sslmode" => self.mode = Some(value),
            "sslrootcert" => self.root = Some(value),
            _ => return false,
        }
        true
    }
}

/// Reads a URL.
///
/// # Errors
/// Its fault, in words, without its password.
pub(crate) fn read(url: &str) -> Result<(Config, Tls), String> {
    let (rest, words) = split(url);
    let mut config: Config = rest.parse().map_err(|error| format!("cannot be read: {error}"))?;
    let tls = Tls::read(&words).map_err(|error| format!("cannot be used: {error}"))?;
    // As in libpq: there is no way on in the clear from a server that expects TLS at once.
    if config.get_ssl_negotiation() == SslNegotiation::Direct && tls.mode == SslMode::Prefer {
        return Err(
            "cannot be used: sslmode prefer is too weak for sslnegotiation=direct; use require or stronger".into()
        );
    }
    config.ssl_mode(tls.mode.of_driver());
    Ok((config, tls))
}

/// Whether the server that a URL names shares this machine's cores. False for a URL that cannot be
/// read.
pub fn is_on_this_machine(url: &str) -> bool {
    let here = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
    };
    read(url).is_ok_and(|(config, _)| config.get_hosts().iter().all(here))
}

fn split(url: &str) -> (String, TlsWords) {
    let is_url = url.starts_with("postgresql://") || url.starts_with("postgres://");
    if is_url { split_url(url) } else { split_pairs(url) }
}

fn split_url(url: &str) -> (String, TlsWords) {
    let mut words = TlsWords::default();
    // A password may hold a question mark.
    let host = url.find('@').unwrap_or(0);
    let Some(query) = url[host..].find('?').map(|at| host + at) else { return (url.to_owned(), words) };
    let mut rest = Vec::new();
    for pair in url[query + 1..].split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !words.keep(&decoded(key), decoded(value).into_owned()) {
            rest.push(pair);
        }
    }
    let mark = if rest.is_empty() { "" } else { "?" };
    (format!("{}{mark}{}", &url[..query], rest.join("&")), words)
}

/// A percent sign that stands for nothing stays.
fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

fn split_pairs(text: &str) -> (String, TlsWords) {
    let (mut words, mut kept, mut rest) = (TlsWords::default(), String::new(), text);
    while let Some((key, after)) = rest.split_once('=') {
        let (value, end) = value_of(after);
        if !words.keep(key.trim(), value) {
            kept.push_str(&rest[..key.len() + 1 + end]);
        }
        rest = &after[end..];
    }
    kept.push_str(rest);
    (kept, words)
}

/// A value, perhaps in quotes and with backslashes, and where it ends.
fn value_of(text: &str) -> (String, usize) {
    let (mut value, mut quoted, mut escaped, mut begun) = (String::new(), false, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => {
                value.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            '\'' if quoted => return (value, at + 1),
            '\'' if !begun => quoted = true,
            _ if letter.is_whitespace() && !quoted && begun => return (value, at),
            _ if letter.is_whitespace() && !quoted => continue,
            _ => value.push(letter),
        }
        begun = true;
    }
    (value, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(mode: &str, root: &str) -> TlsWords {
        let word = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        TlsWords { mode: word(mode), root: word(root) }
    }

    #[test]
    fn a_server_is_on_this_machine_by_socket_or_loopback() {
        for (url, here) in [
            ("postgresql:///app?host=/run/postgresql", true),
            ("postgresql://app@localhost:5433/app", true),
            ("host=127.0.0.1 dbname=app", true),
            ("postgresql://app@[::1]/app", true),
            ("postgresql://app@db.example.com/app", false),
            ("postgresql://app@localhost,db.example.com/app", false),
            ("postgresql://app@10.0.0.7/app", false),
            ("no url", false),
        ] {
            assert_eq!(is_on_this_machine(url), here, "{url}");
        }
    }

    #[test]
    fn words_of_tls_are_taken_out_of_a_url() {
        for (url, rest, mode, root) in [
            ("postgresql://h/db", "postgresql://h/db", "", ""),
            ("postgres://u:p?@h/db?sslmode=require", "postgres://u:p?@h/db", "require", ""),
            (
                "postgresql://h/db?connect_timeout=3&sslrootcert=%2Fetc%2Fa%20b.crt&sslmode=verify-ca&target_session_attrs=any",
                "postgresql://h/db?connect_timeout=3&target_session_attrs=any",
                "verify-ca",
                "/etc/a b.crt",
            ),
            ("postgresql:///db?host=%2Frun&sslrootcert=100%", "postgresql:///db?host=%2Frun", "", "100%"),
        ] {
            assert_eq!(split(url), (rest.to_owned(), words(mode, root)), "{url}");
        }
    }

    #[test]
    fn words_of_tls_are_taken_out_of_pairs() {
        for (text, rest, mode, root) in [
            ("host=h dbname=db", "host=h dbname=db", "", ""),
            ("sslmode=require host=h", " host=h", "require", ""),
            (
                "host=h sslrootcert='/a b\\'s.crt' password='x sslmode=no' user=u",
                "host=h password='x sslmode=no' user=u",
                "",
                "/a b's.crt",
            ),
            ("host=h sslmode = verify-full", "host=h", "verify-full", ""),
        ] {
            assert_eq!(split(text), (rest.to_owned(), words(mode, root)), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_words() {
        for (query, told) in [
            ("sslmode=allow", "sslmode \"allow\" is not known; use disable, prefer, require, verify-ca or verify-full"),
            ("sslmode=verify-ca&sslrootcert=system", "too weak for sslrootcert=system; use verify-full"),
            ("sslmode=require&sslrootcert=%2Fno%2Fsuch.crt", "sslrootcert /no/such.crt cannot be read"),
            ("sslnegotiation=direct", "too weak for sslnegotiation=direct; use require or stronger"),
            ("sslrootcert=Cargo.toml", "sslrootcert Cargo.toml holds no certificate in PEM form"),
        ] {
            let error = read(&format!("postgresql://u:secret@h/db?{query}")).unwrap_err();
            assert!(error.contains(told) && !error.contains("secret"), "{error}");
        }
    }
}
