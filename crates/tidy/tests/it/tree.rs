//! The repository's files as git knows them: tracked, or new and not ignored.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A text file.
pub(crate) struct Text {
    /// Its path from the root, with slashes.
    pub(crate) path: String,
    /// What it holds.
    pub(crate) text: String,
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("the crate is at crates/tidy").to_owned()
}

/// The paths of all files.
pub(crate) fn paths() -> Vec<String> {
    let output = Command::new("git")
        // A clone may belong to another account than the one that tests it.
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files; install git");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let list = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let there = |path: &&str| !path.is_empty() && root().join(path).is_file();
    list.split('\0').filter(there).map(str::to_owned).collect()
}

/// All text files whose path ends with one of these.
pub(crate) fn texts(endings: &[&str]) -> Vec<Text> {
    let wanted = |path: &String| endings.iter().any(|ending| path.ends_with(ending));
    paths().into_iter().filter(wanted).filter_map(read).collect()
}

/// A file's text; none if it is not text.
pub(crate) fn read(path: String) -> Option<Text> {
    let bytes = std::fs::read(root().join(&path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    let text = String::from_utf8(bytes).ok()?;
    Some(Text { path, text })
}
