//! The settings of mail, and the mail service made from them.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use rowhouse_mail::{
    Delivery, Folder, Language, MailSettings, Mailer, OwnAddresses, Sender, Smtp, SmtpUrl, Templates, Voice,
};
use rowhouse_postgres::{Databases, SystemAuthority};
use rowhouse_types::MasterKey;

use crate::settings::Settings;

/// Where mails are kept below the data directory when no server is set.
const FOLDER: &str = "mail";

/// The settings as given, before they are judged.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct MailArgs {
    /// The SMTP server: smtps://USER:PASSWORD@HOST, or smtp:// for STARTTLS [default: mails are kept as files]
    #[arg(
        long,
        env = "ROWHOUSE_SMTP_URL",
        global = true,
        value_name = "URL",
        hide_env_values = true,
        help_heading = "Settings"
    )]
    pub(crate) smtp_url: Option<String>,

    /// Certificate (PEM) that the SMTP server's is judged by, instead of the system's
    #[arg(long, env = "ROWHOUSE_SMTP_CA_FILE", global = true, value_name = "FILE", help_heading = "Settings")]
    pub(crate) smtp_ca_file: Option<PathBuf>,

    /// From whom mails come: an address, or a name with the address in angle brackets; needed with --smtp-url
    #[arg(long, env = "ROWHOUSE_MAIL_FROM", global = true, value_name = "SENDER", help_heading = "Settings")]
    pub(crate) mail_from: Option<String>,

    /// Language of mails to people whose own is not known [default: en]
    #[arg(long, env = "ROWHOUSE_MAIL_LANGUAGE", global = true, value_name = "LANGUAGE", help_heading = "Settings")]
    pub(crate) mail_language: Option<String>,

    /// Directory of mail templates beside or instead of the built-in ones
    #[arg(long, env = "ROWHOUSE_MAIL_TEMPLATES", global = true, value_name = "DIR", help_heading = "Settings")]
    pub(crate) mail_templates: Option<PathBuf>,
}

/// The settings, judged.
#[derive(Debug, Clone)]
pub(crate) struct MailChoice {
    smtp_url: Option<SmtpUrl>,
    smtp_ca_file: Option<PathBuf>,
    sender: Option<Sender>,
    language: Language,
    templates: Option<PathBuf>,
}

impl MailArgs {
    /// Judges the settings, and adds what is wrong to `problems`.
    pub(crate) fn resolve(self, problems: &mut Vec<String>) -> MailChoice {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let smtp_url = given(&self.smtp_url).and_then(|text| {
            // The text is not repeated: it holds a password.
            SmtpUrl::from_str(&text).map_err(|error| problems.push(format!("--smtp-url {error}"))).ok()
        });
        let sender = given(&self.mail_from).and_then(|text| {
            Sender::from_str(&text).map_err(|error| problems.push(format!("--mail-from {text:?} {error}"))).ok()
        });
        let language = given(&self.mail_language).and_then(|text| {
            Language::from_str(&text).map_err(|error| problems.push(format!("--mail-language {text:?} {error}"))).ok()
        });
        if given(&self.smtp_url).is_some() && given(&self.mail_from).is_none() {
            problems.push("--smtp-url needs --mail-from: the address from which mails come".to_owned());
        }
        if self.smtp_ca_file.is_some() && given(&self.smtp_url).is_none() {
            problems.push("--smtp-ca-file is for the server of --smtp-url, which is not set".to_owned());
        }
        MailChoice {
            smtp_url,
            smtp_ca_file: self.smtp_ca_file,
            sender,
            language: language.unwrap_or_default(),
            templates: self.mail_templates,
        }
    }
}

/// The mail service of an app with this title.
pub(crate) fn open(
    settings: &Settings,
    title: &str,
    databases: Arc<Databases>,
    authority: SystemAuthority,
    master_key: MasterKey,
) -> anyhow::Result<Mailer> {
    let choice = &settings.mail;
    let sender = match &choice.sender {
        Some(sender) => sender.clone(),
        None => format!("noreply@{}", settings.base_domain).parse().context("choose a sender with --mail-from")?,
    };
    let delivery = match &choice.smtp_url {
        Some(url) => {
            let file = choice.smtp_ca_file.as_deref();
            let unusable = || format!("--smtp-ca-file {}", file.unwrap_or("".as_ref()).display());
            let ca = file.map(std::fs::read).transpose().with_context(unusable)?;
            Delivery::Smtp(Box::new(Smtp::new(url.clone(), ca.as_deref(), &sender).with_context(unusable)?))
        }
        None => Delivery::Folder(Folder::new(std::path::absolute(settings.data_dir.join(FOLDER))?)),
    };
    let templates = match &choice.templates {
        Some(directory) => Templates::load(directory).context("--mail-templates")?,
        None => Templates::built_in()?,
    };
    let addresses = OwnAddresses::new(&settings.public_url, &settings.base_domain)
        .with_context(|| format!("--public-url {:?} is no address of the web", settings.public_url))?;
    let voice = Voice { service: title.to_owned(), language: choice.language.clone(), addresses };
    let settings = MailSettings { sender, voice, templates, delivery, attempt_max: MailSettings::ATTEMPT_MAX };
    Ok(Mailer::new(databases, authority, master_key, settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(args: MailArgs) -> Vec<String> {
        let mut problems = Vec::new();
        args.resolve(&mut problems);
        problems
    }

    #[test]
    fn all_faults_are_told_and_no_password() {
        let wrong = MailArgs {
            smtp_url: Some("smtp://ann:s3cret@mail.example.com?tls=none".into()),
            mail_from: Some("nobody".into()),
            mail_language: Some("english".into()),
            ..MailArgs::default()
        };
        let told = problems(wrong);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(!told.join("\n").contains("s3cret"), "{told:?}");
    }

    #[test]
    fn a_server_needs_a_sender_and_a_certificate_a_server() {
        let url = || Some("smtps://ann:secret@mail.example.com".into());
        assert_eq!(problems(MailArgs { smtp_url: url(), ..MailArgs::default() }).len(), 1);
        let ca = MailArgs { smtp_ca_file: Some("ca.pem".into()), ..MailArgs::default() };
        assert_eq!(problems(ca).len(), 1);
        let sender = Some("Acme <noreply@acme.example>".into());
        assert!(problems(MailArgs { smtp_url: url(), mail_from: sender, ..MailArgs::default() }).is_empty());
        assert!(problems(MailArgs { smtp_url: Some(String::new()), ..MailArgs::default() }).is_empty());
    }
}
