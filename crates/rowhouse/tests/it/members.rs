//! The people of an organisation over HTTP: their coming and going, and what they tell of themselves.

use reqwest::Method;
use serde_json::{Value, json};

use crate::service::{ACME, Answer, Caller, GLOBEX, Service};

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.code())
}

impl Caller {
    async fn id(&self) -> String {
        self.get("/api/auth/me").await.text("/data/user/id")
    }

    /// A member as the caller sees them.
    async fn sees(&self, tenant: &str, user: &str) -> Answer {
        self.get(&format!("/api/tenants/{tenant}/members/{user}")).await
    }
}

/// The member where the tenant's rows live.
fn projected(service: &Service, user: &str) -> String {
    let find = format!("select role, active, display_name from rowhouse.members where user_id = '{user}'");
    service.sql_as("rowhouse_owner", "rowhouse_data", &find).unwrap()
}

#[tokio::test]
async fn a_members_role_is_changed_at_once_and_they_are_shut_out_and_let_in_again() {
    let service = Service::shared();
    let owner = service.founder("managing").await.with("X-Request-Id", "managing-told");
    let bob = service.joins(&owner, "managing", "bob@managing.example", "viewer").await;
    let id = bob.id().await;
    let path = format!("/api/tenants/managing/members/{id}");
    assert_eq!(bob.post("/api/leads", &json!({ "full_name": "No" })).await.status, 403);
    let changed = owner.patch(&path, &json!({ "role": "sales_rep", "metadata": { "desk": 4 } })).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(
        (changed.text("/data/role").as_str(), &changed.body["data"]["metadata"]),
        ("sales_rep", &json!({ "desk": 4 }))
    );
    assert_eq!(bob.post("/api/leads", &json!({ "full_name": "Yes" })).await.status, 201);
    assert_eq!(projected(service, &id), "sales_rep|t|New Comer");
    assert_eq!(owner.patch(&path, &json!({ "active": false })).await.body["data"]["active"], false);
    assert_eq!(refusal(&bob.get("/api/leads").await), (403, "tenant_mismatch".into()));
    assert_eq!(refusal(&bob.get("/api/tenants/managing").await), (404, "not_found".into()));
    assert_eq!(bob.get("/api/auth/me").await.body["data"]["memberships"], json!([]));
    assert_eq!(projected(service, &id), "sales_rep|f|New Comer");
    let listed = async |status: &str| {
        let answer = owner.get(&format!("/api/tenants/managing/members{status}")).await;
        answer.data().iter().map(|member| member["email"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed("").await, ["managing@example.com"]);
    assert_eq!(listed("?status=inactive").await, ["bob@managing.example"]);
    assert_eq!(owner.get("/api/tenants/managing/members?status=gone").await.status, 400);
    assert_eq!(owner.patch(&path, &json!({ "active": true })).await.status, 200);
    assert_eq!(bob.get("/api/leads").await.status, 200);
    assert_eq!(owner.delete(&path).await.status, 200);
    assert_eq!(bob.get("/api/leads").await.status, 403);
    assert_eq!(owner.delete(&path).await.status, 404);
    assert_eq!(owner.sees("managing", &id).await.status, 404);
    assert_eq!(projected(service, &id), "sales_rep|f|New Comer", "records point at them");
    let told = service.told("managing-told");
    let deeds = ["invite", "change_member", "change_member", "change_member", "remove_member"];
    assert_eq!(told, deeds.map(|deed| format!("user managing@example.com {deed}")).join("\n"));
}

#[tokio::test]
async fn whoever_leaves_is_gone_at_once_and_the_last_owner_cannot() {
    let service = Service::shared();
    let owner = service.founder("leaving").await;
    let bob = service.joins(&owner, "leaving", "bob@leaving.example", "admin").await;
    let leave = "/api/tenants/leaving/leave";
    let me = owner.id().await;
    let mine = format!("/api/tenants/leaving/members/{me}");
    for refused in [
        owner.post(leave, &json!({})).await,
        owner.patch(&mine, &json!({ "role": "admin" })).await,
        owner.patch(&mine, &json!({ "active": false })).await,
        owner.delete(&mine).await,
    ] {
        assert_eq!(refusal(&refused), (409, "conflict".into()), "{}", refused.body);
    }
    assert_eq!(refusal(&bob.delete(&mine).await), (403, "permission_denied".into()), "an owner holds more");
    assert_eq!(bob.post(leave, &json!({})).await.status, 200);
    assert_eq!(bob.get("/api/leads").await.status, 403);
    assert_eq!(bob.post(leave, &json!({})).await.status, 404);
    assert_eq!(bob.get("/api/tenants").await.data().len(), 0);
}

#[tokio::test]
async fn of_two_owners_who_leave_at_the_same_moment_one_stays() {
    let service = Service::shared();
    for round in 0..4 {
        let name = format!("both-leave-{round}");
        let ann = service.founder(&name).await;
        let bob = service.joins(&ann, &name, &format!("bob@{name}.example"), "owner").await;
        let (path, body) = (format!("/api/tenants/{name}/leave"), json!({}));
        let (one, two) = tokio::join!(ann.post(&path, &body), bob.post(&path, &body));
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{} {}", one.body, two.body);
    }
}

#[tokio::test]
async fn the_ownership_is_handed_on_and_both_are_told_by_mail() {
    let service = Service::shared();
    let owner = service.founder("handing").await.with("X-Request-Id", "handing-told");
    let bob = service.joins(&owner, "handing", "bob@handing.example", "admin").await;
    let (transfer, heir) = ("/api/tenants/handing/transfer", bob.id().await);
    let to = |user: &str| json!({ "user_id": user });
    assert_eq!(refusal(&bob.post(transfer, &to(&heir)).await), (403, "permission_denied".into()));
    assert_eq!(refusal(&owner.post(transfer, &to("nobody")).await), (404, "not_found".into()));
    assert_eq!(refusal(&owner.post(transfer, &to(&owner.id().await)).await), (409, "conflict".into()));
    let stranger = service.owner(&ACME).await.id().await;
    assert_eq!(refusal(&owner.post(transfer, &to(&stranger)).await), (404, "not_found".into()));
    let done = owner.post(transfer, &to(&heir)).await;
    assert_eq!((done.status.as_u16(), done.text("/data/role").as_str()), (200, "owner"), "{}", done.body);
    assert_eq!(owner.get("/api/tenants/handing").await.text("/data/role"), "admin");
    assert_eq!(projected(service, &heir), "owner|t|New Comer");
    assert_eq!(refusal(&owner.post(transfer, &to(&heir)).await), (403, "permission_denied".into()));
    let mails = "select string_agg(recipient, ' ' order by recipient) from control.mails
        where kind = 'ownership_transferred' and recipient like '%handing%'";
    let told = service.sql_as("rowhouse_owner", "rowhouse_control", mails).unwrap();
    assert_eq!(told, "bob@handing.example handing@example.com");
    let told = service.told("handing-told");
    assert!(told.ends_with("user handing@example.com transfer_ownership"), "{told}");
}

#[tokio::test]
async fn people_tell_of_themselves_and_colleagues_see_what_is_theirs_to_see() {
    let service = Service::shared();
    let owner = service.founder("telling").await;
    let bob = service.joins(&owner, "telling", "bob@telling.example", "viewer").await;
    let profile = json!({
        "first_name": "Bob", "last_name": "Jones", "avatar_url": "https://example.com/bob.png",
        "phone": "+49 30 1234", "metadata": { "theme": "dark" },
    });
    let changed = bob.patch("/api/auth/me", &profile).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(bob.get("/api/auth/me").await.body["data"]["user"]["metadata"], json!({ "theme": "dark" }));
    let id = bob.id().await;
    assert_eq!(projected(service, &id), "viewer|t|Bob Jones");
    let eve = service.joins(&owner, "telling", "eve@telling.example", "viewer").await;
    let key = owner.key("telling", "viewer").await;
    for (caller, sees_all) in [(&owner, true), (&bob, true), (&eve, false), (&key, false)] {
        let seen = caller.sees("telling", &id).await;
        assert_eq!(
            (seen.text("/data/name").as_str(), seen.text("/data/avatar_url").as_str()),
            ("Bob Jones", "https://example.com/bob.png")
        );
        assert_eq!(seen.body["data"].get("phone").is_some(), sees_all, "{}", seen.body);
        assert_eq!(seen.body["data"].get("last_seen_at").is_some(), sees_all);
        assert!(!seen.body.to_string().contains("dark"), "what a person keeps with their account is their own");
    }
    for (body, field) in [
        (json!({ "avatar_url": "javascript:alert(1)" }), "avatar_url"),
        (json!({ "phone": "call me" }), "phone"),
        (json!({ "metadata": [] }), "metadata"),
        (json!({ "first_name": "a\u{0}b" }), "first_name"),
    ] {
        let refused = bob.patch("/api/auth/me", &body).await;
        assert_eq!((refused.status.as_u16(), refused.text("/error/details/0/field").as_str()), (422, field));
    }
    assert_eq!(bob.patch("/api/auth/me", &json!({ "phone": null })).await.body["data"]["phone"], Value::Null);
    assert_eq!(bob.patch("/api/auth/me", &json!({ "email": "x@example.com" })).await.status, 400);
}

#[tokio::test]
async fn a_new_member_takes_the_first_steps_once() {
    let service = Service::shared();
    let owner = service.founder("onboarding").await;
    let bob = service.joins(&owner, "onboarding", "bob@onboarding.example", "viewer").await;
    let path = "/api/tenants/onboarding/users/onboarding";
    let body = json!({ "profile": { "first_name": "Bob", "phone": "112" }, "answers": { "team": "roofs" } });
    let done = bob.post(path, &body).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(done.text("/data/first_name"), "Bob");
    assert_eq!(done.body["data"]["metadata"], json!({ "onboarding": { "team": "roofs" } }));
    let again = bob.post(path, &json!({})).await;
    assert_eq!(again.text("/data/onboarded_at"), done.text("/data/onboarded_at"));
    assert_eq!(again.body["data"]["metadata"], done.body["data"]["metadata"]);
    assert_eq!(refusal(&service.owner(&ACME).await.post(path, &body).await), (404, "not_found".into()));
    assert_eq!(owner.sees("onboarding", &owner.id().await).await.body["data"]["onboarded_at"], Value::Null);
}

#[tokio::test]
async fn a_person_founds_another_organisation_renames_it_and_switches_to_it() {
    let service = Service::shared();
    let unproved = service.sign_up("founding-unproved").await;
    let body = json!({ "name": "Second Home", "slug": "second-home" });
    assert_eq!(refusal(&unproved.post("/api/tenants", &body).await), (403, "permission_denied".into()));
    let ann = service.founder("founding").await;
    let made = ann.post("/api/tenants", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(refusal(&ann.post("/api/tenants", &body).await), (409, "conflict".into()));
    assert_eq!(ann.post("/api/tenants", &json!({ "name": "x", "slug": "Not A Slug" })).await.status, 422);
    assert_eq!(ann.get("/api/tenants").await.data().len(), 2);
    let switched = ann.post("/api/auth/switch", &json!({ "tenant": "second-home" })).await;
    let there = ann.with_token(&switched.text("/data/access_token"));
    assert_eq!(there.post("/api/leads", &json!({ "full_name": "First" })).await.status, 201);
    let renamed = there.patch("/api/tenants/second-home", &json!({ "name": " Third Home " })).await;
    assert_eq!((renamed.status.as_u16(), renamed.text("/data/name").as_str()), (200, "Third Home"));
    assert_eq!(there.patch("/api/tenants/second-home", &json!({ "name": " " })).await.status, 422);
    let admin = service.joins(&there, "second-home", "bob@founding.example", "admin").await;
    let refused = admin.patch("/api/tenants/second-home", &json!({ "name": "Mine" })).await;
    assert_eq!(refusal(&refused), (403, "permission_denied".into()));
    // Who has an account joins with it.
    let invite = json!({ "email": "founding-unproved@example.com", "role": "viewer" });
    assert_eq!(there.post("/api/tenants/second-home/invitations", &invite).await.status, 201);
    let token = service.mailed("invitation", "founding-unproved@example.com", 1).await;
    let join = async |caller: &Caller| caller.post("/api/auth/invitations/join", &json!({ "token": token })).await;
    assert_eq!(refusal(&join(&ann).await), (404, "not_found".into()));
    let joined = join(&unproved).await;
    assert_eq!(joined.status, 200, "{}", joined.body);
    let joined = ann.with_token(&joined.text("/data/access_token"));
    assert_eq!(joined.get("/api/tenants/second-home").await.text("/data/role"), "viewer");
}

#[tokio::test]
async fn only_people_who_manage_people_change_members_and_only_of_their_own_tenant() {
    let service = Service::shared();
    let owner = service.owner(&ACME).await;
    let stranger = service.owner(&GLOBEX).await.id().await;
    let absent = "01900000-0000-7000-8000-00000000dead";
    let path = |user: &str| format!("/api/tenants/acme/members/{user}");
    let body = json!({ "role": "viewer" });
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let body = Some(&body).filter(|_| method == Method::PATCH);
        let foreign = owner.send(method.clone(), &path(&stranger), body).await;
        assert_eq!(foreign.status, 404, "{method}");
        assert_eq!(foreign.comparable(), owner.send(method.clone(), &path(absent), body).await.comparable());
        assert_eq!(owner.send(method, &path("nonsense"), body).await.status, 404);
    }
    let transfer = json!({ "user_id": stranger });
    assert_eq!(owner.post("/api/tenants/acme/transfer", &transfer).await.status, 404);
    let (rep, key) = (service.member(&ACME, "sales_rep").await, owner.key("acme", "owner").await);
    let mine = rep.id().await;
    for caller in [&rep, &key] {
        for (method, body) in [(Method::PATCH, Some(&body)), (Method::DELETE, None)] {
            let answer = caller.send(method.clone(), &path(&mine), body).await;
            assert_eq!(refusal(&answer), (403, "permission_denied".into()), "{method}");
        }
    }
    for route in ["leave", "transfer", "users/onboarding"] {
        let answer = key.post(&format!("/api/tenants/acme/{route}"), &transfer).await;
        assert_eq!(refusal(&answer), (403, "permission_denied".into()), "a key is nobody: {route}");
    }
}
