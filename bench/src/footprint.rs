//! Memory and start-up of the server with few and with many schema tenants, and of PostgreSQL's
//! backends after every tenant has been asked once.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::ground::Ground;
use crate::http::Client;
use crate::installation::Installation;
use crate::report::{Section, number, say};
use crate::sizes::Sizes;

const EMAIL: &str = "ann@bench.example";
const PASSWORD: &str = "a-long-password-for-measuring";

/// Measures the part.
pub(crate) fn measure(ground: &Ground, sizes: &Sizes) -> Result<Section> {
    let installation = Installation::new(ground, "bench_footprint")?;
    let mut owner = Owner { made: 0 };
    let mut rows = Vec::new();
    for &tenants in &sizes.footprints {
        say(&format!("{tenants} schema tenants"));
        owner.make(&installation, sizes, tenants)?;
        ground.settle()?;
        let serving = installation.serve(sizes.clients, 0)?;
        let idle = resident_mib(serving.pid())?;
        touch(&installation, tenants)?;
        let touched = resident_mib(serving.pid())?;
        let backends = backends_mib(ground)?;
        rows.push(vec![
            number(f64::from(tenants)),
            format!("{} ms", number(serving.start.as_secs_f64() * 1e3)),
            format!("{} MiB", number(idle)),
            format!("{} MiB", number(touched)),
            format!("{} MiB in {}", number(backends.0), backends.1),
        ]);
    }
    let mut section = Section::new(
        "Footprint",
        "From the process's start to its first answer (isolation probe included), its resident memory then and after \
         one list of every tenant, and the private memory of PostgreSQL's backends after that.",
    );
    section.table(&["schema tenants", "start", "memory", "after all were asked", "backends"], &rows);
    Ok(section)
}

/// A person who owns every tenant, so that one sign-in reaches all.
struct Owner {
    made: u32,
}

impl Owner {
    fn make(&mut self, installation: &Installation<'_>, sizes: &Sizes, tenants: u32) -> Result<()> {
        let _serving = installation.serve(sizes.clients, 0)?;
        let mut client = Client::connect(installation.port)?;
        let operator = if self.made == 0 {
            let body = json!({
                "email": EMAIL, "password": PASSWORD, "first_name": "Ann", "last_name": "Abel",
                "company_name": "Home", "slug": "home-of-ann",
            });
            client.must("POST", "/api/auth/sign-up", &[], &body.to_string())?;
            installation.operator()?
        } else {
            installation.operator_again()?
        };
        let authorization = format!("Bearer {operator}");
        while self.made < tenants {
            self.made += 1;
            let slug = slug_of(self.made);
            let body = json!({ "name": slug, "slug": slug, "admin_email": EMAIL, "placement": "schema" });
            client.must("POST", "/api/admin/tenants", &[("authorization", &authorization)], &body.to_string())?;
        }
        Ok(())
    }
}

fn slug_of(number: u32) -> String {
    format!("shop-{number}")
}

/// Asks every tenant once.
fn touch(installation: &Installation<'_>, tenants: u32) -> Result<()> {
    let mut client = Client::connect(installation.port)?;
    let body = json!({ "email": EMAIL, "password": PASSWORD }).to_string();
    let mut token = token_of(&client.must("POST", "/api/auth/sign-in", &[], &body)?)?;
    for number in 1..=tenants {
        let body = json!({ "tenant": slug_of(number) }).to_string();
        let authorization = format!("Bearer {token}");
        token = token_of(&client.must("POST", "/api/auth/switch", &[("authorization", &authorization)], &body)?)?;
        let authorization = format!("Bearer {token}");
        client.must("GET", "/api/products", &[("authorization", &authorization)], "")?;
    }
    Ok(())
}

fn token_of(answer: &Value) -> Result<String> {
    Ok(answer["data"]["access_token"].as_str().context("a token")?.to_owned())
}

fn resident_mib(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    kilobytes(&text, "VmRSS:").map(|value| value / 1024.0).context("resident memory")
}

fn kilobytes(text: &str, label: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(label))?.trim().split(' ').next()?.parse().ok()
}

/// Private memory of the server's children and their number.
fn backends_mib(ground: &Ground) -> Result<(f64, u32)> {
    let postmaster = ground.postmaster()?.to_string();
    let (mut total, mut count) = (0.0, 0);
    for entry in fs::read_dir("/proc")?.flatten() {
        let path = entry.path();
        // A process may end while it is looked at.
        let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
        let Ok(command) = fs::read_to_string(path.join("cmdline")) else { continue };
        if parent != Some(postmaster.as_str()) || !command.contains("bench_footprint") {
            continue;
        }
        if let Ok(rollup) = fs::read_to_string(path.join("smaps_rollup")) {
            total += kilobytes(&rollup, "Private_Dirty:").unwrap_or(0.0);
            total += kilobytes(&rollup, "Private_Clean:").unwrap_or(0.0);
            count += 1;
        }
    }
    Ok((total / 1024.0, count))
}
