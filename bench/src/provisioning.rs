//! New tenants: cold and from the warm pool, beside the bare DDL that no program could do without
//! and beside django-tenants.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rowhouse_postgres::{
    Databases, Location, MigrationSet, PLATFORM_TARGET, SystemConnection, SystemScope, apply_migrations, bootstrap,
};
use serde_json::json;

use crate::ground::Ground;
use crate::http::Client;
use crate::installation::Installation;
use crate::peers::Django;
use crate::report::{Section, median, number, say};
use crate::sizes::Sizes;

/// How long the warm pool may take to fill.
const WARM_TIMEOUT: Duration = Duration::from_secs(300);

/// Milliseconds of each way to make a tenant.
#[derive(Default)]
struct Times {
    bare_schema: Vec<f64>,
    bare_database: Vec<f64>,
    pool: Vec<f64>,
    schema: Vec<f64>,
    database: Vec<f64>,
    warm_schema: Vec<f64>,
    warm_database: Vec<f64>,
    django: Vec<f64>,
}

/// Measures the part.
pub(crate) fn measure(ground: &Ground, sizes: &Sizes) -> Result<Section> {
    let installation = Installation::new(ground, "bench_cold")?;
    installation.run(&["migrate", "up"])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bare = runtime.block_on(Bare::prepare(ground, &installation))?;
    let mut times = Times::default();
    {
        let _serving = installation.serve(sizes.clients, 0)?;
        let mut operator = Operator::sign_in(&installation)?;
        // The first database tenant makes the template, as the bare one has been made above.
        operator.create("database")?;
        for number in 0..sizes.provisions {
            times.bare_schema.push(runtime.block_on(bare.schema(number))?);
            times.schema.push(operator.create("schema")?);
            times.pool.push(operator.create("pool")?);
            times.bare_database.push(runtime.block_on(bare.database(number))?);
            times.database.push(operator.create("database")?);
        }
    }
    say("cold tenants made; warm ones");
    {
        let _serving = installation.serve(sizes.clients, sizes.warm)?;
        wait_until_warm(ground, sizes.warm)?;
        let mut operator = Operator::sign_in_again(&installation)?;
        for _ in 0..sizes.warm {
            times.warm_schema.push(operator.create("schema")?);
            times.warm_database.push(operator.create("database")?);
        }
    }
    say("warm tenants made; django-tenants");
    times.django = Django::new(ground, "bench_django_provisioning")?.create(sizes.provisions)?;
    Ok(section(&times, sizes))
}

/// The statements alone, through the same driver, one message for each tenant.
struct Bare {
    connection: SystemConnection,
    ddl: String,
}

impl Bare {
    const TEMPLATE: &str = "bench_bare_template";

    async fn prepare(ground: &Ground, installation: &Installation<'_>) -> Result<Self> {
        let settings = ground.cluster("bench_bare")?;
        bootstrap(&settings).await?;
        let (databases, authorities) = Databases::open(settings);
        let scope = authorities.system.scope("measure bare statements");
        let pool = databases.pool_location();
        let connection = databases.system_unpooled(&scope, &pool).await?;
        let ddl = bare_ddl(installation)?;
        connection.batch(&format!("create database {} template template0", Self::TEMPLATE)).await?;
        for (location, target) in
            [(pool.clone(), None), (Location { database: Self::TEMPLATE.into(), ..pool }, Some("app"))]
        {
            fill(&databases, &scope, &location, target.map(|_| ddl.as_str())).await?;
        }
        Ok(Self { connection, ddl })
    }

    async fn schema(&self, number: u32) -> Result<f64> {
        let sql = format!(
            "begin; create schema bare_{number}; grant usage on schema bare_{number} to bench_bare_service; \
             set local search_path = bare_{number}, shared, rowhouse; {} commit",
            self.ddl
        );
        let started = Instant::now();
        self.connection.batch(&sql).await?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }

    async fn database(&self, number: u32) -> Result<f64> {
        let sql = format!("create database bench_bare_{number} template {} strategy wal_log", Self::TEMPLATE);
        let started = Instant::now();
        self.connection.batch(&sql).await?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }
}

