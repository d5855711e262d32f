//! A request to sign a person in, judged. Until client and address are known, whoever sent it here is told;
//! after that the client is.

use rowhouse_types::TenantId;

use crate::client::Client;
use crate::error::{OAuthCode, OpenIdError};
use crate::parameters::Parameters;
use crate::pkce;
use crate::redirect_uri;
use crate::scope::{Scope, Scopes};

/// Where an answer goes.
pub(crate) struct Return {
    pub(crate) redirect_uri: String,
    state: Option<String>,
}

impl Return {
    /// The address that a request names, if it is its client's.
    ///
    /// # Errors
    /// `invalid_request`, to be told to who is here: nobody is sent to an address that is not known.
    pub(crate) fn read(client: &Client, parameters: &Parameters) -> Result<Self, OpenIdError> {
        let redirect_uri = parameters.need("redirect_uri", "redirect_uri is missing")?;
        if !redirect_uri::fits(&client.redirect_uris, redirect_uri) {
            return Err(OpenIdError::invalid_request("redirect_uri is none that the client has registered"));
        }
        // A state that cannot be read is not sent back; the request is refused for it below.
        let state = parameters.get("state").unwrap_or_default().map(str::to_owned);
        Ok(Self { redirect_uri: redirect_uri.to_owned(), state })
    }

    /// The address with an answer.
    pub(crate) fn with(&self, issuer: &str, answer: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(answer);
        if let Some(state) = &self.state {
            query.append_pair("state", state);
        }
        // RFC 9207: so that the client sees who answers.
        query.append_pair("iss", issuer);
        let separator = if self.redirect_uri.contains('?') { '&' } else { '?' };
        format!("{}{separator}{}", self.redirect_uri, query.finish())
    }

    /// The address with a refusal.
    pub(crate) fn refused(&self, issuer: &str, code: OAuthCode, description: &str) -> String {
        self.with(issuer, &[("error", code.as_str()), ("error_description", description)])
    }
}

/// What the client wants people to be asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Prompt {
    /// Nothing.
    pub(crate) none: bool,
    /// Who they are, once more.
    pub(crate) login: bool,
    /// Whether they consent, once more.
    pub(crate) consent: bool,
}

impl Prompt {
    fn read(text: Option<&str>) -> Result<Self, OpenIdError> {
        let mut prompt = Self::default();
        for word in text.unwrap_or_default().split(' ').filter(|word| !word.is_empty()) {
            match word {
                "none" => prompt.none = true,
                "login" | "select_account" => prompt.login = true,
                "consent" => prompt.consent = true,
                _ => return Err(OpenIdError::invalid_request("prompt must be none, login or consent")),
            }
        }
        if prompt.none && (prompt.login || prompt.consent) {
            return Err(OpenIdError::invalid_request("prompt=none stands alone"));
        }
        Ok(prompt)
    }
}

/// What is asked for.
pub(crate) struct Request {
    pub(crate) scopes: Scopes,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: Option<String>,
    pub(crate) prompt: Prompt,
    pub(crate) max_age: Option<i64>,
    pub(crate) login_hint: Option<String>,
    /// Id or slug of the tenant.
    pub(crate) org: Option<String>,
    /// An ID token of whom the client expects.
    pub(crate) id_token_hint: Option<String>,
    /// Our own mark: the person was sent to sign in for this request.
    pub(crate) login_mark: Option<String>,
}

/// Parameters that bring a request in other ways, which are not taken (OpenID Connect Core, section 3.1.2.6).
const OTHER_WAYS: [(&str, OAuthCode); 3] = [
    ("request", OAuthCode::RequestNotSupported),
    ("request_uri", OAuthCode::RequestUriNotSupported),
    ("registration", OAuthCode::RegistrationNotSupported),
];
/// Our own parameter.
pub(crate) const LOGIN_MARK: &str = "rowhouse_login";

impl Request {
    /// Reads it.
    ///
    /// # Errors
    /// A refusal, to be told to the client.
    pub(crate) fn read(client: &Client, parameters: &Parameters) -> Result<Self, OpenIdError> {
        parameters.get("state")?;
        for (name, code) in OTHER_WAYS {
            if parameters.get(name)?.is_some() {
                return Err(OpenIdError::refused(code, "send the request's parameters in the query"));
            }
        }
        if parameters.need("response_type", "response_type is missing")? != "code" {
            let description = "response_type must be code";
            return Err(OpenIdError::refused(OAuthCode::UnsupportedResponseType, description));
        }
        if parameters.get("response_mode")?.is_some_and(|mode| mode != "query") {
            return Err(OpenIdError::invalid_request("response_mode must be query"));
        }
        let scopes = Scopes::requested(parameters.get("scope")?.unwrap_or_default());
        if scopes.is_empty() || !client.scopes.covers(&scopes) {
            let description = "scope must be some of those that the client may ask for";
            return Err(OpenIdError::refused(OAuthCode::InvalidScope, description));
        }
        let challenge = pkce::challenge(parameters)?;
        if client.is_public() && challenge.is_none() {
            return Err(OpenIdError::invalid_request("code_challenge is missing: a public client needs PKCE"));
        }
        let max_age = parameters.get("max_age")?.map(|text| text.parse().ok().filter(|age| *age >= 0_i64));
        let text = |name: &str| parameters.get(name).map(|value| value.map(str::to_owned));
        Ok(Self {
            scopes,
            nonce: text("nonce")?,
            challenge,
            prompt: Prompt::read(parameters.get("prompt")?)?,
            max_age: match max_age {
                Some(None) => return Err(OpenIdError::invalid_request("max_age must be a number of seconds")),
                age => age.flatten(),
            },
            login_hint: text("login_hint")?,
            org: text("org")?,
            id_token_hint: text("id_token_hint")?,
            login_mark: text(LOGIN_MARK)?,
        })
    }

