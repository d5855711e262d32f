//! What Clerk tells by a webhook: the events that matter here, read from their JSON.
//!
//! Must never take more of an object than is kept, and bounds all that it takes.

use rowhouse_types::TenantId;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::claims::role_word;
use crate::clerk_id::{ClerkSessionId, OfferId, OrganizationId, PartId, PersonId};

/// Longest name of a person or an organisation that is taken, in characters.
const PERSON_NAME_LENGTH_MAX: usize = 100;
const ORGANIZATION_NAME_LENGTH_MAX: usize = 200;
/// Longest address of a picture, and longest telephone number, in bytes.
const URL_LENGTH_MAX: usize = 2000;
const PHONE_LENGTH_MAX: usize = 40;

/// A payload cannot be read: what, for the log.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It is no event.
    #[error("the payload is no event of Clerk's")]
    Payload(#[source] serde_json::Error),
    /// The object in it is not of the kind that the event's type says.
    #[error("the object of {kind} cannot be read")]
    Object {
        /// The event's type.
        kind: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// An event. `at` and versions are milliseconds since 1970, by Clerk's clock.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An organisation was made or changed.
    Organization(Organization),
    /// An organisation is gone.
    OrganizationDeleted {
        /// Which.
        id: OrganizationId,
        /// When.
        at: i64,
    },
    /// Somebody has a part in an organisation, or another one than before.
    Part(Box<Part>),
    /// Somebody has no part any more.
    PartDeleted {
        /// Which part.
        part: Box<Part>,
        /// When.
        at: i64,
    },
    /// A part was offered, accepted or taken back.
    Offer(Offer),
    /// A person was made.
    PersonCreated(Box<Person>),
    /// A person changed.
    PersonUpdated(Box<Person>),
    /// A person is gone.
    PersonDeleted {
        /// Who.
        id: PersonId,
        /// When.
        at: i64,
    },
    /// A session is over before its time.
    SessionEnded {
        /// Which.
        session: ClerkSessionId,
    },
    /// Of no interest here.
    Other,
}

/// An organisation.
#[derive(Debug, Clone, PartialEq)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// Its name; none if Clerk's is none that can be shown.
    pub name: Option<String>,
    /// Its slug, where the instance has slugs.
    pub slug: Option<String>,
    /// Who made it; nobody if the instance's owner did.
    pub created_by: Option<PersonId>,
    /// What the instance's owner says about it, and everybody may read.
    pub public_metadata: Map<String, Value>,
    /// The tenant it was made for, where it was made from here: only Clerk and we can write that.
    pub tenant: Option<TenantId>,
    /// Of which state this is.
    pub version: i64,
}

/// What we write into the private metadata of an organisation that is made for a tenant.
const TENANT_KEY: &str = "rowhouse_tenant_id";

impl Organization {
    pub(crate) fn private_metadata(tenant: TenantId) -> Value {
        json!({ TENANT_KEY: tenant })
    }

    /// Reads an organisation as the Backend API gives it.
    pub(crate) fn read(object: Value) -> serde_json::Result<Self> {
        Ok(serde_json::from_value::<WireOrganization>(object)?.into())
    }
}

/// A person's part in an organisation.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its id.
    pub id: PartId,
    /// Where.
    pub organization: Organization,
    /// Who.
    pub person: PersonId,
    /// First and last name, as far as they are known.
    pub names: (String, String),
    /// As what, without Clerk's prefix.
    pub role: String,
    /// Of which state this is.
    pub version: i64,
}

/// How an offer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferState {
    /// Not answered yet.
    Pending,
    /// Taken.
    Accepted,
    /// Taken back, or over.
    Revoked,
}

/// An offer of a part in an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its id.
    pub id: OfferId,
    /// Where.
    pub organization: OrganizationId,
    /// To whom.
    pub email: String,
    /// As what, without Clerk's prefix.
    pub role: String,
    /// How it stands.
    pub state: OfferState,
    /// Of which state this is.
    pub version: i64,
}

/// A person.
#[derive(Clone, PartialEq)]
pub struct Person {
    /// Their id.
    pub id: PersonId,
    /// Their first address, and whether Clerk has proved it.
    pub email: Option<(String, bool)>,
    /// First and last name.
    pub names: (String, String),
    /// Where their picture is.
    pub avatar_url: Option<String>,
    /// Their first telephone number.
    pub phone: Option<String>,
    /// Whether they were shut out.
    pub banned: bool,
    /// What the instance's owner says about them, and everybody may read.
    pub public_metadata: Map<String, Value>,
    /// Of which state this is.
    pub version: i64,
}

/// The id only: debug output ends up in logs.
impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct WireEvent {
    #[serde(rename = "type")]
    kind: String,
    data: Value,
    timestamp: i64,
}

#[derive(Deserialize)]
struct WireOrganization {
    id: OrganizationId,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    slug: Option<String>,
    #[serde(default)]
    created_by: Option<PersonId>,
    #[serde(default)]
    public_metadata: Option<Map<String, Value>>,
    #[serde(default)]
    private_metadata: Option<Map<String, Value>>,
    updated_at: i64,
}

