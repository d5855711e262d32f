//! What people read.

use std::fs;
use std::path::Path;

use rowhouse_mail::{Brand, Link, Mail, MailKind, Message, TemplateError, Templates, samples};
use rowhouse_types::TenantId;

use crate::{magic_link, voice};

/// Writes templates of a directory, `name: source`.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, source) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, source).unwrap();
    }
    directory
}

fn branded(name: &str) -> Mail {
    let brand = Brand { tenant: TenantId::generate(), name: name.into(), colour: Some("#ffee00".parse().unwrap()) };
    Mail { brand: Some(brand), ..magic_link("ann@example.com") }
}

/// After a change of the templates: `ROWHOUSE_UPDATE_MAILS=1 cargo test -p rowhouse-mail`.
#[test]
fn mails_read_as_they_are_written_down() {
    let templates = Templates::built_in().unwrap();
    let mut written = String::new();
    for mail in samples() {
        let content = templates.render(&mail, &voice()).unwrap();
        written.push_str(&format!(
            "==== {}\n{}\n\n{}\n\n",
            mail.message.kind().as_str(),
            content.subject,
            content.text
        ));
    }
    written.push_str(&format!("==== html\n{}\n", templates.render(&samples()[0], &voice()).unwrap().html));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mails.txt");
    if std::env::var_os("ROWHOUSE_UPDATE_MAILS").is_some() {
        fs::write(&path, &written).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    for (line, expected) in written.lines().zip(expected.lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(written.lines().count(), expected.lines().count());
}

#[test]
fn every_message_has_both_forms_and_its_link_in_both() {
    let templates = Templates::built_in().unwrap();
    for kind in MailKind::ALL {
        let mail = samples().into_iter().rfind(|mail| mail.message.kind() == *kind).unwrap();
        let content = templates.render(&mail, &voice()).unwrap();
        let has_link = !matches!(
            kind,
            MailKind::EmailChanged
                | MailKind::PasswordChanged
                | MailKind::NewSignIn
                | MailKind::OwnershipTransferred
                | MailKind::RefreshTokenReused
                | MailKind::SecondFactorLocked
                | MailKind::PasskeyAdded
                | MailKind::PasskeyRemoved
                | MailKind::SecondFactorReset
        );
        let link = "https://example.com/token?token=rh_sample&from=mail";
        assert_eq!(content.text.contains(link), has_link, "{kind:?}");
        assert_eq!(content.html.contains(&format!("href=\"{}\"", link.replace('&', "&amp;"))), has_link, "{kind:?}");
        assert!(content.html.contains("Acme") && content.subject.contains("Acme"), "{kind:?}");
    }
}

#[test]
fn a_mail_wears_the_tenants_name_and_colour() {
    let content = Templates::built_in().unwrap().render(&branded("Acme"), &voice()).unwrap();
    assert_eq!(content.subject, "Sign in to Acme");
    assert!(content.html.contains("background:#ffee00;color:#000000"));
    assert!(content.text.contains("Rowhouse sent this mail to ann@example.com."));
    let plain = Templates::built_in().unwrap().render(&magic_link("ann@example.com"), &voice()).unwrap();
    assert_eq!(plain.subject, "Sign in to Rowhouse");
}

#[test]
fn a_name_becomes_no_markup_no_header_and_no_link() {
    let name = "<script>alert(1)</script>\r\nBcc: all@evil.example {{ link }} http://evil.example/";
    let content = Templates::built_in().unwrap().render(&branded(name), &voice()).unwrap();
    assert!(!content.subject.contains(['\r', '\n']));
    assert!(!content.html.contains("<script") && content.html.contains("&lt;script&gt;"));
    for text in [&content.subject, &content.text, &content.html] {
        assert!(!text.contains("evil.example") && !text.contains("http://") && !text.contains("all@evil"), "{text}");
    }
    let endless = Templates::built_in().unwrap().render(&branded(&"x".repeat(100_000)), &voice()).unwrap();
    assert!(endless.subject.chars().count() < 100 && endless.html.len() < 5000);
}

#[test]
fn a_link_to_somewhere_else_is_refused_without_telling_it() {
    let message = Message::ResetPassword {
        link: Link::new("https://evil.example/?token=rh_secret"),
        valid_for: std::time::Duration::from_secs(60),
    };
    let mail = Mail { message, ..magic_link("ann@example.com") };
    let error = Templates::built_in().unwrap().render(&mail, &voice()).err().unwrap();
    assert!(matches!(error, TemplateError::Link(_)) && !format!("{error} {error:?}").contains("secret"), "{error:?}");
}

#[test]
fn a_language_falls_back_to_its_base_then_the_services_then_english() {
    let german = "Subject: Anmelden bei {{ name }}\n\n{{ link }}";
    let brazilian = "Subject: Entrar em {{ name }}\n\n{{ link }}";
    let html = "{% extends \"layout.html\" %}{% block body %}{{ name }}{% endblock %}";
    let directory = directory(&[
        ("de/magic_link.txt", german),
        ("de/magic_link.html", html),
        ("pt-BR/magic_link.txt", brazilian),
        ("pt-BR/magic_link.html", html),
    ]);
    let templates = Templates::load(directory.path()).unwrap();
    let subject = |language: &str, own: &str| {
        let mail = Mail { language: Some(language.parse().unwrap()), ..magic_link("ann@example.com") };
        let voice = rowhouse_mail::Voice { language: own.parse().unwrap(), ..voice() };
        let content = templates.render(&mail, &voice).unwrap();
        let document_language = content.html.split('"').nth(1).unwrap().to_owned();
        (content.subject, document_language)
    };
    let of = |subject: &str, language: &str| (subject.to_owned(), language.to_owned());
    assert_eq!(subject("de", "en"), of("Anmelden bei Rowhouse", "de"));
    assert_eq!(subject("de-AT", "en"), of("Anmelden bei Rowhouse", "de"));
    assert_eq!(subject("pt-BR", "en"), of("Entrar em Rowhouse", "pt-BR"));
    assert_eq!(subject("pt", "en"), of("Sign in to Rowhouse", "en"));
    assert_eq!(subject("fr", "de"), of("Anmelden bei Rowhouse", "de"));
    // A message that the language lacks is sent whole in English.
    let mail = Mail { language: Some("de".parse().unwrap()), ..samples().remove(0) };
    assert_eq!(templates.render(&mail, &voice()).unwrap().subject, "Confirm your e-mail address for Acme");
}

#[test]
fn templates_that_cannot_work_are_named_when_they_are_loaded() {
    let good = "Subject: x\n\ny";
    let html = "{{ name }}";
    for (files, named) in [
        (vec![("de/magic_link.txt", "Subject: {{ nam }}\n\nx"), ("de/magic_link.html", html)], "de/magic_link.txt"),
        (vec![("de/magic_link.txt", good), ("de/magic_link.html", "{% if %}")], "de/magic_link.html"),
        (vec![("de/magic_link.txt", "{{ link }}\n\nx"), ("de/magic_link.html", html)], "de/magic_link.txt"),
        (vec![("de/magic_link.txt", good)], "de/magic_link.html"),
        (vec![("german/magic_link.txt", good), ("german/magic_link.html", html)], "german"),
        (
            vec![
                (
                    "de/magic_link.txt",
                    "Subject: x\n\n{% for a in range(9999) %}{% for b in range(9999) %}.{% endfor %}{% endfor %}",
                ),
                ("de/magic_link.html", html),
            ],
            "de/magic_link.txt",
        ),
    ] {
        let directory = directory(&files);
        let error = Templates::load(directory.path()).err().unwrap_or_else(|| panic!("{files:?} was accepted"));
        assert!(error.to_string().contains(named), "{error}");
    }
    assert!(matches!(Templates::load(Path::new("/nowhere")), Err(TemplateError::Read { .. })));
}
