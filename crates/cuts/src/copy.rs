//! The copy of the workspace that is cut.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::list::Cut;

/// Where the switch itself goes: every crate of the product knows this one.
const SWITCHBOARD: &str = "crates/rowhouse-types/src/lib.rs";
const SWITCH: &str = "
/// Whether a part of the isolation is cut away in this process.
pub fn cut_away(name: &str) -> bool {
    std::env::var(\"CUT_AWAY\").is_ok_and(|cut| cut == name)
}
";

/// Copies every file that git knows or would take, with all cuts in their places. A file that is
/// as it should be is left alone, so that the next build is short.
pub(crate) fn workspace(to: &Path, cuts: &[Cut]) -> Result<()> {
    let files = files()?;
    for file in cuts.iter().filter_map(file_of) {
        ensure!(files.contains(file), "cuts.toml: there is no {}", file.display());
    }
    for file in &files {
        let mut content = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        for cut in cuts.iter().filter(|cut| file_of(cut) == Some(file)) {
            let text = String::from_utf8(content).with_context(|| format!("{} is text", file.display()))?;
            content = cut.apply(&text)?.into_bytes();
        }
        if file == Path::new(SWITCHBOARD) {
            content.extend_from_slice(SWITCH.as_bytes());
        }
        put(&to.join(file), &content)?;
    }
    remove_others(to, to, &files)
}

fn file_of(cut: &Cut) -> Option<&Path> {
    cut.edit.as_ref().map(|edit| Path::new(&edit.file))
}

fn files() -> Result<BTreeSet<PathBuf>> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let output = Command::new("git").args(arguments).output().context("run git")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    // A file that was removed but not yet from the index is not there to be copied.
    Ok(text.split_terminator('\0').map(PathBuf::from).filter(|path| path.is_file()).collect())
}

fn put(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == content) {
        return Ok(());
    }
    let directory = path.parent().context("a file lies in a directory")?;
    fs::create_dir_all(directory)?;
    fs::write(path, content).with_context(|| format!("write {}", path.display()))
}

fn remove_others(root: &Path, directory: &Path, files: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(root, &path, files)?;
        } else if !files.contains(path.strip_prefix(root)?) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
