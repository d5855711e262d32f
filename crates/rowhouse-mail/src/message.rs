//! The messages: what the service writes to people, and nothing else it ever sends.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rowhouse_types::{EmailAddress, UserId};

use crate::brand::Brand;
use crate::language::Language;
use crate::link::Link;

/// How long a mail without a link is tried: longer, and the news would be none.
const NEWS_LASTS: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// Something that was done to an account, told to its owner.
#[derive(Debug, Clone)]
pub struct Deed {
    /// When.
    pub at: DateTime<Utc>,
    /// With what, such as "Firefox on Linux".
    pub device: Option<String>,
    /// Where from.
    pub ip: Option<IpAddr>,
}

/// A message. The link of each is judged, and every text in it bounded, when the mail is made.
#[derive(Debug, Clone)]
pub enum Message {
    /// Prove that an address is one's own.
    VerifyEmail {
        /// To the proof.
        link: Link,
        /// How long it is good.
        valid_for: Duration,
    },
    /// Choose a new password.
    ResetPassword {
        /// To the form.
        link: Link,
        /// How long it is good.
        valid_for: Duration,
    },
    /// Sign in without a password.
    MagicLink {
        /// Signs in.
        link: Link,
        /// How long it is good.
        valid_for: Duration,
    },
    /// Join a tenant.
    Invitation {
        /// Accepts.
        link: Link,
        /// How long it is good.
        valid_for: Duration,
        /// Who invites.
        invited_by: Option<String>,
    },
    /// Told to the old address.
    EmailChanged {
        /// The new address; the mail shows it masked, because the reader may be somebody else.
        new_address: EmailAddress,
        /// How it was done.
        deed: Deed,
    },
    /// The account has another password.
    PasswordChanged {
        /// How it was done.
        deed: Deed,
    },
    /// A tenant has another owner; told to both.
    OwnershipTransferred {
        /// Who was it before.
        from: String,
        /// Who is it now.
        to: String,
        /// How it was done.
        deed: Deed,
    },
    /// Somebody signed in on a device that was not seen before.
    NewSignIn {
        /// How it was done.
        deed: Deed,
    },
    /// A refresh token came twice, so its session was ended.
    RefreshTokenReused {
        /// The second use.
        deed: Deed,
    },
    /// Too many wrong passwords.
    AccountLocked {
        /// The last attempt.
        deed: Deed,
        /// For how long.
        locked_for: Duration,
        /// To a new password, if the person may choose one.
        link: Option<Link>,
    },
    /// Too many wrong codes of the second factor, by somebody who has shown the first.
    SecondFactorLocked {
        /// The last attempt.
        deed: Deed,
        /// For how long.
        locked_for: Duration,
    },
    /// The account has another passkey.
    PasskeyAdded {
        /// What its holder calls it.
        passkey: String,
        /// How it was done.
        deed: Deed,
    },
    /// The account has a passkey less.
    PasskeyRemoved {
        /// What its holder called it.
        passkey: String,
        /// How it was done.
        deed: Deed,
    },
    /// An operator has taken the second factor away.
    SecondFactorReset {
        /// How it was done.
        deed: Deed,
    },
    /// A tenant will soon let its reader in with a second factor only.
    MfaReminder {
        /// To where one is set up.
        link: Link,
        /// How long they still get in without.
        left: Duration,
    },
}

/// What kind of message a mail is: the name of its templates, and all that is kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailKind {
    /// [`Message::VerifyEmail`]
    VerifyEmail,
    /// [`Message::ResetPassword`]
    ResetPassword,
    /// [`Message::MagicLink`]
    MagicLink,
    /// [`Message::Invitation`]
    Invitation,
    /// [`Message::EmailChanged`]
    EmailChanged,
    /// [`Message::PasswordChanged`]
    PasswordChanged,
    /// [`Message::OwnershipTransferred`]
    OwnershipTransferred,
    /// [`Message::NewSignIn`]
    NewSignIn,
    /// [`Message::RefreshTokenReused`]
    RefreshTokenReused,
    /// [`Message::AccountLocked`]
    AccountLocked,
    /// [`Message::SecondFactorLocked`]
    SecondFactorLocked,
    /// [`Message::PasskeyAdded`]
    PasskeyAdded,
    /// [`Message::PasskeyRemoved`]
    PasskeyRemoved,
    /// [`Message::SecondFactorReset`]
    SecondFactorReset,
    /// [`Message::MfaReminder`]
    MfaReminder,
}

impl MailKind {
    /// All kinds.
    pub const ALL: &[Self] = &[
        Self::VerifyEmail,
        Self::ResetPassword,
        Self::MagicLink,
        Self::Invitation,
        Self::EmailChanged,
        Self::PasswordChanged,
        Self::OwnershipTransferred,
        Self::NewSignIn,
        Self::RefreshTokenReused,
        Self::AccountLocked,
        Self::SecondFactorLocked,
        Self::PasskeyAdded,
        Self::PasskeyRemoved,
        Self::SecondFactorReset,
        Self::MfaReminder,
    ];

    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::MagicLink => "magic_link",
            Self::Invitation => "invitation",
            Self::EmailChanged => "email_changed",
            Self::PasswordChanged => "password_changed",
            Self::OwnershipTransferred => "ownership_transferred",
            Self::NewSignIn => "new_sign_in",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::AccountLocked => "account_locked",
            Self::SecondFactorLocked => "second_factor_locked",
            Self::PasskeyAdded => "passkey_added",
            Self::PasskeyRemoved => "passkey_removed",
            Self::SecondFactorReset => "second_factor_reset",
            Self::MfaReminder => "mfa_reminder",
        }
    }
}

