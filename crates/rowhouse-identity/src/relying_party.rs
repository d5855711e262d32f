//! Whose passkeys they are: the service, as browsers and authenticators know it.
//!
//! The id of the relying party is the host of the public URL. Passkeys are bound to it for good: under
//! another host none of them works. Tenants' subdomains may use them where they are below that host.

use url::Url;
use webauthn_rs::{Webauthn, WebauthnBuilder};

/// The relying party of a service; none where the public URL has no host name, but an address.
pub(crate) fn relying_party(public_url: &str, base_domain: &str, name: &str) -> Option<Webauthn> {
    let origin = Url::parse(public_url).ok()?;
    let host = origin.domain()?.to_owned();
    let builder = WebauthnBuilder::new(&host, &origin).ok()?;
    builder.rp_name(name).allow_subdomains(host == base_domain).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_under_a_host_name_has_passkeys() {
        assert!(relying_party("http://localhost:8080", "localhost", "Rowhouse").is_some());
        assert!(relying_party("https://app.example.com", "example.com", "Rowhouse").is_some());
        assert!(relying_party("http://192.0.2.7:8080", "example.com", "Rowhouse").is_none());
        assert!(relying_party("nowhere", "example.com", "Rowhouse").is_none());
    }
}
