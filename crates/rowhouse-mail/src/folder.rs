//! Delivery on a machine without SMTP: each mail becomes a file that a mail program opens. For
//! development: the files hold tokens, so only the service's own account reads them.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, Utc};
use mail_parser::MessageParser;
use serde::Serialize;
use uuid::Uuid;

use crate::error::{DeliveryError, Verdict};
use crate::letter::Letter;

/// Mails that are kept; the oldest go first.
const KEPT_MAX: usize = 500;
const TIME: &str = "%Y%m%dT%H%M%S%3fZ";

/// A directory of mails.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// A mail that was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptMail {
    /// Its id in the queue.
    pub id: Uuid,
    /// Its kind.
    pub kind: String,
    /// When it was queued.
    pub at: DateTime<Utc>,
    /// Its file.
    #[serde(skip)]
    pub path: PathBuf,
}

/// What a kept mail says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptContent {
    /// Its subject.
    pub subject: String,
    /// Whom it is to.
    pub to: String,
    /// Its text part.
    pub text: String,
    /// Its HTML part.
    pub html: String,
}

impl Folder {
    /// The directory; it is made when the first mail comes.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The kept mails, the newest first.
    ///
    /// # Errors
    /// If the directory cannot be read; one that is not there yet is empty.
    pub fn list(&self) -> io::Result<Vec<KeptMail>> {
        let entries = match std::fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut kept: Vec<KeptMail> = entries.flatten().filter_map(|entry| read_name(entry.path())).collect();
        kept.sort_by_key(|mail| std::cmp::Reverse((mail.at, mail.id)));
        Ok(kept)
    }

    /// The newest mails with what they say; at most so many.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn newest(&self, count: usize) -> io::Result<Vec<(KeptMail, KeptContent)>> {
        let mails = self.list()?.into_iter().take(count);
        Ok(mails.filter_map(|mail| Some((mail.clone(), content(&mail.path)?))).collect())
    }

    /// A mail with what it says; none if it is not kept, or not any more.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn read(&self, id: Uuid) -> io::Result<Option<(KeptMail, KeptContent)>> {
        let found = self.list()?.into_iter().find(|mail| mail.id == id);
        Ok(found.and_then(|mail| Some((mail.clone(), content(&mail.path)?))))
    }

    /// Keeps a mail. A second attempt writes the same file.
    pub(crate) async fn deliver(&self, letter: &Letter) -> Result<(), DeliveryError> {
        let name = format!("{}-{}-{}.eml", letter.created_at.format(TIME), letter.kind, letter.id);
        let (folder, path, bytes) = (self.clone(), self.0.join(name), letter.bytes.clone());
        let written = tokio::task::spawn_blocking(move || {
            write(&path, &bytes)?;
            for old in folder.list()?.into_iter().skip(KEPT_MAX) {
                std::fs::remove_file(old.path)?;
            }
            io::Result::Ok(path)
        });
        let failed = |error: String| DeliveryError::new(Verdict::Away, format!("cannot keep a mail: {error}"));
        let path = written.await.map_err(|error| failed(error.to_string()))?;
        let path = path.map_err(|error| failed(error.to_string()))?;
        tracing::info!(mail_id = %letter.id, kind = letter.kind, path = %path.display(), "a mail was kept: no SMTP server is set");
        Ok(())
    }
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let unfinished = path.with_extension("part");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    io::Write::write_all(&mut file, bytes)?;
    std::fs::rename(unfinished, path)
}

/// Of a file that is gone meanwhile, or no mail, nothing.
fn content(path: &Path) -> Option<KeptContent> {
    let bytes = std::fs::read(path).ok()?;
    let message = MessageParser::default().parse(&bytes)?;
    let to = message.to().and_then(|to| to.first()).and_then(|to| to.address()).unwrap_or_default();
    let part = |text: Option<std::borrow::Cow<'_, str>>| text.unwrap_or_default().into_owned();
    Some(KeptContent {
        subject: message.subject().unwrap_or_default().to_owned(),
        to: to.to_owned(),
        text: part(message.body_text(0)),
        html: part(message.body_html(0)),
    })
}

fn read_name(path: PathBuf) -> Option<KeptMail> {
    let mut parts = path.file_name()?.to_str()?.strip_suffix(".eml")?.splitn(3, '-');
    let at = NaiveDateTime::parse_from_str(parts.next()?, TIME).ok()?.and_utc();
    let (kind, id) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
    Some(KeptMail { id, kind, at, path })
}
