//! One column on every schema, and finding that there is nothing to do, beside django-tenants.
//! Both are commands run from a shell, with all that their start costs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::ground::Ground;
use crate::installation::Installation;
use crate::peers::Django;
use crate::report::{Section, median, number, say};
use crate::sizes::Sizes;

/// Columns that are added, one after the other.
const COLUMNS: u32 = 3;

/// Measures the part.
pub(crate) fn measure(ground: &Ground, sizes: &Sizes) -> Result<Section> {
    let mut installation = Installation::new(ground, "bench_fleet")?;
    say(&format!("making {} schemas with each program", sizes.schemas));
    installation.seed(sizes.schemas, 1, "schema")?;
    let django = Django::new(ground, "bench_django_fleet")?;
    django.create(sizes.schemas)?;
    installation.app = copied_app(ground, &installation.app)?;
    let (mut column, mut nothing, mut django_column, mut django_nothing) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 1..=COLUMNS {
        let file = installation.app.join(format!("migrations/{:04}_column.expand.sql", number + 1));
        fs::write(&file, format!("alter table orders add column reference_{number} text not null default '';\n"))?;
        column.push(migrate(&installation, sizes.schemas)?);
        nothing.push(migrate(&installation, 0)?);
        django.add_column(number)?;
        django_column.push(django.migrate()?);
        django_nothing.push(django.migrate()?);
        say(&format!("column {number} of {COLUMNS}"));
    }
    let mut section = Section::new(
        "Migrating the fleet",
        &format!(
            "{} schemas; medians of {COLUMNS} columns added one after the other, the whole command from its start \
             to its end. django-tenants runs `migrate_schemas` with its multiprocessing executor.",
            number(f64::from(sizes.schemas))
        ),
    );
    let row = |name: &str, own: &[f64], peer: &[f64], target: &str| {
        let each = |seconds: f64| {
            format!("{} s, {} ms each", number(seconds), number(seconds * 1e3 / f64::from(sizes.schemas)))
        };
        let (own, peer) = (median(own), median(peer));
        vec![name.to_owned(), each(own), each(peer), format!("{} ×", number(peer / own)), target.to_owned()]
    };
    section.table(
        &["what", "Rowhouse", "django-tenants", "faster", "to reach"],
        &[
            row("one column on every schema", &column, &django_column, "≥ 5 ×"),
            row("nothing to do", &nothing, &django_nothing, "≥ 100 ×"),
        ],
    );
    Ok(section)
}

/// Seconds of the command; at least so many targets must have been migrated.
fn migrate(installation: &Installation<'_>, expected: u32) -> Result<f64> {
    let started = Instant::now();
    let report = installation.run(&["migrate", "up"])?;
    let seconds = started.elapsed().as_secs_f64();
    let migrated = report["migrated"].as_u64().context("how many were migrated")?;
    ensure!(migrated >= u64::from(expected), "only {migrated} targets were migrated: {report}");
    Ok(seconds)
}

/// A copy of the app to which migrations are added.
fn copied_app(ground: &Ground, app: &Path) -> Result<PathBuf> {
    let copy = ground.directory.join("ground/app");
    copy_directory(app, &copy)?;
    Ok(copy)
}

/// Copies a directory and everything in it.
pub(crate) fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
