//! Links in mails. They lead to the service itself and nowhere else, and their tokens are
//! secrets: nothing here prints one.

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// Longest link, in bytes: longer ones are broken by mail programs.
const LENGTH_MAX: usize = 1000;

/// An address on the service with a token in it. Debug output hides it.
#[derive(Debug, Clone)]
pub struct Link(SecretString);

impl Link {
    /// A link as text; it is judged when the mail is made.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into().into())
    }
}

/// Why a link is refused. The link itself is not told: it may hold a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It is no address of the web, or too long.
    #[error("the link is no address of 1 to 1000 visible characters")]
    Malformed,
    /// It leads elsewhere.
    #[error("the link does not lead to the service's own address")]
    Foreign,
}

/// The service's own addresses: its public URL, and every subdomain of the base domain under the
/// same scheme and port.
#[derive(Debug, Clone)]
pub struct OwnAddresses {
    public: Url,
    base_domain: String,
}

impl OwnAddresses {
    /// # Errors
    /// If the public URL is none.
    pub fn new(public_url: &str, base_domain: &str) -> Result<Self, LinkError> {
        let public = Url::parse(public_url).map_err(|_| LinkError::Malformed)?;
        if !matches!(public.scheme(), "http" | "https") || !public.has_host() {
            return Err(LinkError::Malformed);
        }
        Ok(Self { public, base_domain: base_domain.to_ascii_lowercase() })
    }

    /// The link as it is written into a mail.
    pub(crate) fn judge(&self, link: &Link) -> Result<String, LinkError> {
        let text = link.0.expose_secret();
        // The parser would drop tabs and line breaks silently.
        if text.len() > LENGTH_MAX || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(LinkError::Malformed);
        }
        let url = Url::parse(text).map_err(|_| LinkError::Malformed)?;
        let host = url.host_str().ok_or(LinkError::Malformed)?;
        let below = host.strip_suffix(self.base_domain.as_str());
        let own_host = self.public.host_str() == Some(host)
            || below.is_some_and(|rest| !self.base_domain.is_empty() && (rest.is_empty() || rest.ends_with('.')));
        let own = own_host
            && url.scheme() == self.public.scheme()
            && url.port_or_known_default() == self.public.port_or_known_default()
            && url.username().is_empty()
            && url.password().is_none();
        if own { Ok(url.into()) } else { Err(LinkError::Foreign) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(link: &str) -> Result<String, LinkError> {
        OwnAddresses::new("https://app.example.com", "example.com").unwrap().judge(&Link::new(link))
    }

    #[test]
    fn links_lead_to_the_service_and_its_tenants() {
        for own in [
            "https://app.example.com/verify?token=a&b=c",
            "https://acme.example.com/x",
            "https://example.com/",
            "https://APP.example.com:443/x",
        ] {
            assert!(judge(own).is_ok(), "{own}");
        }
    }

    #[test]
    fn links_elsewhere_are_refused() {
        for foreign in [
            "https://evil.test/x",
            "https://evilexample.com/x",
            "https://example.com.evil.test/x",
            "https://app.example.com@evil.test/x",
            "https://user@app.example.com/x",
            "https://app.example.com\\@evil.test/x",
            "https://app.example.com:8443/x",
            "http://app.example.com/x",
        ] {
            let outcome = judge(foreign);
            let harmless = outcome.as_ref().is_ok_and(|url| url.starts_with("https://app.example.com/"));
            assert!(outcome == Err(LinkError::Foreign) || harmless, "{foreign}: {outcome:?}");
        }
        for malformed in ["", "/verify", "javascript:alert(1)", "https://app.example.com/\r\nBcc: x", "mailto:a@b.c"] {
            assert_eq!(judge(malformed), Err(LinkError::Malformed), "{malformed}");
        }
        assert_eq!(judge(&format!("https://app.example.com/{}", "x".repeat(2000))), Err(LinkError::Malformed));
    }

    #[test]
    fn debug_output_hides_the_token() {
        assert!(!format!("{:?}", Link::new("https://app.example.com/?token=secret")).contains("secret"));
    }
}
