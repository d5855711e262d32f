//! Provisioning: from a name to a tenant that is served.

use std::sync::Arc;

use rowhouse_identity::{
    InvitationToken, NewUser, invitation_create, membership_create, user_create, user_find_by_email,
};
use rowhouse_jobs::{Saga, StepError, StepOutcome};
use rowhouse_postgres::{ConstraintKind, DatabaseError, DatabaseResult, Location, SystemConnection, params};
use rowhouse_types::{ApiError, EmailAddress, FieldError, InvitationId, RoleKey, Slug, TenantId, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::place::{Shared, upgrade};
use crate::service::Tenants;
use crate::target::{TargetKind, target_claim, target_delete, target_put};
use crate::tenant::{Placement, Tenant};

/// Names tried for a slug that was made from a name and is taken.
const SLUG_ATTEMPTS_MAX: u32 = 20;

/// A tenant to be made.
#[derive(Debug, Clone)]
pub struct Provision {
    /// Its name, for people.
    pub name: String,
    /// Its name in URLs; made from the name, and made free, if absent.
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
    },
    /// Somebody who has an account.
    User(UserId),
    /// Somebody who has to accept an invitation, or has an account already.
    Invite(EmailAddress),
    /// Nobody yet.
    Nobody,
}

/// A tenant that was made.
pub struct Provisioned {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// Its owner, unless they have yet to accept.
    pub owner: Option<UserId>,
    /// The invitation to be accepted.
    pub invitation: Option<InvitationToken>,
}

/// What the saga knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    tenant: TenantId,
    name: String,
    slug: Slug,
    plan: String,
    placement: Placement,
    owner: Option<UserId>,
    /// Set until the first step has made the person; never written.
    #[serde(skip)]
    new_owner: Option<NewUser>,
    owner_is_new: bool,
    invite: Option<(InvitationId, EmailAddress)>,
    place: Option<Place>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Place {
    cluster: String,
    database: String,
    schema: String,
}

impl Place {
    fn location(&self) -> Location {
        Location::new(&self.cluster, &self.database, &self.schema)
    }

    fn of(location: &Location) -> Self {
        let Location { cluster, database, schema } = location;
        Self { cluster: cluster.to_string(), database: database.to_string(), schema: schema.to_string() }
    }
}

pub(crate) struct ProvisionSaga {
    shared: Shared,
}

impl Tenants {
    /// Makes a tenant and everything it needs, or nothing.
    ///
    /// # Errors
    /// A conflict if the slug or the address is taken.
    pub async fn provision(self: &Arc<Self>, provision: Provision) -> Result<Provisioned, ApiError> {
        let plan = self.known_plan(provision.plan)?;
        let named = provision.slug.is_some();
        let mut slug = match provision.slug {
            Some(slug) => slug,
            None => Slug::from_name(&provision.name).unwrap_or_else(random_slug),
        };
        let mut state = State {
            tenant: TenantId::generate(),
            name: provision.name,
            slug: slug.clone(),
            plan,
            placement: provision.placement,
            owner: None,
            new_owner: None,
            owner_is_new: false,
            invite: None,
            place: None,
        };
        match provision.owner {
            ProvisionOwner::NewUser { email, password_hash, first_name, last_name } => {
                state.new_owner = Some(NewUser { email, password_hash: Some(password_hash), first_name, last_name });
            }
            ProvisionOwner::User(user) => state.owner = Some(user),
            ProvisionOwner::Invite(email) => state.invite = Some((InvitationId::generate(), email)),
            ProvisionOwner::Nobody => {}
        }
        let saga = ProvisionSaga { shared: Arc::downgrade(self) };
        for attempt in 2..SLUG_ATTEMPTS_MAX + 2 {
            let run = self.engine.run(
                &saga,
                slug.as_str(),
                Some(state.tenant),
                State { slug: slug.clone(), ..state.clone() },
            );
            match run.await.map_err(ApiError::from) {
                Ok(done) => return self.provisioned(done).await,
                // A slug that nobody chose may be another.
                Err(error) if !named && is_slug_taken(&error) => {
                    slug = format!("{}-{attempt}", state.slug).parse().unwrap_or_else(|_| random_slug());
                }
                Err(error) => return Err(error),
            }
        }
        Err(slug_taken(&slug))
    }

    fn known_plan(&self, named: Option<String>) -> Result<String, ApiError> {
        let plans = &self.app.manifest.plans;
        match named {
            None => Ok(self.app.manifest.default_plan().to_owned()),
            Some(plan) if plans.contains_key(&plan) => Ok(plan),
            Some(plan) => {
                let known: Vec<&str> = plans.keys().map(String::as_str).collect();
                let hint = rowhouse_types::did_you_mean(&plan, known.iter().copied());
                let message = format!("there is no such plan; known are {}.{hint}", known.join(", "));
                Err(ApiError::validation(vec![FieldError::new("plan", "not_allowed", message)]))
            }
        }
    }

