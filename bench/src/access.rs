//! Requests a second: lists, single records and inserts, in every placement, beside pgbench on
//! the same rows without row-level security and PostGraphile on the same rows with it.

use anyhow::Result;

use crate::ground::Ground;
use crate::installation::{Caller, Installation, Serving};
use crate::load::{Pressure, pgbench, write_requests, write_scripts, wrk};
use crate::peers::PostGraphile;
use crate::report::{Section, median, number, say};
use crate::requests::{GRAPHQL_LIST, graphql, insert_sql, inserts, list_sql, lists, record_sql, records};
use crate::sizes::Sizes;

/// The query of a list that is not counted.
const UNCOUNTED: &str = "per_page=50&count=none";
/// The query of a list as clients ask for it by default.
const COUNTED: &str = "per_page=50";

/// One thing that is measured in every round.
struct Series<'a> {
    name: &'static str,
    /// The series it is divided by.
    yardstick: &'static str,
    /// The ratio to reach, as the issue states it.
    target: &'static str,
    run: Box<dyn Fn() -> Result<f64> + 'a>,
    rates: Vec<f64>,
}

/// A served installation with tokens for all its tenants.
struct Served<'a> {
    installation: Installation<'a>,
    callers: Vec<Caller>,
    _serving: Serving,
}

impl<'a> Served<'a> {
    fn new(ground: &'a Ground, sizes: &Sizes, placement: &str, tenants: u32) -> Result<Self> {
        say(&format!("filling {tenants} tenants in {placement} placement"));
        let installation = Installation::new(ground, &format!("bench_{placement}"))?;
        installation.seed(tenants, sizes.rows, placement)?;
        let callers = installation.callers()?;
        let _serving = installation.serve(sizes.clients, 0)?;
        Ok(Self { installation, callers, _serving })
    }
}

/// Measures the part.
pub(crate) fn measure(ground: &Ground, sizes: &Sizes) -> Result<Section> {
    let pool = Served::new(ground, sizes, "pool", sizes.tenants)?;
    let schema = Served::new(ground, sizes, "schema", sizes.own_tenants)?;
    let database = Served::new(ground, sizes, "database", sizes.own_tenants)?;
    let peer = PostGraphile::start(ground, &pool.installation.data_database(), "bench_pool_service", sizes.clients)?;
    for served in [&pool, &schema] {
        ground.sql(&served.installation.data_database(), "vacuum analyze")?;
    }
    ground.settle()?;

    let mut series = yardsticks(ground, sizes, &pool)?;
    series.extend(http(ground, sizes, &pool, ["list, pool", "list with total, pool", "record, pool", "insert, pool"])?);
    series.extend(http(ground, sizes, &schema, ["list, schema", "", "record, schema", "insert, schema"])?);
    series.extend(http(ground, sizes, &database, ["list, database", "", "record, database", "insert, database"])?);
    let asked = write_requests(ground, "graphql", &graphql(peer.port, &pool.callers, GRAPHQL_LIST))?;
    let (port, pressure) = (peer.port, pressure(sizes));
    series.push(Series {
        name: "PostGraphile 4: list, pool",
        yardstick: "Rowhouse: list, pool",
        target: "Rowhouse ≥ 10 ×",
        run: Box::new(move || Ok(wrk(port, &asked, pressure)?.per_second)),
        rates: Vec::new(),
    });
    rounds(&mut series, sizes)?;
    Ok(section(&series))
}

fn pressure(sizes: &Sizes) -> Pressure {
    Pressure { clients: sizes.clients, seconds: sizes.seconds }
}

/// pgbench as the superuser: no policy applies, the tenant predicate is in the statement.
fn yardsticks<'a>(ground: &'a Ground, sizes: &Sizes, pool: &Served<'_>) -> Result<Vec<Series<'a>>> {
    let tenants: Vec<String> = pool.callers.iter().map(|caller| caller.tenant.clone()).collect();
    let database = pool.installation.data_database();
    let rows = sizes.rows;
    let scripts = [
        ("pgbench: list", write_scripts(ground, "list", &tenants, list_sql)?),
        ("pgbench: record", write_scripts(ground, "record", &tenants, |tenant| record_sql(tenant, rows))?),
        ("pgbench: insert", write_scripts(ground, "insert", &tenants, insert_sql)?),
    ];
    let pressure = pressure(sizes);
    let series = scripts.map(|(name, scripts)| {
        let database = database.clone();
        Series {
            name,
            yardstick: "",
            target: "",
            run: Box::new(move || Ok(pgbench(ground, &database, &scripts, pressure)?.per_second)),
            rates: Vec::new(),
        }
    });
    Ok(series.into())
}

/// The four requests against one installation; an empty name leaves one out.
fn http<'a>(ground: &Ground, sizes: &Sizes, served: &Served<'_>, names: [&str; 4]) -> Result<Vec<Series<'a>>> {
    let (port, callers) = (served.installation.port, &served.callers);
    let requests = [
        (lists(port, callers, UNCOUNTED), "pgbench: list", "≥ 0.65"),
        (lists(port, callers, COUNTED), "pgbench: list", ""),
        (records(port, callers, sizes.rows), "pgbench: record", "≥ 0.45"),
        (inserts(port, callers), "pgbench: insert", "≥ 0.65"),
    ];
    let pressure = pressure(sizes);
    let mut series = Vec::new();
    for (name, (requests, yardstick, target)) in names.into_iter().zip(requests).filter(|(name, _)| !name.is_empty()) {
        let name: &'static str = format!("Rowhouse: {name}").leak();
        let file = write_requests(ground, &name.replace([' ', ':', ','], "-"), &requests)?;
        series.push(Series {
            name,
            yardstick,
            target,
            run: Box::new(move || Ok(wrk(port, &file, pressure)?.per_second)),
            rates: Vec::new(),
        });
    }
    Ok(series)
}

/// Everything once a round; the first round warms caches and is not counted.
fn rounds(series: &mut [Series<'_>], sizes: &Sizes) -> Result<()> {
    for round in 0..=sizes.rounds {
        for one in series.iter_mut() {
            let rate = (one.run)()?;
            say(&format!("round {round}: {}: {}", one.name, number(rate)));
            if round > 0 {
                one.rates.push(rate);
            }
        }
    }
    Ok(())
}

fn section(series: &[Series<'_>]) -> Section {
    let mut section = Section::new(
        "Requests a second",
        "pgbench runs prepared statements as the superuser (no row-level security) with the tenant's predicate; it \
         is the limit. Rowhouse is asked over HTTP with a token each: gate, permissions, row-level security, JSON. \
         PostGraphile runs a process for each core, under the same policy. A random tenant for every request.",
    );
    let rate_of = |name: &str| series.iter().find(|one| one.name == name).map(|one| median(&one.rates));
    let rows = series.iter().map(|one| {
        let rate = median(&one.rates);
        let (low, high) =
            (one.rates.iter().copied().fold(f64::INFINITY, f64::min), one.rates.iter().copied().fold(0.0, f64::max));
        let ratio = rate_of(one.yardstick).map_or_else(String::new, |limit| {
            if one.name.starts_with("PostGraphile") {
                format!("Rowhouse is {} ×", number(limit / rate))
            } else {
                format!("{} of {}", number(rate / limit), one.yardstick)
            }
        });
        vec![
            one.name.to_owned(),
            number(rate),
            format!("{}–{}", number(low), number(high)),
            ratio,
            one.target.to_owned(),
        ]
    });
    section.table(&["what", "a second", "range", "ratio", "to reach"], &rows.collect::<Vec<_>>());
    section
}
