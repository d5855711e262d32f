//! The mail service: queueing, which is part of the deed's transaction, and what became of it.

use std::sync::Arc;
use std::time::Duration;

use rowhouse_postgres::{DatabaseResult, Databases, SystemAuthority, SystemConnection};
use rowhouse_types::{EmailAddress, MasterKey};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::error::{DeliveryError, MailError, Verdict};
use crate::folder::Folder;
use crate::letter::{Letter, Sender, smtp_address};
use crate::message::Mail;
use crate::queue::{self, MailFilter, MailOut, MailRow};
use crate::smtp::Smtp;
use crate::templates::{Content, Templates, Voice};

/// Longest wait of a check.
const CHECK_MAX: Duration = Duration::from_secs(20);

/// The way out.
pub enum Delivery {
    /// To a server.
    Smtp(Box<Smtp>),
    /// Into files, for development.
    Folder(Folder),
}

/// Settings of mail.
pub struct MailSettings {
    /// From whom mails come.
    pub sender: Sender,
    /// How the service itself speaks.
    pub voice: Voice,
    /// The templates.
    pub templates: Templates,
    /// The way out.
    pub delivery: Delivery,
    /// Longest attempt. One that is ended here may have delivered all the same, and is repeated.
    pub attempt_max: Duration,
}

impl MailSettings {
    /// As long as a slow server's check of a mail may take; RFC 5321 would grant it ten minutes, and
    /// a sign-in link must not wait behind one.
    pub const ATTEMPT_MAX: Duration = Duration::from_secs(120);
}

/// The mail service. Cloning shares it.
#[derive(Clone)]
pub struct Mailer(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    databases: Arc<Databases>,
    authority: SystemAuthority,
    master_key: MasterKey,
    pub(crate) settings: MailSettings,
    pub(crate) nudged: Notify,
}

/// What is sealed in a row.
#[derive(Serialize, Deserialize)]
struct Sealed {
    subject: String,
    text: String,
    html: String,
}

impl Mailer {
    /// The service on a migrated control database.
    pub fn new(
        databases: Arc<Databases>,
        authority: SystemAuthority,
        master_key: MasterKey,
        settings: MailSettings,
    ) -> Self {
        Self(Arc::new(Inner { databases, authority, master_key, settings, nudged: Notify::new() }))
    }

    /// Queues a mail. It is sent after the connection's transaction has committed, and never if it
    /// does not. Gives its id.
    ///
    /// # Errors
    /// If its link leads elsewhere, its address has no form in SMTP, or the database fails.
    pub async fn enqueue(&self, connection: &SystemConnection, mail: &Mail) -> Result<Uuid, MailError> {
        self.enqueue_if(connection, mail, true).await
    }

    /// The same, or all of its work for no mail: where the time must not tell whether somebody gets
    /// one.
    pub async fn enqueue_if(
        &self,
        connection: &SystemConnection,
        mail: &Mail,
        is_sent: bool,
    ) -> Result<Uuid, MailError> {
        let (id, sealed) = self.write(mail)?;
        queue::mail_insert(connection, id, mail, &sealed, is_sent).await?;
        Ok(id)
    }

    /// Queues many with one statement. Gives those that cannot be written, with the reason.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn enqueue_all<'a>(
        &self,
        connection: &SystemConnection,
        mails: &'a [Mail],
    ) -> DatabaseResult<Vec<(&'a Mail, MailError)>> {
        let (mut written, mut unwritten) = (Vec::new(), Vec::new());
        for mail in mails {
            match self.write(mail) {
                Ok((id, sealed)) => written.push((id, mail, sealed)),
                Err(error) => unwritten.push((mail, error)),
            }
        }
        queue::mails_insert(connection, &written).await?;
        Ok(unwritten)
    }

    /// What is queued of a mail: its id, and what it says.
    fn write(&self, mail: &Mail) -> Result<(Uuid, Vec<u8>), MailError> {
        smtp_address(&mail.to)?;
        let Content { subject, text, html } = self.0.settings.templates.render(mail, &self.0.settings.voice)?;
        let id = Uuid::now_v7();
        let json = serde_json::to_string(&Sealed { subject, text, html }).expect("three texts");
        Ok((id, self.0.master_key.seal(&place(id), &SecretString::from(json))))
    }

    /// Tells the worker of this process that something was queued and committed. Others find it
    /// within two seconds; so does this one without being told.
    pub fn nudge(&self) {
        self.0.nudged.notify_one();
    }

    /// Where mails are kept as files, if no server is set.
    pub fn folder(&self) -> Option<&Folder> {
        match &self.0.settings.delivery {
            Delivery::Folder(folder) => Some(folder),
            Delivery::Smtp(_) => None,
        }
    }

    /// What became of mails, for operators, the newest first, page by page.
    pub async fn list(&self, filter: &MailFilter) -> DatabaseResult<Vec<MailOut>> {
        queue::mails_list(&self.control("list mails").await?, filter).await
    }

    /// Whether mails could be sent now, for people: where to, or what is in the way. Sends nothing.
    ///
    /// # Errors
    /// What is in the way, in words.
    pub async fn check(&self) -> Result<String, String> {
        match &self.0.settings.delivery {
            Delivery::Folder(folder) => {
                Ok(format!("no SMTP server is set; mails are kept in {}", folder.path().display()))
            }
            Delivery::Smtp(smtp) => match tokio::time::timeout(CHECK_MAX, smtp.check()).await {
                Ok(Ok(())) => Ok(format!("{} takes mails", smtp.address())),
                Ok(Err(error)) => Err(format!("{}: {}", smtp.address(), error.for_row())),
                Err(_) => Err(format!("{}: the server did not answer in time", smtp.address())),
            },
        }
    }

    pub(crate) async fn control(&self, purpose: &'static str) -> DatabaseResult<SystemConnection> {
        self.0.databases.control(&self.0.authority.scope(purpose)).await
    }

    /// The mail of a row.
    fn letter(&self, row: &MailRow) -> Result<Letter, DeliveryError> {
        let failed = |why: &str| DeliveryError::new(Verdict::Refused, why);
        let opened = self.0.master_key.open(&place(row.id), &row.sealed_content);
        // A process that was started with the wrong key must not give up everybody's mails.
        let json = opened.map_err(|_| {
            DeliveryError::new(Verdict::Deferred, "it was sealed with another master key than this process has")
        })?;
        let content: Sealed = serde_json::from_str(json.expose_secret()).map_err(|_| failed("it cannot be read"))?;
        let Sealed { subject, text, html } = content;
        let to: EmailAddress = row.recipient.parse().map_err(|_| failed("its address cannot be read"))?;
        let to = smtp_address(&to).map_err(|error| failed(&error.to_string()))?;
        let (sender, content) = (&self.0.settings.sender, Content { subject, text, html });
        Letter::new(sender, row.id, row.kind.clone(), row.created_at, to, content)
            .map_err(|error| failed(&error.to_string()))
    }

    /// One attempt.
    pub(crate) async fn attempt(&self, row: &MailRow) -> Result<(), DeliveryError> {
        let letter = self.letter(row)?;
        let delivered = async {
            match &self.0.settings.delivery {
                Delivery::Smtp(smtp) => smtp.deliver(&letter).await,
                Delivery::Folder(folder) => folder.deliver(&letter).await,
            }
        };
        let late = || DeliveryError::new(Verdict::Deferred, "the server did not answer in time");
        tokio::time::timeout(self.0.settings.attempt_max, delivered).await.unwrap_or_else(|_| Err(late()))
    }
}

/// What a mail's content is sealed for.
fn place(id: Uuid) -> String {
    format!("mails/{id}")
}
