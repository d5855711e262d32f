//! What identity costs: the gate before each request, signing in beside the hash that it has to
//! compute, and how long another process takes to know that somebody was shut out.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use serde_json::{Value, json};

use crate::ground::Ground;
use crate::http::{Client, request};
use crate::installation::Installation;
use crate::load::{Pressure, write_requests, wrk};
use crate::report::{Section, median, number, say};
use crate::requests::order_id;
use crate::sizes::Sizes;

const PASSWORD: &str = "a-long-password-for-measuring";
/// Answered from memory, to anybody.
const OPEN: &str = "/.well-known/jwks.json";
/// Refused by the data API before it asks the database: what it costs is the gate.
const GATED: &str = "/api/orders/none";
/// Longest wait until another process knows of a change.
const PATIENCE: Duration = Duration::from_secs(10);

/// Microseconds of single requests, one after the other on one connection.
#[derive(Default)]
struct Gate {
    open: Vec<f64>,
    gated: Vec<f64>,
    record: Vec<f64>,
    first_use: Vec<f64>,
}

/// Somebody who has signed up, and their tenant.
struct Person {
    email: String,
    token: String,
    tenant: String,
}

/// Measures the part.
pub(crate) fn measure(ground: &Ground, sizes: &Sizes) -> Result<Section> {
    let installation = Installation::new(ground, "bench_identity")?;
    installation.seed(1, sizes.rows, "pool")?;
    let _serving = installation.serve(sizes.clients, 0)?;
    let caller = installation.callers()?.pop().context("a tenant")?;
    let people = (0..sizes.clients).map(|index| sign_up(installation.port, index)).collect::<Result<Vec<_>>>()?;

    let mut gate = Gate::default();
    let mut client = Client::connect(installation.port)?;
    let record = format!("/api/orders/{}", order_id(1));
    for _ in 0..sizes.requests {
        gate.open.push(took(&mut client, OPEN, "", 200)?);
        gate.gated.push(took(&mut client, GATED, &caller.token, 404)?);
        gate.record.push(took(&mut client, &record, &caller.token, 200)?);
    }
    for index in 0..sizes.requests.div_ceil(20) {
        let person = &people[index as usize % people.len()];
        let token = sign_in(&mut client, &person.email)?;
        gate.first_use.push(took(&mut client, GATED, &token, 404)?);
    }
    say("the gate is measured; signing in");
    let (mut hashes, mut sign_ins) = (Vec::new(), Vec::new());
    let all: Vec<String> = people.iter().map(|person| sign_in_request(installation.port, &person.email)).collect();
    let file = write_requests(ground, "sign-in", &all)?;
    let pressure = Pressure { clients: sizes.clients, seconds: sizes.seconds };
    for _ in 0..sizes.rounds {
        hashes.push(hashes_a_second(Duration::from_secs(sizes.seconds.into()))?);
        sign_ins.push(wrk(installation.port, &file, pressure)?.per_second);
    }
    say("signing in is measured; a change in another process");
    let other = installation.beside()?;
    let _beside = other.serve(sizes.clients, 0)?;
    let effect = effect(&installation, other.port, &people, sizes)?;
    Ok(section(&gate, &hashes, &sign_ins, &effect))
}

fn sign_up(port: u16, index: u32) -> Result<Person> {
    let email = format!("person-{index}@bench.example");
    let body = json!({ "email": email, "password": PASSWORD, "company_name": format!("Company {index}") });
    let answer = Client::connect(port)?.must("POST", "/api/auth/sign-up", &[], &body.to_string())?;
    let tenant = answer["data"]["tenant"]["slug"].as_str().context("a tenant")?.to_owned();
    Ok(Person { email, token: token_of(&answer)?, tenant })
}

fn token_of(answer: &Value) -> Result<String> {
    Ok(answer["data"]["access_token"].as_str().context("an access token")?.to_owned())
}

fn sign_in_body(email: &str) -> String {
    json!({ "email": email, "password": PASSWORD }).to_string()
}

fn sign_in(client: &mut Client, email: &str) -> Result<String> {
    token_of(&client.must("POST", "/api/auth/sign-in", &[], &sign_in_body(email))?)
}

fn sign_in_request(port: u16, email: &str) -> String {
    request(port, "POST", "/api/auth/sign-in", &[], &sign_in_body(email))
}

/// Microseconds until the answer, which must be of this status.
fn took(client: &mut Client, path: &str, token: &str, status: u16) -> Result<f64> {
    let authorization = format!("Bearer {token}");
    let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("authorization", &authorization)] };
    let started = Instant::now();
    let answer = client.send("GET", path, headers, "")?;
    let took = started.elapsed();
    ensure!(answer.status == status, "GET {path} answered {}: {}", answer.status, answer.body);
    Ok(took.as_secs_f64() * 1e6)
}

