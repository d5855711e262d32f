//! Slugs: a tenant's name in URLs and host names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names no tenant may take: hosts and paths that mean something else.
pub const RESERVED_SLUGS: &[&str] = &[
    "admin",
    "api",
    "app",
    "assets",
    "auth",
    "billing",
    "blog",
    "cdn",
    "console",
    "dashboard",
    "dev",
    "docs",
    "files",
    "ftp",
    "health",
    "help",
    "internal",
    "localhost",
    "login",
    "mail",
    "metrics",
    "new",
    "ns1",
    "ns2",
    "oauth",
    "operator",
    "operators",
    "rowhouse",
    "scim",
    "shared",
    "smtp",
    "ssh",
    "staging",
    "static",
    "status",
    "support",
    "system",
    "t",
    "tenants",
    "test",
    "webhooks",
    "well-known",
    "ws",
    "www",
];

/// A tenant's name in URLs and host names: a DNS label of 2 to 48 characters (a to z, 0 to 9
/// and inner hyphens, RFC 1123), none of [`RESERVED_SLUGS`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(Box<str>);

/// Why a text is no slug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// Too short or too long.
    #[error("must have 2 to 48 characters, has {0}")]
    Length(usize),
    /// A character outside a to z, 0 to 9 and the hyphen.
    #[error("must be made of a to z, 0 to 9 and hyphens; {0:?} is not allowed")]
    Character(char),
    /// A hyphen at either end.
    #[error("must not begin or end with a hyphen")]
    Hyphen,
    /// One of [`RESERVED_SLUGS`], or a punycode label.
    #[error("{0:?} is reserved; choose another")]
    Reserved(String),
}

impl Slug {
    /// Shortest slug, in characters.
    pub const LENGTH_MIN: usize = 2;
    /// Longest slug, in characters: leaves room in a 63-character DNS label.
    pub const LENGTH_MAX: usize = 48;

    /// The slug's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A slug made from a name that people wrote ("Müller & Söhne" gives "muller-sohne"), or
    /// none if nothing usable is left. A reserved or short result gets "-co" appended.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut text = String::new();
        for character in name.chars().flat_map(char::to_lowercase) {
            match fold(character) {
                Some(folded) => text.push_str(folded),
                None if character.is_ascii_alphanumeric() => text.push(character),
                None if !text.is_empty() && !text.ends_with('-') => text.push('-'),
                None => {}
            }
        }
        text.truncate(Self::LENGTH_MAX - 4);
        let text = text.trim_matches('-');
        text.parse().ok().or_else(|| format!("{text}-co").parse().ok())
    }
}

/// The plain letters of the Latin letters that company names commonly carry.
fn fold(character: char) -> Option<&'static str> {
    Some(match character {
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' => "a",
        'ä' | 'æ' => "a",
        'ç' | 'č' | 'ć' => "c",
        'è' | 'é' | 'ê' | 'ë' | 'ę' | 'ě' => "e",
        'ì' | 'í' | 'î' | 'ï' | 'ı' => "i",
        'ł' => "l",
        'ñ' | 'ń' | 'ň' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' => "o",
        'ř' => "r",
        'ś' | 'š' | 'ş' => "s",
        'ß' => "ss",
        'ù' | 'ú' | 'û' | 'ü' | 'ů' => "u",
        'ý' | 'ÿ' => "y",
        'ž' | 'ź' | 'ż' => "z",
        _ => return None,
    })
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        if let Some(character) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Err(SlugError::Character(character));
        }
        if !(Self::LENGTH_MIN..=Self::LENGTH_MAX).contains(&text.len()) {
            return Err(SlugError::Length(text.len()));
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(SlugError::Hyphen);
        }
        // "xn--" would be read as an internationalised name by browsers.
        if RESERVED_SLUGS.contains(&text) || text.starts_with("xn--") {
            return Err(SlugError::Reserved(text.to_owned()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Slug {
    type Error = SlugError;
    fn try_from(text: String) -> Result<Self, SlugError> {
        text.parse()
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0.into()
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slug({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_dns_labels_only() {
        for good in ["acme", "a1", "north-east-9"] {
            assert_eq!(good.parse::<Slug>().unwrap().as_str(), good);
        }
        for bad in ["", "a", "Acme", "-acme", "acme-", "ac me", "ac.me", "www", "xn--acme", "ünder"] {
            assert!(bad.parse::<Slug>().is_err(), "{bad:?} was accepted");
        }
        assert!("a".repeat(49).parse::<Slug>().is_err());
    }

    #[test]
    fn makes_slugs_from_names() {
        assert_eq!(Slug::from_name("Müller & Söhne GmbH").unwrap().as_str(), "muller-sohne-gmbh");
        assert_eq!(Slug::from_name("  API ").unwrap().as_str(), "api-co");
        assert_eq!(Slug::from_name("株式会社"), None);
        assert!(Slug::from_name(&"very long name ".repeat(20)).is_some());
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_a_dns_label_that_nothing_else_means(text in any::<String>(), name in any::<String>()) {
            let slugs = [text.parse::<Slug>().ok(), Slug::from_name(&name), Slug::from_name(&text)];
            for slug in slugs.into_iter().flatten() {
                let label = slug.as_str();
                prop_assert!((Slug::LENGTH_MIN..=Slug::LENGTH_MAX).contains(&label.len()), "{label}");
                prop_assert!(label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')), "{label}");
                prop_assert!(!label.starts_with('-') && !label.ends_with('-'), "{label}");
                prop_assert!(!RESERVED_SLUGS.contains(&label) && !label.starts_with("xn--"), "{label}");
                prop_assert_eq!(label.parse::<Slug>(), Ok(slug.clone()));
            }
        }

        #[test]
        fn every_name_with_a_plain_letter_gives_a_slug(before in ".{0,20}", letter in "[b-wy-z]", after in ".{0,20}") {
            let name = [before, letter, after].concat();
            prop_assert!(Slug::from_name(&name).is_some(), "{}", name);
        }
    }
}
