//! Filters whose operators are not leakproof, which row-level security keeps from their index:
//! one client, on one large tenant, beside the same query without row-level security.

use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::ground::Ground;
use crate::installation::Installation;
use crate::load::{Pressure, pgbench, write_requests, write_scripts, wrk};
use crate::report::{Section, median, number, say};
use crate::requests::{encoded, lists};
use crate::sizes::Sizes;

/// One question in both forms.
struct Filter {
    name: &'static str,
    /// As parameters of a list, not yet encoded.
    parameter: (&'static str, &'static str),
    /// As a condition.
    condition: &'static str,
}

const FILTERS: [Filter; 6] = [
    Filter {
        name: "uuid (leakproof)",
        parameter: ("id", "00000000-0000-8000-a000-000000000123"),
        condition: "id = '00000000-0000-8000-a000-000000000123'",
    },
    Filter { name: "numeric", parameter: ("amount[gte]", "99990"), condition: "amount >= 99990" },
    Filter { name: "enum", parameter: ("status", "cancelled"), condition: "status = 'cancelled'" },
    Filter {
        name: "jsonb",
        parameter: ("attributes[contains]", "{\"batch\": 77}"),
        condition: "attributes @> '{\"batch\": 77}'",
    },
    Filter { name: "contains", parameter: ("notes[contains]", "Fragile"), condition: "notes ilike '%Fragile%'" },
    Filter {
        name: "search, two words",
        parameter: ("q", "fragile care"),
        condition: "(title ilike '%fragile%' or notes ilike '%fragile%') and (title ilike '%care%' or notes ilike '%care%')",
    },
];

/// Measures the part.
pub(crate) fn measure(ground: &Ground, sizes: &Sizes) -> Result<Section> {
    let installation = Installation::new(ground, "bench_filters")?;
    say(&format!("filling one tenant with {} rows", number(f64::from(sizes.filter_rows))));
    // The schemas are made first, so that the time is that of the rows.
    installation.run(&["migrate", "up"])?;
    let started = Instant::now();
    installation.seed(1, sizes.filter_rows, "pool")?;
    let seeding = started.elapsed().as_secs_f64();
    let database = installation.data_database();
    ground.sql(&database, "vacuum analyze")?;
    ground.settle()?;
    let callers = installation.callers()?;
    let tenant = callers.first().context("one tenant")?.tenant.clone();
    let _serving = installation.serve(sizes.clients, 0)?;
    let pressure = Pressure { clients: 1, seconds: sizes.seconds };

    let mut rows = Vec::new();
    for filter in &FILTERS {
        let sql = |tenant: &str| {
            let condition = filter.condition;
            format!(
                "select * from app.orders where tenant_id = '{tenant}' and {condition} order by created_at desc, id desc limit 50;\n"
            )
        };
        let scripts = write_scripts(ground, "filter", std::slice::from_ref(&tenant), sql)?;
        let (field, value) = filter.parameter;
        let query = format!("per_page=50&count=none&{}={}", encoded(field), encoded(value));
        let file = write_requests(ground, "filter", &lists(installation.port, &callers, &query))?;
        let (mut plain, mut served) = (Vec::new(), Vec::new());
        for _ in 0..sizes.rounds {
            plain.push(pgbench(ground, &database, &scripts, pressure)?.mean_ms);
            served.push(wrk(installation.port, &file, pressure)?.mean_ms);
        }
        let (plain, served) = (median(&plain), median(&served));
        say(&format!("{}: {} ms, {} ms", filter.name, number(plain), number(served)));
        rows.push(vec![
            filter.name.to_owned(),
            number(plain),
            number(served),
            format!("{} ×", number(served / plain)),
            "≤ 3 ×".into(),
        ]);
    }
    let mut section = Section::new(
        "Filters that are not leakproof",
        &format!(
            "One client; a tenant of {} rows, which `rowhouse seed demo` wrote in {} s. The first is a leakproof one, for \
             comparison: what HTTP itself costs.",
            number(f64::from(sizes.filter_rows)),
            number(seeding)
        ),
    );
    section
        .table(&["filter", "SQL without row-level security, ms", "Rowhouse over HTTP, ms", "ratio", "to reach"], &rows);
    Ok(section)
}
