//! Clerk in place of the built-in identity, driven by the packages of Clerk and Svix.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::clerk_peer::{Clerk, PARTY, SECRETS, event, new_id, now, organization, part, person, tick};

#[tokio::test]
async fn a_token_tells_who_somebody_is_and_where_in_both_forms() {
    let Some(clerk) = Clerk::shared() else { return };
    let (ann, org) = (new_id("user"), new_id("org"));
    let mut first = clerk.claims(&ann);
    first["org_id"] = json!(org);
    first["org_role"] = json!("org:admin");
    first["org_slug"] = json!("both-forms");
    // Nobody was told of her or her organisation yet.
    let caller = clerk.caller(&first).await;
    let made = caller.post("/api/leads", &json!({ "full_name": "Leo Lead" })).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let me = caller.get("/api/auth/me").await;
    assert_eq!((me.text("/data/tenant/slug"), me.text("/data/tenant/role")), ("both-forms".into(), "owner".into()));

    let mut second = clerk.claims(&ann);
    second["v"] = json!(2);
    second["o"] = json!({ "id": org, "rol": "admin", "slg": "both-forms", "per": "manage", "fpm": "3" });
    second["sts"] = json!("active");
    let same = clerk.caller(&second).await.get("/api/auth/me").await;
    assert_eq!(same.body["data"]["tenant"], me.body["data"]["tenant"]);
    let leads = clerk.caller(&second).await.get("/api/leads").await;
    assert_eq!(leads.data().len(), 1, "{}", leads.body);

    let mut personal = clerk.claims(&ann);
    personal["azp"] = json!("https://acme.example.org");
    let made = clerk.ask("/token", &json!({ "claims": personal })).await;
    let caller = clerk.service.anonymous().with_token(made["token"].as_str().unwrap());
    assert_eq!(caller.get("/api/auth/me").await.body["data"]["tenant"], Value::Null);
    assert_eq!(caller.get("/api/leads").await.status, 400);
    assert_eq!(caller.with("x-tenant-id", "both-forms").get("/api/leads").await.status, 200);
    assert_eq!(caller.with("x-tenant-id", "acme").get("/api/leads").await.code(), "tenant_mismatch");
}

