//! The saga of provisioning: reserve, place, seed, activate.
//!
//! For the pool it costs three commits: the reservation with the saga itself, the seed, the
//! activation; a new schema costs two more, its own and that of its row among the targets. Must
//! never keep a password's hash in its state, which is written.

use std::sync::{Arc, Weak};

use rowhouse_audit::{Actor, AuditEntry};
use rowhouse_identity::{
    IdentityError, NewUser, invitation_create, membership_create, user_create, user_find_by_email,
};
use rowhouse_jobs::{Saga, StepError, StepOutcome};
use rowhouse_postgres::{DatabaseResult, Location, SystemConnection, params};
use rowhouse_types::{ApiError, EmailAddress, InvitationId, RoleKey, Slug, TenantId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::claim::{claim_take, claim_taken, claim_undo};
use crate::provision::slug_taken;
use crate::service::{Tenants, TenantsError};
use crate::target::{Target, TargetKind, target_claim, target_delete, targets_put};
use crate::tenant::Placement;

/// The service behind a saga.
pub(crate) type Shared = Weak<Tenants>;

/// The service, unless the process is ending.
pub(crate) fn upgrade(shared: &Shared) -> Result<Arc<Tenants>, StepError> {
    use rowhouse_postgres::DatabaseError;
    shared.upgrade().ok_or_else(|| DatabaseError::Unavailable("the process is ending".into()).into())
}

impl From<TenantsError> for StepError {
    fn from(error: TenantsError) -> Self {
        match error {
            TenantsError::Database(error) | TenantsError::App(rowhouse_app::AppError::Database(error)) => {
                Self::Database(error)
            }
            other => Self::Refused(ApiError::internal(other)),
        }
    }
}

/// What the saga knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProvisionState {
    pub(crate) tenant: TenantId,
    pub(crate) name: String,
    pub(crate) slug: Slug,
    plan: String,
    pub(crate) placement: Placement,
    pub(crate) owner: Option<UserId>,
    /// Set until the first step has made the person; never written.
    #[serde(skip)]
    pub(crate) new_owner: Option<NewUser>,
    owner_is_new: bool,
    /// Who makes the tenant. The first step writes it to the audit log and is recorded with the
    /// saga itself, so whoever takes the saga over has nothing more to tell.
    #[serde(skip)]
    pub(crate) by: Option<Actor>,
    pub(crate) invite: Option<(InvitationId, EmailAddress)>,
    /// For which of another provider's objects it is made: only one tenant is made for each.
    #[serde(default)]
    pub(crate) claim: Option<String>,
    place: Option<Place>,
}

/// A location as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    cluster: String,
    database: String,
    schema: String,
}

impl Place {
    pub(crate) fn of(location: &Location) -> Self {
        let Location { cluster, database, schema } = location;
        Self { cluster: cluster.to_string(), database: database.to_string(), schema: schema.to_string() }
    }

    pub(crate) fn location(&self) -> Location {
        Location::new(&self.cluster, &self.database, &self.schema)
    }
}

impl ProvisionState {
    pub(crate) fn new(name: String, slug: Slug, plan: String, placement: Placement) -> Self {
        Self {
            tenant: TenantId::generate(),
            name,
            slug,
            plan,
            placement,
            owner: None,
            new_owner: None,
            owner_is_new: false,
            by: None,
            invite: None,
            claim: None,
            place: None,
        }
    }
}

/// The kinds of a placement's targets: of a tenant, and prepared. None for the pool.
fn kinds(placement: Placement) -> Option<(TargetKind, TargetKind)> {
    match placement {
        Placement::Pool => None,
        Placement::Schema => Some((TargetKind::Schema, TargetKind::PreparedSchema)),
        Placement::Database => Some((TargetKind::Database, TargetKind::PreparedDatabase)),
    }
}

pub(crate) struct ProvisionSaga {
    shared: Shared,
}

impl ProvisionSaga {
    pub(crate) fn new(tenants: &Arc<Tenants>) -> Self {
        Self { shared: Arc::downgrade(tenants) }
    }

    /// The person and the tenant's row: whoever is second with a slug waits for the first's
    /// commit and is refused here.
    async fn reserve(state: &mut ProvisionState, control: &SystemConnection) -> Result<StepOutcome, StepError> {
        const INSERT: &str = "
            insert into control.tenants (id, name, slug, status, plan, placement)
            values ($1, $2, $3, 'provisioning', $4, $5) on conflict (slug) do nothing returning 1";
        let (slug, placement) = (state.slug.as_str(), state.placement.as_str());
        let values = params![state.tenant, state.name.as_str(), slug, state.plan.as_str(), placement];
        if control.query_opt(INSERT, values).await?.is_none() {
            return Err(StepError::Refused(slug_taken(&state.slug, None)));
        }
        if let Some(claim) = &state.claim
            && !claim_take(control, claim, state.tenant).await?
        {
            return Err(StepError::Refused(claim_taken()));
        }
        if let Some(new) = state.new_owner.take() {
            state.owner = Some(user_create(control, &new).await.map_err(ApiError::from)?);
            state.owner_is_new = true;
        }
        if let Some((_, email)) = &state.invite {
            let found = user_find_by_email(control, email).await.map_err(ApiError::from)?;
            if found.is_some_and(|person| !person.active) {
                return Err(StepError::Refused(ApiError::conflict(
                    "The owner's address belongs to a person who was deactivated. Name somebody else.",
                )));
            }
            state.owner = found.map(|person| person.id);
        }
        if let Some(actor) = state.by.take() {
            created(actor, state).write(control).await?;
        }
        Ok(StepOutcome::Done)
    }

