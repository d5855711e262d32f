//! Typed ids. Each kind is a private UUID, so that a user id never passes for a tenant id;
//! `FromStr` and `from_uuid` (for values that come from the database) are the only doors.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id_kinds {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id: UUID version 7, ordered by time, random otherwise.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// Wraps a value read from the database.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The bare value, for statements and tokens.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    )*};
}

id_kinds! {
    /// An organisation that uses the app.
    TenantId,
    /// A person, or an operator.
    UserId,
    /// One sign-in on one device.
    SessionId,
    /// One run of a multi-step operation.
    SagaId,
    /// An offer of membership.
    InvitationId,
    /// A signing or API key.
    KeyId,
    /// A passkey.
    PasskeyId,
    /// A device that stands for a second factor.
    DeviceId,
    /// A program that people sign in to with their account here.
    ClientId,
    /// What a person let such a program do.
    GrantId,
}
