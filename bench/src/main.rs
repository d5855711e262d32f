//! The benchmark (`make bench`): starts a PostgreSQL server of its own, fills it through
//! Rowhouse's command line, and measures Rowhouse beside what it is compared with, one after the
//! other in every round, so that a slow minute of the machine hits all of them alike. Writes
//! medians and ratios; never passes or fails anything by a time.

mod access;
mod filters;
mod fleet;
mod footprint;
mod ground;
mod http;
mod identity;
mod installation;
mod load;
mod machine;
mod peers;
mod provisioning;
mod report;
mod requests;
mod sizes;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};

use crate::ground::Ground;
use crate::report::{Report, say};
use crate::sizes::Sizes;

/// Measures Rowhouse beside PostgreSQL, PostGraphile and django-tenants
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure [default: all]
    #[arg(long = "part", value_enum)]
    parts: Vec<Part>,
    /// Tiny sizes: does everything run? The figures mean nothing
    #[arg(long)]
    smoke: bool,
    /// Footprint with 10,000 schema tenants too
    #[arg(long)]
    large: bool,
    /// Where the server's data and the other programs live; emptied at the start
    #[arg(long, default_value = "target/bench")]
    directory: PathBuf,
    /// The rowhouse program
    #[arg(long, default_value = "target/release/rowhouse")]
    rowhouse: PathBuf,
    /// Where the results are written
    #[arg(long, default_value = "bench/RESULTS.md")]
    results: PathBuf,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests a second: lists, records, inserts
    Access,
    /// Filters that row-level security keeps from their index
    Filters,
    /// New tenants
    Provisioning,
    /// One column on every schema
    Fleet,
    /// Memory and start-up
    Footprint,
    /// The gate, signing in, changes in other processes
    Identity,
}

impl Part {
    const ALL: [Self; 6] =
        [Self::Access, Self::Filters, Self::Provisioning, Self::Fleet, Self::Footprint, Self::Identity];
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let sizes = Sizes::new(arguments.smoke, arguments.large);
    let parts = if arguments.parts.is_empty() { Part::ALL.to_vec() } else { arguments.parts };
    let directory = std::path::absolute(&arguments.directory)?;
    let rowhouse = std::path::absolute(&arguments.rowhouse)?;
    anyhow::ensure!(rowhouse.exists(), "{} does not exist; build it first", rowhouse.display());
    let ground = Ground::start(&directory, &rowhouse)?;
    let mut report = Report::new(machine::describe(&ground)?, &sizes);
    for part in parts {
        let name = format!("{part:?}");
        say(&format!("== {name}"));
        let section = match part {
            Part::Access => access::measure(&ground, &sizes),
            Part::Filters => filters::measure(&ground, &sizes),
            Part::Provisioning => provisioning::measure(&ground, &sizes),
            Part::Fleet => fleet::measure(&ground, &sizes),
            Part::Footprint => footprint::measure(&ground, &sizes),
            Part::Identity => identity::measure(&ground, &sizes),
        };
        report.add(section.with_context(|| format!("measure {name}"))?);
    }
    ground.stop();
    let text = report.text();
    std::fs::write(&arguments.results, &text).with_context(|| format!("write {}", arguments.results.display()))?;
    say(&format!("written to {}", arguments.results.display()));
    Ok(())
}
