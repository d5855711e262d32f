//! Clients that show who they are (RFC 6749, section 2.3.1): by a secret in the header or in the form, or,
//! without one, by their id alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rowhouse_audit::SecurityEventKind;
use rowhouse_identity::{Device, LimitedRoute};
use secrecy::SecretString;
use serde_json::json;

use crate::client::{Client, client_get};
use crate::error::{OAuthCode, OpenIdError};
use crate::parameters::Parameters;
use crate::secret::fits;
use crate::service::OpenId;

/// What a client shows.
#[derive(Debug)]
pub(crate) struct Credentials {
    id: String,
    secret: Option<SecretString>,
}

impl Credentials {
    /// Those of a request: its `Authorization` header, if it has one, and its form.
    ///
    /// # Errors
    /// `invalid_client` if there are none; `invalid_request` if there are two.
    pub(crate) fn read(header: Option<&str>, form: &Parameters) -> Result<Self, OpenIdError> {
        let (id, secret) = (form.get("client_id")?, form.get("client_secret")?);
        let Some(header) = header else {
            let missing = OpenIdError::refused(OAuthCode::InvalidClient, "the client has not shown who it is");
            return Ok(Self { id: id.ok_or(missing)?.to_owned(), secret: secret.map(SecretString::from) });
        };
        if secret.is_some() {
            return Err(OpenIdError::invalid_request("a client shows its secret in one way"));
        }
        let malformed = OpenIdError::refused(OAuthCode::InvalidClient, "the Authorization header is no Basic one");
        let read = basic(header).ok_or(malformed)?;
        if id.is_some_and(|id| id != read.id) {
            return Err(OpenIdError::invalid_request("header and form name two clients"));
        }
        Ok(read)
    }
}

/// Id and secret of a Basic header, both encoded as in a form (RFC 6749, section 2.3.1).
fn basic(header: &str) -> Option<Credentials> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let secret = Some(decoded(secret)).filter(|secret| !secret.is_empty());
    Some(Credentials { id: decoded(id), secret: secret.map(SecretString::from) })
}

fn decoded(text: &str) -> String {
    // A name without a value, so that what is within is not split.
    let escaped = text.replace('=', "%3D").replace('&', "%26");
    form_urlencoded::parse(escaped.as_bytes()).map(|(name, _)| name.into_owned()).next().unwrap_or_default()
}

impl OpenId {
    /// The client that shows these.
    ///
    /// # Errors
    /// `invalid_client`, whatever is wrong. It is counted, by its address.
    pub(crate) async fn authenticate_client(
        &self,
        credentials: &Credentials,
        device: &Device,
    ) -> Result<Client, OpenIdError> {
        let connection = self.control("authenticate an OpenID client").await?;
        let client = client_get(&connection, &credentials.id).await?;
        drop(connection);
        let why = match (&client, &credentials.secret) {
            (None, _) => "unknown",
            (Some(client), None) if client.is_public() => "",
            (Some(Client { secret_hash: Some(now), previous_hash, .. }), Some(secret)) => {
                let is_before = previous_hash.as_ref().is_some_and(|before| fits(before, secret));
                if fits(now, secret) || is_before { "" } else { "wrong secret" }
            }
            (Some(_), None) => "no secret",
            (Some(_), Some(_)) => "has no secret",
        };
        match client {
            Some(client) if why.is_empty() => Ok(client),
            client => {
                let id = client.map(|client| client.id);
                self.record(
                    SecurityEventKind::ClientRefused,
                    None,
                    None,
                    device,
                    json!({ "client_id": id, "why": why }),
                );
                self.identity.count_attempt(LimitedRoute::OAUTH_TOKEN, None, device).await?;
                Err(OpenIdError::refused(OAuthCode::InvalidClient, "the client is not known, or its secret is wrong"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn read(header: Option<&str>, form: &str) -> Option<(String, String)> {
        let read = Credentials::read(header, &Parameters::parse(form.as_bytes())).ok()?;
        Some((read.id, read.secret.map_or_else(String::new, |secret| secret.expose_secret().to_owned())))
    }

    fn of(id: &str, secret: &str) -> Option<(String, String)> {
        Some((id.to_owned(), secret.to_owned()))
    }

    #[test]
    fn a_client_shows_itself_in_one_way() {
        let header = format!("Basic {}", STANDARD.encode("app:s%3Acret+x%2B="));
        assert_eq!(read(Some(&header), ""), of("app", "s:cret x+="));
        assert_eq!(read(Some(&header), "client_id=app"), of("app", "s:cret x+="));
        assert_eq!(read(None, "client_id=app&client_secret=s"), of("app", "s"));
        assert_eq!(read(None, "client_id=app"), of("app", ""));
        for (header, form) in [
            (None, ""),
            (Some(header.as_str()), "client_id=other"),
            (Some(&header), "client_id=app&client_secret=s"),
            (None, "client_id=app&client_id=app"),
            (Some("Basic !!"), ""),
            (Some("Bearer x"), "client_id=app"),
            (Some("Basic"), "client_id=app"),
        ] {
            assert_eq!(read(header, form), None, "{header:?} {form}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_comes_breaks_the_reading(header: String, bytes: Vec<u8>, form: Vec<u8>) {
            let form = Parameters::parse(&form);
            let _ = Credentials::read(Some(&header), &form);
            let _ = Credentials::read(Some(&format!("Basic {}", STANDARD.encode(bytes))), &form);
        }
    }
}
