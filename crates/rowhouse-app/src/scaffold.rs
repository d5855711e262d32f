//! `rowhouse app new`: a small app that works, to start from.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{AppError, Fault};
use crate::manifest::is_identifier;

const FILES: &[(&str, &str)] = &[
    ("rowhouse.toml", include_str!("../scaffold/rowhouse.toml")),
    ("migrations/0001_init.sql", include_str!("../scaffold/0001_init.sql")),
    ("seed/onboarding.sql", include_str!("../scaffold/onboarding.sql")),
    ("seed/demo.sql", include_str!("../scaffold/demo.sql")),
    ("README.md", include_str!("../scaffold/README.md")),
    (".gitignore", ".rowhouse/\n"),
];

/// Writes the app into a new or empty directory, whose name is the app's name, and gives the
/// files' paths.
///
/// # Errors
/// If the name is no app's name, or the directory holds something.
pub fn scaffold(directory: &Path) -> Result<Vec<PathBuf>, AppError> {
    let name = directory.file_name().map(|name| name.to_string_lossy().replace('-', "_")).unwrap_or_default();
    let refuse = |message: String| {
        AppError::Faults(vec![Fault { file: directory.to_owned(), line: None, key: String::new(), message }])
    };
    if !is_identifier(&name) {
        return Err(refuse(format!("{name:?} cannot be an app's name: use a-z, 0-9 and _, beginning with a letter")));
    }
    if fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(refuse("the directory is not empty; choose a new one".into()));
    }
    let title = format!("{}{}", name[..1].to_uppercase(), &name[1..]).replace('_', " ");
    let mut written = Vec::new();
    for (file, text) in FILES {
        let path = directory.join(file);
        let parent = path.parent().unwrap_or(directory);
        let text = text.replace("{{name}}", &name).replace("{{title}}", &title);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, text))
            .map_err(|source| AppError::Io { path: path.clone(), source })?;
        written.push(path);
    }
    Ok(written)
}
