//! What a Clerk session token says, in both of its forms: version 1 with `org_id`, `org_role`,
//! `org_slug`, version 2 with `o`.

use serde::Deserialize;

use crate::clerk_id::{ClerkSessionId, OrganizationId, PersonId};

/// Longest role or slug that is taken.
const WORD_LENGTH_MAX: usize = 100;

/// The claims on the wire. Times, issuer and signature are judged before.
#[derive(Debug, Deserialize)]
pub(crate) struct WireClaims {
    sub: PersonId,
    sid: ClerkSessionId,
    exp: i64,
    iat: i64,
    azp: Option<String>,
    #[serde(default)]
    v: Option<i64>,
    #[serde(default)]
    sts: Option<String>,
    act: Option<WireActor>,
    org_id: Option<OrganizationId>,
    org_role: Option<String>,
    org_slug: Option<String>,
    o: Option<WireOrganization>,
}

#[derive(Debug, Deserialize)]
struct WireActor {
    sub: String,
}

#[derive(Debug, Deserialize)]
struct WireOrganization {
    id: OrganizationId,
    rol: Option<String>,
    slg: Option<String>,
}

/// Why a token whose signature is right is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Made for a page that is none of ours.
    #[error("the authorized party is not one of those in the settings")]
    Party,
    /// The person still has to do something in Clerk, such as to choose an organisation.
    #[error("the session is pending")]
    Pending,
    /// A form that is not known here.
    #[error("the version of the claims is not known")]
    Version,
    /// A role or slug that is no word.
    #[error("the organisation's claims are malformed")]
    Organization,
}

/// The organisation that a session is active in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveOrganization {
    /// Which.
    pub id: OrganizationId,
    /// The person's role in it, without Clerk's prefix `org:`.
    pub role: String,
    /// Its slug, where the instance has slugs.
    pub slug: Option<String>,
}

/// What a verified session token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionClaims {
    /// The person.
    pub person: PersonId,
    /// The session.
    pub session: ClerkSessionId,
    /// The organisation, if one is active.
    pub organization: Option<ActiveOrganization>,
    /// Who acts in the person's place, by Clerk's dashboard or API.
    pub impersonator: Option<String>,
    /// When it was made, in seconds since 1970.
    pub issued_at: i64,
    /// When it ends.
    pub expires_at: i64,
}

impl WireClaims {
    /// Judges what the signature says nothing about.
    pub(crate) fn judge(self, parties: &Parties) -> Result<SessionClaims, ClaimsError> {
        // Clerk's own libraries leave a token alone that names no party: those of native apps do not.
        if self.azp.as_deref().is_some_and(|party| !parties.contains(party)) {
            return Err(ClaimsError::Party);
        }
        if self.sts.as_deref().is_some_and(|status| status != "active") {
            return Err(ClaimsError::Pending);
        }
        let organization = match self.v {
            None | Some(1) => self.org_id.map(|id| (id, self.org_role, self.org_slug)),
            Some(2) => self.o.map(|organization| (organization.id, organization.rol, organization.slg)),
            Some(_) => return Err(ClaimsError::Version),
        };
        let organization = organization.map(|(id, role, slug)| active(id, role, slug)).transpose()?;
        let impersonator = self.act.map(|actor| actor.sub.chars().take(WORD_LENGTH_MAX).collect());
        let Self { sub: person, sid: session, iat: issued_at, exp: expires_at, .. } = self;
        Ok(SessionClaims { person, session, organization, impersonator, issued_at, expires_at })
    }
}

fn active(id: OrganizationId, role: Option<String>, slug: Option<String>) -> Result<ActiveOrganization, ClaimsError> {
    let role = role.as_deref().and_then(role_word).ok_or(ClaimsError::Organization)?;
    let slug = slug.filter(|slug| !slug.is_empty());
    if slug.as_ref().is_some_and(|slug| slug.len() > WORD_LENGTH_MAX) {
        return Err(ClaimsError::Organization);
    }
    Ok(ActiveOrganization { id, role, slug })
}

/// A role without Clerk's prefix; none for what is no word.
pub(crate) fn role_word(text: &str) -> Option<String> {
    let word = text.strip_prefix("org:").unwrap_or(text);
    let fits = (1..=WORD_LENGTH_MAX).contains(&word.len());
    let letters = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    (fits && letters).then(|| word.to_owned())
}

/// The pages (`azp`) that tokens may be made for: origins, or `https://*.example.com` for all of
/// one label more.
#[derive(Debug, Clone, Default)]
pub struct Parties(Vec<String>);

/// An authorized party is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an origin such as https://app.example.com or https://*.example.com")]
pub struct PartyError;