#[derive(Deserialize)]
struct WirePart {
    id: PartId,
    organization: WireOrganization,
    public_user_data: WirePersonData,
    role: String,
    updated_at: i64,
}

#[derive(Deserialize)]
struct WirePersonData {
    user_id: PersonId,
    #[serde(default)]
    first_name: Option<String>,
    #[serde(default)]
    last_name: Option<String>,
}

#[derive(Deserialize)]
struct WireOffer {
    id: OfferId,
    organization_id: OrganizationId,
    email_address: String,
    role: String,
    status: String,
    updated_at: i64,
}

#[derive(Deserialize)]
struct WirePerson {
    id: PersonId,
    #[serde(default)]
    email_addresses: Vec<WireEmail>,
    #[serde(default)]
    primary_email_address_id: Option<String>,
    #[serde(default)]
    phone_numbers: Vec<WirePhone>,
    #[serde(default)]
    primary_phone_number_id: Option<String>,
    #[serde(default)]
    first_name: Option<String>,
    #[serde(default)]
    last_name: Option<String>,
    #[serde(default)]
    image_url: Option<String>,
    #[serde(default)]
    banned: bool,
    #[serde(default)]
    public_metadata: Option<Map<String, Value>>,
    updated_at: i64,
}

#[derive(Deserialize)]
struct WireEmail {
    id: String,
    email_address: String,
    #[serde(default)]
    verification: Option<WireVerification>,
}

#[derive(Deserialize)]
struct WireVerification {
    #[serde(default)]
    status: Option<String>,
}

#[derive(Deserialize)]
struct WirePhone {
    id: String,
    phone_number: String,
}

#[derive(Deserialize)]
struct WireDeleted<Id> {
    id: Id,
}

impl Event {
    /// Reads a payload. Events of other kinds are [`Event::Other`]: Clerk may add some.
    ///
    /// # Errors
    /// If it is no event, or its object is not what its type says.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        let WireEvent { kind, data, timestamp: at } = serde_json::from_slice(body).map_err(EventError::Payload)?;
        match Self::read(&kind, data, at) {
            Ok(event) => Ok(event),
            Err(source) => Err(EventError::Object { kind: bounded(&kind, 100), source }),
        }
    }

    fn read(kind: &str, data: Value, at: i64) -> serde_json::Result<Self> {
        use serde_json::from_value;
        Ok(match kind {
            "organization.created" | "organization.updated" => {
                Self::Organization(from_value::<WireOrganization>(data)?.into())
            }
            "organization.deleted" => {
                Self::OrganizationDeleted { id: from_value::<WireDeleted<OrganizationId>>(data)?.id, at }
            }
            "organizationMembership.created" | "organizationMembership.updated" => {
                Self::Part(Box::new(from_value::<WirePart>(data)?.try_into()?))
            }
            "organizationMembership.deleted" => {
                Self::PartDeleted { part: Box::new(from_value::<WirePart>(data)?.try_into()?), at }
            }
            "organizationInvitation.created" | "organizationInvitation.accepted" | "organizationInvitation.revoked" => {
                Self::Offer(from_value::<WireOffer>(data)?.try_into()?)
            }
            "user.created" => Self::PersonCreated(Box::new(from_value::<WirePerson>(data)?.into())),
            "user.updated" => Self::PersonUpdated(Box::new(from_value::<WirePerson>(data)?.into())),
            "user.deleted" => Self::PersonDeleted { id: from_value::<WireDeleted<PersonId>>(data)?.id, at },
            "session.revoked" | "session.ended" | "session.removed" => {
                Self::SessionEnded { session: from_value::<WireDeleted<ClerkSessionId>>(data)?.id }
            }
            _ => Self::Other,
        })
    }
}

impl From<WireOrganization> for Organization {
    fn from(wire: WireOrganization) -> Self {
        let WireOrganization { id, name, slug, created_by, public_metadata, private_metadata, updated_at } = wire;
        let tenant = private_metadata.as_ref().and_then(|metadata| metadata.get(TENANT_KEY)?.as_str()?.parse().ok());
        let name = name.map(|name| shown(&name, ORGANIZATION_NAME_LENGTH_MAX)).filter(|name| !name.is_empty());
        let slug = slug.filter(|slug| !slug.is_empty() && slug.len() <= ORGANIZATION_NAME_LENGTH_MAX);
        let public_metadata = public_metadata.unwrap_or_default();
        Self { id, name, slug, created_by, public_metadata, tenant, version: updated_at }
    }
}

fn role(text: &str) -> serde_json::Result<String> {
    role_word(text).ok_or_else(|| serde::de::Error::custom("the role is no word"))
}

impl TryFrom<WirePart> for Part {
    type Error = serde_json::Error;

    fn try_from(wire: WirePart) -> serde_json::Result<Self> {
        let WirePart { id, organization, public_user_data, role: text, updated_at: version } = wire;
        let WirePersonData { user_id: person, first_name, last_name } = public_user_data;
        let names = names(first_name, last_name);
        Ok(Self { id, organization: organization.into(), person, names, role: role(&text)?, version })
    }
}