/// The platform's ground in one database, and the app's tables if they are given.
async fn fill(databases: &Databases, scope: &SystemScope, location: &Location, ddl: Option<&str>) -> Result<()> {
    let mut connection = databases.system_unpooled(scope, location).await?;
    let set = MigrationSet::platform(&databases.home().roles);
    apply_migrations(&mut connection, &set, PLATFORM_TARGET, "").await?;
    if let Some(ddl) = ddl {
        connection.batch(&format!("begin; set local search_path = app, shared, rowhouse; {ddl} commit")).await?;
    }
    Ok(())
}

/// The app's tables with policies, grants and indexes, and nothing that is Rowhouse's own way of
/// getting there (views, revokes, drops).
fn bare_ddl(installation: &Installation<'_>) -> Result<String> {
    let mut ddl = std::fs::read_to_string(installation.app.join("migrations/0001_init.sql"))?;
    for line in installation.completion()?.lines() {
        let own_way = line.starts_with("drop ") || line.starts_with("revoke ") || line.contains("rowhouse_scoped_");
        if !own_way {
            ddl.push_str(line);
            ddl.push('\n');
        }
    }
    Ok(ddl.replace("bench_cold_", "bench_bare_"))
}

/// Makes tenants over HTTP.
struct Operator {
    client: Client,
    token: String,
    made: u32,
    prefix: &'static str,
}

impl Operator {
    fn sign_in(installation: &Installation<'_>) -> Result<Self> {
        let token = installation.operator()?;
        Ok(Self { client: Client::connect(installation.port)?, token, made: 0, prefix: "cold" })
    }

    fn sign_in_again(installation: &Installation<'_>) -> Result<Self> {
        let token = installation.operator_again()?;
        Ok(Self { client: Client::connect(installation.port)?, token, made: 0, prefix: "warm" })
    }

    /// Milliseconds from the request to the answer that the tenant is there.
    fn create(&mut self, placement: &str) -> Result<f64> {
        self.made += 1;
        let slug = format!("{}-{}", self.prefix, self.made);
        let email = format!("owner@{slug}.example");
        let body = json!({ "name": slug, "slug": slug, "admin_email": email, "placement": placement }).to_string();
        let authorization = format!("Bearer {}", self.token);
        let started = Instant::now();
        self.client.must("POST", "/api/admin/tenants", &[("authorization", &authorization)], &body)?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }
}

fn wait_until_warm(ground: &Ground, warm: u32) -> Result<()> {
    const PREPARED: &str =
        "select count(*) from control.targets where kind in ('prepared_schema', 'prepared_database')";
    let deadline = Instant::now() + WARM_TIMEOUT;
    while Instant::now() < deadline {
        let prepared: u32 = ground.sql("bench_cold_control", PREPARED)?.parse().context("a count")?;
        if prepared >= 2 * warm {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("the warm pool was not filled in {} s", WARM_TIMEOUT.as_secs())
}

fn section(times: &Times, sizes: &Sizes) -> Section {
    let mut section = Section::new(
        "New tenants",
        &format!(
            "Medians of {} (from the warm pool: {}), one after the other in turn. Rowhouse is asked over HTTP by an \
             operator: registry, owner's invitation, tables, seed, audit. The bare statements are the same tables, \
             indexes, policies and grants in one message through the same driver. django-tenants makes the same \
             eight tables.",
            sizes.provisions, sizes.warm
        ),
    );
    let row = |name: &str, times: &[f64], yardstick: Option<&[f64]>, target: &str| {
        let own = median(times);
        let ratio = yardstick.map_or_else(String::new, |bare| format!("{} ×", number(own / median(bare))));
        vec![name.to_owned(), format!("{} ms", number(own)), ratio, target.to_owned()]
    };
    section.table(
        &["what", "median", "of the bare statements", "to reach"],
        &[
            row("bare DDL in a new schema", &times.bare_schema, None, ""),
            row("bare CREATE DATABASE from a template", &times.bare_database, None, ""),
            row("Rowhouse, pool, cold", &times.pool, None, "< 10 ms"),
            row("Rowhouse, schema, cold", &times.schema, Some(&times.bare_schema), "≤ 1.3 ×"),
            row("Rowhouse, database, cold", &times.database, Some(&times.bare_database), "≤ 1.3 ×"),
            row("Rowhouse, schema, warm", &times.warm_schema, None, "< 30 ms"),
            row("Rowhouse, database, warm", &times.warm_database, None, "< 30 ms"),
            row("django-tenants, schema", &times.django, Some(&times.bare_schema), ""),
        ],
    );
    section
}
