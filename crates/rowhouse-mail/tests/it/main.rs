//! Integration tests of mail, on a real PostgreSQL and a real SMTP server.
#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod folder;
mod log;
mod outage;
mod queue;
mod schema;
mod sink;
mod smtp;
mod templates;
mod worker;

use std::time::Duration;

use rowhouse_mail::{
    Delivery, Folder, Language, Link, Mail, MailFilter, MailOut, MailSettings, MailStatus, Mailer, Message,
    OwnAddresses, Templates, Voice,
};
use rowhouse_postgres::SystemConnection;
use rowhouse_testkit::TestDatabases;
use rowhouse_types::MasterKey;
use uuid::Uuid;

/// From whom the tests' mails come.
const SENDER: &str = "Rowhouse <noreply@example.com>";
/// The token in the link of [`magic_link`].
const TOKEN: &str = "rh_secret_token";

/// How the tests' service speaks.
fn voice() -> Voice {
    Voice {
        service: "Rowhouse".into(),
        language: Language::english(),
        addresses: OwnAddresses::new("https://example.com", "example.com").unwrap(),
    }
}

/// A mail with a link, in the service's own name.
fn magic_link(to: &str) -> Mail {
    let link = Link::new(format!("https://example.com/sign-in?token={TOKEN}"));
    let message = Message::MagicLink { link, valid_for: Duration::from_secs(15 * 60) };
    Mail { to: to.parse().unwrap(), user: None, brand: None, language: None, message }
}

/// Databases of its own, with the mail's tables.
struct Ground {
    test: TestDatabases,
    key: MasterKey,
    directory: tempfile::TempDir,
}

impl Ground {
    async fn start() -> Self {
        let test = TestDatabases::start(&[rowhouse_mail::CONTROL_MIGRATIONS]).await;
        Self { test, key: MasterKey::generate(), directory: tempfile::tempdir().unwrap() }
    }

    /// Where mails are kept when there is no server.
    fn folder(&self) -> Folder {
        Folder::new(self.directory.path().join("mail"))
    }

    /// A process that keeps mails as files.
    fn mailer(&self) -> Mailer {
        self.mailer_with(Delivery::Folder(self.folder()), MailSettings::ATTEMPT_MAX)
    }

    fn mailer_with(&self, delivery: Delivery, attempt_max: Duration) -> Mailer {
        let settings = MailSettings {
            sender: SENDER.parse().unwrap(),
            voice: voice(),
            templates: Templates::built_in().unwrap(),
            delivery,
            attempt_max,
        };
        let authority = self.test.authorities.system.clone();
        Mailer::new(self.test.databases.clone(), authority, self.key.clone(), settings)
    }

    async fn control(&self) -> SystemConnection {
        self.test.databases.control(&self.test.authorities.system.scope("test")).await.unwrap()
    }

    /// Queues a mail on its own.
    async fn enqueue(&self, mailer: &Mailer, to: &str) -> Uuid {
        mailer.enqueue(&self.control().await, &magic_link(to)).await.unwrap()
    }

    async fn mail(&self, mailer: &Mailer, id: Uuid) -> MailOut {
        let mails = mailer.list(&MailFilter { limit: Some(200), ..MailFilter::default() }).await.unwrap();
        mails.into_iter().find(|mail| mail.id == id).unwrap()
    }

    /// Lets time pass: every claim has ended and every pause is over.
    async fn pass_time(&self) {
        const DUE: &str = "update control.mails set due_at = now() where status = 'waiting'";
        self.control().await.execute(DUE, &[]).await.unwrap();
    }

    async fn wait_for(&self, mailer: &Mailer, id: Uuid, status: MailStatus) -> MailOut {
        loop {
            let mail = self.mail(mailer, id).await;
            if mail.status == status {
                return mail;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Everything that the table holds, as text.
    async fn table(&self) -> String {
        let rows = self.control().await.query("select m::text from control.mails m", &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0)).collect()
    }
}
