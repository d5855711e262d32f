//! Mail: messages, their templates, and delivery through a durable queue.
//!
//! **Invariant:** a mail is queued in the transaction of the deed that it tells of, and kept until
//! a server took it or its time is over. **Invariant:** it leads to the service's own addresses
//! only, and no text that people chose becomes a header, a link or markup in it. **Invariant:** what
//! it says is sealed while it waits and gone afterwards; logs name neither it nor its reader.

mod brand;
mod error;
mod folder;
mod language;
mod letter;
mod link;
mod mailer;
mod message;
mod queue;
mod sample;
mod smtp;
mod smtp_url;
mod templates;
mod text;
mod upgrade;
mod worker;

pub use brand::{Brand, Colour, ColourError};
pub use error::MailError;
pub use folder::{Folder, KeptContent, KeptMail};
pub use language::{Language, LanguageError};
pub use letter::{Sender, SenderError};
pub use link::{Link, LinkError, OwnAddresses};
pub use mailer::{Delivery, MailSettings, Mailer};
pub use message::{Deed, Mail, MailKind, Message};
pub use queue::{MailFilter, MailOut, MailStatus};
pub use sample::samples;
pub use smtp::{Smtp, SmtpTlsError};
pub use smtp_url::{SmtpUrl, SmtpUrlError};
pub use templates::{Content, TemplateError, Templates, Voice};

/// The control database's tables of this crate.
pub const CONTROL_MIGRATIONS: &[(&str, &str)] = &[("mail_0001_mails", include_str!("../migrations/0001_mails.sql"))];
