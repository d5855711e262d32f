//! Why a mail is not queued, and why one was not delivered.

use rowhouse_postgres::DatabaseError;

use crate::templates::TemplateError;

/// A mail that cannot be queued.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// Its link or its template is wrong.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// SMTP has no form for its address.
    #[error("mail cannot be sent to this address")]
    Recipient,
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// What a failed attempt means for the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server is away or cannot be used by anybody; it says nothing of this mail.
    Away,
    /// The server does not take it now. It may be full, slow, or wrongly set up: tried again.
    Deferred,
    /// There is no such recipient: trying again would only harm the sender's name.
    Refused,
}

/// A failed attempt.
#[derive(Debug)]
pub(crate) struct DeliveryError {
    pub(crate) verdict: Verdict,
    /// At what it failed.
    pub(crate) doing: &'static str,
    /// The SMTP code, if the server answered.
    pub(crate) code: Option<String>,
    /// In words, with the server's own, which may name the recipient: kept in the row, not logged.
    pub(crate) detail: String,
}

impl DeliveryError {
    pub(crate) fn new(verdict: Verdict, detail: impl Into<String>) -> Self {
        Self { verdict, doing: "", code: None, detail: detail.into() }
    }

    /// What the row keeps.
    pub(crate) fn for_row(&self) -> String {
        if self.doing.is_empty() { self.detail.clone() } else { format!("{}: {}", self.doing, self.detail) }
    }

    /// What a log line may say.
    pub(crate) fn for_log(&self) -> String {
        match &self.code {
            Some(code) => format!("{}: the server answered {code}", self.doing),
            None => self.for_row(),
        }
    }
}
