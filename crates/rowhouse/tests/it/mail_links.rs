//! What begins with a mail: proving an address, a new password, signing in, joining, another
//! address. The links are read where a developer finds them: in the data directory.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::service::{ACME, Answer, Caller, PASSWORD, Service};

const NEW: &str = "another-horse-battery";
/// A mail that has not come by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

impl Service {
    /// The token in the newest mail of a kind to an address, once so many of them have come.
    pub(crate) async fn mailed(&self, kind: &str, to: &str, number: usize) -> String {
        let header = format!("To: {to}\r\n");
        let patience = Instant::now() + PATIENCE;
        loop {
            let entries = std::fs::read_dir(self.data_dir.join("mail")).into_iter().flatten().flatten();
            let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
            paths.retain(|path| {
                path.to_str().is_some_and(|path| path.ends_with(".eml") && path.contains(&format!("-{kind}-")))
            });
            paths.sort();
            let texts = paths.iter().filter_map(|path| std::fs::read_to_string(path).ok());
            let found: Vec<String> = texts.filter(|text| text.contains(&header)).collect();
            if found.len() >= number {
                // Long lines are broken in a mail's source.
                let text = found[found.len() - 1].replace("=\r\n", "").replace("=3D", "=");
                let link = text.split_whitespace().find(|word| word.contains("/rh_")).unwrap().to_owned();
                return link.rsplit_once('/').unwrap().1.to_owned();
            }
            assert!(Instant::now() < patience, "no mail {kind} has come to {to}");
            self.anonymous().get("/api/health").await;
        }
    }

    /// How many mails with a link were ever queued to an address.
    pub(crate) fn links_to(&self, address: &str) -> String {
        let count = format!(
            "select count(*) from control.mails where recipient = '{address}' and kind <> 'refresh_token_reused'"
        );
        self.sql_as("rowhouse_owner", "rowhouse_control", &count).unwrap()
    }

