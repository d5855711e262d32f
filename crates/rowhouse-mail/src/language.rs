//! The language of a mail.

use std::fmt;
use std::str::FromStr;

/// A language tag such as `en` or `pt-BR`: a language and at most one region or script.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Language(Box<str>);

/// The text is no language tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a language such as en or pt-BR")]
pub struct LanguageError;

impl Language {
    /// The language that every message exists in.
    pub fn english() -> Self {
        Self("en".into())
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The language without its region.
    pub(crate) fn base(&self) -> &str {
        self.0.split_once('-').map_or(&self.0, |(base, _)| base)
    }
}

impl Default for Language {
    fn default() -> Self {
        Self::english()
    }
}

impl FromStr for Language {
    type Err = LanguageError;

    fn from_str(text: &str) -> Result<Self, LanguageError> {
        let (base, part) = text.split_once('-').map_or((text, None), |(base, part)| (base, Some(part)));
        let letters = |text: &str| text.chars().all(|c| c.is_ascii_alphabetic());
        let part_ok = part.is_none_or(|part| {
            (matches!(part.len(), 2 | 4) && letters(part))
                || (part.len() == 3 && part.chars().all(|c| c.is_ascii_digit()))
        });
        if !(2..=3).contains(&base.len()) || !letters(base) || !part_ok {
            return Err(LanguageError);
        }
        let base = base.to_ascii_lowercase();
        let tag = match part {
            None => base,
            Some(region) if region.len() == 2 => format!("{base}-{}", region.to_ascii_uppercase()),
            Some(script) => {
                let (first, rest) = script.split_at(1);
                format!("{base}-{}{}", first.to_ascii_uppercase(), rest.to_ascii_lowercase())
            }
        };
        Ok(Self(tag.into()))
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_in_their_usual_form_and_nothing_else_is() {
        for (text, tag) in [("EN", "en"), ("pt-br", "pt-BR"), ("zh-hANS", "zh-Hans"), ("es-419", "es-419")] {
            assert_eq!(text.parse::<Language>().unwrap().as_str(), tag);
        }
        for bad in ["", "e", "en-", "en_US", "../en", "en-US-x", "dé"] {
            assert_eq!(bad.parse::<Language>(), Err(LanguageError), "{bad:?}");
        }
    }
}