    async fn provisioned(&self, done: State) -> Result<Provisioned, ApiError> {
        self.registry.forget(done.tenant, done.slug.as_str()).await;
        let tenant = self.find(&done.tenant.to_string()).await?.ok_or_else(ApiError::not_found)?;
        let pending = done.invite.filter(|_| done.owner.is_none());
        let invitation = pending.map(|(id, _)| self.identity.invitation_token(done.tenant, id));
        Ok(Provisioned { tenant, owner: done.owner, invitation })
    }
}

fn random_slug() -> Slug {
    let id = Uuid::new_v4().simple().to_string();
    format!("t-{}", &id[..12]).parse().expect("hexadecimal digits make a slug")
}

fn slug_taken(slug: &Slug) -> ApiError {
    ApiError::conflict(format!("The name {slug:?} is taken. Choose another."))
        .with_details(vec![FieldError::new("slug", "taken", "is taken")])
}

fn is_slug_taken(error: &ApiError) -> bool {
    error.details.iter().any(|detail| detail.field == "slug" && detail.code == "taken")
}

impl ProvisionSaga {
    pub(crate) fn new(tenants: &Arc<Tenants>) -> Self {
        Self { shared: Arc::downgrade(tenants) }
    }

    /// The person and the tenant's row: whoever is second with a slug is refused here.
    async fn reserve(state: &mut State, control: &SystemConnection) -> Result<StepOutcome, StepError> {
        const INSERT: &str = "
            insert into control.tenants (id, name, slug, status, plan, placement) values ($1, $2, $3, 'provisioning', $4, $5)
            on conflict (slug) do nothing returning 1";
        let (slug, placement) = (state.slug.as_str(), state.placement.as_str());
        let values = params![state.tenant, state.name.as_str(), slug, state.plan.as_str(), placement];
        match control.query_opt(INSERT, values).await {
            Ok(Some(_)) => {}
            Ok(None) => return Err(StepError::Refused(slug_taken(&state.slug))),
            Err(DatabaseError::Constraint(violated)) if violated.kind == ConstraintKind::Unique => {
                return Err(StepError::Refused(slug_taken(&state.slug)));
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(new) = state.new_owner.clone() {
            state.owner = Some(user_create(control, &new).await.map_err(ApiError::from)?);
            state.owner_is_new = true;
        }
        if let Some((_, email)) = &state.invite {
            state.owner = user_find_by_email(control, email).await.map_err(ApiError::from)?;
        }
        Ok(StepOutcome::Done)
    }

    async fn place(&self, state: &mut State, control: &SystemConnection) -> Result<StepOutcome, StepError> {
        let tenants = upgrade(&self.shared)?;
        let (kind, prepared) = match state.placement {
            Placement::Pool => {
                state.place = Some(Place::of(&tenants.databases.pool_location()));
                return Ok(StepOutcome::Nothing);
            }
            Placement::Schema => (TargetKind::Schema, TargetKind::PreparedSchema),
            Placement::Database => (TargetKind::Database, TargetKind::PreparedDatabase),
        };
        let release = tenants.app.release();
        if let Some(location) = target_claim(control, prepared, kind, state.tenant, &release).await? {
            state.place = Some(Place::of(&location));
            return Ok(StepOutcome::Done);
        }
        // The name follows from the tenant's id: an attempt after a crash finds what was left.
        let name = tenants.place_name(kind, state.tenant.uuid());
        let location = match kind {
            TargetKind::Schema => tenants.create_schema(&name).await?,
            _ => tenants.create_database(&name).await?,
        };
        let mut target = tenants.new_target(location.clone(), kind).await?;
        target.tenant = Some(state.tenant);
        target_put(control, &target).await?;
        state.place = Some(Place::of(&location));
        Ok(StepOutcome::Done)
    }

    /// The owner as a member where the rows live, and the rows that every tenant starts with.
    async fn seed(&self, state: &mut State, control: &SystemConnection) -> Result<StepOutcome, StepError> {
        const PERSON: &str = "select trim(first_name || ' ' || last_name), email from control.users where id = $1";
        const MEMBER: &str = "
            insert into rowhouse.members (tenant_id, user_id, role, display_name, email) values ($1, $2, 'owner', $3, $4)
            on conflict (tenant_id, user_id) do nothing";
        let tenants = upgrade(&self.shared)?;
        let location = location_of(&tenants, state);
        let context = tenants.authority.context(state.tenant, location);
        let transaction = tenants.databases.tenant(&context).await?.begin().await?;
        if let Some(owner) = state.owner {
            let row = control.query_opt(PERSON, params![owner]).await?;
            let (name, email): (String, String) = row.map_or_else(Default::default, |row| (row.get(0), row.get(1)));
            transaction.query(MEMBER, params![state.tenant, owner, name, email]).await?;
        }
        if let Some(onboarding) = &tenants.app.onboarding {
            transaction.batch(onboarding).await?;
        }
        transaction.commit().await?;
        Ok(StepOutcome::Nothing)
    }

    async fn activate(&self, state: &mut State, control: &SystemConnection) -> Result<StepOutcome, StepError> {
        const ACTIVATE: &str = "
            update control.tenants set status = 'active', cluster = $2, database = $3, schema = $4, updated_at = now() where id = $1";
        let tenants = upgrade(&self.shared)?;
        let location = location_of(&tenants, state);
        let Location { cluster, database, schema } = &location;
        control.query(ACTIVATE, params![state.tenant, &**cluster, &**database, &**schema]).await?;
        let owner = RoleKey::new("owner");
        if let Some(user) = state.owner {
            membership_create(control, state.tenant, user, &owner).await.map_err(ApiError::from)?;
        } else if let Some((id, email)) = &state.invite {
            invitation_create(control, *id, state.tenant, email, &owner, None).await.map_err(ApiError::from)?;
        }
        tenants.registry.forget(state.tenant, state.slug.as_str()).await;
        Ok(StepOutcome::Done)
    }

    async fn undo_place(&self, state: &State, control: &SystemConnection) -> Result<(), StepError> {
        let tenants = upgrade(&self.shared)?;
        let kind = match state.placement {
            Placement::Pool => return Ok(()),
            Placement::Schema => TargetKind::Schema,
            Placement::Database => TargetKind::Database,
        };
        // The step may have died between making the place and recording it.
        let recorded = state.place.as_ref().map(Place::location);
        let pool = tenants.databases.pool_location();
        let name = tenants.place_name(kind, state.tenant.uuid());
        let location = recorded.unwrap_or_else(|| match kind {
            TargetKind::Schema => Location { schema: name.as_str().into(), ..pool },
            _ => Location::new(&pool.cluster, &name, "app"),
        });
        match kind {
            TargetKind::Schema => tenants.drop_schema(&location).await?,
            _ => tenants.drop_database(&location).await?,
        }
        target_delete(control, &location).await?;
        Ok(())
    }
}

fn location_of(tenants: &Tenants, state: &State) -> Location {
    state.place.as_ref().map_or_else(|| tenants.databases.pool_location(), Place::location)
}

impl Saga for ProvisionSaga {
    type State = State;

    fn name(&self) -> &'static str {
        "provision"
    }

    fn steps(&self) -> &'static [&'static str] {
        &["reserve", "place", "seed", "activate"]
    }