impl TryFrom<WireOffer> for Offer {
    type Error = serde_json::Error;

    fn try_from(wire: WireOffer) -> serde_json::Result<Self> {
        let WireOffer { id, organization_id: organization, email_address: email, role: text, status, updated_at } =
            wire;
        let state = match status.as_str() {
            "pending" => OfferState::Pending,
            "accepted" => OfferState::Accepted,
            _ => OfferState::Revoked,
        };
        Ok(Self { id, organization, email, role: role(&text)?, state, version: updated_at })
    }
}

impl From<WirePerson> for Person {
    fn from(wire: WirePerson) -> Self {
        let primary = wire.primary_email_address_id;
        let email = wire.email_addresses.into_iter().find(|email| Some(&email.id) == primary.as_ref());
        let email = email.map(|email| {
            let status = email.verification.and_then(|verification| verification.status);
            (email.email_address, status.as_deref() == Some("verified"))
        });
        let primary = wire.primary_phone_number_id;
        let phone = wire.phone_numbers.into_iter().find(|phone| Some(&phone.id) == primary.as_ref());
        Self {
            id: wire.id,
            email,
            names: names(wire.first_name, wire.last_name),
            avatar_url: wire.image_url.filter(|url| url.starts_with("https://") && url.len() <= URL_LENGTH_MAX),
            phone: phone.map(|phone| phone.phone_number).filter(|number| number.len() <= PHONE_LENGTH_MAX),
            banned: wire.banned,
            public_metadata: wire.public_metadata.unwrap_or_default(),
            version: wire.updated_at,
        }
    }
}

fn names(first: Option<String>, last: Option<String>) -> (String, String) {
    let name = |name: Option<String>| shown(&name.unwrap_or_default(), PERSON_NAME_LENGTH_MAX);
    (name(first), name(last))
}

/// As it can be shown: one line without control characters, and not too long.
fn shown(text: &str, length_max: usize) -> String {
    bounded(text.trim(), length_max).chars().filter(|letter| !letter.is_control()).collect()
}

fn bounded(text: &str, length_max: usize) -> String {
    text.chars().take(length_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [&str; 15] = [
        "organization.created",
        "organization.updated",
        "organization.deleted",
        "organizationMembership.created",
        "organizationMembership.updated",
        "organizationMembership.deleted",
        "organizationInvitation.created",
        "organizationInvitation.accepted",
        "organizationInvitation.revoked",
        "user.created",
        "user.updated",
        "user.deleted",
        "session.revoked",
        "session.ended",
        "session.removed",
    ];

    fn parse(kind: &str, data: &Value) -> Result<Event, EventError> {
        Event::parse(json!({ "object": "event", "type": kind, "data": data, "timestamp": 5 }).to_string().as_bytes())
    }

    #[test]
    fn a_person_has_their_primary_address() {
        let data = json!({
            "id": "user_1", "object": "user", "first_name": " Ann\n", "last_name": null, "updated_at": 7,
            "primary_email_address_id": "idn_2", "image_url": "javascript:alert(1)",
            "email_addresses": [
                { "id": "idn_1", "email_address": "old@example.com", "verification": { "status": "verified" } },
                { "id": "idn_2", "email_address": "ann@example.com", "verification": { "status": "unverified" } },
            ],
        });
        let Event::PersonCreated(person) = parse("user.created", &data).expect("a person") else { panic!("no person") };
        assert_eq!(person.email, Some(("ann@example.com".to_owned(), false)));
        assert_eq!((person.names.0.as_str(), person.names.1.as_str(), person.version), ("Ann", "", 7));
        assert_eq!(person.avatar_url, None);
    }

    #[test]
    fn an_object_must_be_of_its_kind() {
        for kind in KINDS {
            for data in [json!(null), json!({}), json!({ "id": "x_1" }), json!({ "id": "key_1", "updated_at": 1 })] {
                assert!(parse(kind, &data).is_err(), "{kind} {data}");
            }
        }
        assert_eq!(parse("email.created", &json!({ "id": 1 })).expect("another kind"), Event::Other);
        assert!(Event::parse(b"{}").is_err());
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "(user|org|orgmem|orginv|sess)_[a-z0-9]{1,4}".prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 40, 8, |inner| {
            let key = prop::sample::select(vec![
                "id",
                "name",
                "slug",
                "created_by",
                "public_metadata",
                "updated_at",
                "organization",
                "role",
                "status",
                "public_user_data",
                "user_id",
                "organization_id",
                "email_address",
                "email_addresses",
                "verification",
                "primary_email_address_id",
                "phone_numbers",
                "banned",
                "image_url",
            ]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key, inner), 0..10)
                    .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_payload_is_read_or_not(body in any::<Vec<u8>>()) {
            let _ = Event::parse(&body);
        }

        #[test]
        fn any_object_is_read_or_not(kind in prop::sample::select(KINDS.to_vec()), data in values()) {
            let _ = parse(kind, &data);
        }
    }
}
