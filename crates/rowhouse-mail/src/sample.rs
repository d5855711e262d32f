//! A mail of each kind, in its shortest and its fullest form: templates are tried with them when
//! they are loaded, and shown with them.

use std::net::IpAddr;
use std::time::Duration;

use chrono::DateTime;
use rowhouse_types::TenantId;
use uuid::Uuid;

use crate::brand::{Brand, Colour};
use crate::link::Link;
use crate::message::{Deed, Mail, Message};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The mails. Their links lead to `https://example.com`.
pub fn samples() -> Vec<Mail> {
    let link = || Link::new("https://example.com/token?token=rh_sample&from=mail");
    let deed = |device: Option<&str>, ip: Option<IpAddr>| Deed {
        at: DateTime::UNIX_EPOCH,
        device: device.map(str::to_owned),
        ip,
    };
    let full = || deed(Some("Firefox on Linux"), Some(IpAddr::from([192, 0, 2, 1])));
    let messages = vec![
        Message::VerifyEmail { link: link(), valid_for: 24 * HOUR },
        Message::ResetPassword { link: link(), valid_for: HOUR },
        Message::MagicLink { link: link(), valid_for: HOUR / 4 },
        Message::Invitation { link: link(), valid_for: 7 * 24 * HOUR, invited_by: None },
        Message::Invitation { link: link(), valid_for: 7 * 24 * HOUR, invited_by: Some("Ann".into()) },
        Message::EmailChanged { new_address: address(), deed: deed(None, None) },
        Message::EmailChanged { new_address: address(), deed: full() },
        Message::PasswordChanged { deed: deed(None, None) },
        Message::PasswordChanged { deed: full() },
        Message::OwnershipTransferred { from: "Ann".into(), to: "Bob".into(), deed: deed(None, None) },
        Message::OwnershipTransferred { from: "Ann Smith".into(), to: "bob@example.com".into(), deed: full() },
        Message::NewSignIn { deed: deed(None, None) },
        Message::NewSignIn { deed: full() },
        Message::RefreshTokenReused { deed: deed(None, None) },
        Message::RefreshTokenReused { deed: full() },
        Message::AccountLocked { deed: deed(None, None), locked_for: HOUR / 4, link: None },
        Message::AccountLocked { deed: full(), locked_for: HOUR / 4, link: Some(link()) },
        Message::SecondFactorLocked { deed: full(), locked_for: HOUR / 4 },
        Message::PasskeyAdded { passkey: "Ann's laptop".into(), deed: deed(None, None) },
        Message::PasskeyAdded { passkey: "Ann's laptop".into(), deed: full() },
        Message::PasskeyRemoved { passkey: "Ann's laptop".into(), deed: full() },
        Message::SecondFactorReset { deed: deed(None, None) },
        Message::MfaReminder { link: link(), left: 3 * 24 * HOUR },
    ];
    messages.into_iter().map(sample).collect()
}

fn address() -> rowhouse_types::EmailAddress {
    "ann@example.com".parse().expect("it is an address")
}

fn sample(message: Message) -> Mail {
    let brand = Brand { tenant: TenantId::from_uuid(Uuid::nil()), name: "Acme".into(), colour: Some(Colour::DEFAULT) };
    Mail { to: address(), user: None, brand: Some(brand), language: None, message }
}
