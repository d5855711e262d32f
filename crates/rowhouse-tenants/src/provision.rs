//! Provisioning: from a name to a tenant that is served, or to nothing.

use std::sync::Arc;
use std::time::Instant;

use rowhouse_audit::Actor;
use rowhouse_identity::{InvitationToken, NewUser};
use rowhouse_postgres::{DatabaseResult, params};
use rowhouse_types::{ApiError, EmailAddress, FieldError, InvitationId, Slug, TenantId, UserId};
use uuid::Uuid;

use crate::provision_saga::{ProvisionSaga, ProvisionState};
use crate::service::Tenants;
use crate::tenant::{Placement, Tenant};

/// Longest name of a tenant, in characters.
const NAME_LENGTH_MAX: usize = 200;
/// Numbers tried behind a slug that is taken, before a random one is suggested.
const SUGGESTIONS_MAX: u32 = 50;
/// Attempts at a slug that nobody chose: others may take each free one first.
const SLUG_ATTEMPTS_MAX: u32 = 4;

/// A tenant to be made.
#[derive(Debug, Clone)]
pub struct Provision {
    /// Its name, for people.
    pub name: String,
    /// Its name in URLs; made from the name if absent.
    pub slug: Option<Slug>,
    /// Its plan; the app's default if absent.
    pub plan: Option<String>,
    /// Where its rows shall live.
    pub placement: Placement,
    /// Who owns it.
    pub owner: ProvisionOwner,
}

/// Who owns a new tenant.
#[derive(Debug, Clone)]
pub enum ProvisionOwner {
    /// Somebody who signs up with it.
    NewUser {
        /// Their address.
        email: EmailAddress,
        /// Hash of their password.
        password_hash: String,
        /// First name.
        first_name: String,
        /// Last name.
        last_name: String,
        /// Whether the address is known to be theirs; if not, a mail asks them to prove it.
        email_verified: bool,
    },
    /// Somebody who has an account.
    User(UserId),
    /// Somebody who has to accept an invitation, or has an account already.
    Invite(EmailAddress),
    /// Nobody yet.
    Nobody,
}

/// A tenant that was made.
#[derive(Debug)]
pub struct Provisioned {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// Its owner, unless they have yet to accept.
    pub owner: Option<UserId>,
    /// The invitation to be accepted.
    pub invitation: Option<InvitationToken>,
}

/// A tenant's name as it is kept.
pub(crate) fn tenant_name(text: &str) -> Result<String, FieldError> {
    let name = text.trim();
    if (1..=NAME_LENGTH_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control) {
        return Ok(name.to_owned());
    }
    Err(FieldError::new("name", "invalid", format!("must have 1 to {NAME_LENGTH_MAX} characters")))
}

impl Tenants {
    /// [`Self::provision_by`] the system itself.
    pub async fn provision(self: &Arc<Self>, provision: Provision) -> Result<Provisioned, ApiError> {
        self.provision_by(&Actor::system(), provision).await
    }

    /// Makes a tenant and everything it needs, or nothing. A slug that nobody chose is made free.
    ///
    /// # Errors
    /// A conflict if the address is taken, or the slug: then with one that is free.
    pub async fn provision_by(self: &Arc<Self>, actor: &Actor, provision: Provision) -> Result<Provisioned, ApiError> {
        let chosen = provision.slug.is_some();
        let mut state = self.first_state(provision)?;
        state.by = Some(actor.clone());
        self.provision_from(state, chosen).await
    }

