//! What a client may know and do.

use crate::error::{OAuthCode, OpenIdError};

/// One scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Who the person is: an ID token.
    OpenId,
    /// Names and picture.
    Profile,
    /// The address.
    Email,
    /// The tenant, and the person's role in it.
    Org,
    /// A refresh token.
    OfflineAccess,
    /// The service's data API, with the person's rights in the tenant.
    Api,
}

impl Scope {
    pub(crate) const ALL: [Self; 6] =
        [Self::OpenId, Self::Profile, Self::Email, Self::Org, Self::OfflineAccess, Self::Api];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::OpenId => "openid",
            Self::Profile => "profile",
            Self::Email => "email",
            Self::Org => "org",
            Self::OfflineAccess => "offline_access",
            Self::Api => "api",
        }
    }

    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// Scopes, each once, in one order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scopes(Vec<Scope>);

impl Scopes {
    fn new(mut scopes: Vec<Scope>) -> Self {
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }

    /// Those of a request. Words that nobody knows are passed over (OpenID Connect Core, section 3.1.2.1).
    pub(crate) fn requested(text: &str) -> Self {
        Self::new(text.split(' ').filter_map(Scope::of_word).collect())
    }

    /// Those of a row or a client's description; none if a word is not known.
    pub(crate) fn of_words(words: &[String]) -> Option<Self> {
        words.iter().map(|word| Scope::of_word(word)).collect::<Option<Vec<_>>>().map(Self::new)
    }

    pub(crate) fn words(&self) -> Vec<String> {
        self.0.iter().map(|scope| scope.as_str().to_owned()).collect()
    }

    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn covers(&self, asked: &Self) -> bool {
        asked.0.iter().all(|scope| self.has(*scope))
    }

    /// Fewer of these, as a client asks for.
    ///
    /// # Errors
    /// `invalid_scope` for more than these.
    pub(crate) fn narrowed(&self, asked: Option<&str>) -> Result<Self, OpenIdError> {
        let Some(text) = asked else { return Ok(self.clone()) };
        let asked = Self::requested(text);
        if asked.is_empty() || !self.covers(&asked) {
            return Err(OpenIdError::refused(OAuthCode::InvalidScope, "the scope is wider than what was granted"));
        }
        Ok(asked)
    }
}

impl std::fmt::Display for Scopes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_in_any_order_and_never_widened() {
        let scopes = Scopes::requested("email openid nonsense  email");
        assert_eq!(scopes.to_string(), "openid email");
        assert_eq!(scopes.narrowed(Some("email")).unwrap().to_string(), "email");
        assert_eq!(scopes.narrowed(None).unwrap(), scopes);
        assert!(scopes.narrowed(Some("openid api")).is_err() && scopes.narrowed(Some("nonsense")).is_err());
        assert_eq!(Scopes::of_words(&["openid".into(), "root".into()]), None);
    }
}