    async fn run(
        &self,
        step: &'static str,
        state: &mut State,
        control: &SystemConnection,
    ) -> Result<StepOutcome, StepError> {
        match step {
            "reserve" => Self::reserve(state, control).await,
            "place" => self.place(state, control).await,
            "seed" => self.seed(state, control).await,
            _ => self.activate(state, control).await,
        }
    }

    async fn undo(&self, step: &'static str, state: &mut State, control: &SystemConnection) -> Result<(), StepError> {
        let tenants = upgrade(&self.shared)?;
        match step {
            "activate" => undo_activate(state, control).await?,
            "seed" => {
                let location = location_of(&tenants, state);
                tenants.delete_rows(state.tenant, &location).await?;
            }
            "place" => self.undo_place(state, control).await?,
            _ => undo_reserve(state, control).await?,
        }
        tenants.registry.forget(state.tenant, state.slug.as_str()).await;
        Ok(())
    }
}

async fn undo_activate(state: &State, control: &SystemConnection) -> DatabaseResult<()> {
    control.query("delete from control.memberships where tenant_id = $1", params![state.tenant]).await?;
    control.query("delete from control.invitations where tenant_id = $1", params![state.tenant]).await?;
    Ok(())
}

async fn undo_reserve(state: &State, control: &SystemConnection) -> DatabaseResult<()> {
    const PERSON: &str = "
        delete from control.users u where u.id = $1
        and not exists (select 1 from control.memberships m where m.user_id = u.id)";
    control.query("delete from control.tenants where id = $1", params![state.tenant]).await?;
    if let Some(user) = state.owner.filter(|_| state.owner_is_new) {
        control.query(PERSON, params![user]).await?;
    }
    Ok(())
}
