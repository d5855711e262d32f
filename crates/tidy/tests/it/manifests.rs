//! Rules of the workspace: which crate may know which, and what every crate declares.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::tree::{Text, read, texts};
use crate::{Finding, judge};

/// The rules' names.
pub(crate) const RULES: &[&str] =
    &["walls", "edges go down", "every crate says what it is", "versions stand once", "external packages"];

/// Who alone may depend on what, and how everybody else reaches it.
const WALLS: &[(&[&str], &[&str], &str)] = &[
    (
        &["tokio-postgres", "tokio-postgres-rustls", "postgres-protocol", "postgres", "deadpool", "deadpool-postgres"],
        &["rowhouse-postgres"],
        "run SQL through the scopes of rowhouse-postgres, which set the tenant; re-export a type there if need be",
    ),
    (&["axum", "tower-http", "hyper"], &["rowhouse-server"], "HTTP is spoken by rowhouse-server only"),
];

/// What the crate of shared words must not know: whatever waits, reads, writes or sends.
const NO_IO: &[&str] = &["tokio", "futures-util", "nix", "reqwest", "axum", "tokio-postgres", "tempfile", "moka"];

/// External packages in Cargo.lock: 521 when the limit was set (passkeys brought the last 87, most of
/// them the algorithms that authenticators sign with; the tests' client that keeps cookies as browsers do
/// six), rounded up to the next ten. About 390 of them are in the program on Linux, the rest is for tests,
/// for building and for other systems. Each is code that somebody must trust: raise the number only with
/// the dependency that needs it.
const EXTERNAL_PACKAGES_MAX: usize = 530;

/// The map's list of layers: the only place where it is written.
const LAYERS_BEGIN: &str = "```layers\n";

/// One dependency of one crate.
struct Edge {
    /// The package's real name.
    to: String,
    /// The table it stands in, such as dev-dependencies.
    section: &'static str,
    /// Whether its version is the workspace's.
    inherited: bool,
}

/// One crate of the workspace.
struct Package {
    /// Where its manifest is.
    path: String,
    /// Its name.
    name: String,
    manifest: Table,
    edges: Vec<Edge>,
}

fn packages() -> Vec<Package> {
    texts(&["Cargo.toml"]).into_iter().filter(|text| text.path != "Cargo.toml").map(package).collect()
}

fn package(Text { path, text }: Text) -> Package {
    let manifest: Table = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    let name = manifest["package"]["name"].as_str().expect("a package has a name").to_owned();
    let mut edges = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let table = manifest.get(section).and_then(Value::as_table);
        for (key, value) in table.into_iter().flatten() {
            let renamed = value.get("package").and_then(Value::as_str);
            let inherited = value.get("workspace").and_then(Value::as_bool).unwrap_or(false);
            edges.push(Edge { to: renamed.unwrap_or(key).to_owned(), section, inherited });
        }
    }
    Package { path, name, manifest, edges }
}

/// The layer of each crate, from ARCHITECTURE.md: the lowest is 0.
fn layers() -> BTreeMap<String, usize> {
    let map = read("ARCHITECTURE.md".into()).expect("it is text").text;
    let list = map.split(LAYERS_BEGIN).nth(1).and_then(|rest| rest.split("```").next());
    let list = list.expect("ARCHITECTURE.md has a block ```layers, one layer a line, the highest first");
    let mut layers = BTreeMap::new();
    for (height, line) in list.lines().rev().enumerate() {
        for name in line.split('#').next().unwrap_or_default().split([' ', ',']).filter(|name| !name.is_empty()) {
            layers.insert(name.to_owned(), height);
        }
    }
    layers
}

/// Whether an edge is that of a test, which may use the fixtures though they stand higher.
fn is_fixture(edge: &Edge) -> bool {
    edge.section == "dev-dependencies" && edge.to == "rowhouse-testkit"
}

