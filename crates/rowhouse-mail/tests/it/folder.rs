//! Mails that are kept as files where no server is set.

use std::os::unix::fs::PermissionsExt as _;

use crate::{Ground, TOKEN};

#[tokio::test]
async fn a_mail_becomes_a_file_that_only_its_owner_reads() {
    let ground = Ground::start().await;
    let mailer = ground.mailer();
    assert_eq!(ground.folder().list().unwrap(), []);
    let id = ground.enqueue(&mailer, "ann@example.com").await;
    mailer.deliver_due().await.unwrap();
    let kept = ground.folder().list().unwrap();
    assert_eq!((kept.len(), kept[0].id, kept[0].kind.as_str()), (1, id, "magic_link"));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&kept[0].path), mode(kept[0].path.parent().unwrap())), (0o600, 0o700));
    let text = std::fs::read_to_string(&kept[0].path).unwrap();
    for header in [
        "From: Rowhouse <noreply@example.com>\r\n",
        "To: ann@example.com\r\n",
        "Subject: Sign in to Rowhouse\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "Content-Type: multipart/alternative;",
    ] {
        assert!(text.contains(header), "{header:?} is missing in {text}");
    }
    assert!(text.contains(&format!("Message-ID: <{id}@example.com>\r\n")) && text.contains(TOKEN), "{text}");
}

#[tokio::test]
async fn the_newest_five_hundred_are_kept() {
    let ground = Ground::start().await;
    let mailer = ground.mailer();
    let place = ground.directory.path().join("mail");
    std::fs::create_dir(&place).unwrap();
    for number in 0..500 {
        let name = format!("20200101T000000{number:03}Z-magic_link-{}.eml", uuid::Uuid::now_v7());
        std::fs::write(place.join(name), "").unwrap();
    }
    std::fs::write(place.join("notes.txt"), "somebody else's").unwrap();
    let id = ground.enqueue(&mailer, "ann@example.com").await;
    mailer.deliver_due().await.unwrap();
    let kept = ground.folder().list().unwrap();
    assert_eq!((kept.len(), kept[0].id), (500, id));
    assert_eq!(kept[499].at.timestamp_subsec_millis(), 1, "the oldest went");
    assert!(place.join("notes.txt").exists());
}
