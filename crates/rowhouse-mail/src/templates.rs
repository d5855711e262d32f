//! Templates: a text and an HTML one for each message and language. What is missing in a language
//! is sent in English. Values are escaped by the template's ending; an unknown name is an error,
//! found when the templates are loaded, because every one of them is tried then.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use minijinja::value::Value;
use minijinja::{Environment, UndefinedBehavior, context};

use crate::brand::Colour;
use crate::language::Language;
use crate::link::{LinkError, OwnAddresses};
use crate::message::{Mail, MailKind, Message};
use crate::sample::samples;
use crate::text::line;

/// Largest template that is read from a directory, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Steps that rendering one template may take; the built-in ones need a few hundred.
const FUEL: u64 = 50_000;
/// What the first line of a text template begins with.
const SUBJECT: &str = "Subject: ";

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../templates/", $name)))),*]
    };
}

const BUILT_IN: &[(&str, &str)] = built_in![
    "layout.html",
    "button.html",
    "en/layout.html",
    "en/footer.txt",
    "en/span.txt",
    "en/deed.html",
    "en/deed.txt",
    "en/verify_email.html",
    "en/verify_email.txt",
    "en/reset_password.html",
    "en/reset_password.txt",
    "en/magic_link.html",
    "en/magic_link.txt",
    "en/invitation.html",
    "en/invitation.txt",
    "en/email_changed.html",
    "en/email_changed.txt",
    "en/ownership_transferred.html",
    "en/ownership_transferred.txt",
    "en/new_sign_in.html",
    "en/new_sign_in.txt",
    "en/password_changed.html",
    "en/password_changed.txt",
    "en/refresh_token_reused.html",
    "en/refresh_token_reused.txt",
    "en/account_locked.html",
    "en/account_locked.txt",
    "en/second_factor_locked.html",
    "en/second_factor_locked.txt",
    "en/passkey_added.html",
    "en/passkey_added.txt",
    "en/passkey_removed.html",
    "en/passkey_removed.txt",
    "en/second_factor_reset.html",
    "en/second_factor_reset.txt",
    "en/mfa_reminder.html",
    "en/mfa_reminder.txt",
];

/// Templates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// A file or directory cannot be read.
    #[error("cannot read the mail templates in {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A template is larger than 64 KiB or no text.
    #[error("the mail template {0} is larger than 64 KiB or no text")]
    Unreadable(String),
    /// A template is wrong in itself, or for a sample of its message.
    #[error("the mail template {name} cannot be used: {source}")]
    Template {
        /// Which.
        name: String,
        /// Why.
        source: minijinja::Error,
    },
    /// A text template has no subject.
    #[error("the mail template {0} must begin with a line \"Subject: …\" and have a text after it")]
    Subject(String),
    /// One of the two templates of a message is missing.
    #[error("the mail template {0} is missing: a message needs both, .txt and .html")]
    Half(String),
    /// A directory of templates has a name that is no language.
    #[error("mail templates stand in directories named after their language, such as en or pt-BR, not {0:?}")]
    Language(String),
    /// The link is refused.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// A rendered mail. It holds tokens, so nothing prints it.
pub struct Content {
    /// One line.
    pub subject: String,
    /// For programs that show no HTML.
    pub text: String,
    /// A whole document.
    pub html: String,
}

/// How the service itself speaks.
#[derive(Debug, Clone)]
pub struct Voice {
    /// The service's name.
    pub service: String,
    /// The language of readers whose own is not known.
    pub language: Language,
    /// Where links may lead.
    pub addresses: OwnAddresses,
}

/// The loaded templates.
pub struct Templates {
    environment: Environment<'static>,
    /// Which messages exist in which language: `de/verify_email`.
    messages: HashSet<String>,
}

impl Templates {
    /// The built-in ones.
    ///
    /// # Errors
    /// None in a build whose tests passed.
    pub fn built_in() -> Result<Self, TemplateError> {
        Self::of(Vec::new())
    }

    /// The built-in ones, with those of a directory beside or instead of them:
    /// `LANGUAGE/MESSAGE.txt` and `.html`, and whatever they include.
    ///
    /// # Errors
    /// Names the first template that cannot be used for its message.
    pub fn load(directory: &Path) -> Result<Self, TemplateError> {
        let mut files = Vec::new();
        for (path, name) in entries(directory)? {
            if path.is_dir() {
                for (path, inner) in entries(&path)? {
                    files.push((format!("{name}/{inner}"), read(&path)?));
                }
            } else {
                files.push((name, read(&path)?));
            }
        }
        Self::of(files)
    }

