//! Proof that the tests bite: each part of the isolation is cut away once, and the tests named for
//! it must fail. All cuts are built into one copy of the workspace behind a switch, so that they
//! cost one build; the product itself has no such switch.

mod copy;
mod list;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};

use crate::list::Cut;

/// The variable by which a test run is told which cut to make.
const SWITCH: &str = "CUT_AWAY";
const TREE: &str = "target/cuts/tree";
const BUILT: &str = "target/cuts/target";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(survived) => {
            say(&format!("{survived} cuts went unnoticed: the tests do not protect what they are for"));
            ExitCode::FAILURE
        }
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Makes every cut, or those that are named; gives how many went unnoticed.
fn run(names: &[String]) -> Result<usize> {
    let all = list::read(&std::fs::read_to_string("crates/cuts/cuts.toml").context("start at the workspace's root")?)?;
    copy::workspace(Path::new(TREE), &all)?;
    let chosen: Vec<&Cut> = all.iter().filter(|cut| names.is_empty() || names.contains(&cut.name)).collect();
    ensure!(!chosen.is_empty(), "no cut is called {}", names.join(" or "));
    let mut packages: Vec<&str> = chosen.iter().map(|cut| cut.package.as_str()).collect();
    packages.sort_unstable();
    packages.dedup();
    for package in packages {
        let tests: Vec<&String> =
            chosen.iter().filter(|cut| cut.package == package).flat_map(|cut| &cut.tests).collect();
        let outcome = tests_of(package, &tests, None)?;
        ensure!(outcome.passed, "without any cut, the tests of {package} fail:\n{}", outcome.text);
    }
    let mut survived = 0;
    for cut in chosen {
        let outcome = tests_of(&cut.package, &cut.tests.iter().collect::<Vec<_>>(), Some(&cut.name))?;
        say(&format!("{}  {}: {}", if outcome.passed { "UNNOTICED" } else { "noticed" }, cut.name, cut.what));
        survived += usize::from(outcome.passed);
    }
    Ok(survived)
}

struct Outcome {
    passed: bool,
    text: String,
}

/// Runs some tests of the copy, with or without a cut.
fn tests_of(package: &str, tests: &[&String], cut: Option<&str>) -> Result<Outcome> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--quiet", "--locked", "-p", package, "--test", "it", "--"]).args(tests);
    command.current_dir(TREE).env("CARGO_TARGET_DIR", std::path::absolute(BUILT)?).env_remove(SWITCH);
    if let Some(cut) = cut {
        command.env(SWITCH, cut);
    }
    let output = command.output().context("run cargo")?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let told = |words: &str| text.lines().any(|line| line.starts_with(words));
    ensure!(!told("test result: ok. 0 passed"), "{package} has no test called {tests:?}");
    match (output.status.success(), told("test result: FAILED")) {
        (true, _) => Ok(Outcome { passed: true, text }),
        (false, true) => Ok(Outcome { passed: false, text }),
        // A build that fails has noticed nothing.
        (false, false) => bail!("the tests of {package} did not run:\n{text}"),
    }
}

#[expect(clippy::print_stderr, reason = "a command that says what it does")]
fn say(text: &str) {
    eprintln!("{text}");
}