    pub(crate) async fn sign_up(&self, name: &str) -> Caller {
        let body = json!({ "email": format!("{name}@example.com"), "password": PASSWORD, "company_name": name });
        let made = self.anonymous().post("/api/auth/sign-up", &body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        self.anonymous().with_token(&made.text("/data/access_token"))
    }

    async fn try_password(&self, email: &str, password: &str) -> Answer {
        self.anonymous().post("/api/auth/sign-in", &json!({ "email": email, "password": password })).await
    }

    /// The audit log's lines of a request.
    pub(crate) fn told(&self, request: &str) -> String {
        let lines = format!(
            "select concat_ws(' ', a.actor_kind, u.email, a.action) from control.audit_log a
             left join control.users u on u.id = a.actor_id where a.request_id = '{request}' order by a.id"
        );
        self.sql_as("rowhouse_owner", "rowhouse_control", &lines).unwrap()
    }
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_and_every_session_ends() {
    let service = Service::shared();
    let (caller, anonymous) = (service.sign_up("forgetful").await, service.anonymous());
    let email = "forgetful@example.com";
    let known = anonymous.post("/api/auth/password/forgot", &json!({ "email": email })).await;
    let unknown = anonymous.post("/api/auth/password/forgot", &json!({ "email": "unknown@example.com" })).await;
    assert_eq!(known.status, 202);
    assert_eq!(known.comparable(), unknown.comparable());
    assert_eq!(service.links_to("unknown@example.com"), "0");
    let token = service.mailed("reset_password", email, 1).await;
    let reset = async |token: &str, password: &str| {
        let body = json!({ "token": token, "password": password });
        anonymous.with("X-Request-Id", "reset-told").post("/api/auth/password/reset", &body).await
    };
    let weak = reset(&token, "short").await;
    assert_eq!((weak.status.as_u16(), weak.text("/error/details/0/field").as_str()), (422, "password"));
    assert_eq!(reset(&token, NEW).await.status, 200);
    let again = reset(&token, NEW).await;
    assert_eq!((again.status.as_u16(), again.code().as_str()), (404, "not_found"));
    assert_eq!(again.comparable(), reset("rh_link_AAAA", NEW).await.comparable());
    assert_eq!(service.told("reset-told"), "user forgetful@example.com reset_password");
    assert_eq!(caller.get("/api/auth/me").await.status, 401, "its session has ended");
    assert_eq!(service.try_password(email, PASSWORD).await.status, 401);
    assert_eq!(service.try_password(email, NEW).await.status, 200);
    assert!(!service.log().contains(&token));
}

#[tokio::test]
async fn who_signs_up_proves_the_address_by_a_mail() {
    let service = Service::shared();
    let caller = service.sign_up("proving").await;
    let first = service.mailed("verify_email", "proving@example.com", 1).await;
    let me = caller.get("/api/auth/me").await;
    assert_eq!(
        (&me.body["data"]["user"]["email_verified"], &me.body["data"]["user"]["email_verified_at"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(caller.post("/api/auth/verify-email/resend", &json!({})).await.status, 202);
    let second = service.mailed("verify_email", "proving@example.com", 2).await;
    assert_ne!(first, second);
    let anonymous = service.anonymous();
    let verify = async |token: &str| anonymous.post("/api/auth/verify-email", &json!({ "token": token })).await;
    assert_eq!(verify(&second).await.status, 200);
    let me = caller.get("/api/auth/me").await;
    assert_eq!(me.body["data"]["user"]["email_verified"], true);
    assert!(me.text("/data/user/email_verified_at").starts_with("20"));
    assert_eq!(verify(&first).await.status, 404);
    // Whom the program makes for development is asked nothing.
    assert_eq!(service.owner(&ACME).await.get("/api/auth/me").await.body["data"]["user"]["email_verified"], true);
    assert_eq!(service.links_to(ACME.email), "0");
}

#[tokio::test]
async fn the_administrator_of_a_tenant_that_an_operator_makes_is_invited_by_mail() {
    let service = Service::shared();
    let operator = service.operator("inviting").await;
    let body = json!({ "name": "Invited Inc", "slug": "invited", "admin_email": "ivy@example.com" });
    let made = operator.post("/api/admin/tenants", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let shown = made.text("/data/invitation/token");
    assert!(made.text("/data/invitation/link").ends_with(&shown));
    let token = service.mailed("invitation", "ivy@example.com", 1).await;
    assert_ne!(token, shown, "only the mail's proves the address");
    let accept = json!({ "token": token, "password": PASSWORD, "first_name": "Ivy", "last_name": "Ink" });
    let accepted = service.anonymous().post("/api/auth/invitations/accept", &accept).await;
    assert_eq!(accepted.status, 200, "{}", accepted.body);
    let me = service.anonymous().with_token(&accepted.text("/data/access_token")).get("/api/auth/me").await;
    assert_eq!((me.text("/data/tenant/slug").as_str(), me.text("/data/tenant/role").as_str()), ("invited", "owner"));
    assert_eq!(me.body["data"]["user"]["email_verified"], true);
    let accept = json!({ "token": shown, "password": PASSWORD });
    assert_eq!(service.anonymous().post("/api/auth/invitations/accept", &accept).await.status, 404);
}

#[tokio::test]
async fn members_invite_by_mail_as_far_as_their_role_goes() {
    let service = Service::shared();
    let caller = service.sign_up("hosting").await;
    let invite = async |caller: &Caller, email: &str, role: &str| {
        let body = json!({ "email": email, "role": role });
        caller.with("X-Request-Id", "invite-told").post("/api/tenants/hosting/invitations", &body).await
    };
    let unproved = invite(&caller, "gus@example.com", "admin").await;
    assert_eq!((unproved.status.as_u16(), unproved.code().as_str()), (403, "permission_denied"));
    let proof = service.mailed("verify_email", "hosting@example.com", 1).await;
    service.anonymous().post("/api/auth/verify-email", &json!({ "token": proof })).await;
    let invited = invite(&caller, "gus@example.com", "admin").await;
    assert_eq!(invited.status, 201, "{}", invited.body);
    assert_eq!(invited.text("/data/role"), "admin");
    let first = service.mailed("invitation", "gus@example.com", 1).await;
    assert!(!invited.body.to_string().contains(&first), "the link goes by mail only");
    assert_eq!(invite(&caller, "gus@example.com", "admin").await.status, 201);
    let second = service.mailed("invitation", "gus@example.com", 2).await;
    let accept = async |token: &str| {
        let body = json!({ "token": token, "password": PASSWORD, "first_name": "Gus" });
        service.anonymous().post("/api/auth/invitations/accept", &body).await
    };
    assert_eq!(accept(&first).await.status, 404, "the newer one counts");
    let accepted = accept(&second).await;
    assert_eq!(accepted.status, 200, "{}", accepted.body);
    let gus = service.anonymous().with_token(&accepted.text("/data/access_token"));
    assert_eq!(invite(&caller, "gus@example.com", "viewer").await.status, 409);
    for (role, status) in [("owner", 422), ("nobody", 422), ("admin", 201), ("sales_rep", 201), ("viewer", 201)] {
        assert_eq!(invite(&gus, "vic@example.com", role).await.status, status, "{role}");
    }
    let viewer = accept(&service.mailed("invitation", "vic@example.com", 3).await).await;
    let viewer = service.anonymous().with_token(&viewer.text("/data/access_token"));
    assert_eq!(invite(&viewer, "zoe@example.com", "viewer").await.status, 403);
    let strangers = service.owner(&ACME).await;
    assert_eq!(invite(&strangers, "zoe@example.com", "viewer").await.status, 404);
    assert_eq!(service.links_to("zoe@example.com"), "0");
    let told: Vec<String> = service.told("invite-told").lines().map(str::to_owned).collect();
    let by = |who: &str, times| vec![format!("user {who}@example.com invite"); times];
    assert_eq!(told, [by("hosting", 2), by("gus", 3)].concat());
}

#[tokio::test]
async fn a_magic_link_signs_in_once() {
    let service = Service::shared();
    let (caller, anonymous) = (service.sign_up("magical").await, service.anonymous());
    let email = "magical@example.com";
    let proof = service.mailed("verify_email", email, 1).await;
    assert_eq!(anonymous.post("/api/auth/verify-email", &json!({ "token": proof })).await.status, 200);
    let known = anonymous.post("/api/auth/magic-link", &json!({ "email": email })).await;
    let unknown = anonymous.post("/api/auth/magic-link", &json!({ "email": "unknown@example.com" })).await;
    assert_eq!(known.status, 202);
    assert_eq!(known.comparable(), unknown.comparable());
    let token = service.mailed("magic_link", email, 1).await;
    let redeem = async || anonymous.post("/api/auth/magic-link/redeem", &json!({ "token": token })).await;
    let signed_in = redeem().await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.body);
    let by_link = anonymous.with_token(&signed_in.text("/data/access_token"));
    assert_eq!(by_link.get("/api/auth/me").await.text("/data/tenant/slug"), "magical");
    assert_eq!(by_link.get("/api/leads").await.status, 200);
    assert_eq!(caller.get("/api/auth/me").await.status, 200, "the other session goes on");
    assert_eq!(redeem().await.status, 404);
}

#[tokio::test]
async fn a_password_is_changed_with_the_old_one() {
    let service = Service::shared();
    let (here, there) = (service.sign_up("changing").await, service.sign_in("changing@example.com").await);
    let change = async |old: &str, new: &str| {
        let body = json!({ "current_password": old, "new_password": new });
        here.with("X-Request-Id", "change-told").post("/api/auth/password/change", &body).await
    };
    for (old, new, field) in [("wrong-horse-battery", NEW, "current_password"), (PASSWORD, "short", "new_password")] {
        let refused = change(old, new).await;
        assert_eq!((refused.status.as_u16(), refused.text("/error/details/0/field").as_str()), (422, field));
    }
    assert_eq!(change(PASSWORD, NEW).await.status, 200);
    assert_eq!(here.get("/api/auth/me").await.status, 200);
    assert_eq!(there.get("/api/auth/me").await.status, 401);
    assert_eq!(service.try_password("changing@example.com", PASSWORD).await.status, 401);
    assert_eq!(service.try_password("changing@example.com", NEW).await.status, 200);
    assert_eq!(service.told("change-told"), "user changing@example.com change_password");
}

#[tokio::test]
async fn an_address_is_changed_by_a_mail_to_the_new_one_and_the_old_one_is_told() {
    let service = Service::shared();
    let caller = service.sign_up("moving").await;
    let change = async |email: &str, password: &str| {
        caller.post("/api/auth/email/change", &json!({ "email": email, "current_password": password })).await
    };
    assert_eq!(change("moved@example.com", "wrong-horse-battery").await.status, 422);
    let (taken, free) = (change(ACME.email, PASSWORD).await, change("moved@example.com", PASSWORD).await);
    assert_eq!(free.status, 202);
    assert_eq!(taken.comparable(), free.comparable());
    assert_eq!(service.links_to(ACME.email), "0");
    let token = service.mailed("verify_email", "moved@example.com", 1).await;
    assert_eq!(caller.get("/api/auth/me").await.text("/data/user/email"), "moving@example.com");
    let proved = service.anonymous().post("/api/auth/verify-email", &json!({ "token": token })).await;
    assert_eq!(proved.status, 200, "{}", proved.body);
    assert_eq!(caller.get("/api/auth/me").await.text("/data/user/email"), "moved@example.com");
    let members = caller.get("/api/tenants/moving/members").await;
    assert_eq!(members.text("/data/0/email"), "moved@example.com", "the tenant's own list is brought in step");
    assert_eq!(service.try_password("moving@example.com", PASSWORD).await.status, 401);
    assert_eq!(service.try_password("moved@example.com", PASSWORD).await.status, 200);
    let told = "select count(*) from control.mails where kind = 'email_changed' and recipient = 'moving@example.com'";
    assert_eq!(service.sql_as("rowhouse_owner", "rowhouse_control", told).unwrap(), "1");
}
