//! A rendered mail as the bytes that SMTP carries.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use rowhouse_types::EmailAddress;
use url::Host;
use uuid::Uuid;

use crate::error::MailError;
use crate::templates::Content;

/// From whom mails come: `Acme <noreply@acme.example>` or an address alone.
#[derive(Debug, Clone)]
pub struct Sender(Mailbox);

/// The text names no sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be an address, or a name and an address: Acme <noreply@acme.example>")]
pub struct SenderError;

impl FromStr for Sender {
    type Err = SenderError;

    fn from_str(text: &str) -> Result<Self, SenderError> {
        if text.len() > 300 || text.chars().any(char::is_control) {
            return Err(SenderError);
        }
        let mailbox: Mailbox = text.trim().parse().map_err(|_| SenderError)?;
        // Few servers take other characters, and then for some recipients only.
        let address: &str = mailbox.email.as_ref();
        if address.is_ascii() { Ok(Self(mailbox)) } else { Err(SenderError) }
    }
}

impl Sender {
    /// The host of its address: what the service calls itself before a server.
    pub(crate) fn host(&self) -> &str {
        self.0.email.domain()
    }

    pub(crate) fn address(&self) -> &Address {
        &self.0.email
    }
}

/// A mail ready to be sent.
pub(crate) struct Letter {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) recipient: Address,
    pub(crate) bytes: Vec<u8>,
}

/// An address as SMTP has it: its host in ASCII.
pub(crate) fn smtp_address(address: &EmailAddress) -> Result<Address, MailError> {
    let (local, host) = address.as_str().rsplit_once('@').ok_or(MailError::Recipient)?;
    let Ok(Host::Domain(host)) = Host::parse(host) else { return Err(MailError::Recipient) };
    Address::new(local, host).map_err(|_| MailError::Recipient)
}

impl Letter {
    /// The same id and date at every attempt: whoever gets a mail twice can tell.
    pub(crate) fn new(
        sender: &Sender,
        id: Uuid,
        kind: String,
        created_at: DateTime<Utc>,
        recipient: Address,
        content: Content,
    ) -> Result<Self, MailError> {
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".into());
        let message = Message::builder()
            .from(sender.0.clone())
            .to(Mailbox::new(None, recipient.clone()))
            .subject(content.subject)
            .message_id(Some(format!("<{id}@{}>", sender.host())))
            .date(created_at.into())
            .raw_header(automatic)
            .multipart(MultiPart::alternative_plain_html(content.text, content.html))
            .map_err(|_| MailError::Recipient)?;
        Ok(Self { id, kind, created_at, recipient, bytes: message.formatted() })
    }
}
