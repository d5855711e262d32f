//! Delivery to a server that is there: what arrives, how the way is secured, what is refused.

use rowhouse_mail::{Brand, Mail, MailSettings, MailStatus, Smtp};
use rowhouse_types::TenantId;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::sink::{Sink, delivery};
use crate::{Ground, TOKEN, magic_link};

const LONG: std::time::Duration = MailSettings::ATTEMPT_MAX;

#[tokio::test]
async fn a_mail_arrives_in_both_forms() {
    let Some(mut sink) = Sink::plain().await else { return };
    let ground = Ground::start().await;
    let mailer = ground.mailer_with(sink.delivery(), LONG);
    let brand = Brand { tenant: TenantId::generate(), name: "Łódź & Söhne".into(), colour: None };
    let mail = Mail { brand: Some(brand), ..magic_link("ann@example.com") };
    let id = mailer.enqueue(&ground.control().await, &mail).await.unwrap();
    mailer.deliver_due().await.unwrap();
    let received = sink.received().await;
    assert_eq!((received.to.as_str(), received.sender.as_str()), ("ann@example.com", "noreply@example.com"));
    assert_eq!(received.message_id(), format!("<{id}@example.com>"));
    assert!(received.mail.is_ascii() && received.mail.contains("Subject: Sign in to =?utf-8?"), "{}", received.mail);
    let [plain, html] = ["text/plain", "text/html"].map(|kind| received.mail.find(kind).unwrap());
    assert!(plain < html, "the last part is the one that is shown");
    assert_eq!(received.mail.matches(TOKEN).count(), 3, "{}", received.mail);
    let mail = ground.mail(&mailer, id).await;
    assert_eq!((mail.status, mail.attempts), (MailStatus::Sent, 1));
}

#[tokio::test]
async fn mails_share_connections() {
    let Some(mut sink) = Sink::plain().await else { return };
    let ground = Ground::start().await;
    let mailer = ground.mailer_with(sink.delivery(), LONG);
    let mut peers = Vec::new();
    for to in ["ann@example.com", "refused@example.com", "bob@example.com"] {
        ground.enqueue(&mailer, to).await;
        mailer.deliver_due().await.unwrap();
        if !to.starts_with("refused") {
            peers.push(sink.received().await.peer);
        }
    }
    assert_eq!(peers[0], peers[1], "a refusal cost the connection");
}

