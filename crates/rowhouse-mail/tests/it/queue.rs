//! Queueing: part of the deed, sealed, and told about afterwards.

use rowhouse_mail::{Brand, Link, Mail, MailError, MailFilter, MailStatus, Message};
use rowhouse_types::{TenantId, UserId};

use crate::{Ground, TOKEN, magic_link};

#[tokio::test]
async fn a_mail_shares_the_fate_of_its_transaction() {
    let ground = Ground::start().await;
    let mailer = ground.mailer();
    let mut connection = ground.control().await;
    connection.begin().await.unwrap();
    mailer.enqueue(&connection, &magic_link("ann@example.com")).await.unwrap();
    assert_eq!(mailer.deliver_due().await.unwrap(), 0, "it was sent before its deed was done");
    connection.rollback().await.unwrap();
    assert_eq!(mailer.deliver_due().await.unwrap(), 0, "it was sent though its deed was taken back");
    connection.begin().await.unwrap();
    mailer.enqueue(&connection, &magic_link("bob@example.com")).await.unwrap();
    connection.commit().await.unwrap();
    assert_eq!(mailer.deliver_due().await.unwrap(), 1);
    assert!(ground.table().await.contains("bob@example.com"));
    assert!(!ground.table().await.contains("ann@example.com"));
}

#[tokio::test]
async fn what_a_mail_says_is_sealed_while_it_waits_and_gone_once_it_is_sent() {
    const SEALED: &str = "select sealed_content from control.mails";
    let ground = Ground::start().await;
    let mailer = ground.mailer();
    let id = ground.enqueue(&mailer, "ann@example.com").await;
    let rows = ground.control().await.query(SEALED, &[]).await.unwrap();
    let sealed: Vec<u8> = rows[0].get(0);
    assert!(sealed.len() > 1000 && !String::from_utf8_lossy(&sealed).contains(TOKEN));
    assert!(!ground.table().await.contains(TOKEN));
    mailer.deliver_due().await.unwrap();
    let rows = ground.control().await.query(SEALED, &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, Option<Vec<u8>>>(0), None);
    let mail = ground.mail(&mailer, id).await;
    assert_eq!((mail.status, mail.attempts, mail.error), (MailStatus::Sent, 1, None));
    assert_eq!((mail.kind.as_str(), mail.recipient.as_str()), ("magic_link", "ann@example.com"));
    assert!(mail.finished_at.is_some());
}

#[tokio::test]
async fn a_row_that_was_copied_over_another_does_not_open() {
    const SWAP: &str = "
        update control.mails m set sealed_content = o.sealed_content from control.mails o where m.id = $1 and o.id = $2";
    let ground = Ground::start().await;
    let mailer = ground.mailer();
    let anns = ground.enqueue(&mailer, "ann@example.com").await;
    let mallorys = ground.enqueue(&mailer, "mallory@example.com").await;
    ground.control().await.query(SWAP, &[mallorys.into(), anns.into()]).await.unwrap();
    mailer.deliver_due().await.unwrap();
    assert_eq!(ground.mail(&mailer, anns).await.status, MailStatus::Sent);
    let mail = ground.mail(&mailer, mallorys).await;
    assert_eq!(mail.status, MailStatus::Waiting);
    assert!(mail.error.unwrap().contains("another master key"));
    assert_eq!(ground.folder().list().unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_it_is_queued() {
    let ground = Ground::start().await;
    let mailer = ground.mailer();
    let connection = ground.control().await;
    let message = Message::MagicLink {
        link: Link::new("https://evil.example/?token=x"),
        valid_for: std::time::Duration::from_secs(60),
    };
    let foreign = Mail { message, ..magic_link("ann@example.com") };
    assert!(matches!(mailer.enqueue(&connection, &foreign).await, Err(MailError::Template(_))));
    // An address by Rowhouse's rules that SMTP has no form for.
    let strange = magic_link("a(b)c\\d@example.com");
    assert!(matches!(mailer.enqueue(&connection, &strange).await, Err(MailError::Recipient)));
    assert_eq!(ground.table().await, "");
}

#[tokio::test]
async fn mails_are_listed_by_what_became_of_them() {
    let ground = Ground::start().await;
    let mailer = ground.mailer();
    let connection = ground.control().await;
    let (tenant, user) = (TenantId::generate(), UserId::generate());
    let brand = Brand { tenant, name: "Acme".into(), colour: None };
    let branded = Mail { brand: Some(brand), user: Some(user), ..magic_link("ann@example.com") };
    let first = mailer.enqueue(&connection, &branded).await.unwrap();
    mailer.deliver_due().await.unwrap();
    let second = mailer.enqueue(&connection, &magic_link("bob@example.com")).await.unwrap();
    let list = async |filter: MailFilter| {
        mailer.list(&filter).await.unwrap().into_iter().map(|mail| mail.id).collect::<Vec<_>>()
    };
    assert_eq!(list(MailFilter::default()).await, [second, first]);
    assert_eq!(list(MailFilter { status: Some(MailStatus::Sent), ..MailFilter::default() }).await, [first]);
    assert!(list(MailFilter { status: Some(MailStatus::Failed), ..MailFilter::default() }).await.is_empty());
    assert_eq!(list(MailFilter { tenant: Some(tenant), ..MailFilter::default() }).await, [first]);
    let bobs = MailFilter { recipient: Some("bob@example.com".into()), ..MailFilter::default() };
    assert_eq!(list(bobs).await, [second]);
    assert_eq!(list(MailFilter { before: Some(second), ..MailFilter::default() }).await, [first]);
    assert_eq!(list(MailFilter { limit: Some(1), ..MailFilter::default() }).await, [second]);
    let mail = ground.mail(&mailer, first).await;
    assert_eq!((mail.tenant_id, mail.user_id), (Some(tenant.uuid()), Some(user.uuid())));
}
