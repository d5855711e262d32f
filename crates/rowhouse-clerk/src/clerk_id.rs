//! Ids as Clerk makes them: a prefix that says of what, and letters.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// Longest id that is taken; Clerk's have about 32 letters.
const LENGTH_MAX: usize = 64;

/// The id of one of Clerk's objects, of the kind that its prefix names.
macro_rules! clerk_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// Reads one; none for the id of something else.
            pub fn parse(text: &str) -> Option<Self> {
                let letters = text.strip_prefix(concat!($prefix, "_"))?;
                let fits = !letters.is_empty() && text.len() <= LENGTH_MAX;
                (fits && letters.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| Self(text.to_owned()))
            }

            /// As Clerk writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| serde::de::Error::custom(concat!("is no id of the kind ", $prefix)))
            }
        }
    )*};
}

clerk_ids! {
    /// A person.
    PersonId = "user",
    /// An organisation.
    OrganizationId = "org",
    /// A person's part in an organisation.
    PartId = "orgmem",
    /// An offer of such a part.
    OfferId = "orginv",
    /// A session.
    ClerkSessionId = "sess",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_its_kind() {
        assert_eq!(PersonId::parse("user_2abcDEF").map(|id| id.to_string()).as_deref(), Some("user_2abcDEF"));
        for text in
            ["", "user_", "org_2abc", "USER_2abc", "user_a b", "user_'", "2abc", &format!("user_{}", "a".repeat(60))]
        {
            assert_eq!(PersonId::parse(text), None, "{text}");
        }
    }
}
