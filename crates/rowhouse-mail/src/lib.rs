//! Mail: messages, their templates, and delivery through a durable queue.
//!
//! **Invariant:** a mail leads to the service's own addresses only, and no text that people chose
//! becomes a header, a link or markup in it.

mod brand;
mod language;
mod link;
mod message;
mod sample;
mod templates;
mod text;

pub use brand::{Brand, Colour, ColourError};
pub use language::{Language, LanguageError};
pub use link::{Link, LinkError, OwnAddresses};
pub use message::{Deed, Mail, MailKind, Message};
pub use sample::samples;
pub use templates::{Content, TemplateError, Templates, Voice};