#[test]
fn the_walls_stand() {
    let mut findings = Vec::new();
    for package in packages() {
        for edge in &package.edges {
            for (walled, owners, instead) in WALLS {
                if walled.contains(&edge.to.as_str()) && !owners.contains(&package.name.as_str()) {
                    let message = format!("only {} may depend on {}; {instead}", owners.join(", "), edge.to);
                    findings.push(Finding::new(&package.path, message));
                }
            }
            if package.name == "rowhouse-types" && NO_IO.contains(&edge.to.as_str()) {
                let message = format!("{} does IO or waits; rowhouse-types holds words, so move the code up", edge.to);
                findings.push(Finding::new(&package.path, message));
            }
        }
    }
    judge(RULES[0], &findings);
}

#[test]
fn edges_between_our_crates_go_down() {
    let layers = layers();
    let packages = packages();
    let mut findings = Vec::new();
    for package in packages.iter().filter(|package| package.path.starts_with("crates/rowhouse")) {
        let Some(height) = layers.get(&package.name) else {
            findings.push(Finding::new(&package.path, "has no layer; add it to the list in ARCHITECTURE.md"));
            continue;
        };
        for edge in package.edges.iter().filter(|edge| edge.to.starts_with("rowhouse") && !is_fixture(edge)) {
            if layers.get(&edge.to).is_none_or(|other| other >= height) {
                let message = format!(
                    "depends on {}, which is not below it in ARCHITECTURE.md's layers; move the shared part down",
                    edge.to
                );
                findings.push(Finding::new(&package.path, message));
            }
        }
    }
    for name in layers.keys().filter(|name| packages.iter().all(|package| package.name != **name)) {
        findings
            .push(Finding::new("ARCHITECTURE.md", format!("lists the crate {name}, which does not exist; remove it")));
    }
    judge(RULES[1], &findings);
}

#[test]
fn every_crate_says_what_it_is_and_keeps_the_lints() {
    let mut findings = Vec::new();
    for Package { path, name, manifest, .. } in packages() {
        let about = manifest["package"].as_table().expect("a table");
        let mut find = |message: String| findings.push(Finding::new(&path, message));
        if about.get("description").and_then(Value::as_str).is_none_or(str::is_empty) {
            find("has no description; say in one sentence what it holds".into());
        }
        let inherits = |value: Option<&Value>| {
            value.and_then(|value| value.get("workspace")).and_then(Value::as_bool).unwrap_or(false)
        };
        if !inherits(manifest.get("lints")) {
            find("does not take the workspace's lints; write [lints] workspace = true".into());
        }
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if !inherits(about.get(key)) {
                find(format!("sets {key} itself; write {key}.workspace = true"));
            }
        }
        let folder = path.strip_prefix("crates/").and_then(|rest| rest.strip_suffix("/Cargo.toml"));
        if folder.is_some_and(|folder| folder != name) {
            find(format!("is called {name}; name the folder after the crate"));
        }
    }
    judge(RULES[2], &findings);
}

#[test]
fn versions_stand_in_the_workspace_only() {
    let mut findings = Vec::new();
    for package in packages() {
        for edge in package.edges.iter().filter(|edge| !edge.inherited) {
            let message = format!("gives {} a version of its own; put it into the root Cargo.toml", edge.to);
            findings.push(Finding::new(&package.path, message));
        }
    }
    judge(RULES[3], &findings);
}

#[test]
fn external_packages_are_few() {
    let lock: Table = read("Cargo.lock".into()).expect("it is text").text.parse().expect("cargo wrote it");
    let all = lock["package"].as_array().expect("a list");
    let external = all.iter().filter(|package| package.get("source").is_some()).count();
    let message = format!(
        "has {external} external packages, {EXTERNAL_PACKAGES_MAX} at most; find a dependency with fewer, or raise the \
         limit in crates/tidy/tests/it/manifests.rs with the reason"
    );
    let findings =
        if external > EXTERNAL_PACKAGES_MAX { vec![Finding::new("Cargo.lock", message)] } else { Vec::new() };
    judge(RULES[4], &findings);
}
