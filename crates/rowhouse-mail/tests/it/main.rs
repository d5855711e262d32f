//! Integration tests of mail, on a real PostgreSQL and a real SMTP server.
#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod templates;

use std::time::Duration;

use rowhouse_mail::{Language, Link, Mail, Message, OwnAddresses, Voice};

/// How the tests' service speaks.
fn voice() -> Voice {
    Voice {
        service: "Rowhouse".into(),
        language: Language::english(),
        addresses: OwnAddresses::new("https://example.com", "example.com").unwrap(),
    }
}

/// A mail with a link, in the service's own name.
fn magic_link(to: &str) -> Mail {
    let link = Link::new("https://example.com/sign-in?token=rh_secret_token");
    let message = Message::MagicLink { link, valid_for: Duration::from_secs(15 * 60) };
    Mail { to: to.parse().unwrap(), user: None, brand: None, language: None, message }
}
