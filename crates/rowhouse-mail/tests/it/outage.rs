//! Servers that are away, slow or silent, and processes that die: no mail is lost.

use std::time::Duration;

use rowhouse_mail::{MailSettings, MailStatus};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::Ground;
use crate::sink::{Sink, delivery};

const LONG: Duration = MailSettings::ATTEMPT_MAX;

#[tokio::test]
async fn a_server_that_was_down_gets_every_mail_when_it_is_up() {
    let Some(mut sink) = Sink::plain().await else { return };
    let ground = Ground::start().await;
    let mailer = ground.mailer_with(sink.delivery(), LONG);
    ground.enqueue(&mailer, "before@example.com").await;
    mailer.deliver_due().await.unwrap();
    sink.received().await;
    let (port, _) = sink.kill().await;
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(ground.enqueue(&mailer, &format!("ann{number}@example.com")).await);
    }
    mailer.deliver_due().await.unwrap();
    let mut attempts = 0;
    for id in &ids {
        let mail = ground.mail(&mailer, *id).await;
        assert_eq!(mail.status, MailStatus::Waiting);
        assert_eq!(mail.error.is_some(), mail.attempts > 0);
        attempts += mail.attempts;
    }
    assert!((1..=4).contains(&attempts), "{attempts} attempts were spent on a dead server");
    let mut sink = Sink::start(json!({ "port": port })).await.unwrap();
    ground.pass_time().await;
    mailer.deliver_due().await.unwrap();
    let mut received = Vec::new();
    for _ in &ids {
        received.push(sink.received().await.to);
    }
    received.sort();
    received.dedup();
    assert_eq!(received.len(), 20);
    assert_eq!(sink.kill().await.1, 0);
}

#[tokio::test]
async fn a_worker_finds_out_by_itself_that_the_server_is_back() {
    let Some(sink) = Sink::plain().await else { return };
    let ground = Ground::start().await;
    let mailer = ground.mailer_with(sink.delivery(), LONG);
    let (port, _) = sink.kill().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let work = mailer.run_worker(async { drop(stopped.await) });
    let watch = async {
        let first = ground.enqueue(&mailer, "ann@example.com").await;
        mailer.nudge();
        while ground.mail(&mailer, first).await.attempts == 0 {
            tokio::task::yield_now().await;
        }
        let second = ground.enqueue(&mailer, "bob@example.com").await;
        let _sink = Sink::start(json!({ "port": port })).await.unwrap();
        ground.wait_for(&mailer, second, MailStatus::Sent).await;
        ground.pass_time().await;
        ground.wait_for(&mailer, first, MailStatus::Sent).await;
        stop.send(()).unwrap();
    };
    tokio::join!(work, watch);
}

#[tokio::test]
async fn a_slow_answer_holds_up_no_other_mail() {
    let Some(mut sink) = Sink::plain().await else { return };
    let ground = Ground::start().await;
    let mailer = ground.mailer_with(sink.delivery(), LONG);
    let (stop, stopped) = oneshot::channel::<()>();
    let work = mailer.run_worker(async { drop(stopped.await) });
    let watch = async {
        let slow = ground.enqueue(&mailer, "hang@example.com").await;
        mailer.nudge();
        assert_eq!(sink.received().await.to, "hang@example.com");
        let fast = ground.enqueue(&mailer, "ann@example.com").await;
        mailer.nudge();
        ground.wait_for(&mailer, fast, MailStatus::Sent).await;
        assert_eq!(ground.mail(&mailer, slow).await.status, MailStatus::Waiting);
        // Told to end in the middle of a mail, the worker waits for its answer.
        stop.send(()).unwrap();
        sink.release().await;
        slow
    };
    let ((), slow) = tokio::join!(work, watch);
    let mail = ground.mail(&mailer, slow).await;
    assert_eq!((mail.status, mail.attempts), (MailStatus::Sent, 1));
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for_without_end() {
    let ground = Ground::start().await;
    // It takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://127.0.0.1:{}?tls=none", silent.local_addr().unwrap().port()).parse().unwrap();
    let mailer = ground.mailer_with(delivery(url, None), Duration::from_millis(200));
    let id = ground.enqueue(&mailer, "ann@example.com").await;
    mailer.deliver_due().await.unwrap();
    let mail = ground.mail(&mailer, id).await;
    assert_eq!(mail.status, MailStatus::Waiting);
    assert!(mail.error.unwrap().contains("did not answer in time"));
}

#[tokio::test]
async fn a_process_that_dies_before_it_writes_down_what_it_sent_sends_one_duplicate() {
    let Some(mut sink) = Sink::plain().await else { return };
    let ground = Ground::start().await;
    let dying = ground.mailer_with(sink.delivery(), LONG);
    let id = ground.enqueue(&dying, "hang@example.com").await;
    let process = tokio::spawn(async move { dying.deliver_due().await });
    let first = sink.received().await;
    process.abort();
    assert!(process.await.unwrap_err().is_cancelled());
    sink.release().await;
    let mailer = ground.mailer_with(sink.delivery(), LONG);
    assert_eq!(mailer.deliver_due().await.unwrap(), 0, "it was sent while somebody's claim held");
    ground.pass_time().await;
    assert_eq!(mailer.deliver_due().await.unwrap(), 1);
    let second = sink.received().await;
    assert_eq!(first.message_id(), second.message_id(), "a reader's program could not tell");
    let mail = ground.mail(&mailer, id).await;
    assert_eq!((mail.status, mail.attempts), (MailStatus::Sent, 2));
    ground.pass_time().await;
    assert_eq!(mailer.deliver_due().await.unwrap(), 0);
    assert_eq!(sink.kill().await.1, 0);
}

#[tokio::test]
async fn a_process_whose_claim_ended_writes_nothing_over_another_ones_outcome() {
    let Some(mut sink) = Sink::plain().await else { return };
    let ground = Ground::start().await;
    let late = ground.mailer_with(sink.delivery(), LONG);
    let id = ground.enqueue(&late, "hang@example.com").await;
    let process = tokio::spawn(async move { late.deliver_due().await });
    sink.received().await;
    // Another process takes it over and is told that it cannot be.
    ground.pass_time().await;
    let place = ground.directory.path().join("blocked");
    std::fs::write(&place, "").unwrap();
    let other = ground.mailer_with(rowhouse_mail::Delivery::Folder(rowhouse_mail::Folder::new(place)), LONG);
    assert_eq!(other.deliver_due().await.unwrap(), 1);
    sink.release().await;
    process.await.unwrap().unwrap();
    let mail = ground.mail(&other, id).await;
    assert_eq!((mail.status, mail.attempts), (MailStatus::Waiting, 2));
    assert!(mail.error.unwrap().contains("cannot keep a mail"));
}
