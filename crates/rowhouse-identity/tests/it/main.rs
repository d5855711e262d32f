//! Integration tests of identity, on a real server.
#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod access;
mod api_key;
mod domain;
mod email;
mod forgery;
mod invitation;
mod invite;
mod key_change;
mod keys;
mod letters;
mod limit;
mod magic_link;
mod member;
mod member_change;
mod mfa_policy;
mod mfa_reminder;
mod operator;
mod password;
mod profile;
mod refresh;
mod role;
mod schema;
mod second_factor;
mod session;
mod session_list;
mod session_policy;
mod step_up;
mod trusted_device;
mod user;

use rowhouse_audit::{Audit, EventFilter, RecordedEvent};
use rowhouse_identity::{
    Claims, Device, DeviceTrust, Identity, IdentityError, IdentitySettings, NewUser, OrganisationError, SignIn, Tokens,
    membership_create, user_create,
};
use rowhouse_mail::Mailer;
use rowhouse_postgres::{SystemConnection, TenantContext, params};
use rowhouse_testkit::TestDatabases;
use rowhouse_types::{EmailAddress, MasterKey, RoleKey, TenantId, UserId};
use std::sync::Arc;
use tokio::sync::OnceCell;

const PASSWORD: &str = "correct horse battery";

/// What the tenants crate makes; its migrations run after this crate's.
const TENANTS: &str = "
    create table control.tenants (
        id uuid primary key, name text not null, slug text not null unique, status text not null default 'active')";

/// Databases of its own with running services.
struct Ground {
    test: TestDatabases,
    master: MasterKey,
    audit: Audit,
    mailer: Mailer,
    _directory: tempfile::TempDir,
    identity: Identity,
}

impl Ground {
    async fn start() -> Self {
        let test = TestDatabases::start(&[
            rowhouse_audit::CONTROL_MIGRATIONS,
            rowhouse_identity::CONTROL_MIGRATIONS,
            rowhouse_mail::CONTROL_MIGRATIONS,
        ])
        .await;
        let system = test.authorities.system.clone();
        test.databases.control(&system.scope("test")).await.unwrap().batch(TENANTS).await.unwrap();
        let master = MasterKey::generate();
        let audit = Audit::start(test.databases.clone(), system.clone());
        let directory = tempfile::tempdir().unwrap();
        let settings = letters::settings(directory.path());
        let mailer = Mailer::new(test.databases.clone(), system.clone(), master.clone(), settings);
        let settings = IdentitySettings::default();
        let identity =
            Identity::open(test.databases.clone(), system, master.clone(), audit.clone(), settings).await.unwrap();
        let identity = identity.with_mailer(mailer.clone());
        Self { test, master, audit, mailer, _directory: directory, identity }
    }

    /// Another process on the same databases: it shares nothing that is cached.
    async fn other_process(&self) -> Identity {
        self.open(self.master.clone(), IdentitySettings::default()).await.unwrap()
    }

    async fn open(&self, master: MasterKey, settings: IdentitySettings) -> Result<Identity, IdentityError> {
        let (databases, system) = (self.test.databases.clone(), self.test.authorities.system.clone());
        let identity = Identity::open(databases, system, master, self.audit.clone(), settings).await?;
        Ok(identity.with_mailer(self.mailer.clone()))
    }

    async fn control(&self) -> SystemConnection {
        self.test.databases.control(&self.test.authorities.system.scope("test")).await.unwrap()
    }

    async fn batch(&self, sql: &str) {
        self.control().await.batch(sql).await.unwrap();
    }

    fn context(&self, tenant: TenantId) -> TenantContext {
        self.test.authorities.tenant.context(tenant, self.test.databases.pool_location())
    }

    async fn tenant(&self, slug: &str) -> TenantId {
        let id = TenantId::generate();
        let insert = "insert into control.tenants (id, name, slug) values ($1, initcap($2), $2)";
        self.control().await.query(insert, params![id, slug]).await.unwrap();
        id
    }

    /// A person with the usual password.
    async fn person(&self, address: &str) -> UserId {
        // Hashed once for all tests: what a hash costs is meant to be felt.
        static HASH: OnceCell<String> = OnceCell::const_new();
        let hash = HASH.get_or_init(async || self.identity.hash_password(PASSWORD, &[]).await.unwrap()).await;
        let new = NewUser { password_hash: Some(hash.clone()), ..new_user(address) };
        user_create(&self.control().await, &new).await.unwrap()
    }

    async fn join(&self, tenant: TenantId, user: UserId, role: &str) {
        membership_create(&self.control().await, tenant, user, &RoleKey::new(role)).await.unwrap();
        self.identity.forget_access(user, tenant).await;
    }

