//! The list of cuts.

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// One part of the isolation, and how it is taken away.
#[derive(Debug, Deserialize)]
pub(crate) struct Cut {
    /// A short name: what `cut_away` is asked for.
    pub(crate) name: String,
    /// What is gone.
    pub(crate) what: String,
    /// The text that is replaced, and by what.
    #[serde(flatten)]
    pub(crate) edit: Option<Edit>,
    /// The cut whose replacement makes this one too, where both are about one text.
    pub(crate) made_by: Option<String>,
    /// The package whose tests must notice.
    #[serde(default = "product")]
    pub(crate) package: String,
    /// Names, or parts of names, of those tests.
    pub(crate) tests: Vec<String>,
}

/// How a text changes.
#[derive(Debug, Deserialize)]
pub(crate) struct Edit {
    /// The file it stands in.
    pub(crate) file: String,
    /// The text; it stands there once.
    find: String,
    /// The same with `cut_away()`, which is true in the run of this cut, and for what another
    /// cut makes, `cut_away("its name")`.
    replace: String,
}

fn product() -> String {
    "rowhouse".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    cut: Vec<Cut>,
}

impl Cut {
    /// The file's text with this cut in it; as it was, if another cut makes this one.
    ///
    /// # Errors
    /// The text to be cut is gone, or stands there more than once: the list must move with it.
    pub(crate) fn apply(&self, text: &str) -> Result<String> {
        let Some(Edit { file, find, replace }) = &self.edit else { return Ok(text.to_owned()) };
        let places = text.matches(find).count();
        ensure!(places == 1, "cut {:?}: its text stands {places} times in {file}; it must once", self.name);
        let own = replace.replace("cut_away()", &format!("cut_away(\"{}\")", self.name));
        Ok(text.replace(find, &own.replace("cut_away(", "rowhouse_types::cut_away(")))
    }

    fn makes(&self, name: &str) -> bool {
        self.edit.as_ref().is_some_and(|edit| match name == self.name {
            true => edit.replace.contains("cut_away()"),
            false => edit.replace.contains(&format!("cut_away(\"{name}\")")),
        })
    }
}

/// Reads the list.
pub(crate) fn read(text: &str) -> Result<Vec<Cut>> {
    let List { cut: cuts } = toml::from_str(text).context("read cuts.toml")?;
    for cut in &cuts {
        let maker = cut.made_by.as_deref().unwrap_or(&cut.name);
        let made = cuts.iter().any(|other| other.name == maker && other.makes(&cut.name));
        ensure!(made, "cut {:?}: no replacement asks whether it is made", cut.name);
        ensure!(!cut.tests.is_empty(), "cut {:?} names no test that must notice it", cut.name);
    }
    Ok(cuts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_whose_text_is_gone_or_stands_twice_is_refused() {
        let list =
            "[[cut]]\nname = 'n'\nwhat = 'w'\nfile = 'f'\nfind = 'a'\nreplace = 'cut_away() || a'\ntests = ['t']";
        let cuts = read(list).expect("it is sound");
        assert_eq!(cuts[0].apply("x a y").expect("it stands once"), "x rowhouse_types::cut_away(\"n\") || a y");
        assert!(cuts[0].apply("x").is_err() && cuts[0].apply("a a").is_err());
    }
}