#[tokio::test]
async fn the_way_is_secured_and_the_service_signs_in() {
    for (tls, scheme) in [("upgrade", "smtp"), ("implicit", "smtps")] {
        let settings = json!({ "tls": tls, "user": "ann", "password": "correct horse:/@" });
        let Some(mut sink) = Sink::start(settings).await else { return };
        let ground = Ground::start().await;
        let url = sink.url(scheme, "ann:correct%20horse%3A%2F%40@", "");
        let mailer = ground.mailer_with(delivery(url, sink.ca.as_deref()), LONG);
        let id = ground.enqueue(&mailer, "ann@example.com").await;
        mailer.deliver_due().await.unwrap();
        assert_eq!(ground.mail(&mailer, id).await.error, None, "{tls}");
        let received = sink.received().await;
        assert!(received.tls && received.user.as_deref() == Some("ann"), "{tls}: {received:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_loses_no_mail_and_is_not_told() {
    let settings = json!({ "tls": "upgrade", "user": "ann", "password": "right" });
    let Some(sink) = Sink::start(settings).await else { return };
    let ground = Ground::start().await;
    let wrong = delivery(sink.url("smtp", "ann:wr0ng-secret@", ""), sink.ca.as_deref());
    let mailer = ground.mailer_with(wrong, LONG);
    let id = ground.enqueue(&mailer, "ann@example.com").await;
    mailer.deliver_due().await.unwrap();
    let mail = ground.mail(&mailer, id).await;
    let error = mail.error.unwrap();
    assert_eq!(mail.status, MailStatus::Waiting);
    assert!(error.contains("sign in to the mail server") && error.contains("535"), "{error}");
    assert!(!error.contains("wr0ng"), "{error}");
    let right = ground.mailer_with(delivery(sink.url("smtp", "ann:right@", ""), sink.ca.as_deref()), LONG);
    ground.pass_time().await;
    right.deliver_due().await.unwrap();
    assert_eq!(ground.mail(&mailer, id).await.status, MailStatus::Sent);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_unless_it_was_told() {
    for (certificate, tls, scheme) in
        [("self-signed", "implicit", "smtps"), ("self-signed", "upgrade", "smtp"), ("ca", "implicit", "smtps")]
    {
        let settings = json!({ "tls": tls, "certificate": certificate });
        let Some(mut sink) = Sink::start(settings).await else { return };
        let ground = Ground::start().await;
        let url = sink.url(scheme, "", "");
        let mailer = ground.mailer_with(delivery(url.clone(), None), LONG);
        let id = ground.enqueue(&mailer, "ann@example.com").await;
        mailer.deliver_due().await.unwrap();
        let mail = ground.mail(&mailer, id).await;
        assert_eq!(mail.status, MailStatus::Waiting, "{certificate} {tls}");
        assert!(mail.error.unwrap().contains("certificate"), "{certificate} {tls}");
        let told = ground.mailer_with(delivery(url, sink.ca.as_deref()), LONG);
        ground.pass_time().await;
        told.deliver_due().await.unwrap();
        let mail = ground.mail(&mailer, id).await;
        assert_eq!((mail.status, mail.error), (MailStatus::Sent, None), "{certificate} {tls}");
        assert!(sink.received().await.tls);
        assert_eq!(sink.kill().await.1, 0, "a mail was sent before the certificate was trusted");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_even_from_a_trusted_hand() {
    let Some(sink) = Sink::start(json!({ "tls": "implicit", "certificate": "foreign" })).await else { return };
    let ground = Ground::start().await;
    let mailer = ground.mailer_with(delivery(sink.url("smtps", "", ""), sink.ca.as_deref()), LONG);
    let id = ground.enqueue(&mailer, "ann@example.com").await;
    mailer.deliver_due().await.unwrap();
    let error = ground.mail(&mailer, id).await.error.unwrap();
    assert!(error.contains("not valid for name"), "{error}");
    assert_eq!(sink.kill().await.1, 0);
}

#[tokio::test]
async fn a_server_that_offers_no_tls_gets_no_mail_where_it_is_required() {
    let Some(sink) = Sink::plain().await else { return };
    let ground = Ground::start().await;
    let mailer = ground.mailer_with(delivery(sink.url("smtp", "ann:secret@", ""), None), LONG);
    let id = ground.enqueue(&mailer, "ann@example.com").await;
    mailer.deliver_due().await.unwrap();
    let error = ground.mail(&mailer, id).await.error.unwrap();
    assert!(error.contains("STARTTLS"), "{error}");
    assert_eq!(sink.kill().await.1, 0);
}

/// Somebody on the way, who adds a reply of their own to the last one that is not encrypted.
async fn mallory(sink: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", sink)).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let mut chunk = vec![0; 16_384];
                while let Ok(length @ 1..) = from_server.read(&mut chunk).await {
                    let mut told = chunk[..length].to_vec();
                    if told.starts_with(b"220 Ready to start TLS") {
                        told.extend_from_slice(b"250-mallory\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n");
                    }
                    to_client.write_all(&told).await.unwrap();
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn a_reply_from_before_the_encryption_does_not_count_behind_it() {
    let Some(sink) = Sink::start(json!({ "tls": "upgrade" })).await else { return };
    let ground = Ground::start().await;
    let url = format!("smtp://localhost:{}", mallory(sink.port).await).parse().unwrap();
    let mailer = ground.mailer_with(delivery(url, sink.ca.as_deref()), LONG);
    // The server refuses it. Were its replies read one too late, that would never be seen.
    let id = ground.enqueue(&mailer, "spam@example.com").await;
    mailer.deliver_due().await.unwrap();
    let mail = ground.mail(&mailer, id).await;
    assert_eq!(mail.status, MailStatus::Waiting, "a mail that the server refused counts as sent");
    assert!(mail.error.unwrap().starts_with("start TLS: "));
    assert_eq!(sink.kill().await.1, 0);
}

#[test]
fn what_is_no_certificate_is_told_at_the_start() {
    let url = "smtps://mail.example.com".parse().unwrap();
    assert!(Smtp::new(url, Some(b"not a certificate"), &crate::SENDER.parse().unwrap()).is_err());
}

#[tokio::test]
async fn a_recipient_that_does_not_exist_is_given_up_at_once_and_others_are_not() {
    let Some(mut sink) = Sink::plain().await else { return };
    let ground = Ground::start().await;
    let mailer = ground.mailer_with(sink.delivery(), LONG);
    let mut ids = Vec::new();
    for to in ["refused", "relay", "later", "spam", "jürgen", "ann"] {
        ids.push(ground.enqueue(&mailer, &format!("{to}@example.com")).await);
    }
    assert_eq!(mailer.deliver_due().await.unwrap(), 6);
    assert_eq!(sink.received().await.to, "ann@example.com");
    for (id, (status, told)) in ids.into_iter().zip([
        (MailStatus::Failed, "550): 5.1.1 <refused@example.com>: no such user"),
        // Set up wrongly, full, or too careful: somebody may set it right.
        (MailStatus::Waiting, "554): 5.7.1 <relay@example.com>: Relay access denied"),
        (MailStatus::Waiting, "451): 4.2.1 <later@example.com>: greylisted, try again"),
        (MailStatus::Waiting, "554): 5.7.1 looks like spam"),
        (MailStatus::Failed, "no address with other characters than ASCII"),
        (MailStatus::Sent, ""),
    ]) {
        let mail = ground.mail(&mailer, id).await;
        let error = mail.error.unwrap_or_default();
        assert_eq!(mail.status, status, "{error}");
        assert!(error.contains(told) && error.is_empty() == told.is_empty(), "{error:?}");
        assert_eq!(mail.attempts, 1);
    }
}

#[tokio::test]
async fn a_mail_that_is_put_off_is_tried_again_while_its_link_is_good() {
    // As after a long outage: the next pause would be as long as the link is good.
    const OFTEN: &str = "update control.mails set attempts = 50 where id = $1";
    let Some(sink) = Sink::plain().await else { return };
    let ground = Ground::start().await;
    let mailer = ground.mailer_with(sink.delivery(), LONG);
    let id = ground.enqueue(&mailer, "later@example.com").await;
    ground.control().await.execute(OFTEN, &[id.into()]).await.unwrap();
    mailer.deliver_due().await.unwrap();
    let mail = ground.mail(&mailer, id).await;
    assert_eq!((mail.status, mail.attempts), (MailStatus::Waiting, 51));
    assert!((mail.due_at - mail.created_at).num_minutes() < 8, "{mail:?}");
}

#[tokio::test]
async fn an_address_in_another_script_reaches_a_server_that_knows_it() {
    let Some(mut sink) = Sink::start(json!({ "utf8": true })).await else { return };
    let ground = Ground::start().await;
    let mailer = ground.mailer_with(sink.delivery(), LONG);
    ground.enqueue(&mailer, "jürgen@example.com").await;
    mailer.deliver_due().await.unwrap();
    assert_eq!(sink.received().await.to, "jürgen@example.com");
    // A host has a form in ASCII, which every server knows.
    ground.enqueue(&mailer, "ann@bücher.example").await;
    mailer.deliver_due().await.unwrap();
    assert_eq!(sink.received().await.to, "ann@xn--bcher-kva.example");
}
