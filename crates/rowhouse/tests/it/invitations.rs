//! The invitations of an organisation over HTTP: listed, sent again, taken back, many at once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::service::{ACME, Answer, Caller, GLOBEX, PASSWORD, Service};

impl Service {
    /// The owner of a new organisation, whose address is proved.
    pub(crate) async fn founder(&self, name: &str) -> Caller {
        let caller = self.sign_up(name).await;
        let proved = format!("update control.users set email_verified_at = now() where email = '{name}@example.com'");
        self.sql("rowhouse_control", &proved);
        caller
    }

    /// Accepts an invitation as a new person.
    pub(crate) async fn accept(&self, token: &str) -> Answer {
        let body = json!({ "token": token, "password": PASSWORD, "first_name": "New", "last_name": "Comer" });
        self.anonymous().post("/api/auth/invitations/accept", &body).await
    }

    /// Somebody who joins an organisation by an invitation.
    pub(crate) async fn joins(&self, host: &Caller, tenant: &str, email: &str, role: &str) -> Caller {
        let invited = invite(host, tenant, email, role).await;
        assert_eq!(invited.status, 201, "{}", invited.body);
        let accepted = self.accept(&self.mailed("invitation", email, 1).await).await;
        assert_eq!(accepted.status, 200, "{}", accepted.body);
        self.anonymous().with_token(&accepted.text("/data/access_token"))
    }
}

async fn invite(caller: &Caller, tenant: &str, email: &str, role: &str) -> Answer {
    caller.post(&format!("/api/tenants/{tenant}/invitations"), &json!({ "email": email, "role": role })).await
}