impl Parties {
    /// Reads a list.
    ///
    /// # Errors
    /// If one is no origin.
    pub fn new<'a>(origins: impl IntoIterator<Item = &'a str>) -> Result<Self, PartyError> {
        let origin = |text: &str| {
            let wild = text.contains("://*.");
            let plain = text.replacen("://*.", "://any.", 1);
            let parsed = url::Url::parse(&plain).map_err(|_| PartyError)?;
            // What a browser sends has no path and no default port.
            let same = parsed.origin().is_tuple() && parsed.origin().ascii_serialization() == plain;
            let stars = text.matches('*').count();
            if same && stars == usize::from(wild) { Ok(text.to_owned()) } else { Err(PartyError) }
        };
        origins.into_iter().map(|text| origin(text.trim().trim_end_matches('/'))).collect::<Result<_, _>>().map(Self)
    }

    fn contains(&self, party: &str) -> bool {
        self.0.iter().any(|known| match known.split_once('*') {
            None => known == party,
            Some((before, after)) => {
                let label = party.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                label.is_some_and(|label| {
                    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn judge(claims: Value) -> Result<SessionClaims, String> {
        let parties = Parties::new(["https://app.example.com", "https://*.tenants.example.com"]).expect("origins");
        let wire: WireClaims = serde_json::from_value(claims).map_err(|error| error.to_string())?;
        wire.judge(&parties).map_err(|error| error.to_string())
    }

    fn with(more: Value) -> Value {
        let mut claims = json!({ "sub": "user_1", "sid": "sess_1", "iat": 1, "exp": 61, "nbf": 0,
                                 "iss": "https://clerk.example.com", "azp": "https://app.example.com" });
        claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        claims
    }

    #[test]
    fn both_forms_name_the_same_organisation() {
        let first = with(json!({ "org_id": "org_1", "org_role": "org:admin", "org_slug": "acme" }));
        let second = with(json!({ "v": 2, "o": { "id": "org_1", "rol": "admin", "slg": "acme" }, "sts": "active" }));
        let organization = judge(first).expect("version 1").organization.expect("an organisation");
        assert_eq!(judge(second).expect("version 2").organization.as_ref(), Some(&organization));
        assert_eq!((organization.role.as_str(), organization.slug.as_deref()), ("admin", Some("acme")));
        assert_eq!(judge(with(json!({}))).expect("no organisation").organization, None);
    }

    #[test]
    fn each_form_is_read_by_its_version_only() {
        let mixed = json!({ "v": 2, "org_id": "org_1", "org_role": "org:admin" });
        assert_eq!(judge(with(mixed)).expect("version 2").organization, None);
        let mixed = json!({ "o": { "id": "org_1", "rol": "admin" } });
        assert_eq!(judge(with(mixed)).expect("version 1").organization, None);
        for version in [0, 3, -1] {
            assert!(judge(with(json!({ "v": version }))).is_err());
        }
    }

    #[test]
    fn what_is_not_for_us_is_refused() {
        for more in [
            json!({ "azp": "https://evil.example.com" }),
            json!({ "azp": "https://app.example.com.evil.com" }),
            json!({ "azp": "https://a.b.tenants.example.com" }),
            json!({ "azp": "https://evil.com/.tenants.example.com" }),
            json!({ "azp": "http://app.example.com" }),
            json!({ "azp": "" }),
            json!({ "sts": "pending" }),
            json!({ "sub": "org_1" }),
            json!({ "sid": null }),
            json!({ "org_id": "org_1" }),
            json!({ "org_id": "org_1", "org_role": "org:Admin or 1=1" }),
            json!({ "v": 2, "o": { "id": "user_1", "rol": "admin" } }),
        ] {
            assert!(judge(with(more.clone())).is_err(), "{more}");
        }
        assert!(judge(with(json!({ "azp": "https://acme.tenants.example.com" }))).is_ok());
        assert!(judge(with(json!({ "azp": null }))).is_ok());
    }

    #[test]
    fn parties_are_origins() {
        for text in ["app.example.com", "https://app.example.com/a", "https://*", "*", "https://a.*.example.com", ""] {
            assert!(Parties::new([text]).is_err(), "{text}");
        }
        for text in
            ["http://localhost:3000", "https://app.example.com/", "https://*.example.com", "https://any.example.com"]
        {
            assert!(Parties::new([text]).is_ok(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_party_passes_for_another(party in "(https://)?[a-z.*/:@#-]{0,30}(tenants\\.example\\.com)?") {
            let parties = Parties::new(["https://*.tenants.example.com"]).expect("origins");
            if parties.contains(&party) {
                let host = url::Url::parse(&party).expect("an origin").host_str().map(str::to_owned).expect("a host");
                prop_assert_eq!(host.split('.').count(), 4);
                prop_assert!(host.ends_with(".tenants.example.com"));
            }
        }

        #[test]
        fn any_text_is_read_or_not(text in any::<String>()) {
            let _ = serde_json::from_str::<WireClaims>(&text);
            let _ = role_word(&text);
            let _ = Parties::new([text.as_str()]);
        }
    }
}
