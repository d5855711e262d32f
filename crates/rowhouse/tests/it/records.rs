//! The data API.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::service::{ACME, Caller, DEMOS, PASSWORD, Service};

/// The owner of a tenant of one test's own, empty but for the onboarding rows.
async fn fresh(name: &str) -> Caller {
    let service = Service::shared();
    let body = json!({ "email": format!("{name}@records.example"), "password": PASSWORD, "company_name": format!("Records {name}") });
    let answer = service.anonymous().post("/api/auth/sign-up", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    service.anonymous().with_token(&answer.text("/data/access_token"))
}

#[tokio::test]
async fn a_record_lives_in_every_placement() {
    for demo in &DEMOS {
        let caller = Service::shared().owner(demo).await;
        let made = caller
            .post("/api/organizations", &json!({ "name": "Life & Söhne \"quoted\" \\ 🌞", "city": "Reno" }))
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
        let path = format!("/api/organizations/{}", made.text("/data/id"));
        let read = caller.get(&path).await;
        assert_eq!(read.body, made.body);
        assert_eq!(read.etag, made.etag);
        let tag = read.etag.clone().unwrap();
        let changed = caller.with("If-Match", &tag).patch(&path, &json!({ "status": "customer", "city": null })).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
        assert_eq!(changed.body["data"]["city"], Value::Null);
        assert_ne!(changed.etag, read.etag);
        assert!(changed.text("/data/updated_at") > read.text("/data/updated_at"));
        for stale in [
            caller.with("If-Match", &tag).patch(&path, &json!({})).await,
            caller.with("If-Match", &tag).delete(&path).await,
        ] {
            assert_eq!((stale.status.as_u16(), stale.code().as_str()), (412, "precondition_failed"));
        }
        assert_eq!(caller.with("If-None-Match", &changed.etag.unwrap()).get(&path).await.status, 304);
        assert_eq!(caller.delete(&path).await.status, 200);
        assert_eq!(caller.get(&path).await.status, 404);
        assert_eq!(caller.delete(&path).await.status, 404);
    }
}

#[tokio::test]
async fn every_kind_of_value_survives_the_way_there_and_back() {
    let caller = fresh("kinds").await;
    let body = json!({
        "full_name": "Ünï 'quote' \"double\" \\ back\nline\ttab", "email": null, "temperature": "hot", "monthly_bill": "12345678.90",
        "roof_area": 12.5, "details": { "a": [1, null, { "b": "c" }], "text": "\u{1F31E}" }, "is_public": true,
        "follow_up_at": "2026-12-24T18:30:00.123456+02:00",
    });
    let made = caller.post("/api/leads", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let data = &made.body["data"];
    assert_eq!(data["full_name"], body["full_name"]);
    assert_eq!(data["monthly_bill"], json!(12345678.90));
    assert_eq!(data["roof_area"], json!(12.5));
    assert_eq!(data["details"], body["details"]);
    assert_eq!(data["follow_up_at"], "2026-12-24T16:30:00.123456Z");
    assert_eq!(data["is_public"], true);
    let person = caller
        .post(
            "/api/people",
            &json!({ "full_name": "P", "tags": ["a", "b,c", "\"d\"", "", "NULL", "{x}"], "birthday": "1980-02-29" }),
        )
        .await;
    assert_eq!(person.body["data"]["tags"], json!(["a", "b,c", "\"d\"", "", "NULL", "{x}"]), "{}", person.body);
    assert_eq!(person.body["data"]["birthday"], "1980-02-29");
    let visit = caller
        .post(
            "/api/appointments",
            &json!({ "subject": "Visit", "starts_at": "2026-01-01T00:00:00Z", "duration": "PT1H30M" }),
        )
        .await;
    assert_eq!(visit.body["data"]["duration"], "PT1H30M", "{}", visit.body);
    let later = caller.get("/api/leads?follow_up_at[gte]=2026-12-24T18:30:00%2B02:00&fields=id").await;
    assert_eq!(later.data().len(), 1);
}

#[tokio::test]
async fn faults_of_a_body_are_told_by_field() {
    let caller = fresh("faults").await;
    for (body, status, field, code) in [
        (json!({}), 422, "full_name", "required"),
        (json!({ "full_name": null }), 422, "full_name", "invalid"),
        (json!({ "full_name": 7 }), 422, "full_name", "invalid"),
        (json!({ "full_name": "x", "status": "nwe" }), 422, "status", "invalid"),
        (json!({ "full_name": "x", "temperature": "boiling" }), 422, "temperature", "invalid"),
        (json!({ "full_name": "x", "monthly_bill": -1 }), 422, "monthly_bill", "not_allowed"),
        (json!({ "full_name": "x", "monthly_bill": 1e12 }), 422, "monthly_bill", "invalid"),
        (json!({ "full_name": "x", "monthly_bill": "abc" }), 422, "monthly_bill", "invalid"),
        (json!({ "full_name": "x", "phone": "0".repeat(41) }), 422, "phone", "invalid"),
        (json!({ "full_name": "x".repeat(201) }), 422, "full_name", "not_allowed"),
        (json!({ "full_name": "a\u{0}b" }), 422, "full_name", "invalid"),
        (json!({ "full_name": "x", "details": { "a": "\u{0}" } }), 422, "details", "invalid"),
        (json!({ "full_name": "x", "created_at": "2026-01-01T00:00:00Z" }), 422, "created_at", "not_allowed"),
        (json!({ "full_name": "x", "id": "one" }), 422, "id", "invalid"),
        (json!({ "full_name": "x", "follow_up_at": "tomorrow" }), 422, "follow_up_at", "invalid"),
        (json!({ "full_name": "x", "fullname": "y" }), 400, "fullname", "unknown_field"),
        (
            json!({ "full_name": "x", "campaign_id": "01900000-0000-7000-8000-000000000000" }),
            422,
            "campaign_id",
            "not_found",
        ),
    ] {
        let answer = caller.post("/api/leads", &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        let fault = &answer.body["error"]["details"][0];
        assert_eq!(
            (fault["field"].as_str(), fault["code"].as_str()),
            (Some(field), Some(code)),
            "{body}: {}",
            answer.body
        );
    }
    let both = caller.post("/api/leads", &json!({ "status": "x", "roof_area": "y" })).await;
    assert_eq!(both.body["error"]["details"].as_array().unwrap().len(), 3, "{}", both.body);
    for text in ["", "{", "[]", "null", "\"x\"", "{\"full_name\": }", "{\"full_name\":\"\\ud800\"}"] {
        let answer = caller.send_text(reqwest::Method::POST, "/api/leads", Some(text)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "invalid_request"), "{text}");
    }
    let untyped = caller.send(reqwest::Method::POST, "/api/leads", None).await;
    assert_eq!((untyped.status.as_u16(), untyped.code().as_str()), (415, "unsupported_media_type"));
    let huge = json!({ "full_name": "x", "notes": "x".repeat(2 << 20) });
    let huge = caller.post("/api/leads", &huge).await;
    assert_eq!((huge.status.as_u16(), huge.code().as_str()), (413, "payload_too_large"));
}

#[tokio::test]
async fn a_broken_constraint_is_told_in_words() {
    let caller = fresh("words").await;
    for (path, body, status, message) in [
        ("leads", json!({ "full_name": "x", "monthly_bill": -1 }), 422, "monthly_bill: must be at least 0"),
        ("leads", json!({ "full_name": "" }), 422, "full_name: must have 1 to 200 characters"),
        (
            "leads",
            json!({ "full_name": "x", "lost_reason": "price" }),
            422,
            "lost_reason is only allowed if status is lost.",
        ),
        (
            "campaigns",
            json!({ "name": "x", "starts_on": "2026-02-01", "ends_on": "2026-01-01" }),
            422,
            "ends_on must not be before starts_on.",
        ),
        ("people", json!({ "full_name": "x", "email": "at home" }), 422, "email: must contain @"),
        ("leads", json!({}), 422, "full_name: is required"),
        (
            "leads",
            json!({ "full_name": "x", "campaign_id": "01900000-0000-7000-8000-000000000000" }),
            422,
            "campaign_id: there is no such record",
        ),
    ] {
        let answer = caller.post(&format!("/api/{path}"), &body).await;
        assert_eq!((answer.status.as_u16(), answer.text("/error/message").as_str()), (status, message), "{body}");
    }
    let dates = json!({ "name": "x", "starts_on": "2026-02-01", "ends_on": "2026-01-01" });
    let dates = caller.post("/api/campaigns", &dates).await;
    let fields: Vec<&str> = dates.body["error"]["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["ends_on", "starts_on"], "{}", dates.body);
}

#[tokio::test]
async fn the_developers_comment_on_a_constraint_is_what_a_person_reads() {
    let directory = crate::service::temporary();
    let app = directory.path().join("desk");
    let made = crate::service::rowhouse(directory.path()).args(["app", "new"]).arg(&app).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let comments = "
        comment on constraint customers_name_check on customers is 'must be a name to call somebody by';
        comment on constraint tickets_tenant_id_customer_id_fkey on tickets is 'is not a customer of yours';";
    std::fs::write(app.join("migrations/0002_comments.sql"), comments).unwrap();
    let service = Service::start(app.to_str().unwrap());
    let caller = service.owner(&ACME).await;
    let named = caller.post("/api/customers", &json!({ "name": "" })).await;
    assert_eq!(named.text("/error/message"), "name: must be a name to call somebody by");
    assert_eq!(named.body["error"]["details"][0]["field"], "name");
    let nobody = json!({ "subject": "x", "customer_id": "01900000-0000-7000-8000-000000000000" });
    let nobody = caller.post("/api/tickets", &nobody).await;
    assert_eq!(
        (nobody.status.as_u16(), nobody.text("/error/message").as_str()),
        (422, "customer_id: is not a customer of yours")
    );
    let body = json!({ "name": "Ann", "email": "ann@words.example" });
    assert_eq!(caller.post("/api/customers", &body).await.status, 201);
    let again = caller.post("/api/customers", &body).await;
    assert_eq!(
        (again.status.as_u16(), again.text("/error/message").as_str()),
        (409, "Another customer has this e-mail address.")
    );
    assert_eq!(again.body["error"]["details"][0]["field"], "email");
}

#[tokio::test]
async fn unique_values_and_records_in_use_are_conflicts() {
    let caller = fresh("conflicts").await;
    let body = json!({ "name": "Twice" });
    let first = caller.post("/api/organizations", &body).await;
    let again = caller.post("/api/organizations", &body).await;
    assert_eq!((again.status.as_u16(), again.code().as_str()), (409, "conflict"));
    assert_eq!(again.body["error"]["details"][0]["field"], "name");
    assert!(!again.body.to_string().contains("Twice"), "no value in the error");
    assert_eq!(first.status, 201);
    let stage = caller.get("/api/pipeline_stages?limit=1").await.text("/data/0/id");
    let project = caller.post("/api/projects", &json!({ "name": "P", "stage_id": stage })).await;
    assert_eq!(project.status, 201, "{}", project.body);
    let used = caller.delete(&format!("/api/pipeline_stages/{stage}")).await;
    assert_eq!((used.status.as_u16(), used.code().as_str()), (409, "conflict"), "{}", used.body);
}

#[tokio::test]
async fn faults_of_a_query_are_told_with_what_is_known() {
    let caller = Service::shared().owner(&ACME).await;
    for (query, word) in [
        ("statsu=new", "Did you mean \\\"status\\\"?"),
        ("status[like]=x", "eq, ne"),
        ("status[eq=x", "bracket"),
        ("monthly_bill[gt]=many", "must be a number"),
        ("created_at[lt]=yesterday", "must be a date and time"),
        ("is_public=maybe", "true or false"),
        ("id=12", "UUID"),
        ("sort=nmae", "known are"),
        ("sort=details", "no order"),
        ("fields=id,nmae", "known are"),
        ("include=campain", "Did you mean \\\"campaign\\\"?"),
        ("include=campaign.owner", "known are"),
        ("page=0", "from 1"),
        ("page=99999999999", "from 1"),
        ("page=4294967295", "cursor"),
        ("per_page=201", "from 1 to 200"),
        ("per_page=-1", "from 1 to 200"),
        ("limit=x", "from 1 to 200"),
        ("page=1&limit=2", "together"),
        ("count=all", "exact, estimated or none"),
        ("q=%00", "NUL"),
        ("full_name=a%00b", "NUL"),
        ("details[eq]={}", "contains"),
    ] {
        let answer = caller.get(&format!("/api/leads?{query}")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (400, "invalid_request"),
            "{query}: {}",
            answer.body
        );
        assert!(answer.body.to_string().contains(word), "{query}: {}", answer.body);
    }
    let many: Vec<String> = (0..10_000).map(|n| format!("city=x{n}")).collect();
    let answer = caller.get(&format!("/api/leads?{}", many[..2000].join("&"))).await;
    assert!(answer.status.is_client_error(), "{}", answer.body);
    let long = caller.get(&format!("/api/leads?full_name={}", "x".repeat(5000))).await;
    assert_eq!(long.status, 400);
    let unknown = caller.get("/api/laeds").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.to_string().contains("Did you mean"), "{}", unknown.body);
}

#[tokio::test]
async fn related_records_come_in_the_same_answer() {
    let caller = Service::shared().owner(&ACME).await;
    let page = caller.get("/api/projects?per_page=20&include=stage,panel_model,tasks,person").await;
    assert_eq!(page.status, 200, "{}", page.body);
    for project in page.data() {
        assert_eq!(project["stage"]["id"], project["stage_id"]);
        assert_eq!(project["panel_model"]["id"], project["panel_model_id"]);
        for task in project["tasks"].as_array().unwrap() {
            assert_eq!(task["project_id"], project["id"]);
        }
        if project["person_id"].is_null() {
            assert!(project["person"].is_null());
        } else {
            assert_eq!(project["person"]["id"], project["person_id"]);
        }
    }
    let one = page.data()[0]["id"].as_str().unwrap();
    let record = caller.get(&format!("/api/projects/{one}?include=stage&fields=id,name")).await;
    assert_eq!(record.body["data"].as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "name", "stage"]);
}

/// Filters, sorts and pages against a plain evaluation of the same list.
#[tokio::test]
async fn lists_agree_with_a_plain_evaluation() {
    let caller = Service::shared().owner(&ACME).await;
    let all = everything(&caller).await;
    let text = |record: &Value, field: &str| record[field].as_str().unwrap_or_default().to_owned();
    let bill = |record: &Value| record["monthly_bill"].as_f64();
    type Keep<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
    let cases: Vec<(&str, Keep<'_>)> = vec![
        ("status=new", Box::new(|r| r["status"] == "new")),
        ("status[ne]=new", Box::new(|r| r["status"] != "new")),
        ("status[in]=new,lost", Box::new(|r| r["status"] == "new" || r["status"] == "lost")),
        ("temperature=hot&city=Reno", Box::new(|r| r["temperature"] == "hot" && r["city"] == "Reno")),
        (
            "monthly_bill[gte]=200&monthly_bill[lt]=300",
            Box::new(|r| bill(r).is_some_and(|b| (200.0..300.0).contains(&b))),
        ),
        ("full_name[contains]=OL", Box::new(|r| text(r, "full_name").to_lowercase().contains("ol"))),
        ("full_name[starts_with]=Mi", Box::new(|r| text(r, "full_name").starts_with("Mi"))),
        ("person_id[is_null]=true", Box::new(|r| r["person_id"].is_null())),
        ("person_id[is_null]=false&is_public=true", Box::new(|r| !r["person_id"].is_null() && r["is_public"] == true)),
        ("details[contains]=%7B%22battery%22:true%7D", Box::new(|r| r["details"]["battery"] == true)),
        (
            "q=mia%20example",
            Box::new(|r| {
                ["mia", "example"].iter().all(|word| {
                    ["full_name", "email", "notes"].iter().any(|f| text(r, f).to_lowercase().contains(word))
                })
            }),
        ),
        ("created_at[gt]=2026-05-01T00:00:00Z", Box::new(|r| text(r, "created_at").as_str() > "2026-05-01T00:00:00Z")),
    ];
    for (query, keep) in cases {
        let expected: BTreeSet<String> =
            all.iter().filter(|record| keep(record)).map(|record| text(record, "id")).collect();
        for sort in [
            "",
            "&sort=full_name",
            "&sort=-monthly_bill,city",
            "&sort=temperature",
            "&sort=person_id",
            "&sort=-person_id,status",
        ] {
            let walked = walk(&caller, &format!("/api/leads?{query}{sort}&fields=id&limit=7")).await;
            assert_eq!(walked.len(), expected.len(), "{query}{sort}: each record once");
            assert_eq!(walked.iter().cloned().collect::<BTreeSet<_>>(), expected, "{query}{sort}");
            let mut paged = Vec::new();
            for page in 1.. {
                let answer = caller.get(&format!("/api/leads?{query}{sort}&fields=id&per_page=9&page={page}")).await;
                assert_eq!(answer.body["pagination"]["total"], expected.len(), "{query}{sort}");
                assert_eq!(answer.body["pagination"]["total_pages"], expected.len().div_ceil(9));
                paged.extend(answer.data().iter().map(|record| record["id"].as_str().unwrap().to_owned()));
                if answer.body["pagination"]["has_next"] == false {
                    break;
                }
            }
            assert_eq!(paged, walked, "{query}{sort}: pages and cursors give one order");
        }
    }
}

async fn everything(caller: &Caller) -> Vec<Value> {
    let mut all = Vec::new();
    let mut path = "/api/leads?limit=200".to_owned();
    loop {
        let page = caller.get(&path).await;
        all.extend(page.data().iter().cloned());
        match page.body["pagination"]["cursor"].as_str() {
            Some(cursor) => path = format!("/api/leads?limit=200&cursor={cursor}"),
            None => return all,
        }
    }
}

async fn walk(caller: &Caller, path: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut next = path.to_owned();
    loop {
        let page = caller.get(&next).await;
        assert_eq!(page.status, 200, "{next}: {}", page.body);
        ids.extend(page.data().iter().map(|record| record["id"].as_str().unwrap().to_owned()));
        match page.body["pagination"]["cursor"].as_str() {
            Some(cursor) => next = format!("{path}&cursor={cursor}"),
            None => return ids,
        }
    }
}

#[tokio::test]
async fn a_cursor_walk_meets_every_lasting_record_once_while_others_come_and_go() {
    let caller = fresh("walk").await;
    let mut lasting = BTreeSet::new();
    for number in 0..40 {
        let made = caller.post("/api/organizations", &json!({ "name": format!("Lasting {number:02}") })).await;
        lasting.insert(made.text("/data/id"));
    }
    let mut seen = Vec::new();
    let mut path = "/api/organizations?limit=3&sort=name&fields=id".to_owned();
    for step in 0.. {
        let page = caller.get(&path).await;
        seen.extend(page.data().iter().map(|record| record["id"].as_str().unwrap().to_owned()));
        let passing = caller
            .post("/api/organizations", &json!({ "name": format!("Lasting {:02} passing {step}", step * 7 % 40) }))
            .await;
        if step % 2 == 0 {
            caller.delete(&format!("/api/organizations/{}", passing.text("/data/id"))).await;
        }
        match page.body["pagination"]["cursor"].as_str() {
            Some(cursor) => path = format!("/api/organizations?limit=3&sort=name&fields=id&cursor={cursor}"),
            None => break,
        }
    }
    for id in &lasting {
        assert_eq!(seen.iter().filter(|other| *other == id).count(), 1, "{id}");
    }
}

#[tokio::test]
async fn roles_see_and_change_what_their_scopes_allow() {
    let service = Service::shared();
    let owner = fresh("roles").await;
    let tenant = owner.get("/api/auth/me").await;
    let (tenant_id, slug) = (tenant.text("/data/tenant/id"), tenant.text("/data/tenant/slug"));
    let member = join(service, &tenant_id, "member").await;
    let viewer = join(service, &tenant_id, "viewer").await;
    let lead = |name: &str, public: bool| json!({ "full_name": name, "is_public": public });
    let hidden = owner.post("/api/leads", &lead("hidden", false)).await.text("/data/id");
    let public = owner.post("/api/leads", &lead("public", true)).await.text("/data/id");
    let own = member.post("/api/leads", &lead("own", false)).await;
    assert_eq!(own.status, 201, "{}", own.body);
    let own = own.text("/data/id");
    let ids = |answer: crate::service::Answer| {
        answer.data().iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(ids(owner.get("/api/leads").await).len(), 3);
    let for_member = member.get("/api/leads").await;
    assert_eq!(for_member.body["pagination"]["total"], 2, "counts obey the scope");
    assert_eq!(ids(for_member), BTreeSet::from([own.clone(), public.clone()]));
    assert_eq!(ids(viewer.get("/api/leads").await), BTreeSet::from([public.clone()]));
    assert_eq!(member.get(&format!("/api/leads/{hidden}")).await.status, 404);
    assert_eq!(member.patch(&format!("/api/leads/{hidden}"), &json!({ "notes": "x" })).await.status, 404);
    let seen = member.patch(&format!("/api/leads/{public}"), &json!({ "notes": "x" })).await;
    assert_eq!((seen.status.as_u16(), seen.code().as_str()), (403, "permission_denied"));
    assert_eq!(member.patch(&format!("/api/leads/{own}"), &json!({ "notes": "x" })).await.status, 200);
    assert_eq!(viewer.post("/api/leads", &lead("no", true)).await.status, 403);
    assert_eq!(viewer.delete(&format!("/api/leads/{public}")).await.status, 403);
    let stolen = member.patch(&format!("/api/leads/{own}"), &json!({ "owner_id": tenant.text("/data/user/id") })).await;
    assert_eq!(stolen.status, 403, "{}", stolen.body);
    assert_eq!(viewer.get(&format!("/api/tenants/{slug}/stats")).await.body["data"]["records"]["leads"], 1);
    assert_eq!(
        owner.post("/api/panel_models", &json!({ "name": "x" })).await.status,
        405,
        "shared tables are read-only"
    );
}

/// A person with a role in a tenant. Membership by invitation comes with the identity issue, so
/// the test makes the rows as the platform's owner would.
async fn join(service: &Service, tenant: &str, role: &str) -> Caller {
    let email = format!("{role}-{}@join.example", &tenant[..8]);
    let body =
        json!({ "email": email, "password": PASSWORD, "company_name": format!("Home of {role} {}", &tenant[..8]) });
    let made = service.anonymous().post("/api/auth/sign-up", &body).await;
    let user = made.text("/data/user/id");
    let sql =
        format!("insert into control.memberships (tenant_id, user_id, role) values ('{tenant}', '{user}', '{role}')");
    service.sql("rowhouse_control", &sql);
    let sql =
        format!("insert into rowhouse.members (tenant_id, user_id, role) values ('{tenant}', '{user}', '{role}')");
    service.sql("rowhouse_data", &sql);
    let signed_in = service
        .anonymous()
        .post("/api/auth/sign-in", &json!({ "email": email, "password": PASSWORD, "tenant": tenant }))
        .await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.body);
    service.anonymous().with_token(&signed_in.text("/data/access_token"))
}