    /// A prepared place if there is one, else a new one.
    async fn place(&self, state: &mut ProvisionState, control: &SystemConnection) -> Result<StepOutcome, StepError> {
        let tenants = upgrade(&self.shared)?;
        let Some((kind, prepared)) = kinds(state.placement) else {
            state.place = Some(Place::of(&tenants.databases.pool_location()));
            return Ok(StepOutcome::Nothing);
        };
        if let Some(location) = target_claim(control, prepared, kind, state.tenant, tenants.version()).await? {
            state.place = Some(Place::of(&location));
            return Ok(StepOutcome::DoneWith(json!({ "prepared": true, "place": state.place })));
        }
        // The name follows from the tenant's id: an attempt after a crash finds what was left.
        let name = tenants.place_name(kind, state.tenant.uuid());
        let record = async |mut target: Target| {
            target.tenant = Some(state.tenant);
            targets_put(control, &[target]).await
        };
        let location = match (kind, tenants.foreseen_schema(&name)) {
            // What it will be is known: it is recorded while it is made. Neither stays without the other.
            (TargetKind::Schema, Some(foreseen)) => {
                let (made, recorded) = tokio::join!(tenants.create_schema(&name), record(foreseen));
                recorded?;
                made?.location
            }
            (kind, _) => {
                let made = match kind {
                    TargetKind::Schema => tenants.create_schema(&name).await?,
                    _ => tenants.create_database(&name).await?,
                };
                record(made.clone()).await?;
                made.location
            }
        };
        state.place = Some(Place::of(&location));
        let output = json!({ "prepared": false, "place": state.place });
        // A schema is made anew in a moment, if need be; a database is not.
        Ok(if kind == TargetKind::Schema { StepOutcome::NothingWith(output) } else { StepOutcome::DoneWith(output) })
    }

    /// The owner as a member where the rows live, and the rows that every tenant starts with.
    async fn seed(&self, state: &ProvisionState, control: &SystemConnection) -> Result<StepOutcome, StepError> {
        const PERSON: &str = "select trim(first_name || ' ' || last_name), email from control.users where id = $1";
        const MEMBER: &str = "
            insert into rowhouse.members (tenant_id, user_id, role, display_name, email) values ($1, $2, 'owner', $3, $4)
            on conflict (tenant_id, user_id) do nothing";
        let tenants = upgrade(&self.shared)?;
        let context = tenants.authority.context(state.tenant, location_of(&tenants, state));
        let connection = tenants.databases.tenant(&context).await?;
        let onboarding = tenants.app.onboarding.as_deref();
        if let Some(owner) = state.owner {
            let row = control.query_opt(PERSON, params![owner]).await?;
            let (name, email): (String, String) = row.map_or_else(Default::default, |row| (row.get(0), row.get(1)));
            let transaction = connection.begin().await?;
            transaction.query(MEMBER, params![state.tenant, owner, name, email]).await?;
            if let Some(onboarding) = onboarding {
                transaction.batch(onboarding).await?;
            }
            transaction.commit().await?;
        } else if let Some(onboarding) = onboarding {
            connection.run_batch(onboarding).await?;
        }
        // Idempotent and quick: not worth a commit beside its own.
        Ok(StepOutcome::Nothing)
    }

    async fn activate(&self, state: &ProvisionState, control: &SystemConnection) -> Result<StepOutcome, StepError> {
        const ACTIVATE: &str = "
            update control.tenants set status = 'active', cluster = $2, database = $3, schema = $4, updated_at = now()
            where id = $1";
        let tenants = upgrade(&self.shared)?;
        let Location { cluster, database, schema } = location_of(&tenants, state);
        let values = params![state.tenant, &*cluster, &*database, &*schema];
        let activate = async { control.query(ACTIVATE, values).await.map_err(StepError::from) };
        let owner = RoleKey::new("owner");
        let welcome = async {
            if let Some(user) = state.owner {
                membership_create(control, state.tenant, user, &owner).await?;
                if state.owner_is_new {
                    tenants.identity.ask_to_verify(control, user).await?;
                }
            } else if let Some((id, email)) = &state.invite {
                invitation_create(control, *id, state.tenant, email, &owner, None).await?;
                tenants.identity.mail_invitation(control, state.tenant, *id).await?;
            }
            Ok::<(), IdentityError>(())
        };
        // Neither reads what the other changes: they share round trips. In order, because after a
        // failure the second only hears that the transaction is aborted.
        let (activated, welcomed) = tokio::join!(biased; activate, welcome);
        activated?;
        welcomed.map_err(ApiError::from)?;
        Ok(StepOutcome::Done)
    }

