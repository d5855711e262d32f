//! Delivery on a machine without SMTP: each mail becomes a file that a mail program opens. For
//! development: the files hold tokens, so only the service's own account reads them.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, Utc};
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

fn read_name(path: PathBuf) -> Option<KeptMail> {
    let mut parts = path.file_name()?.to_str()?.strip_suffix(".eml")?.splitn(3, '-');
    let at = NaiveDateTime::parse_from_str(parts.next()?, TIME).ok()?.and_utc();
    let (kind, id) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
    Some(KeptMail { id, kind, at, path })
}