    /// Whether it asks for what only a member of a tenant has.
    pub(crate) fn needs_tenant(&self) -> bool {
        self.org.is_some() || self.scopes.has(Scope::Api)
    }

    /// The tenant to work in: the one that is named, else the session's.
    pub(crate) fn tenant(&self, of_session: Option<TenantId>) -> Option<String> {
        self.org.clone().or_else(|| of_session.map(|tenant| tenant.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use rowhouse_types::ClientId;

    use super::*;

    fn client(is_public: bool) -> Client {
        Client {
            id: ClientId::generate(),
            name: "App".into(),
            secret_hash: (!is_public).then(Vec::new),
            previous_hash: None,
            redirect_uris: vec!["https://app.example.com/cb?x=1".into()],
            post_logout_redirect_uris: Vec::new(),
            scopes: Scopes::requested("openid email"),
            first_party: false,
        }
    }

    fn refusal(is_public: bool, query: &str) -> &'static str {
        match Request::read(&client(is_public), &Parameters::parse(query.as_bytes())) {
            Ok(_) => "none",
            Err(OpenIdError::Refused { code, .. }) => code.as_str(),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_request_is_refused_in_the_words_of_the_standards() {
        const PKCE: &str = "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";
        const GOOD: &str = "response_type=code&scope=openid";
        assert_eq!(refusal(false, GOOD), "none");
        assert_eq!(refusal(true, &format!("{GOOD}&{PKCE}")), "none");
        for (query, code) in [
            (GOOD.to_owned(), "invalid_request"),
            (format!("scope=openid&{PKCE}"), "invalid_request"),
            (format!("response_type=token&scope=openid&{PKCE}"), "unsupported_response_type"),
            (format!("response_type=code+id_token&scope=openid&{PKCE}"), "unsupported_response_type"),
            (format!("response_type=code&{PKCE}"), "invalid_scope"),
            (format!("response_type=code&scope=openid+api&{PKCE}"), "invalid_scope"),
            (format!("{GOOD}&{PKCE}&request=x"), "request_not_supported"),
            (format!("{GOOD}&{PKCE}&request_uri=x"), "request_uri_not_supported"),
            (format!("{GOOD}&{PKCE}&registration=x"), "registration_not_supported"),
            (format!("{GOOD}&{PKCE}&response_mode=fragment"), "invalid_request"),
            (format!("{GOOD}&{PKCE}&prompt=none+login"), "invalid_request"),
            (format!("{GOOD}&{PKCE}&prompt=dance"), "invalid_request"),
            (format!("{GOOD}&{PKCE}&max_age=-1"), "invalid_request"),
            (format!("{GOOD}&{PKCE}&max_age=x"), "invalid_request"),
            (format!("{GOOD}&{PKCE}&state=a&state=b"), "invalid_request"),
            (format!("{GOOD}&{PKCE}&scope=openid"), "invalid_request"),
        ] {
            assert_eq!(refusal(true, &query), code, "{query}");
        }
    }

    #[test]
    fn an_answer_is_added_to_the_address_and_never_changes_it() {
        let parameters = b"redirect_uri=https://app.example.com/cb?x%3D1&state=a%26error%3Db%23";
        let back = Return::read(&client(true), &Parameters::parse(parameters)).unwrap();
        assert_eq!(
            back.with("https://auth.example.com", &[("code", "c&d")]),
            "https://app.example.com/cb?x=1&code=c%26d&state=a%26error%3Db%23&iss=https%3A%2F%2Fauth.example.com"
        );
        let other = Parameters::parse(b"redirect_uri=https://evil.example/");
        assert!(Return::read(&client(true), &other).is_err());
        assert!(Return::read(&client(true), &Parameters::default()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_comes_breaks_the_reading(bytes: Vec<u8>, query in "[a-z_=&%0-9+]{0,200}") {
            for text in [bytes.as_slice(), query.as_bytes()] {
                let parameters = Parameters::parse(text);
                let _ = Request::read(&client(true), &parameters);
                let _ = Return::read(&client(false), &parameters);
            }
        }

        #[test]
        fn a_state_comes_back_as_it_went(state in "\\PC{1,60}") {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("redirect_uri", "https://app.example.com/cb?x=1").append_pair("state", &state).finish();
            let back = Return::read(&client(true), &Parameters::parse(query.as_bytes())).unwrap();
            let url = url::Url::parse(&back.with("i", &[])).unwrap();
            let came = url.query_pairs().find(|(name, _)| name == "state").map(|(_, value)| value.into_owned());
            assert_eq!((url.host_str(), came), (Some("app.example.com"), Some(state)));
        }
    }
}
