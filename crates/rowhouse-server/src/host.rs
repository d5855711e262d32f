//! What the host name says: a tenant's subdomain of the base domain, or nothing.

/// The slug in a host name: `acme` for `acme.example.com:8080` under base domain `example.com`.
/// The base domain itself, its `www`, `api` and `auth`, and foreign hosts name no tenant.
pub(crate) fn slug_of_host<'a>(host: &'a str, base_domain: &str) -> Option<&'a str> {
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host });
    let name = name.strip_suffix('.').unwrap_or(name);
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