    /// Ann, the owner of Acme.
    async fn ann_of_acme(&self) -> (UserId, TenantId) {
        let (ann, acme) = (self.person("ann@example.com").await, self.tenant("acme").await);
        self.join(acme, ann, "owner").await;
        (ann, acme)
    }

    async fn sign_in(&self, address: &str) -> Tokens {
        self.identity.sign_in(sign_in(address)).await.unwrap()
    }

    async fn claims(&self, tokens: &Tokens) -> Arc<Claims> {
        self.identity.verify_access_token(&tokens.access_token).await.unwrap()
    }

    /// Kinds of all events, the newest first.
    async fn events(&self) -> Vec<String> {
        self.recorded().await.into_iter().map(|event| event.kind).collect()
    }

    async fn recorded(&self) -> Vec<RecordedEvent> {
        self.audit.flush().await;
        self.audit.events(&EventFilter::default()).await.unwrap()
    }
}

fn email(text: &str) -> EmailAddress {
    text.parse().unwrap()
}

fn new_user(address: &str) -> NewUser {
    NewUser {
        email: email(address),
        password_hash: None,
        first_name: "Ann".into(),
        last_name: "Smith".into(),
        email_verified: false,
    }
}

fn sign_in(address: &str) -> SignIn {
    SignIn {
        email: email(address),
        password: PASSWORD.into(),
        code: None,
        tenant: None,
        trust: DeviceTrust::default(),
        device: device(),
    }
}

fn sign_in_to(address: &str, tenant: &str) -> SignIn {
    SignIn { tenant: Some(tenant.to_owned()), ..sign_in(address) }
}

fn device() -> Device {
    Device { ip: Some("192.0.2.7".parse().unwrap()), user_agent: Some("test/1".into()) }
}

/// The one error of a refused operation, as its variant's name.
fn refusal<T>(outcome: Result<T, IdentityError>) -> &'static str {
    match outcome.err().expect("it was not refused") {
        IdentityError::WrongCredentials => "wrong credentials",
        IdentityError::InvalidToken => "invalid token",
        IdentityError::NotAMember => "not a member",
        IdentityError::EmailTaken => "email taken",
        IdentityError::InvalidInvitation => "invalid invitation",
        IdentityError::Role => "role",
        IdentityError::Unproved => "unproved",
        IdentityError::AlreadyMember => "already member",
        IdentityError::InvalidLink => "invalid link",
        IdentityError::WrongPassword => "wrong password",
        IdentityError::InvalidKey => "invalid key",
        IdentityError::NotHeld(_) => "not held",
        IdentityError::UnknownRole => "unknown role",
        IdentityError::TooManyKeys(_) => "too many keys",
        IdentityError::Organisation(refusal) => organisation_refusal(&refusal),
        IdentityError::NotFound => "not found",
        IdentityError::TooManyAttempts { .. } => "too many attempts",
        IdentityError::TooManyRequests { .. } => "too many requests",
        IdentityError::MfaRequired(_) => "mfa required",
        IdentityError::InvalidPasskey => "invalid passkey",
        IdentityError::NoPasskey => "no passkey",
        IdentityError::TooManyPasskeys(_) => "too many passkeys",
        IdentityError::NoRelyingParty => "no relying party",
        IdentityError::StepUpRequired => "step up required",
        IdentityError::SignInTooOld => "sign-in too old",
        IdentityError::WrongCode => "wrong code",
        IdentityError::FactorExists => "factor exists",
        IdentityError::UnknownOperator => "unknown operator",
        IdentityError::Name { field } | IdentityError::Field { field, .. } => field,
        IdentityError::Password(_) => "password",
        IdentityError::Dns(_) => "dns",
        IdentityError::KeyWaiting { .. } => "key waiting",
        IdentityError::Keys(why) => why,
        IdentityError::Database(error) => panic!("{error}"),
    }
}

fn organisation_refusal(refusal: &OrganisationError) -> &'static str {
    match refusal {
        OrganisationError::Twice => "twice",
        OrganisationError::TooManyInvitations(_) => "too many invitations",
        OrganisationError::Stronger => "stronger",
        OrganisationError::LastOwner => "last owner",
        OrganisationError::NotOwner => "not owner",
        OrganisationError::AlreadyOwner => "already owner",
        OrganisationError::TooManyTenants(_) => "too many tenants",
        OrganisationError::RoleTaken => "role taken",
        OrganisationError::RoleInUse { .. } => "role in use",
        OrganisationError::DomainTaken => "domain taken",
        OrganisationError::DomainUnproved => "domain unproved",
        OrganisationError::TooManyDomains(_) => "too many domains",
        OrganisationError::TooManyRoles(_) => "too many roles",
    }
}