impl Message {
    /// Its kind.
    pub fn kind(&self) -> MailKind {
        match self {
            Self::VerifyEmail { .. } => MailKind::VerifyEmail,
            Self::ResetPassword { .. } => MailKind::ResetPassword,
            Self::MagicLink { .. } => MailKind::MagicLink,
            Self::Invitation { .. } => MailKind::Invitation,
            Self::EmailChanged { .. } => MailKind::EmailChanged,
            Self::PasswordChanged { .. } => MailKind::PasswordChanged,
            Self::OwnershipTransferred { .. } => MailKind::OwnershipTransferred,
            Self::NewSignIn { .. } => MailKind::NewSignIn,
            Self::RefreshTokenReused { .. } => MailKind::RefreshTokenReused,
            Self::AccountLocked { .. } => MailKind::AccountLocked,
            Self::SecondFactorLocked { .. } => MailKind::SecondFactorLocked,
            Self::PasskeyAdded { .. } => MailKind::PasskeyAdded,
            Self::PasskeyRemoved { .. } => MailKind::PasskeyRemoved,
            Self::SecondFactorReset { .. } => MailKind::SecondFactorReset,
            Self::MfaReminder { .. } => MailKind::MfaReminder,
        }
    }

    pub(crate) fn link(&self) -> Option<&Link> {
        match self {
            Self::VerifyEmail { link, .. }
            | Self::ResetPassword { link, .. }
            | Self::MagicLink { link, .. }
            | Self::MfaReminder { link, .. }
            | Self::Invitation { link, .. } => Some(link),
            Self::AccountLocked { link, .. } => link.as_ref(),
            Self::EmailChanged { .. }
            | Self::PasswordChanged { .. }
            | Self::OwnershipTransferred { .. }
            | Self::NewSignIn { .. }
            | Self::RefreshTokenReused { .. }
            | Self::PasskeyAdded { .. }
            | Self::PasskeyRemoved { .. }
            | Self::SecondFactorReset { .. }
            | Self::SecondFactorLocked { .. } => None,
        }
    }

    pub(crate) fn deed(&self) -> Option<&Deed> {
        match self {
            Self::EmailChanged { deed, .. }
            | Self::PasswordChanged { deed }
            | Self::OwnershipTransferred { deed, .. }
            | Self::NewSignIn { deed }
            | Self::RefreshTokenReused { deed }
            | Self::AccountLocked { deed, .. }
            | Self::PasskeyAdded { deed, .. }
            | Self::PasskeyRemoved { deed, .. }
            | Self::SecondFactorReset { deed }
            | Self::SecondFactorLocked { deed, .. } => Some(deed),
            Self::VerifyEmail { .. }
            | Self::ResetPassword { .. }
            | Self::MagicLink { .. }
            | Self::MfaReminder { .. }
            | Self::Invitation { .. } => None,
        }
    }

    /// The time that its text speaks of.
    pub(crate) fn span(&self) -> Option<Duration> {
        match self {
            Self::VerifyEmail { valid_for, .. }
            | Self::ResetPassword { valid_for, .. }
            | Self::MagicLink { valid_for, .. }
            | Self::Invitation { valid_for, .. } => Some(*valid_for),
            Self::AccountLocked { locked_for, .. } | Self::SecondFactorLocked { locked_for, .. } => Some(*locked_for),
            Self::MfaReminder { left, .. } => Some(*left),
            Self::EmailChanged { .. }
            | Self::PasswordChanged { .. }
            | Self::OwnershipTransferred { .. }
            | Self::NewSignIn { .. }
            | Self::PasskeyAdded { .. }
            | Self::PasskeyRemoved { .. }
            | Self::SecondFactorReset { .. }
            | Self::RefreshTokenReused { .. } => None,
        }
    }

    /// How long it is worth being delivered: three days, and not longer than its link is good.
    pub fn lasts(&self) -> Duration {
        match self {
            Self::VerifyEmail { valid_for, .. }
            | Self::ResetPassword { valid_for, .. }
            | Self::MagicLink { valid_for, .. }
            | Self::Invitation { valid_for, .. } => NEWS_LASTS.min(*valid_for),
            Self::MfaReminder { left, .. } => NEWS_LASTS.min(*left),
            Self::EmailChanged { .. }
            | Self::PasswordChanged { .. }
            | Self::OwnershipTransferred { .. }
            | Self::NewSignIn { .. }
            | Self::RefreshTokenReused { .. }
            | Self::AccountLocked { .. }
            | Self::PasskeyAdded { .. }
            | Self::PasskeyRemoved { .. }
            | Self::SecondFactorReset { .. }
            | Self::SecondFactorLocked { .. } => NEWS_LASTS,
        }
    }
}

/// A message to somebody.
#[derive(Debug, Clone)]
pub struct Mail {
    /// To whom.
    pub to: EmailAddress,
    /// The person, if they have an account.
    pub user: Option<UserId>,
    /// The tenant in whose name it is sent; without one the service speaks.
    pub brand: Option<Brand>,
    /// The reader's language; without one the service's.
    pub language: Option<Language>,
    /// The message.
    pub message: Message,
}
