//! What must not be in any line of the log, however much is logged: secrets, and who people are.

use serde_json::{Value, json};

use crate::mfa::{code, recovery_codes};
use crate::service::{ACME, Answer, PASSWORD, Service};

/// What a run has handled and must have told nobody.
#[derive(Default)]
struct Unsaid(Vec<(String, String)>);

impl Unsaid {
    fn add(&mut self, what: &str, text: impl Into<String>) {
        let text = text.into();
        assert!(text.len() > 5, "{what} is too short to be looked for: {text:?}");
        self.0.push((what.to_owned(), text));
    }

    /// Of a signed token also the signature alone.
    fn add_tokens(&mut self, what: &str, answer: &Answer) {
        assert!(answer.status.is_success(), "{what}: {}", answer.body);
        for name in ["access_token", "refresh_token"] {
            let Some(token) = answer.body["data"][name].as_str() else { continue };
            self.add(&format!("{what}: {name}"), token);
            self.add(&format!("{what}: end of {name}"), token.rsplit('.').next().unwrap());
        }
    }
}

/// Records, and what goes wrong with them.
async fn work_with_records(service: &Service, unsaid: &mut Unsaid) {
    let lead =
        json!({ "full_name": "Unsaid Customer", "email": "customer-unsaid@example.com", "notes": "unsaid note" });
    let acme = service.owner(&ACME).await;
    assert_eq!(acme.post("/api/leads", &lead).await.status, 201);
    let faulty =
        json!({ "full_name": "Unsaid Customer", "monthly_bill": "unsaid bill", "details": { "a": "unsaid note" } });
    assert!(acme.post("/api/leads", &faulty).await.status.is_client_error());
    assert_eq!(acme.get("/api/leads?full_name[contains]=Unsaid%20Customer&q=unsaid").await.status, 200);
    for (what, text) in
        [("a record's name", "Unsaid Customer"), ("a record's text", "unsaid note"), ("a wrong value", "unsaid bill")]
    {
        unsaid.add(what, text);
    }
    unsaid.add("a record's address", "customer-unsaid@example.com");
}

#[tokio::test]
async fn no_line_of_the_log_tells_a_secret_or_who_somebody_is() {
    let service = Service::start_with("solar", &["--log", "trace"]);
    let mut unsaid = Unsaid::default();
    let visitor = service.anonymous();
    unsaid.add("the demo people's password", PASSWORD);
    let signed_up = json!({
        "email": "unsaid@example.com", "password": "unsaid horse battery", "company_name": "Unsaid",
        "first_name": "Unsaidfirst", "last_name": "Unsaidlast",
    });
    let made = visitor.post("/api/auth/sign-up", &signed_up).await;
    unsaid.add_tokens("sign-up", &made);
    for name in ["email", "password", "first_name", "last_name"] {
        unsaid.add(name, signed_up[name].as_str().unwrap());
    }
    let owner = visitor.with_token(&made.text("/data/access_token"));
    let refreshed = json!({ "refresh_token": made.text("/data/refresh_token") });
    unsaid.add_tokens("refresh", &visitor.post("/api/auth/refresh", &refreshed).await);
    unsaid.add("proof of an address", service.mailed("verify_email", "unsaid@example.com", 1).await);
    let wrong = json!({ "email": "nobody-unsaid@example.com", "password": "wrong unsaid battery" });
    assert_eq!(visitor.post("/api/auth/sign-in", &wrong).await.status, 401);
    unsaid.add("an address that nobody has", "nobody-unsaid@example.com");
    unsaid.add("a wrong password", "wrong unsaid battery");
    for (path, kind) in [("/api/auth/password/forgot", "reset_password"), ("/api/auth/magic-link", "magic_link")] {
        assert_eq!(visitor.post(path, &json!({ "email": "unsaid@example.com" })).await.status, 202);
        unsaid.add(kind, service.mailed(kind, "unsaid@example.com", 1).await);
    }
    let token = service.mailed("magic_link", "unsaid@example.com", 1).await;
    let redeemed = visitor.post("/api/auth/magic-link/redeem", &json!({ "token": token })).await;
    unsaid.add_tokens("magic link", &redeemed);
    let owner = owner.with_token(&redeemed.text("/data/access_token"));
    let enrolled = owner.post("/api/auth/mfa/enrol", &json!({})).await;
    unsaid.add("a second factor's secret", enrolled.text("/data/secret"));
    let confirmed = owner.post("/api/auth/mfa/confirm", &json!({ "code": code(&enrolled) })).await;
    for recovery in recovery_codes(&confirmed) {
        unsaid.add("a recovery code", recovery);
    }
    let key = owner.make_key("unsaid", &json!({ "name": "Programs", "role": "viewer" })).await;
    unsaid.add("an API key", key.text("/data/key"));
    assert_eq!(visitor.with_token(&key.text("/data/key")).get("/api/leads").await.status, 200);
    let invited = json!({ "email": "invited-unsaid@example.com", "role": "viewer" });
    assert_eq!(owner.post("/api/tenants/unsaid/invitations", &invited).await.status, 201);
    unsaid.add("an invitation", service.mailed("invitation", "invited-unsaid@example.com", 1).await);
    unsaid.add("an invited address", "invited-unsaid@example.com");
    let operator = service.operator("unsaid-operator").await;
    unsaid.add("an operator's address", "unsaid-operator@");
    assert_eq!(operator.get("/api/admin/tenants").await.status, 200);

    work_with_records(&service, &mut unsaid).await;
    for file in ["master.key", "postgres/superuser.password"] {
        unsaid.add(file, std::fs::read_to_string(service.data_dir.join(file)).unwrap().trim());
    }
    unsaid.add("the service role's password", service.password("rowhouse_service"));

    let log = service.log();
    assert!(log.contains("\"level\":\"DEBUG\""), "little was logged:\n{log}");
    assert!(log.contains("\"route\":\"/api/auth/sign-up\""), "requests are logged");
    for (what, text) in &unsaid.0 {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(text.as_str())).collect();
        assert!(lines.is_empty(), "{what} is told {} times: {}", lines.len(), lines[0]);
    }
    let written: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(written.len() * 10 > log.lines().count() * 9, "lines are JSON");
}