fn emails(answer: &Answer) -> Vec<&str> {
    answer.data().iter().map(|line| line["email"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn invitations_are_listed_page_by_page_with_where_they_stand() {
    let service = Service::shared();
    let caller = service.founder("listing").await;
    let path = "/api/tenants/listing/invitations";
    assert_eq!(caller.get(path).await.data().len(), 0);
    service.joins(&caller, "listing", "joined@listing.example", "member").await;
    for name in ["late", "open"] {
        assert_eq!(invite(&caller, "listing", &format!("{name}@listing.example"), "viewer").await.status, 201);
    }
    let expire = "update control.invitations set expires_at = now() where email = 'late@listing.example'";
    service.sql("rowhouse_control", expire);
    let all = caller.get(path).await;
    assert_eq!(emails(&all), ["open@listing.example", "late@listing.example", "joined@listing.example"]);
    let (open, joined) = (&all.data()[0], &all.data()[2]);
    assert_eq!(
        (&open["status"], &open["role"], &open["accepted_at"]),
        (&json!("open"), &json!("viewer"), &Value::Null)
    );
    assert!(open["expires_at"].is_string() && open["created_at"].is_string());
    assert_eq!(open["invited_by"], caller.get("/api/auth/me").await.body["data"]["user"]["id"]);
    assert!(joined["status"] == "accepted" && joined["accepted_at"].is_string());
    assert!(!all.body.to_string().contains("rh_inv_"));
    for (status, found) in [("open", "open"), ("expired", "late"), ("accepted", "joined")] {
        let listed = caller.get(&format!("{path}?status={status}")).await;
        assert_eq!(emails(&listed), [format!("{found}@listing.example")]);
    }
    assert_eq!(caller.get(&format!("{path}?status=gone")).await.status, 400);
    let first = caller.get(&format!("{path}?limit=2")).await;
    assert_eq!(first.body["pagination"]["has_next"], true);
    let rest = caller.get(&format!("{path}?limit=2&cursor={}", first.text("/pagination/cursor"))).await;
    assert_eq!(emails(&rest), ["joined@listing.example"]);
}

#[tokio::test]
async fn an_invitation_that_is_sent_again_has_a_new_link_and_the_old_one_is_dead() {
    let service = Service::shared();
    let caller = service.founder("resending").await;
    let email = "again@resending.example";
    let invited = invite(&caller, "resending", email, "member").await;
    let first = service.mailed("invitation", email, 1).await;
    let expire = format!("update control.invitations set expires_at = now() where email = '{email}'");
    service.sql("rowhouse_control", &expire);
    assert_eq!(service.accept(&first).await.status, 404);
    let path = format!("/api/tenants/resending/invitations/{}", invited.text("/data/id"));
    let caller = caller.with("X-Request-Id", "resend-told");
    let sent = caller.post(&format!("{path}/resend"), &json!({})).await;
    assert_eq!(sent.status, 200, "{}", sent.body);
    assert_eq!((sent.text("/data/id"), sent.text("/data/status").as_str()), (invited.text("/data/id"), "open"));
    let second = service.mailed("invitation", email, 2).await;
    assert_eq!(service.accept(&first).await.status, 404);
    assert_eq!(service.accept(&second).await.status, 200);
    for answer in [
        caller.post(&format!("{path}/resend"), &json!({})).await,
        caller.delete(&path).await,
        caller.delete("/api/tenants/resending/invitations/nonsense").await,
    ] {
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"));
    }
    assert_eq!(service.told("resend-told"), "user resending@example.com resend_invitation");
}

#[tokio::test]
async fn an_invitation_that_is_revoked_lets_nobody_in() {
    let service = Service::shared();
    let caller = service.founder("revoking").await.with("X-Request-Id", "revoke-told");
    let email = "gone@revoking.example";
    let invited = invite(&caller, "revoking", email, "member").await;
    let token = service.mailed("invitation", email, 1).await;
    let path = format!("/api/tenants/revoking/invitations/{}", invited.text("/data/id"));
    assert_eq!(caller.delete(&path).await.status, 200);
    assert_eq!(caller.delete(&path).await.status, 404);
    assert_eq!(service.accept(&token).await.status, 404);
    assert_eq!(caller.get("/api/tenants/revoking/invitations").await.data().len(), 0);
    let told = service.told("revoke-told");
    assert_eq!(told, "user revoking@example.com invite\nuser revoking@example.com revoke_invitation");
}

#[tokio::test]
async fn many_are_invited_at_once_and_each_address_gets_an_answer() {
    let service = Service::shared();
    let caller = service.founder("many").await;
    let path = "/api/tenants/many/invitations/bulk";
    let one = |email: &str, role: &str| json!({ "email": email, "role": role });
    let invitations = [
        one("a@many.example", "admin"),
        one("nobody", "viewer"),
        one("B@Many.example", "sales_rep"),
        one("a@many.example", "viewer"),
        one("many@example.com", "viewer"),
        one("c@many.example", "nobody"),
    ];
    let caller = caller.with("X-Request-Id", "many-told");
    let answer = caller.post(path, &json!({ "invitations": invitations })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told: Vec<String> = answer
        .data()
        .iter()
        .map(|line| match line["errors"].get(0) {
            Some(error) => format!("{} {} {}", line["email"], error["field"], error["code"]),
            None => format!("{} {}", line["invitation"]["email"], line["invitation"]["role"]),
        })
        .collect();
    let expected = [
        r#""a@many.example" "admin""#,
        r#""nobody" "email" "invalid""#,
        r#""b@many.example" "sales_rep""#,
        r#""a@many.example" "email" "duplicate""#,
        r#""many@example.com" "email" "taken""#,
        r#""c@many.example" "role" "not_allowed""#,
    ];
    assert_eq!(told, expected);
    for email in ["a@many.example", "b@many.example"] {
        let accepted = service.accept(&service.mailed("invitation", email, 1).await).await;
        assert_eq!(accepted.status, 200, "{}", accepted.body);
    }
    assert_eq!(service.links_to("c@many.example"), "0");
    assert_eq!(service.told("many-told"), ["user many@example.com invite"; 2].join("\n"));
    for invitations in [json!([]), Value::Array(vec![one("d@many.example", "viewer"); 101])] {
        let refused = caller.post(path, &json!({ "invitations": invitations })).await;
        assert_eq!((refused.status.as_u16(), refused.text("/error/details/0/field").as_str()), (422, "invitations"));
    }
    let unproved = service.sign_up("many-unproved").await;
    let body = json!({ "invitations": invitations });
    let refused = unproved.post("/api/tenants/many-unproved/invitations/bulk", &body).await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn only_who_manages_people_sees_and_touches_invitations() {
    let service = Service::shared();
    let owner = service.owner(&ACME).await;
    let invited = invite(&owner, "acme", "wanted@acme.example", "owner").await;
    let path = "/api/tenants/acme/invitations";
    let one = format!("{path}/{}", invited.text("/data/id"));
    let (resend, bulk) = (format!("{one}/resend"), format!("{path}/bulk"));
    let key = owner.key("acme", "owner").await;
    let many = json!({ "invitations": [{ "email": "zoe@acme.example", "role": "viewer" }] });
    for caller in [service.member(&ACME, "sales_rep").await, key] {
        for (method, path, body) in [
            (Method::GET, path, None),
            (Method::POST, bulk.as_str(), Some(&many)),
            (Method::POST, resend.as_str(), None),
            (Method::DELETE, one.as_str(), None),
        ] {
            let answer = caller.send(method.clone(), path, body).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "permission_denied"), "{method} {path}");
        }
    }
    // An admin may not hand an owner's rights on, but may take the invitation back.
    let verified = "update control.users set email_verified_at = now() where email = 'admin@acme.example'";
    let admin = service.member(&ACME, "admin").await;
    service.sql("rowhouse_control", verified);
    let refused = admin.post(&resend, &json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.text("/error/details/0/field").as_str()), (422, "role"));
    assert_eq!(admin.delete(&one).await.status, 200);
}

/// A tenant that is one's own does not open invitations that are another's.
#[tokio::test]
async fn foreign_invitations_are_as_absent_as_none_in_ones_own_tenant() {
    let service = Service::shared();
    let (caller, victim) = (service.owner(&ACME).await, service.owner(&GLOBEX).await);
    let theirs = invite(&victim, "globex", "theirs@globex.example", "viewer").await.text("/data/id");
    let path = |id: &str| format!("/api/tenants/acme/invitations/{id}");
    let absent = "01900000-0000-7000-8000-00000000dead";
    let resend = |id: &str| format!("{}/resend", path(id));
    for (foreign, absent) in [
        (caller.delete(&path(&theirs)).await, caller.delete(&path(absent)).await),
        (caller.post(&resend(&theirs), &json!({})).await, caller.post(&resend(absent), &json!({})).await),
    ] {
        assert_eq!(foreign.status, 404);
        assert_eq!(foreign.comparable(), absent.comparable());
    }
    let listed = caller.get("/api/tenants/acme/invitations?limit=200").await;
    assert!(!listed.body.to_string().contains(&theirs));
    assert_eq!(victim.delete(&format!("/api/tenants/globex/invitations/{theirs}")).await.status, 200);
}
