//! Who does something: the beginning of every line of the audit log.

use rowhouse_types::{KeyId, UserId};
use uuid::Uuid;

use crate::entry::AuditEntry;
use crate::text::{NAME_LENGTH_MAX, bounded};

/// Who does something, and in which request. Whoever changes something that is audited takes
/// one, and writes what it [`did`](Actor::did) in the transaction of the deed.
#[derive(Debug, Clone)]
pub struct Actor {
    pub(crate) kind: &'static str,
    pub(crate) id: Option<Uuid>,
    pub(crate) request_id: Option<String>,
    /// The operator who does it in this person's place.
    pub(crate) operator: Option<Uuid>,
}

impl Actor {
    fn new(kind: &'static str, id: Option<Uuid>) -> Self {
        Self { kind, id, request_id: None, operator: None }
    }

    /// An operator.
    pub fn operator(operator: UserId) -> Self {
        Self::new("operator", Some(operator.uuid()))
    }

    /// A person.
    pub fn user(user: UserId) -> Self {
        Self::new("user", Some(user.uuid()))
    }

    /// A program, by an API key.
    pub fn key(key: KeyId) -> Self {
        Self::new("key", Some(key.uuid()))
    }

    /// Somebody who becomes a person by what they do: who signs up.
    pub fn visitor() -> Self {
        Self::new("user", None)
    }

    /// The system or its command line.
    pub fn system() -> Self {
        Self::new("system", None)
    }

    /// Names the request.
    #[must_use]
    pub fn in_request(mut self, request_id: &str) -> Self {
        self.request_id = Some(bounded(request_id, NAME_LENGTH_MAX));
        self
    }

    /// Names the operator who does it in this person's place, if one does.
    #[must_use]
    pub fn in_place_by(mut self, operator: Option<UserId>) -> Self {
        self.operator = operator.map(UserId::uuid);
        self
    }

    /// The same, where a visitor has become this person; anybody else stays who they are.
    #[must_use]
    pub fn become_user(mut self, user: UserId) -> Self {
        if self.kind == "user" {
            self.id = self.id.or(Some(user.uuid()));
        }
        self
    }

    /// The line that tells of a deed.
    pub fn did(&self, action: &'static str) -> AuditEntry {
        AuditEntry::new(self.clone(), action)
    }
}