    async fn undo_place(&self, state: &ProvisionState, control: &SystemConnection) -> Result<(), StepError> {
        let tenants = upgrade(&self.shared)?;
        let Some((kind, _)) = kinds(state.placement) else { return Ok(()) };
        // The step may have died between making the place and recording it.
        let recorded = state.place.as_ref().map(Place::location);
        let location = recorded.unwrap_or_else(|| {
            let pool = tenants.databases.pool_location();
            let name = tenants.place_name(kind, state.tenant.uuid());
            match kind {
                TargetKind::Schema => Location { schema: name.into(), ..pool },
                _ => Location::new(&pool.cluster, &name, "app"),
            }
        });
        tenants.drop_place(state.placement, &location).await?;
        target_delete(control, &location).await?;
        Ok(())
    }
}

impl Tenants {
    /// Removes a tenant's own place; the pool stays.
    pub(crate) async fn drop_place(&self, placement: Placement, location: &Location) -> DatabaseResult<()> {
        match placement {
            Placement::Pool => Ok(()),
            Placement::Schema => self.drop_schema(location).await,
            Placement::Database => self.drop_database(location).await,
        }
    }
}

fn location_of(tenants: &Tenants, state: &ProvisionState) -> Location {
    state.place.as_ref().map_or_else(|| tenants.databases.pool_location(), Place::location)
}

impl Saga for ProvisionSaga {
    type State = ProvisionState;

    fn name(&self) -> &'static str {
        "provision"
    }

    fn steps(&self) -> &'static [&'static str] {
        &["reserve", "place", "seed", "activate"]
    }

    async fn run(
        &self,
        step: &'static str,
        state: &mut ProvisionState,
        control: &SystemConnection,
    ) -> Result<StepOutcome, StepError> {
        match step {
            "reserve" => Self::reserve(state, control).await,
            "place" => self.place(state, control).await,
            "seed" => self.seed(state, control).await,
            _ => self.activate(state, control).await,
        }
    }

    async fn undo(
        &self,
        step: &'static str,
        state: &mut ProvisionState,
        control: &SystemConnection,
    ) -> Result<(), StepError> {
        let tenants = upgrade(&self.shared)?;
        match step {
            "activate" => undo_activate(state, control).await?,
            // A database of its own goes as a whole; a schema shares the platform's tables.
            "seed" if state.placement == Placement::Database => {}
            "seed" => tenants.delete_rows(state.tenant, &location_of(&tenants, state)).await?,
            "place" => self.undo_place(state, control).await?,
            _ => undo_reserve(state, control).await?,
        }
        tenants.registry.forget(state.tenant, state.slug.as_str()).await;
        Ok(())
    }
}

/// The line of the audit log about a tenant that is made. Who signs up with it does it themselves.
fn created(actor: Actor, state: &ProvisionState) -> AuditEntry {
    let actor = match state.owner.filter(|_| state.owner_is_new) {
        Some(owner) => actor.become_user(owner),
        None => actor,
    };
    let (slug, plan, placement) = (&state.slug, &state.plan, state.placement);
    let details = json!({ "slug": slug, "plan": plan, "placement": placement });
    actor.did("create_tenant").on_tenant(state.tenant).with_details(details)
}

async fn undo_activate(state: &ProvisionState, control: &SystemConnection) -> DatabaseResult<()> {
    control.query("delete from control.memberships where tenant_id = $1", params![state.tenant]).await?;
    control.query("delete from control.invitations where tenant_id = $1", params![state.tenant]).await?;
    Ok(())
}

async fn undo_reserve(state: &ProvisionState, control: &SystemConnection) -> DatabaseResult<()> {
    const PERSON: &str = "
        delete from control.users u where u.id = $1
        and not exists (select 1 from control.memberships m where m.user_id = u.id)";
    if control.execute("delete from control.tenants where id = $1", params![state.tenant]).await? > 0 {
        // Its line in the audit log stays: it was begun, and this is what became of it.
        Actor::system().did("undo_create_tenant").on_tenant(state.tenant).write(control).await?;
    }
    if let Some(claim) = &state.claim {
        claim_undo(control, claim, state.tenant).await?;
    }
    if let Some(user) = state.owner.filter(|_| state.owner_is_new) {
        control.query(PERSON, params![user]).await?;
    }
    Ok(())
}