    fn of(files: Vec<(String, String)>) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        let built_in = BUILT_IN.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned()));
        let mut names = HashSet::new();
        for (name, source) in built_in.chain(files) {
            environment
                .add_template_owned(name.clone(), source)
                .map_err(|source| TemplateError::Template { name: name.clone(), source })?;
            names.insert(name);
        }
        let mut messages = HashSet::new();
        for name in &names {
            let Some((stem, _)) = name.rsplit_once('.') else { continue };
            let is_message = |(_, kind): (&str, &str)| MailKind::ALL.iter().any(|known| known.as_str() == kind);
            if stem.split_once('/').is_some_and(is_message) {
                messages.insert(stem.to_owned());
            }
        }
        for half in messages.iter().flat_map(|stem| [format!("{stem}.txt"), format!("{stem}.html")]) {
            if !names.contains(&half) {
                return Err(TemplateError::Half(half));
            }
        }
        let templates = Self { environment, messages };
        templates.try_all()?;
        Ok(templates)
    }

    /// Renders every message in every language, so that a fault shows at the start.
    fn try_all(&self) -> Result<(), TemplateError> {
        let mut voice = Voice {
            service: "Rowhouse".into(),
            language: Language::english(),
            addresses: OwnAddresses::new("https://example.com", "example.com")?,
        };
        for stem in &self.messages {
            let Some((language, kind)) = stem.split_once('/') else { continue };
            voice.language = language.parse().map_err(|_| TemplateError::Language(language.to_owned()))?;
            for mail in samples().into_iter().filter(|mail| mail.message.kind().as_str() == kind) {
                self.render(&mail, &voice)?;
            }
        }
        Ok(())
    }

    /// The language a message is sent in: the wanted one, the same without its region, the
    /// service's own, English.
    fn language(&self, kind: MailKind, wanted: &Language, own: &Language) -> Language {
        let has = |language: &str| self.messages.contains(&format!("{language}/{}", kind.as_str()));
        let order = [wanted.as_str(), wanted.base(), own.as_str(), own.base()];
        let found = order.into_iter().find(|language| has(language));
        found.and_then(|language| language.parse().ok()).unwrap_or_default()
    }

    /// Renders a mail.
    ///
    /// # Errors
    /// If its link does not lead to the service.
    pub fn render(&self, mail: &Mail, voice: &Voice) -> Result<Content, TemplateError> {
        let kind = mail.message.kind();
        let language = self.language(kind, mail.language.as_ref().unwrap_or(&voice.language), &voice.language);
        let link = mail.message.link().map(|link| voice.addresses.judge(link)).transpose()?;
        let context = values(mail, voice, &language);
        let stem = format!("{language}/{}", kind.as_str());
        let (txt, html) = (format!("{stem}.txt"), format!("{stem}.html"));
        let written = self.render_one(&txt, context! { link => link.clone(), subject => "", ..context.clone() })?;
        let (subject, text) = split_subject(&written).ok_or(TemplateError::Subject(txt))?;
        // A link holds no quote and no angle bracket; of what HTML needs escaped only & is left.
        let link = link.map(|link| Value::from_safe_string(link.replace('&', "&amp;")));
        let html = self.render_one(&html, context! { link => link, subject => subject, ..context })?;
        Ok(Content { subject: subject.to_owned(), text: text.to_owned(), html })
    }

    fn render_one(&self, name: &str, context: Value) -> Result<String, TemplateError> {
        self.environment
            .get_template(name)
            .and_then(|template| template.render(context))
            .map_err(|source| TemplateError::Template { name: name.to_owned(), source })
    }
}

/// What templates may name, all of it in every message; what a message lacks is none.
fn values(mail: &Mail, voice: &Voice, language: &Language) -> Value {
    let service = line(&voice.service);
    let name = mail.brand.as_ref().map(|brand| line(&brand.name)).filter(|name| !name.is_empty());
    let colour = mail.brand.as_ref().and_then(|brand| brand.colour).unwrap_or(Colour::DEFAULT);
    let deed = mail.message.deed();
    let invited_by = match &mail.message {
        Message::Invitation { invited_by, .. } => invited_by.as_deref().map(line),
        _ => None,
    };
    let (former_owner, owner) = match &mail.message {
        Message::OwnershipTransferred { from, to, .. } => (Some(line(from)), Some(line(to))),
        _ => (None, None),
    };
    let new_address = match &mail.message {
        Message::EmailChanged { new_address, .. } => Some(new_address.masked()),
        _ => None,
    };
    let passkey = match &mail.message {
        Message::PasskeyAdded { passkey, .. } | Message::PasskeyRemoved { passkey, .. } => Some(line(passkey)),
        _ => None,
    };
    context! {
        language => language.as_str(),
        name => name.unwrap_or_else(|| service.clone()),
        service => service,
        colour => colour.to_string(),
        colour_text => colour.text_on_it().to_string(),
        recipient => mail.to.as_str(),
        span => mail.message.span().map(span),
        at => deed.map(|deed| deed.at.format("%Y-%m-%d %H:%M UTC").to_string()),
        device => deed.and_then(|deed| deed.device.as_deref()).map(line),
        ip => deed.and_then(|deed| deed.ip).map(|ip| ip.to_string()),
        invited_by => invited_by.filter(|name| !name.is_empty()),
        new_address => new_address,
        former_owner => former_owner,
        owner => owner,
        passkey => passkey,
    }
}

/// The largest unit that tells a time without a fraction.
fn span(time: Duration) -> Value {
    let minutes = time.as_secs().div_ceil(60).max(1);
    let (amount, unit) = match minutes {
        minutes if minutes.is_multiple_of(24 * 60) => (minutes / (24 * 60), "day"),
        minutes if minutes.is_multiple_of(60) => (minutes / 60, "hour"),
        minutes => (minutes, "minute"),
    };
    context! { amount => amount, unit => unit }
}

fn split_subject(written: &str) -> Option<(&str, &str)> {
    let (first, text) = written.split_once('\n')?;
    let (subject, text) = (first.strip_prefix(SUBJECT)?.trim(), text.trim());
    (!subject.is_empty() && !text.is_empty()).then_some((subject, text))
}

fn entries(directory: &Path) -> Result<Vec<(PathBuf, String)>, TemplateError> {
    let failed = |source| TemplateError::Read { path: directory.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.map(str::to_owned) else {
            return Err(TemplateError::Unreadable(path.display().to_string()));
        };
        // Editors' and systems' own files.
        if !name.starts_with('.') && !name.ends_with('~') {
            found.push((path, name));
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String, TemplateError> {
    let failed = |source| TemplateError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(TemplateError::Unreadable(path.display().to_string()));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    String::from_utf8(bytes).map_err(|_| TemplateError::Unreadable(path.display().to_string()))
}
