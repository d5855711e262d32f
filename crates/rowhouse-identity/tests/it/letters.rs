//! The letter boxes of the tests' people: mails as the queue delivers them.

use std::path::Path;

use rowhouse_mail::{Delivery, Folder, Language, MailSettings, OwnAddresses, Templates, Voice};
use rowhouse_postgres::params;
use secrecy::SecretString;

use crate::Ground;

/// Mails are kept below a directory.
pub(crate) fn settings(directory: &Path) -> MailSettings {
    MailSettings {
        sender: "Rowhouse <noreply@example.com>".parse().unwrap(),
        voice: Voice {
            service: "Rowhouse".into(),
            language: Language::english(),
            addresses: OwnAddresses::new("http://localhost:8080", "localhost").unwrap(),
        },
        templates: Templates::built_in().unwrap(),
        delivery: Delivery::Folder(Folder::new(directory.join("mail"))),
        attempt_max: MailSettings::ATTEMPT_MAX,
    }
}

/// A mail that has come.
pub(crate) struct Letter {
    pub(crate) kind: String,
    /// Its source, with long lines joined.
    pub(crate) text: String,
}

impl Letter {
    /// The token of its link.
    pub(crate) fn token(&self) -> SecretString {
        let link = self.text.split_whitespace().find(|word| word.contains("/rh_")).unwrap();
        link.rsplit_once('/').unwrap().1.into()
    }
}

impl Ground {
    /// Everything that has come to an address, the newest first.
    pub(crate) async fn letters(&self, to: &str) -> Vec<Letter> {
        self.mailer.deliver_due().await.unwrap();
        let header = format!("To: {to}\r\n");
        let kept = self.mailer.folder().unwrap().list().unwrap();
        let read = kept.into_iter().map(|mail| {
            let text = std::fs::read_to_string(mail.path).unwrap().replace("=\r\n", "").replace("=3D", "=");
            Letter { kind: mail.kind, text }
        });
        read.filter(|letter| letter.text.contains(&header)).collect()
    }

    /// The kinds of what has come, the newest first.
    pub(crate) async fn kinds(&self, to: &str) -> Vec<String> {
        self.letters(to).await.into_iter().map(|letter| letter.kind).collect()
    }

    /// The token of the newest letter, which is the only one of its kind that may be newest.
    pub(crate) async fn mailed_token(&self, to: &str, kind: &str) -> SecretString {
        let letters = self.letters(to).await;
        assert_eq!(letters[0].kind, kind);
        letters[0].token()
    }

    /// What the audit log tells of deeds, the oldest first.
    pub(crate) async fn deeds(&self) -> Vec<String> {
        const LIST: &str = "
            select concat_ws(' ', actor_kind, u.email, action) from control.audit_log a
            left join control.users u on u.id = a.actor_id order by a.id";
        let rows = self.control().await.query(LIST, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// As if this much time had passed since links were asked for.
    pub(crate) async fn links_were_made(&self, ago: &str) {
        let age = format!("update control.mail_links set expires_at = expires_at - interval '{ago}'");
        self.control().await.query(&age, params![]).await.unwrap();
    }

    /// Links of an address: whether each has an account.
    pub(crate) async fn links(&self, address: &str) -> Vec<bool> {
        let list = "select user_id is not null from control.mail_links where email = $1";
        let rows = self.control().await.query(list, params![address]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}
