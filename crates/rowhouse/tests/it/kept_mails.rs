//! The page that shows a developer the mails that were kept instead of sent.

use serde_json::json;

use crate::service::{PASSWORD, Service};

#[tokio::test]
async fn a_developer_reads_the_kept_mails_in_the_browser_and_nobody_else_does() {
    let service = Service::start("solar");
    let visitor = service.anonymous();
    let page = async |path: &str| {
        let answer = visitor.get(path).await;
        (answer.status.as_u16(), answer.body.as_str().unwrap_or_default().to_owned())
    };
    let (status, empty) = page("/dev/mails").await;
    assert_eq!(status, 200, "{empty}");
    assert!(empty.contains("None yet"), "{empty}");
    let body = json!({ "email": "kept@example.com", "password": PASSWORD, "company_name": "<b>Kept & Co</b>" });
    assert_eq!(visitor.post("/api/auth/sign-up", &body).await.status, 201);
    let token = service.mailed("verify_email", "kept@example.com", 1).await;
    let (_, list) = page("/dev/mails").await;
    assert!(list.contains("kept@example.com") && !list.contains("None yet"), "{list}");
    let path = list.split("href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let (_, mail) = page(&path).await;
    assert!(mail.contains(&token) && mail.contains(&format!("<iframe src=\"{path}/html\"")), "{mail}");
    let html = reqwest::get(format!("{}{path}/html", service.url)).await.unwrap();
    let policy = html.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("sandbox") && policy.contains("default-src 'none'"), "{policy}");
    assert!(html.text().await.unwrap().contains(&token));

    let absent = "/dev/mails/01900000-0000-7000-8000-00000000dead".to_owned();
    for absent in ["/dev/mails/none", &absent, &format!("{absent}/html")] {
        assert_eq!(visitor.get(absent).await.status, 404, "{absent}");
    }
    // A site whose name leads to this machine is not this machine.
    let rebound = visitor.with("Host", "evil.example");
    for path in ["/dev/mails", &path, &format!("{path}/html")] {
        let answer = rebound.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found".to_owned()), "{path}");
    }
    let produced = service.restart_in_production("solar");
    let answer = produced.anonymous().get("/dev/mails").await;
    assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found".to_owned()));
}