    /// Makes a tenant from what is known of it. A slug that was not `chosen` is made free.
    pub(crate) async fn provision_from(
        self: &Arc<Self>,
        mut state: ProvisionState,
        chosen: bool,
    ) -> Result<Provisioned, ApiError> {
        let started = Instant::now();
        let placement = state.placement;
        let mut attempt = 1;
        let done = loop {
            let (slug, tenant, mut again) = (state.slug.clone(), state.tenant, state.clone());
            let saga = ProvisionSaga::new(self);
            match self.drive(saga, &slug, tenant, state).await.map_err(ApiError::from) {
                Ok(done) => break done,
                Err(error) if is_slug_taken(&error) => {
                    let free = self.free_slug(&slug).await?;
                    if chosen || attempt == SLUG_ATTEMPTS_MAX {
                        return Err(slug_taken(&slug, Some(&free)));
                    }
                    again.slug = free;
                    state = again;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        };
        metrics::histogram!("rowhouse_provision_seconds", "placement" => placement.as_str()).record(started.elapsed());
        self.identity.nudge_mails();
        if placement != Placement::Pool {
            self.taken.notify_one();
        }
        // The name may have been asked for, and not found, a moment ago.
        self.registry.forget(done.tenant, done.slug.as_str()).await;
        self.provisioned(done).await
    }

    pub(crate) fn first_state(&self, provision: Provision) -> Result<ProvisionState, ApiError> {
        let Provision { name, slug, plan, placement, owner } = provision;
        let mut faults = Vec::new();
        let name = tenant_name(&name).map_err(|fault| faults.push(fault)).unwrap_or_default();
        let slug = slug.or_else(|| Slug::from_name(&name)).unwrap_or_else(random_slug);
        // Whoever looks a tenant up gives its id or its slug; one must never pass for the other.
        if slug.as_str().parse::<TenantId>().is_ok() {
            faults.push(FieldError::new("slug", "not_allowed", "must not look like an id"));
        }
        let plan = self.known_plan(plan).map_err(|fault| faults.push(fault)).unwrap_or_default();
        if !faults.is_empty() {
            return Err(ApiError::validation(faults));
        }
        let mut state = ProvisionState::new(name, slug, plan, placement);
        match owner {
            ProvisionOwner::NewUser { email, password_hash, first_name, last_name, email_verified } => {
                let password_hash = Some(password_hash);
                state.new_owner = Some(NewUser { email, password_hash, first_name, last_name, email_verified });
            }
            ProvisionOwner::User(user) => state.owner = Some(user),
            ProvisionOwner::Invite(email) => state.invite = Some((InvitationId::generate(), email)),
            ProvisionOwner::Nobody => {}
        }
        Ok(state)
    }

    fn known_plan(&self, named: Option<String>) -> Result<String, FieldError> {
        let plans = &self.app.manifest.plans;
        match named {
            None => Ok(self.app.manifest.default_plan().to_owned()),
            Some(plan) if plans.contains_key(&plan) => Ok(plan),
            Some(plan) => {
                let known: Vec<&str> = plans.keys().map(String::as_str).collect();
                let hint = rowhouse_types::did_you_mean(&plan, known.iter().copied());
                let message = format!("there is no such plan; known are {}.{hint}", known.join(", "));
                Err(FieldError::new("plan", "not_allowed", message))
            }
        }
    }

    async fn provisioned(&self, done: ProvisionState) -> Result<Provisioned, ApiError> {
        let tenant = self.find(&done.tenant.to_string()).await?.ok_or_else(ApiError::not_found)?;
        let pending = done.invite.filter(|_| done.owner.is_none());
        let invitation = pending.map(|(id, _)| self.identity.invitation_token(done.tenant, id));
        Ok(Provisioned { tenant, owner: done.owner, invitation })
    }

    /// A slug like this one that nobody has now; whoever comes first may take it.
    pub async fn free_slug(&self, like: &Slug) -> DatabaseResult<Slug> {
        const TAKEN: &str = "select slug from control.tenants where slug = any($1)";
        let numbered = (2..SUGGESTIONS_MAX).filter_map(|number| numbered(like, number));
        let candidates: Vec<Slug> = std::iter::once(like.clone()).chain(numbered).collect();
        let names: Vec<String> = candidates.iter().map(Slug::to_string).collect();
        let rows = self.control("suggest a slug").await?.query(TAKEN, params![names]).await?;
        let taken: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        Ok(candidates.into_iter().find(|slug| !taken.contains(&slug.as_str())).unwrap_or_else(random_slug))
    }
}

/// `acme-2` from `acme`, cut so that it stays a slug.
fn numbered(slug: &Slug, number: u32) -> Option<Slug> {
    let tail = format!("-{number}");
    let kept = slug.as_str().len().min(Slug::LENGTH_MAX - tail.len());
    format!("{}{tail}", slug.as_str()[..kept].trim_end_matches('-')).parse().ok()
}

fn random_slug() -> Slug {
    let id = Uuid::new_v4().simple().to_string();
    format!("t-{}", &id[..12]).parse().expect("hexadecimal digits make a slug")
}

/// The conflict of whoever came second.
pub(crate) fn slug_taken(slug: &Slug, free: Option<&Slug>) -> ApiError {
    let message = match free {
        Some(free) => format!("The name \"{slug}\" is taken. \"{free}\" is free."),
        None => format!("The name \"{slug}\" is taken. Choose another."),
    };
    ApiError::conflict(message).with_details(vec![FieldError::new("slug", "taken", "is taken")])
}

fn is_slug_taken(error: &ApiError) -> bool {
    error.details.iter().any(|detail| detail.field == "slug" && detail.code == "taken")
}
