//! The worker: each mail once, none lost, none tried for ever.

use std::collections::HashSet;
use std::time::Duration;

use rowhouse_mail::{Delivery, Folder, Link, Mail, MailStatus, Message};
use tokio::sync::oneshot;

use crate::{Ground, magic_link};

#[tokio::test]
async fn a_worker_sends_what_is_queued_and_ends_when_it_is_told() {
    let ground = Ground::start().await;
    let mailer = ground.mailer();
    let (stop, stopped) = oneshot::channel::<()>();
    let work = mailer.run_worker(async { drop(stopped.await) });
    let watch = async {
        for to in ["ann@example.com", "bob@example.com"] {
            let id = ground.enqueue(&mailer, to).await;
            mailer.nudge();
            ground.wait_for(&mailer, id, MailStatus::Sent).await;
        }
        stop.send(()).unwrap();
    };
    tokio::join!(work, watch);
    assert_eq!(ground.folder().list().unwrap().len(), 2);
}

#[tokio::test]
async fn several_processes_send_each_mail_once() {
    let ground = Ground::start().await;
    let (first, second) = (ground.mailer(), ground.mailer());
    for number in 0..40 {
        ground.enqueue(&first, &format!("ann{number}@example.com")).await;
    }
    let (by_first, by_second) = tokio::join!(first.deliver_due(), second.deliver_due());
    assert_eq!(by_first.unwrap() + by_second.unwrap(), 40);
    let sent: HashSet<_> = ground.folder().list().unwrap().into_iter().map(|mail| mail.id).collect();
    assert_eq!(sent.len(), 40);
}

#[tokio::test]
async fn a_mail_that_cannot_be_delivered_now_waits_and_is_delivered_later() {
    let ground = Ground::start().await;
    // A file stands where the directory would be.
    let place = ground.directory.path().join("blocked");
    std::fs::write(&place, "").unwrap();
    let mailer = ground.mailer_with(Delivery::Folder(Folder::new(&place)), Duration::from_secs(60));
    let id = ground.enqueue(&mailer, "ann@example.com").await;
    assert_eq!(mailer.deliver_due().await.unwrap(), 1);
    let mail = ground.mail(&mailer, id).await;
    assert_eq!((mail.status, mail.attempts), (MailStatus::Waiting, 1));
    assert!(mail.error.unwrap().contains("cannot keep a mail"));
    assert!(mail.due_at > mail.created_at);
    std::fs::remove_file(&place).unwrap();
    assert_eq!(mailer.deliver_due().await.unwrap(), 0, "it was tried without a pause");
    ground.pass_time().await;
    assert_eq!(mailer.deliver_due().await.unwrap(), 1);
    let mail = ground.mail(&mailer, id).await;
    assert_eq!((mail.status, mail.attempts, mail.error), (MailStatus::Sent, 2, None));
}

#[tokio::test]
async fn a_mail_is_given_up_when_its_link_is_no_longer_good() {
    const EXPIRED: &str = "update control.mails set expires_at = now() where status = 'waiting'";
    const ALMOST: &str = "update control.mails set expires_at = now() + interval '1 second' where status = 'waiting'";
    let ground = Ground::start().await;
    let place = ground.directory.path().join("blocked");
    std::fs::write(&place, "").unwrap();
    let mailer = ground.mailer_with(Delivery::Folder(Folder::new(&place)), Duration::from_secs(60));
    // Nobody was there to send it.
    let unsent = ground.enqueue(&mailer, "ann@example.com").await;
    let mail = ground.mail(&mailer, unsent).await;
    assert_eq!((mail.expires_at - mail.created_at).num_minutes(), 15);
    ground.control().await.execute(EXPIRED, &[]).await.unwrap();
    mailer.deliver_due().await.unwrap();
    let mail = ground.mail(&mailer, unsent).await;
    assert_eq!((mail.status, mail.attempts), (MailStatus::Failed, 0));
    assert_eq!(mail.error.as_deref(), Some("it could not be sent in time"));
    // It was tried, and the next attempt would come too late: its error stays.
    let tried = ground.enqueue(&mailer, "bob@example.com").await;
    ground.control().await.execute(ALMOST, &[]).await.unwrap();
    mailer.deliver_due().await.unwrap();
    let mail = ground.mail(&mailer, tried).await;
    assert_eq!(mail.status, MailStatus::Failed);
    assert!(mail.error.unwrap().contains("cannot keep a mail"));
    let left = ground.control().await.query("select 1 from control.mails where sealed_content is not null", &[]).await;
    assert_eq!(left.unwrap().len(), 0, "what a mail said outlived it");
}

#[tokio::test]
async fn what_must_arrive_soon_goes_before_what_has_time() {
    let ground = Ground::start().await;
    // Nothing can be delivered, so the worker tries a few and leaves the rest.
    let place = ground.directory.path().join("blocked");
    std::fs::write(&place, "").unwrap();
    let mailer = ground.mailer_with(Delivery::Folder(Folder::new(&place)), Duration::from_secs(60));
    let connection = ground.control().await;
    for number in 0..20 {
        let link = Link::new("https://example.com/join?token=x");
        let message = Message::Invitation { link, valid_for: Duration::from_secs(7 * 86_400), invited_by: None };
        let mail = Mail { message, ..magic_link(&format!("ann{number}@example.com")) };
        mailer.enqueue(&connection, &mail).await.unwrap();
    }
    let urgent = ground.enqueue(&mailer, "bob@example.com").await;
    assert!(mailer.deliver_due().await.unwrap() < 20);
    assert_eq!(ground.mail(&mailer, urgent).await.attempts, 1, "it waited behind the others");
}

#[tokio::test]
async fn rows_of_long_ago_are_removed() {
    const LONG_AGO: &str = "update control.mails set finished_at = now() - interval '31 days' where id = $1";
    let ground = Ground::start().await;
    let mailer = ground.mailer();
    let old = ground.enqueue(&mailer, "ann@example.com").await;
    let new = ground.enqueue(&mailer, "bob@example.com").await;
    mailer.deliver_due().await.unwrap();
    ground.control().await.execute(LONG_AGO, &[old.into()]).await.unwrap();
    let watch = async {
        while ground.table().await.contains("ann@example.com") {
            tokio::task::yield_now().await;
        }
    };
    // The worker itself never ends here.
    tokio::select! { () = mailer.run_worker(std::future::pending()) => {}, () = watch => {} }
    assert_eq!(ground.mail(&mailer, new).await.status, MailStatus::Sent);
}
