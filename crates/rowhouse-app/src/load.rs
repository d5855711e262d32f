//! An app's directory, read and judged as a whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rowhouse_postgres::{Migration, MigrationSet};
use sha2::{Digest as _, Sha256};

use crate::error::{AppError, Fault};
use crate::manifest::{MANIFEST_FILE, Manifest};

/// Where the app's tables' migrations live; those of shared tables are in `shared` below it.
const MIGRATIONS: &str = "migrations";
const ONBOARDING: &str = "seed/onboarding.sql";
const DEMO: &str = "seed/demo.sql";

/// An app as it lies on disk.
#[derive(Debug, Clone)]
pub struct App {
    /// Its directory.
    pub directory: PathBuf,
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// The migrations of the tenants' tables.
    pub migrations: MigrationSet,
    /// The migrations of schema `shared`.
    pub shared_migrations: MigrationSet,
    /// What each new tenant starts with.
    pub onboarding: Option<String>,
    /// Data for development.
    pub demo: Option<String>,
}

impl App {
    /// Reads an app.
    ///
    /// # Errors
    /// Names every fault of its files at once.
    pub fn load(directory: &Path) -> Result<Self, AppError> {
        let path = directory.join(MANIFEST_FILE);
        let manifest = Manifest::parse(&read(&path)?, &path)?;
        let mut faults = Vec::new();
        let migrations = load_set(&directory.join(MIGRATIONS), &mut faults)?;
        let shared_migrations = load_set(&directory.join(MIGRATIONS).join("shared"), &mut faults)?;
        if migrations.migrations.is_empty() && faults.is_empty() {
            let message = "an app needs at least one migration, such as 0001_init.sql".to_owned();
            faults.push(Fault { file: directory.join(MIGRATIONS), line: None, key: String::new(), message });
        }
        let named = manifest.onboarding.seed.as_deref().map(|file| directory.join(file));
        let onboarding = match named {
            Some(path) => Some(read(&path)?),
            None => read_if_there(&directory.join(ONBOARDING))?,
        };
        let demo = read_if_there(&directory.join(DEMO))?;
        if !faults.is_empty() {
            return Err(AppError::Faults(faults));
        }
        let manifest = Arc::new(manifest);
        Ok(Self { directory: directory.to_owned(), manifest, migrations, shared_migrations, onboarding, demo })
    }

    /// The release's name: the manifest's version and eight hexadecimal digits over all
    /// migrations, so that two states of the files never share a name.
    pub fn release(&self) -> String {
        let mut hash = Sha256::new();
        for migration in self.shared_migrations.migrations.iter().chain(&self.migrations.migrations) {
            hash.update(&migration.name);
            hash.update(&migration.sql);
        }
        let digest: String = hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("{}+{digest}", self.manifest.app.version)
    }
}

fn read(path: &Path) -> Result<String, AppError> {
    fs::read_to_string(path).map_err(|source| AppError::Io { path: path.to_owned(), source })
}

fn read_if_there(path: &Path) -> Result<Option<String>, AppError> {
    if path.exists() { read(path).map(Some) } else { Ok(None) }
}

/// Reads `NNNN_name[.phase].sql` and `NNNN_name[.phase].down.sql`, in the order of the numbers.
fn load_set(directory: &Path, faults: &mut Vec<Fault>) -> Result<MigrationSet, AppError> {
    let mut names = Vec::new();
    if directory.exists() {
        let unreadable = |source| AppError::Io { path: directory.to_owned(), source };
        for entry in fs::read_dir(directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if entry.path().is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    let mut set = MigrationSet::default();
    let mut fault = |file: &str, message: String| {
        faults.push(Fault { file: directory.join(file), line: None, key: String::new(), message });
    };
    for file in names.iter().filter(|name| !name.ends_with(".down.sql")) {
        let Some(name) = file.strip_suffix(".sql") else {
            fault(file, "is no migration: name it NNNN_name.sql".into());
            continue;
        };
        if let Some(message) = name_fault(name) {
            fault(file, message);
            continue;
        }
        let number = &name[..4];
        if let Some(other) = set.migrations.iter().find(|other| other.name.starts_with(number)) {
            fault(file, format!("has the same number as {}.sql; give it the next free one", other.name));
            continue;
        }
        let sql = read(&directory.join(file))?;
        if sql.trim().is_empty() {
            fault(file, "is empty".into());
        }
        let down = read_if_there(&directory.join(format!("{name}.down.sql")))?;
        set.migrations.push(Migration::new(name, &sql, down));
    }
    for file in names.iter().filter(|name| name.ends_with(".down.sql")) {
        let up = file.trim_end_matches(".down.sql");
        if !set.migrations.iter().any(|migration| migration.name == up) {
            fault(file, format!("takes back nothing: there is no {up}.sql"));
        }
    }
    Ok(set)
}

fn name_fault(name: &str) -> Option<String> {
    let (number, rest) = name.split_at_checked(4).unwrap_or(("", name));
    if !number.bytes().all(|byte| byte.is_ascii_digit()) || number.is_empty() || !rest.starts_with('_') {
        return Some("must begin with four digits and an underscore, such as 0001_init.sql".into());
    }
    let (stem, phase) = rest.split_once('.').map_or((rest, None), |(stem, phase)| (stem, Some(phase)));
    if !stem.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
        return Some("may have a-z, 0-9 and _ in its name only".into());
    }
    match phase {
        None | Some("expand" | "backfill" | "contract") => None,
        Some(other) => Some(format!("has the phase {other:?}; allowed are expand, backfill and contract")),
    }
}
