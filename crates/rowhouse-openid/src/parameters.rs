//! Parameters of a query or a form, as OAuth reads them: no value is none (RFC 6749, section 3.1), and what
//! comes twice is refused where it is asked for.

use crate::error::OpenIdError;

/// Of one value. PKCE's verifier, the longest that anybody limits, has 128; a state carries what a client likes.
const LENGTH_MAX: usize = 4096;

/// Decoded parameters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads `application/x-www-form-urlencoded`.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), value.into_owned()));
        Self(pairs.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// The value of a parameter, if it has one.
    ///
    /// # Errors
    /// `invalid_request` if it is there twice, is longer than anybody needs, or has characters that no
    /// text has.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&str>, OpenIdError> {
        let mut found = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let Some(value) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(OpenIdError::invalid_request("a parameter is there twice"));
        }
        if value.len() > LENGTH_MAX {
            return Err(OpenIdError::invalid_request("a parameter is longer than 4096 bytes"));
        }
        if value.chars().any(char::is_control) {
            return Err(OpenIdError::invalid_request("a parameter has control characters"));
        }
        Ok(Some(value))
    }

    /// The same for one that must be there.
    ///
    /// # Errors
    /// `invalid_request`.
    pub(crate) fn need(&self, name: &str, missing: &'static str) -> Result<&str, OpenIdError> {
        self.get(name)?.ok_or(OpenIdError::invalid_request(missing))
    }

    /// The same parameters without some.
    pub(crate) fn without(&self, names: &[&str]) -> Self {
        Self(self.0.iter().filter(|(name, _)| !names.contains(&name.as_str())).cloned().collect())
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As a query.
    pub(crate) fn to_query(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_there_once_or_refused() {
        let read = Parameters::parse(b"a=1&b=&c=%00&d=1&d=1&e=%ff&=x&f");
        assert_eq!(read.get("a").unwrap(), Some("1"));
        assert_eq!((read.get("b").unwrap(), read.get("f").unwrap(), read.get("g").unwrap()), (None, None, None));
        assert!(read.get("c").is_err() && read.get("d").is_err());
        assert_eq!(read.get("e").unwrap(), Some("\u{fffd}"));
        assert!(read.need("b", "send b").is_err());
        let long = format!("a={}", "x".repeat(LENGTH_MAX + 1));
        assert!(Parameters::parse(long.as_bytes()).get("a").is_err());
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_and_what_is_read_is_written_back(bytes: Vec<u8>, name: String, value: String) {
            let read = Parameters::parse(&bytes);
            let again = Parameters::parse(read.to_query().as_bytes());
            assert_eq!(read.0, again.0);
            let written = Parameters::default().with(&name, &value).to_query();
            let kept = Parameters::parse(written.as_bytes());
            assert_eq!(kept.0.first().map_or("", |(_, kept)| kept), value);
        }
    }
}
