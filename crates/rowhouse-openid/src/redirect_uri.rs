//! Addresses that people are sent back to. They are compared letter for letter; only the port of a program on
//! the person's own machine may be any (RFC 8252, section 7.3).
//!
//! Must never compare what a parser made of an address: parsers differ, and browsers have their own.

use url::Url;

const LENGTH_MAX: usize = 2000;
const LOOPBACK: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];

/// Whether an address may be registered.
///
/// # Errors
/// What it must be.
pub(crate) fn judge(text: &str) -> Result<(), &'static str> {
    const FORM: &str = "must be https://…, or http:// on 127.0.0.1, [::1] or localhost, without fragment and user name";
    if text.len() > LENGTH_MAX {
        return Err("must have at most 2000 characters");
    }
    // What parsers and browsers read in different ways.
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>^`{|}*".contains(&byte);
    if !text.bytes().all(is_plain) {
        return Err("must be written in plain ASCII, without spaces, backslashes and wildcards");
    }
    let url = Url::parse(text).map_err(|_| FORM)?;
    let is_clean = url.fragment().is_none() && !text.contains('#') && url.username().is_empty() && !text.contains('@');
    let is_safe = match url.scheme() {
        "https" => text.starts_with("https://") && url.has_host(),
        "http" => loopback(text).is_some(),
        _ => false,
    };
    if is_clean && is_safe { Ok(()) } else { Err(FORM) }
}

/// Whether an address is one of those that were registered.
pub(crate) fn fits(registered: &[String], given: &str) -> bool {
    registered.iter().any(|known| known == given || is_same_program(known, given))
}

/// Whether both are the same program on the person's own machine, on whatever port.
fn is_same_program(known: &str, given: &str) -> bool {
    match (loopback(known), loopback(given)) {
        (Some(known), Some(given)) => known == given,
        _ => false,
    }
}

/// The host and what follows the port, of an address on the person's own machine.
fn loopback(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("http://")?;
    let host = LOOPBACK.into_iter().find(|host| rest.starts_with(host))?;
    let rest = &rest[host.len()..];
    let rest = match rest.strip_prefix(':') {
        Some(after) => {
            let end = after.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(after.len());
            after[..end].parse::<u16>().ok().filter(|port| *port > 0)?;
            &after[end..]
        }
        None => rest,
    };
    (rest.is_empty() || rest.starts_with('/') || rest.starts_with('?')).then_some((host, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits_one(known: &str, given: &str) -> bool {
        fits(&[known.to_owned()], given)
    }

    #[test]
    fn only_safe_addresses_may_be_registered() {
        for good in [
            "https://app.example.com/callback",
            "https://app.example.com",
            "https://app.example.com/a?b=c",
            "https://app.example.com:8443/cb",
            "http://127.0.0.1/cb",
            "http://localhost:3000/cb",
            "http://[::1]:1/cb",
        ] {
            assert_eq!(judge(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/cb",
            "app.example.com",
            "http://app.example.com/cb",
            "http://localhost.evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://localhost@evil.example/cb",
            "https://user@app.example.com/",
            "https://app.example.com/#x",
            "https://app.example.com/#",
            "https://*.example.com/",
            "https://app.example.com\\@evil.example/",
            "https://app.example.com/ x",
            "https:app.example.com",
            "HTTPS://app.example.com/",
            "javascript:alert(1)",
            "data:text/html,x",
            "com.example.app:/cb",
            "http://localhost:0/",
            "http://localhost:99999/",
        ] {
            assert!(judge(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_fit_letter_for_letter_but_for_a_loopback_port() {
        let known = "https://app.example.com/cb";
        assert!(fits_one(known, known));
        for other in [
            "https://app.example.com/cb/",
            "https://app.example.com/cb?x=1",
            "https://app.example.com/CB",
            "https://app.example.com/cb/../evil",
            "https://app.example.com:443/cb",
            "https://APP.example.com/cb",
            "https://app.example.com/%63b",
            "http://app.example.com/cb",
            "https://app.example.com.evil.example/cb",
            "",
        ] {
            assert!(!fits_one(known, other), "{other}");
        }
        let native = "http://127.0.0.1/cb";
        for port in ["http://127.0.0.1/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb"] {
            assert!(fits_one(native, port) && fits_one("http://127.0.0.1:80/cb", port), "{port}");
        }
        for other in [
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:65536/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:1@evil.example/cb",
            "http://127.0.0.1:1/other",
            "http://localhost:1/cb",
            "http://127.0.0.1.evil.example/cb",
            "https://127.0.0.1:1/cb",
        ] {
            assert!(!fits_one(native, other), "{other}");
        }
    }

    proptest::proptest! {
        /// Whatever fits leads to the host that was registered, as a browser would read it.
        #[test]
        fn what_fits_has_the_registered_host(tail in "[ -~]{0,40}") {
            for known in ["https://app.example.com/cb", "http://127.0.0.1/cb", "http://localhost:3000"] {
                let host = Url::parse(known).unwrap().host_str().unwrap().to_owned();
                for given in [format!("{known}{tail}"), known.replace("/cb", &tail), known.replace(":3000", &tail),
                              tail.clone(), known.replace("127.0.0.1", &format!("127.0.0.1{tail}"))] {
                    if fits(&[known.to_owned()], &given) && let Ok(url) = Url::parse(&given) {
                        assert_eq!(url.host_str(), Some(host.as_str()), "{known} {given}");
                    }
                }
            }
        }
    }
}
