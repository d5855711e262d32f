//! Users, credentials, tokens, memberships, roles and invitations.
//!
//! **Invariant:** passwords and tokens are never stored or logged in the clear, and no answer
//! tells whether an account exists, except sign-up, whose caller must know.

mod access;
mod api_key;
mod api_key_access;
mod api_key_secret;
mod api_key_turns;
mod ceremony;
mod dns;
mod domain;
mod email_change;
mod email_proof;
mod error;
mod hand_off;
mod identity;
mod impersonation;
mod invitation;
mod invite;
mod key_change;
mod key_pair;
mod key_ring;
mod keys;
mod limit;
mod link_token;
mod lock_mail;
mod magic_link;
mod mail_link;
mod member;
mod member_change;
mod mfa_policy;
mod mfa_reminder;
mod mfa_reset;
mod operator;
mod organisation_error;
mod own_words;
mod passkey;
mod passkey_assert;
mod password;
mod password_again;
mod password_change;
mod password_reset;
mod password_strength;
mod profile;
mod recovery_code;
mod refresh;
mod refresh_token;
mod relying_party;
mod remembered;
mod role;
mod second_factor;
mod session;
mod session_list;
mod session_policy;
mod step_up;
mod totp;
mod trusted_device;
mod user;
mod web_session;

pub use access::Access;
pub use api_key::{ApiKeyMaker, ApiKeyOut, ApiKeyPage, MadeApiKey, NewApiKey};
pub use api_key_access::{KeyAccess, KeyRights};
pub use api_key_secret::{ApiKeySecret, is_api_key};
pub use ceremony::Ceremony;
pub use domain::{DomainOut, DomainRecord, JoinableOut, domain_name};
pub use email_proof::EmailProved;
pub use error::IdentityError;
pub use hand_off::{HAND_OFF_SECONDS, HandOff, HandOffCode, HandedOff, ReturnTo};
pub use identity::{Identity, IdentitySettings};
pub use impersonation::{Impersonate, Impersonated, Impersonation, ImpersonationOut, ImpersonationPage};
pub use invitation::{AcceptInvitation, Accepted, InvitationToken, invitation_create};
pub use invite::{InvitationOut, InvitationPage, InvitationStatus, Invite};
pub use key_change::{CLIENT_TOKEN_SECONDS_MAX, JWKS_SECONDS, KeyOut, KeyState, RetiredKey};
pub use key_ring::KeyAlgorithm;
pub use keys::{Act, Claims, Org, TokenCheck};
pub use limit::{LimitSettings, LimitedRoute};
pub use magic_link::LinkSignIn;
pub use member::{Manager, MemberDetails, MemberOut, MemberPage, MembershipOut, membership_create};
pub use member_change::MemberPatch;
pub use mfa_policy::{DemandedOf, GRACE_DAYS_MAX, MfaPolicy, MfaPolicyPatch};
pub use operator::{OperatorClaims, OperatorOut, OperatorRole, OperatorTokens};
pub use organisation_error::OrganisationError;
pub use passkey::{AddedPasskey, PasskeyOut};
pub use passkey_assert::{AssertBegin, PasskeySignIn, Proof};
pub use password::{PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN, PasswordCost, PasswordError, check_password_length};
pub use profile::ProfilePatch;
pub use remembered::Remembered;
pub use role::{NewRole, RoleOut, RolePatch, RoleSource, is_role_key};
pub use second_factor::{Enrolment, FactorChange, FactorKinds, FactorOut, Holder};
pub use session::{Device, Me, SignIn, Tokens};
pub use session_list::{SessionOut, SessionPage};
pub use session_policy::{ABSOLUTE_HOURS_MIN, IDLE_MINUTES_MIN, SessionPolicy, SessionPolicyPatch};
pub use step_up::StepUp;
pub use trusted_device::{DeviceTrust, TrustedDeviceOut};
pub use user::{FoundUser, NewUser, UserOut, user_create, user_find_by_email};
pub use web_session::{NewWebSession, WebHost, WebSession};

/// The control database's tables of this crate.
pub const CONTROL_MIGRATIONS: &[(&str, &str)] = &[
    ("identity_0001_identity", include_str!("../migrations/0001_identity.sql")),
    ("identity_0002_sessions", include_str!("../migrations/0002_sessions.sql")),
    ("identity_0003_refresh_grace", include_str!("../migrations/0003_refresh_grace.sql")),
    ("identity_0004_mail_links", include_str!("../migrations/0004_mail_links.sql")),
    ("identity_0005_api_keys", include_str!("../migrations/0005_api_keys.sql")),
    ("identity_0006_attempts", include_str!("../migrations/0006_attempts.sql")),
    ("identity_0007_second_factors", include_str!("../migrations/0007_second_factors.sql")),
    ("identity_0008_invitation_links", include_str!("../migrations/0008_invitation_links.sql")),
    ("identity_0009_roles", include_str!("../migrations/0009_roles.sql")),
    ("identity_0010_members", include_str!("../migrations/0010_members.sql")),
    ("identity_0011_domains", include_str!("../migrations/0011_domains.sql")),
    ("identity_0012_mfa_policies", include_str!("../migrations/0012_mfa_policies.sql")),
    ("identity_0013_api_key_limits", include_str!("../migrations/0013_api_key_limits.sql")),
    ("identity_0014_step_up", include_str!("../migrations/0014_step_up.sql")),
    ("identity_0015_clerk", include_str!("../migrations/0015_clerk.sql")),
    ("identity_0016_web_sessions", include_str!("../migrations/0016_web_sessions.sql")),
    ("identity_0017_session_policies", include_str!("../migrations/0017_session_policies.sql")),
    ("identity_0018_impersonations", include_str!("../migrations/0018_impersonations.sql")),
    ("identity_0019_signing_keys", include_str!("../migrations/0019_signing_keys.sql")),
    ("identity_0020_openid", include_str!("../migrations/0020_openid.sql")),
    ("identity_0021_passkeys", include_str!("../migrations/0021_passkeys.sql")),
    ("identity_0022_trusted_devices", include_str!("../migrations/0022_trusted_devices.sql")),
    ("identity_0023_mfa_reminders", include_str!("../migrations/0023_mfa_reminders.sql")),
];