/// Hashes that all cores together make in a second, with the service's own parameters: nobody can
/// sign more people in.
fn hashes_a_second(time: Duration) -> Result<f64> {
    let params = Params::new(19 * 1024, 2, 1, None).map_err(|error| anyhow::anyhow!("{error}"))?;
    let argon2 = &Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let cores = std::thread::available_parallelism()?.get();
    let started = Instant::now();
    let counts = std::thread::scope(|scope| {
        let work = || {
            let mut count = 0_u32;
            while started.elapsed() < time {
                argon2.hash_password(PASSWORD.as_bytes()).expect("argon2 hashes any password");
                count += 1;
            }
            count
        };
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).sum::<u32>()
    });
    Ok(f64::from(counts) / started.elapsed().as_secs_f64())
}

/// Milliseconds from the answer to a change of a membership until another process obeys it.
fn effect(installation: &Installation<'_>, other: u16, people: &[Person], sizes: &Sizes) -> Result<Vec<f64>> {
    let (owner, member) = (&people[0], &people[1]);
    let mut here = Client::connect(installation.port)?;
    let mut there = Client::connect(other)?;
    let authorization = format!("Bearer {}", owner.token);
    let headers = [("authorization", authorization.as_str())];
    let join = format!(
        "insert into control.memberships (tenant_id, user_id, role) select t.id, u.id, 'admin'
         from control.tenants t, control.users u where t.slug = '{}' and u.email = '{}'",
        owner.tenant, member.email
    );
    installation.sql_in_control(&join)?;
    let switched = json!({ "tenant": owner.tenant }).to_string();
    let own = format!("Bearer {}", member.token);
    let answer = here.must("POST", "/api/auth/switch", &[("authorization", &own)], &switched)?;
    let token = token_of(&answer)?;
    let me = here.must("GET", "/api/auth/me", &[("authorization", &own)], "")?;
    let id = me["data"]["user"]["id"].as_str().context("an id")?.to_owned();
    let path = format!("/api/tenants/{}/members/{id}", owner.tenant);
    let mut times = Vec::new();
    for _ in 0..sizes.rounds * 4 {
        for (active, status) in [(false, 403), (true, 404)] {
            here.must("PATCH", &path, &headers, &json!({ "active": active }).to_string())?;
            let changed = Instant::now();
            let asked = format!("Bearer {token}");
            loop {
                let answer = there.send("GET", GATED, &[("authorization", &asked)], "")?;
                if answer.status == status {
                    break;
                }
                let (still, body) = (answer.status, answer.body);
                ensure!(changed.elapsed() < PATIENCE, "the other process still answers {still}, not {status}: {body}");
            }
            times.push(changed.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(times)
}

fn section(gate: &Gate, hashes: &[f64], sign_ins: &[f64], effect: &[f64]) -> Section {
    let mut section = Section::new(
        "Identity",
        "Single requests on one connection, the three in turn. The first is answered from memory to anybody; the \
         second passes the gate (token, session, tenant, membership, rights) and is refused by the data API before it \
         asks the database, so what it takes more is the gate, and at most. The limit of signing in is what all cores \
         hash, with the same parameters, while nothing else runs. The last is asked of a second process without a pause.",
    );
    let (open, gated, record) = (median(&gate.open), median(&gate.gated), median(&gate.record));
    let cost = gated - open;
    let first = median(&gate.first_use) - open;
    let (limit, rate) = (median(hashes), median(sign_ins));
    let slowest = effect.iter().copied().fold(0.0, f64::max);
    let row = |what: &str, figure: String, ratio: String, target: &str| vec![what.into(), figure, ratio, target.into()];
    let rows = [
        row("from memory, to anybody", format!("{} µs", number(open)), String::new(), ""),
        row("one record", format!("{} µs", number(record)), String::new(), ""),
        row(
            "the gate, warm",
            format!("{} µs", number(cost)),
            format!("{} % of one record", number(cost / record * 100.0)),
            "≤ 5 %",
        ),
        row("the gate, a token's first use", format!("{} µs", number(first)), String::new(), ""),
        row("argon2id, all cores", format!("{} a second", number(limit)), String::new(), ""),
        row("sign-ins", format!("{} a second", number(rate)), format!("{} of argon2id", number(rate / limit)), ""),
        row(
            "a membership's change acts in another process",
            format!("{} ms, at most {} ms", number(median(effect)), number(slowest)),
            String::new(),
            "< 1 s",
        ),
    ];
    section.table(&["what", "median", "ratio", "to reach"], &rows);
    section
}
