//! What the host name says: a tenant's subdomain of the base domain, or nothing.

use axum::http::header;
use axum::http::request::Parts;

/// The host that a request names, with its port; empty if it names none.
pub(crate) fn host_of(parts: &Parts) -> &str {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.or_else(|| parts.uri.authority().map(|authority| authority.as_str())).unwrap_or_default()
}

/// A host without its port and the dot that may end it.
pub(crate) fn host_name(host: &str) -> &str {
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if is_port(port) { name } else { host });
    name.strip_suffix('.').unwrap_or(name)
}

/// The slug in a host name: `acme` for `acme.example.com:8080` under base domain `example.com`.
/// The base domain itself, its `www`, `api` and `auth`, and foreign hosts name no tenant.
pub(crate) fn slug_of_host<'a>(host: &'a str, base_domain: &str) -> Option<&'a str> {
    let name = host_name(host);
    let rest = name.len().checked_sub(base_domain.len()).filter(|rest| *rest > 1)?;
    let (label, domain) = (name.get(..rest)?, name.get(rest..)?);
    let label = label.strip_suffix('.')?;
    if !domain.eq_ignore_ascii_case(base_domain) || matches!(label, "www" | "api" | "auth") {
        return None;
    }
    Some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_slug_from_subdomains_only() {
        for (host, slug) in [
            ("acme.example.com", Some("acme")),
            ("acme.example.com:8080", Some("acme")),
            ("ACME.Example.com.", Some("ACME")),
            ("example.com", None),
            ("www.example.com", None),
            ("api.example.com:443", None),
            ("example.com.evil.net", None),
            ("notexample.com", None),
            ("127.0.0.1:8080", None),
            ("[::1]:8080", None),
            ("", None),
            (".example.com", None),
            ("a.b.example.com", Some("a.b")),
            ("ünï.example.com", Some("ünï")),
        ] {
            assert_eq!(slug_of_host(host, "example.com"), slug, "{host}");
        }
    }
}
