//! What the log says. The test runs itself again in a process of its own: whether a line is wanted
//! is remembered for the whole process, and other tests want none.

use std::process::Command;
use std::sync::{Arc, Mutex};

use rowhouse_mail::MailSettings;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::sink::{Sink, delivery};
use crate::{Ground, TOKEN};

const CHILD: &str = "ROWHOUSE_TEST_LOG_CHILD";
const NAME: &str = "log::lines_name_no_token_no_password_and_no_address";

/// A log that the test reads.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn lines_name_no_token_no_password_and_no_address() {
    if std::env::var_os(CHILD).is_none() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", NAME]).env(CHILD, "1");
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        return assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let settings = json!({ "tls": "implicit", "user": "ann", "password": "s3cret-password" });
    let Some(mut sink) = Sink::start(settings).await else { return };
    let ground = Ground::start().await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(log.clone());
    let guard = tracing::subscriber::set_default(subscriber.finish());
    let mailer = ground.mailer_with(
        delivery(sink.url("smtps", "ann:s3cret-password@", ""), sink.ca.as_deref()),
        MailSettings::ATTEMPT_MAX,
    );
    for to in ["secretive.ann", "refused", "later", "jürgen"] {
        ground.enqueue(&mailer, &format!("{to}@example.com")).await;
    }
    mailer.deliver_due().await.unwrap();
    sink.received().await;
    drop(guard);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("a mail was sent") && text.contains("s…@example.com"), "{text}");
    assert!(text.contains("a mail was given up") && text.contains("the server answered 550"), "{text}");
    for secret in [TOKEN, "s3cret-password", "secretive.ann", "refused@", "later@", "jürgen"] {
        assert!(!text.contains(secret), "{secret} stands in the log:\n{text}");
    }
}