#[tokio::test]
async fn no_other_token_is_taken() {
    let Some(clerk) = Clerk::shared() else { return };
    let good = clerk.claims(&new_id("user"));
    assert_eq!(clerk.caller(&good).await.get("/api/auth/me").await.status, 200);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    for request in [
        json!({ "claims": good, "key": "foreign" }),
        json!({ "claims": good, "forged": { "alg": "none" } }),
        json!({ "claims": good, "forged": { "alg": "HS256" } }),
        json!({ "claims": good, "forged": { "alg": "RS256" } }),
        json!({ "claims": with("exp", json!(now() - 10)) }),
        json!({ "claims": with("exp", Value::Null) }),
        json!({ "claims": with("nbf", json!(now() + 60)) }),
        json!({ "claims": with("iss", json!("https://clerk.example.com")) }),
        json!({ "claims": with("azp", json!("https://evil.example.com")) }),
        json!({ "claims": with("azp", json!("https://a.b.example.org")) }),
        json!({ "claims": with("sts", json!("pending")) }),
        json!({ "claims": with("sid", Value::Null) }),
        json!({ "claims": with("sub", json!("org_2abc")) }),
        json!({ "claims": with("v", json!(3)) }),
        json!({ "claims": with("org_id", json!("org_2abc' or true")) }),
    ] {
        let made = clerk.ask("/token", &request).await;
        let answer = clerk.service.anonymous().with_token(made["token"].as_str().unwrap()).get("/api/auth/me").await;
        assert_eq!(answer.status, 401, "{request}: {}", answer.body);
    }
    // Nor is what the built-in identity gives, and its doors are closed.
    let built_in = clerk.service.token("acme", "ann@acme.example");
    assert_eq!(built_in.get("/api/leads").await.status, 401);
    let sign_in = json!({ "email": "ann@acme.example", "password": crate::service::PASSWORD });
    for path in ["/api/auth/sign-in", "/api/auth/sign-up", "/api/auth/refresh", "/api/auth/password/forgot"] {
        assert_eq!(clerk.service.anonymous().post(path, &sign_in).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn members_are_managed_at_clerk_and_roles_and_keys_are_made_here() {
    let Some(clerk) = Clerk::shared() else { return };
    let mut claims = clerk.claims(&new_id("user"));
    claims["org_id"] = json!(new_id("org"));
    claims["org_role"] = json!("org:admin");
    claims["org_slug"] = json!("managed-there");
    let caller = clerk.caller(&claims).await;
    let of = |path: &str| format!("/api/tenants/managed-there/{path}");
    assert_eq!(caller.get(&of("members")).await.status, 200);
    let role = caller.post(&of("roles"), &json!({ "key": "desk", "permissions": ["leads:view"] })).await;
    assert_eq!(role.status, 201, "{}", role.body);
    let key = caller.post(&of("api-keys"), &json!({ "name": "Site", "role": "desk" })).await;
    assert_eq!(key.status, 201, "nobody can prove here who they are: {}", key.body);
    let (person, nothing) = (key.text("/data/created_by"), json!({}));
    for path in ["invitations/bulk", "leave", "transfer", "domains"] {
        assert_eq!(caller.post(&of(path), &nothing).await.status, 403, "{path}");
    }
    for path in [&of(&format!("members/{person}")), &of("mfa-policy"), "/api/auth/me"] {
        assert_eq!(caller.patch(path, &nothing).await.status, 403, "{path}");
    }
    assert_eq!(caller.post("/api/tenants", &json!({ "name": "Another" })).await.status, 403);
}

#[tokio::test]
async fn only_messages_that_clerk_signed_now_are_taken() {
    let Some(clerk) = Clerk::shared() else { return };
    let at = tick();
    let message = event("organization.created", &organization(&new_id("org"), "Signed", None, at), at).to_string();
    let sign = async |id: &str, timestamp: i64, secrets: &[&str]| {
        let request = json!({ "id": id, "timestamp": timestamp, "body": message, "secrets": secrets });
        clerk.ask("/message", &request).await["signature"].as_str().unwrap().to_owned()
    };
    let foreign = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let id = new_id("msg");
    let good = sign(&id, now(), &SECRETS[..1]).await;
    for (id, timestamp, signature, body) in [
        (&*id, now(), sign(&id, now(), &[foreign]).await, &*message),
        (&id, now() - 600, sign(&id, now() - 600, &SECRETS).await, &message),
        (&id, now() + 600, sign(&id, now() + 600, &SECRETS).await, &message),
        ("msg_other", now(), good.clone(), &message),
        (&id, now(), good.replace("v1,", "v2,"), &message),
        (&id, now(), String::new(), &message),
        (&id, now(), good.clone(), "{}"),
    ] {
        let answer = clerk.send_signed(id, timestamp, &signature, body).await;
        assert_eq!(answer.status, 401, "{}", answer.body);
    }
    for secrets in [&SECRETS[..1], &SECRETS[1..], &[foreign, SECRETS[1]]] {
        let id = new_id("msg");
        let (timestamp, signature) = (now(), sign(&id, now(), secrets).await);
        let answer = clerk.send_signed(&id, timestamp, &signature, &message).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let unread = clerk.deliver(&new_id("msg"), &event("user.created", &json!({ "id": "org_1" }), at)).await;
    assert_eq!(unread.status, 400, "{}", unread.body);
    clerk.tell(&event("waitlistEntry.created", &json!({ "id": "wl_1" }), at)).await;
    // Elsewhere there is no such route.
    assert_eq!(crate::service::Service::shared().anonymous().post("/api/webhooks/clerk", &json!({})).await.status, 404);
}

#[tokio::test]
async fn an_organisation_becomes_one_tenant_with_its_owner_however_often_it_is_told() {
    let Some(clerk) = Clerk::shared() else { return };
    let (ann, org, at) = (new_id("user"), new_id("org"), tick());
    let made = event("organization.created", &organization(&org, "Often Told", Some(&ann), at), at);
    let again = new_id("msg");
    let answers = join_all((0..6).map(|number| {
        let id = if number < 3 { again.clone() } else { new_id("msg") };
        let (made, clerk) = (&made, clerk);
        async move { clerk.deliver(&id, made).await }
    }));
    for answer in answers.await {
        // Whoever comes while the tenant is made is to come again.
        assert!(answer.status == 200 || answer.status == 503, "{}", answer.body);
    }
    clerk.tell(&made).await;
    let tenants = format!("select count(*) from control.clerk_tenants where clerk_id = '{org}'");
    assert_eq!(clerk.control(&tenants), "1");
    assert_eq!(clerk.control("select count(*) from control.tenants where name = 'Often Told'"), "1");
    let repeated = clerk.deliver(&again, &made).await;
    assert_eq!(repeated.body["data"]["repeated"], json!(true), "{}", repeated.body);

    let caller = clerk.member(&ann, &org, "admin").await;
    assert_eq!(caller.get("/api/auth/me").await.text("/data/tenant/slug"), "often-told");
    assert_eq!(caller.get("/api/leads").await.status, 200);

    let mut renamed = organization(&org, "Told Anew", Some(&ann), tick());
    renamed["public_metadata"] = json!({ "plan": "no such plan", "industry": "solar" });
    clerk.tell(&event("organization.updated", &renamed, tick())).await;
    // What comes late changes nothing.
    clerk.tell(&event("organization.updated", &organization(&org, "Late", Some(&ann), at), tick())).await;
    let name = format!(
        "select t.name, c.metadata ->> 'industry' from control.clerk_tenants c
         join control.tenants t on t.id = c.tenant_id where c.clerk_id = '{org}'"
    );
    assert_eq!(clerk.control(&name), "Told Anew|solar");
}

/// All orders of a few things, each with one of them told twice.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![vec![]];
    for next in 0..count {
        let longer = |order: &Vec<usize>| {
            let order = order.clone();
            (0..=order.len()).map(move |place| {
                let mut longer = order.clone();
                longer.insert(place, next);
                longer
            })
        };
        orders = orders.iter().flat_map(longer).collect();
    }
    for (number, order) in orders.iter_mut().enumerate() {
        let twice = order[number % count];
        order.push(twice);
    }
    orders
}

/// A person of whom five things are told: a part is given, changed, taken away and given again, as
/// another one.
struct Story {
    person: String,
    email: String,
    events: [Value; 5],
}

impl Story {
    fn new() -> Self {
        let (ann, org, times) = (new_id("user"), new_id("org"), [tick(), tick(), tick(), tick(), tick()]);
        let email = format!("{}@example.com", ann.to_lowercase());
        let acme = organization(&org, &format!("Story {}", times[0]), None, times[0]);
        let (first, second) = (new_id("orgmem"), new_id("orgmem"));
        let events = [
            event("user.created", &person(&ann, &email, true, times[0]), times[0]),
            event("organizationMembership.created", &part(&first, &acme, &ann, "admin", times[1]), times[1]),
            event("organizationMembership.updated", &part(&first, &acme, &ann, "member", times[2]), times[2]),
            event("organizationMembership.deleted", &part(&first, &acme, &ann, "member", times[2]), times[3]),
            event("organizationMembership.created", &part(&second, &acme, &ann, "viewer", times[4]), times[4]),
        ];
        Self { person: ann, email, events }
    }

    fn assert_told(&self, clerk: &Clerk, how: &str) {
        let outcome = format!(
            "select u.email, u.active, m.role, m.active from control.clerk_users c
             join control.users u on u.id = c.user_id join control.memberships m on m.user_id = u.id
             where c.clerk_id = '{}'",
            self.person
        );
        assert_eq!(clerk.control(&outcome), format!("{}|t|viewer|t", self.email), "{how}");
    }
}

#[tokio::test]
async fn the_order_of_messages_makes_no_difference() {
    let Some(clerk) = Clerk::shared() else { return };
    for order in orders(5).into_iter().step_by(6) {
        let story = Story::new();
        for index in &order {
            clerk.tell(&story.events[*index]).await;
        }
        story.assert_told(clerk, &format!("{order:?}"));
    }
}

#[tokio::test]
async fn messages_at_the_same_time_make_no_difference() {
    let Some(clerk) = Clerk::shared() else { return };
    for _ in 0..5 {
        let story = Story::new();
        let tell = async |event: &Value| {
            // As Svix does until it is taken.
            while clerk.deliver(&new_id("msg"), event).await.status != 200 {}
        };
        join_all(story.events.iter().chain(&story.events).map(tell)).await;
        story.assert_told(clerk, "all at once");
    }
}

#[tokio::test]
async fn who_is_removed_is_shut_out_at_once_and_late_messages_do_not_let_them_in() {
    let Some(clerk) = Clerk::shared() else { return };
    let (ann, org, at) = (new_id("user"), new_id("org"), tick());
    let acme = organization(&org, "Removal", Some(&ann), at);
    let joined = part(&new_id("orgmem"), &acme, &ann, "member", tick());
    let created = event("organizationMembership.created", &joined, at);
    clerk.tell(&event("organization.created", &acme, at)).await;
    clerk.tell(&created).await;
    let caller = clerk.member(&ann, &org, "member").await;
    assert_eq!(caller.get("/api/leads").await.status, 200);
    clerk.tell(&event("organizationMembership.deleted", &joined, (now() + 1) * 1000)).await;
    // The token says otherwise, but is older.
    assert_eq!(caller.get("/api/leads").await.code(), "tenant_mismatch");
    clerk.tell(&created).await;
    assert_eq!(caller.get("/api/leads").await.code(), "tenant_mismatch");

    assert_eq!(caller.get("/api/auth/me").await.status, 200);
    let mut claims = clerk.claims(&ann);
    claims["sid"] = json!("sess_2revoked");
    let other = clerk.caller(&claims).await;
    assert_eq!(other.get("/api/auth/me").await.status, 200);
    clerk
        .tell(&event("session.revoked", &json!({ "id": "sess_2revoked", "status": "revoked", "user_id": ann }), at))
        .await;
    assert_eq!(other.get("/api/auth/me").await.status, 401);
    assert_eq!(caller.get("/api/auth/me").await.status, 200);

    let email = format!("{}@example.com", ann.to_lowercase());
    let mut banned = person(&ann, &email, true, tick());
    banned["banned"] = json!(true);
    clerk.tell(&event("user.updated", &banned, tick())).await;
    assert_eq!(caller.get("/api/auth/me").await.status, 401);
    let back = person(&ann, &email, true, tick());
    clerk.tell(&event("user.updated", &back, tick())).await;
    assert_eq!(caller.get("/api/auth/me").await.status, 200);
    clerk.tell(&event("user.deleted", &json!({ "id": ann, "object": "user", "deleted": true }), tick())).await;
    assert_eq!(caller.get("/api/auth/me").await.status, 401);
    clerk.tell(&event("user.updated", &person(&ann, &email, true, tick()), tick())).await;
    clerk.tell(&event("user.created", &back, at)).await;
    assert_eq!(caller.get("/api/auth/me").await.status, 401);
    // The address is free for whoever has it now.
    let successor = new_id("user");
    clerk.tell(&event("user.created", &person(&successor, &email, true, tick()), tick())).await;
    assert_eq!(clerk.caller(&clerk.claims(&successor)).await.get("/api/auth/me").await.text("/data/user/email"), email);

    clerk.tell(&event("organization.deleted", &json!({ "id": org, "deleted": true }), tick())).await;
    let status = format!(
        "select t.status from control.clerk_tenants c join control.tenants t on t.id = c.tenant_id where c.clerk_id = '{org}'"
    );
    assert_eq!(clerk.control(&status), "suspended");
    clerk.tell(&event("organization.updated", &organization(&org, "Removal", Some(&ann), tick()), tick())).await;
    assert_eq!(clerk.control(&status), "suspended");
    // One that was deleted before it was told of gets no tenant.
    let (early, at) = (new_id("org"), tick());
    clerk.tell(&event("organization.deleted", &json!({ "id": early, "deleted": true }), tick())).await;
    clerk.tell(&event("organization.created", &organization(&early, "Early", None, at), at)).await;
    assert_eq!(clerk.control("select count(*) from control.tenants where name = 'Early'"), "0");
}

#[tokio::test]
async fn a_sign_up_with_a_company_makes_its_tenant_once() {
    let Some(clerk) = Clerk::shared() else { return };
    let (ann, at) = (new_id("user"), tick());
    let email = format!("{}@example.com", ann.to_lowercase());
    let mut signed_up = person(&ann, &email, true, at);
    signed_up["public_metadata"] = json!({ "companyName": "Company of Ann", "plan": "no such plan" });
    // The update overtakes the creation.
    clerk.tell(&event("user.updated", &person(&ann, &email, true, tick()), tick())).await;
    for _ in 0..3 {
        clerk.tell(&event("user.created", &signed_up, at)).await;
    }
    assert_eq!(clerk.control("select count(*) from control.tenants where name = 'Company of Ann'"), "1");
    let caller = clerk.caller(&clerk.claims(&ann)).await;
    let me = caller.get("/api/auth/me").await;
    assert_eq!(me.text("/data/memberships/0/slug"), "company-of-ann");
    assert_eq!(me.text("/data/memberships/0/role"), "owner");
    assert_eq!(caller.with("x-tenant-id", "company-of-ann").get("/api/leads").await.status, 200);
}

#[tokio::test]
async fn an_address_leads_to_an_account_only_if_both_sides_have_proved_it() {
    let Some(clerk) = Clerk::shared() else { return };
    let invite = |email: &str| {
        clerk.service.command(&["tenant", "create", "--name", &format!("Of {email}"), "--owner", email]);
    };
    let (invited, stranger) = (new_id("user"), new_id("user"));
    let email = format!("{}@example.com", invited.to_lowercase());
    invite(&email);
    clerk.tell(&event("user.created", &person(&stranger, &email, false, tick()), tick())).await;
    let caller = clerk.caller(&clerk.claims(&stranger)).await;
    assert_eq!(caller.get("/api/auth/me").await.body["data"]["memberships"], json!([]));
    assert_eq!(caller.get("/api/auth/me").await.text("/data/user/email"), email);
    clerk.tell(&event("user.created", &person(&invited, &email, true, tick()), tick())).await;
    let me = clerk.caller(&clerk.claims(&invited)).await.get("/api/auth/me").await;
    assert_eq!((me.text("/data/user/email"), me.text("/data/memberships/0/role")), (email, "owner".into()));
    let me = caller.get("/api/auth/me").await;
    assert!(me.text("/data/user/email").ends_with("@clerk.invalid"), "{}", me.body);

    // Somebody made an account of another's address, with a password, before there was Clerk.
    clerk.control(
        "insert into control.users (id, email, password_hash) values (rowhouse.new_id(), 'squatted@example.com', 'x')",
    );
    let victim = new_id("user");
    clerk.tell(&event("user.created", &person(&victim, "squatted@example.com", true, tick()), tick())).await;
    let me = clerk.caller(&clerk.claims(&victim)).await.get("/api/auth/me").await;
    assert!(me.text("/data/user/email").ends_with("@clerk.invalid"), "{}", me.body);
}

#[tokio::test]
async fn new_keys_are_fetched_but_not_for_every_token() {
    let Some(clerk) = Clerk::shared() else { return };
    let claims = clerk.claims(&new_id("user"));
    clerk.ask("/publish", &json!(["first", "second"])).await;
    let made = clerk.ask("/token", &json!({ "claims": claims, "key": "second", "parties": [PARTY] })).await;
    let caller = clerk.service.anonymous().with_token(made["token"].as_str().unwrap());
    assert_eq!(caller.get("/api/auth/me").await.status, 200);
    let before = clerk.fetches().await;
    for number in 0..40 {
        let request = json!({ "claims": claims, "kid": format!("ins_made_up_{number}") });
        let made = clerk.ask("/token", &request).await;
        let caller = clerk.service.anonymous().with_token(made["token"].as_str().unwrap());
        assert_eq!(caller.get("/api/auth/me").await.status, 401);
    }
    let fetched = clerk.fetches().await - before;
    assert!(fetched < 20, "{fetched} fetches for 40 tokens with keys that nobody has");
    assert_eq!(caller.get("/api/auth/me").await.status, 200);
}

/// What the API was asked about a name.
async fn asked(clerk: &Clerk, name: &str) -> Vec<Value> {
    let all = clerk.ask("/asked", &Value::Null).await;
    all.as_array().unwrap().iter().filter(|asked| asked.to_string().contains(name)).cloned().collect()
}

#[tokio::test]
async fn a_tenant_of_a_sign_up_gets_its_organisation_whatever_dies_in_between() {
    let Some(clerk) = Clerk::shared() else { return };
    let (ann, at) = (new_id("user"), tick());
    let mut signed_up = person(&ann, &format!("{}@example.com", ann.to_lowercase()), true, at);
    signed_up["public_metadata"] = json!({ "companyName": "Told Of" });
    let told = event("user.created", &signed_up, at);
    // Clerk is away: the message comes again, and the tenant is there already.
    clerk.ask("/fail", &json!("Told Of")).await;
    assert_eq!(clerk.deliver(&new_id("msg"), &told).await.status, 503);
    clerk.ask("/heal", &json!("Told Of")).await;
    clerk.tell(&told).await;
    let tenant = clerk.control("select id from control.tenants where name = 'Told Of'");
    let organization = || {
        let find = "select clerk_id from control.clerk_tenants where clerk_id like 'org_%' and tenant_id =";
        clerk.control(&format!("{find} '{tenant}'"))
    };
    let first = organization();
    let ours = asked(clerk, "Told Of").await;
    let parameters = json!({ "name": "Told Of", "createdBy": ann, "slug": "another",
                             "privateMetadata": { "rowhouse_tenant_id": tenant } });
    let mut theirs = clerk.ask("/reference", &json!(["createOrganization", parameters])).await;
    theirs["body"]["slug"] = json!("told-of");
    assert_eq!(ours, [theirs], "asked as Clerk's own client asks");

    // As if the process had died before it noted what Clerk answered.
    clerk.control(&format!("delete from control.clerk_tenants where clerk_id = '{first}'"));
    clerk.control(&format!("delete from control.clerk_objects where clerk_id = '{first}'"));
    clerk.tell(&told).await;
    assert_eq!(organization(), first);

    // What Clerk tells of it then is known.
    let mut made = self::organization(&first, "Told Of", Some(&ann), tick());
    made["private_metadata"] = json!({ "rowhouse_tenant_id": tenant });
    clerk.tell(&event("organization.created", &made, tick())).await;
    assert_eq!(clerk.control("select count(*) from control.tenants where name = 'Told Of'"), "1");
    let caller = clerk.member(&ann, &first, "admin").await;
    assert_eq!(caller.get("/api/leads").await.body["tenant_id"], json!(tenant));
}

#[tokio::test]
async fn an_organisation_that_a_token_tells_of_is_looked_up() {
    let Some(clerk) = Clerk::shared() else { return };
    let (ann, bob, org) = (new_id("user"), new_id("user"), new_id("org"));
    let known = json!({ "id": org, "name": "Looked Up", "slug": format!("up-{}", tick()), "created_by": ann });
    clerk.ask("/organization", &known).await;
    let caller = clerk.member(&bob, &org, "member").await;
    assert_eq!(caller.get("/api/auth/me").await.text("/data/tenant/role"), "member");
    let owner = format!(
        "select t.name, m.role from control.clerk_tenants c join control.tenants t on t.id = c.tenant_id
         join control.memberships m on m.tenant_id = t.id join control.clerk_users u on u.user_id = m.user_id
         where c.clerk_id = '{org}' and u.clerk_id = '{ann}'"
    );
    assert_eq!(clerk.control(&owner), "Looked Up|owner");
    // Clerk is away: what the token says is enough.
    let unknown = new_id("org");
    clerk.ask("/fail", &json!(unknown)).await;
    let caller = clerk.member(&bob, &unknown, "admin").await;
    assert_eq!(caller.get("/api/leads").await.status, 200);
}

#[tokio::test]
async fn members_are_invited_by_clerk() {
    let Some(clerk) = Clerk::shared() else { return };
    let (ann, org, slug) = (new_id("user"), new_id("org"), format!("inviting-{}", tick()));
    clerk.ask("/organization", &json!({ "id": org, "name": "Inviting", "slug": slug, "created_by": ann })).await;
    let owner = clerk.member(&ann, &org, "admin").await;
    let tenant = owner.get("/api/auth/me").await.text("/data/tenant/id");
    let path = format!("/api/tenants/{tenant}/invitations");
    let email = format!("new-{}@example.com", tick());
    let invited = owner.post(&path, &json!({ "email": email, "role": "owner" })).await;
    assert_eq!(invited.status, 201, "{}", invited.body);
    let parameters = json!({ "organizationId": org, "emailAddress": email, "role": "org:admin", "inviterUserId": ann });
    let ours = asked(clerk, &email).await;
    let theirs = clerk.ask("/reference", &json!(["createOrganizationInvitation", parameters])).await;
    assert_eq!(ours, [theirs], "asked as Clerk's own client asks");

    let taken = owner.post(&path, &json!({ "email": "member@example.com", "role": "sales_rep" })).await;
    assert_eq!(taken.status, 409, "{}", taken.body);
    assert_eq!(owner.post(&path, &json!({ "email": email, "role": "no_role" })).await.status, 422);
    let member = clerk.member(&new_id("user"), &org, "sales_rep").await;
    assert_eq!(member.post(&path, &json!({ "email": email, "role": "sales_rep" })).await.status, 403);
    let stranger = clerk.caller(&clerk.claims(&new_id("user"))).await;
    assert_eq!(stranger.post(&path, &json!({ "email": email, "role": "sales_rep" })).await.status, 404);
}

#[tokio::test]
async fn who_acts_in_anothers_place_is_told_of() {
    let Some(clerk) = Clerk::shared() else { return };
    let mut claims = clerk.claims(&new_id("user"));
    claims["act"] = json!({ "iss": "https://dashboard.clerk.com", "sub": "user_2support" });
    let caller = clerk.caller(&claims).await;
    for _ in 0..3 {
        assert_eq!(caller.get("/api/auth/me").await.status, 200);
    }
    let session = claims["sid"].as_str().unwrap();
    let find =
        format!("select details ->> 'by' from control.security_events where details ->> 'session' = '{session}'");
    // Events are written behind.
    while clerk.control(&find).is_empty() {}
    assert_eq!(clerk.control(&find), "user_2support");
}

#[tokio::test]
async fn other_programs_sign_people_in_with_clerk_too() {
    let Some(clerk) = Clerk::shared() else { return };
    let anonymous = clerk.service.anonymous();
    for path in ["/oauth/authorize", "/oauth/logout", "/oauth/userinfo", "/.well-known/openid-configuration"] {
        assert_eq!(anonymous.get(path).await.status, 404, "{path}");
    }
    assert_eq!(anonymous.get("/.well-known/jwks.json").await.status, 200);
}
