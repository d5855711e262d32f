//! Clerk's users as people of ours.

use rowhouse_audit::Actor;
use rowhouse_postgres::{DatabaseResult, SystemConnection, params};
use rowhouse_tenants::{Placement, Provision, ProvisionOwner};
use rowhouse_types::{EmailAddress, TenantId, UserId};
use serde_json::Value;

use crate::clerk_id::PersonId;
use crate::error::ClerkError;
use crate::event::Person;
use crate::seen::{State, seen_deleted, seen_lock, seen_take};
use crate::service::Clerk;

/// Most tenants of one person that are brought in step after a change.
const TENANTS_MAX: i64 = 1000;

/// The address of somebody who has none that may be used: nobody gets mails there (RFC 2606).
fn no_address(user: UserId) -> String {
    format!("{user}@clerk.invalid")
}

/// The person of ours, made if need be from their names, in the caller's transaction, which holds
/// the person's lock. None for somebody who is gone.
pub(crate) async fn person_ensure(
    connection: &SystemConnection,
    id: &PersonId,
    (first, last): (&str, &str),
) -> DatabaseResult<Option<UserId>> {
    const FIND: &str = "select user_id from control.clerk_users where clerk_id = $1";
    const MAKE: &str = "insert into control.users (id, email, first_name, last_name) values ($1, $2, $3, $4)";
    if let Some(row) = connection.query_opt(FIND, params![id.as_str()]).await? {
        return Ok(Some(UserId::from_uuid(row.get(0))));
    }
    if seen_deleted(connection, id.as_str()).await? {
        return Ok(None);
    }
    let user = UserId::generate();
    connection.query(MAKE, params![user, no_address(user), first, last]).await?;
    link(connection, id, user).await?;
    Ok(Some(user))
}

async fn link(connection: &SystemConnection, id: &PersonId, user: UserId) -> DatabaseResult<()> {
    const LINK: &str = "insert into control.clerk_users (clerk_id, user_id) values ($1, $2)";
    connection.query(LINK, params![id.as_str(), user]).await.map(drop)
}

/// Somebody who was here before Clerk, by an address that both have proved. An account with a
/// password whose address nobody proved may be a stranger's.
async fn known_before(connection: &SystemConnection, email: &EmailAddress) -> DatabaseResult<Option<UserId>> {
    const FIND: &str = "
        select u.id from control.users u
        where u.email = $1 and u.active and (u.email_verified_at is not null or u.password_hash is null)
          and not exists (select 1 from control.clerk_users c where c.user_id = u.id)";
    let row = connection.query_opt(FIND, params![email.as_str()]).await?;
    Ok(row.map(|row| UserId::from_uuid(row.get(0))))
}

/// Takes over what Clerk says of a person.
async fn write(connection: &SystemConnection, user: UserId, person: &Person) -> DatabaseResult<()> {
    // Somebody who only said that it is theirs gives way.
    const EVICT: &str = "
        update control.users u set email = u.id || '@clerk.invalid'
        where u.email = $1 and u.id <> $2 and u.email_verified_at is null
          and exists (select 1 from control.clerk_users c where c.user_id = u.id)";
    const TAKEN: &str = "select 1 from control.users where email = $1 and id <> $2";
    const WRITE: &str = "
        update control.users set email = $2, first_name = $3, last_name = $4, avatar_url = $5, phone = $6,
               metadata = $7, active = $8,
               email_verified_at = case when $9 then coalesce(case when email = $2 then email_verified_at end, now()) end
        where id = $1";
    let given = person.email.as_ref().and_then(|(text, proved)| Some((text.parse::<EmailAddress>().ok()?, *proved)));
    if let Some((email, true)) = &given {
        connection.query(EVICT, params![email.as_str(), user]).await?;
    }
    let free = match &given {
        Some((email, _)) => connection.query_opt(TAKEN, params![email.as_str(), user]).await?.is_none(),
        None => false,
    };
    let (email, proved) = match given {
        Some((email, proved)) if free => (email.as_str().to_owned(), proved),
        Some(_) => {
            tracing::warn!(person = %person.id, "the address of a person at Clerk is another person's here");
            (no_address(user), false)
        }
        None => (no_address(user), false),
    };
    let (first, last) = (person.names.0.as_str(), person.names.1.as_str());
    let metadata = Value::Object(person.public_metadata.clone());
    let (avatar, phone) = (person.avatar_url.as_deref(), person.phone.as_deref());
    connection.query(WRITE, params![user, email, first, last, avatar, phone, metadata, !person.banned, proved]).await?;
    Ok(())
}

/// Memberships that were offered here, to an address that is now proved to be theirs.
async fn accept_invitations(connection: &SystemConnection, email: &EmailAddress, user: UserId) -> DatabaseResult<()> {
    const ACCEPT: &str = "
        with accepted as (
            update control.invitations set accepted_at = now()
            where email = $1 and accepted_at is null and expires_at > now() returning tenant_id, role)
        insert into control.memberships as m (tenant_id, user_id, role)
        select distinct on (tenant_id) tenant_id, $2, role from accepted
        on conflict (tenant_id, user_id) do update set role = excluded.role, active = true, joined_at = now()
        where not m.active returning m.tenant_id";
    let actor = Actor::user(user);
    for row in connection.query(ACCEPT, params![email.as_str(), user]).await? {
        actor.did("accept_invitation").on_tenant(TenantId::from_uuid(row.get(0))).write(connection).await?;
    }
    Ok(())
}

impl Clerk {
    /// Takes a state of a person; an older one than is known changes nothing.
    pub(crate) async fn apply_person(&self, person: &Person) -> Result<(), ClerkError> {
        let mut connection = self.control("apply a person").await?;
        connection.begin().await?;
        seen_lock(&connection, person.id.as_str()).await?;
        if seen_take(&connection, person.id.as_str(), State::At(person.version)).await? {
            let proved = person.email.as_ref().filter(|(_, proved)| *proved);
            let email = proved.and_then(|(text, _)| text.parse::<EmailAddress>().ok());
            let user = self.find_or_make(&connection, person, email.as_ref()).await?;
            if let Some(user) = user {
                write(&connection, user, person).await?;
                if let Some(email) = email.filter(|_| !person.banned) {
                    accept_invitations(&connection, &email, user).await?;
                }
                Actor::system().did("apply_clerk_user").on("user", user).write(&connection).await?;
            }
        }
        connection.commit().await?;
        drop(connection);
        self.person_changed(&person.id).await
    }

    async fn find_or_make(
        &self,
        connection: &SystemConnection,
        person: &Person,
        email: Option<&EmailAddress>,
    ) -> Result<Option<UserId>, ClerkError> {
        const LINKED: &str = "select 1 from control.clerk_users where clerk_id = $1";
        let linked = connection.query_opt(LINKED, params![person.id.as_str()]).await?.is_some();
        if let Some(email) = email.filter(|_| !linked)
            && let Some(user) = known_before(connection, email).await?
        {
            link(connection, &person.id, user).await?;
            return Ok(Some(user));
        }
        Ok(person_ensure(connection, &person.id, (&person.names.0, &person.names.1)).await?)
    }

    /// Takes the end of a person: they are nobody's member any more, and their address is free.
    pub(crate) async fn remove_person(&self, id: &PersonId, at: i64) -> Result<(), ClerkError> {
        const REMOVE: &str = "
            update control.users set active = false, email = $2, email_verified_at = null, password_hash = null,
                   avatar_url = null, phone = null, metadata = '{}'
            where id = $1";
        const LEAVE: &str = "update control.memberships set active = false where user_id = $1 and active";
        const FIND: &str = "select user_id from control.clerk_users where clerk_id = $1";
        let mut connection = self.control("remove a person").await?;
        connection.begin().await?;
        seen_lock(&connection, id.as_str()).await?;
        if seen_take(&connection, id.as_str(), State::DeletedAt(at)).await?
            && let Some(row) = connection.query_opt(FIND, params![id.as_str()]).await?
        {
            let user = UserId::from_uuid(row.get(0));
            connection.query(REMOVE, params![user, no_address(user)]).await?;
            connection.query(LEAVE, params![user]).await?;
            Actor::system().did("remove_clerk_user").on("user", user).write(&connection).await?;
        }
        connection.commit().await?;
        drop(connection);
        self.person_changed(id).await
    }

    /// Brings a person's tenants in step. Also done for a state that was taken before: whoever took
    /// it may have died before this.
    async fn person_changed(&self, id: &PersonId) -> Result<(), ClerkError> {
        const TENANTS: &str = "
            select m.user_id, m.tenant_id from control.clerk_users c join control.memberships m on m.user_id = c.user_id
            where c.clerk_id = $1 limit $2";
        self.forget_known();
        let rows =
            self.control("list a person's tenants").await?.query(TENANTS, params![id.as_str(), TENANTS_MAX]).await?;
        for row in rows {
            self.part_changed(UserId::from_uuid(row.get(0)), TenantId::from_uuid(row.get(1))).await?;
        }
        Ok(())
    }

    /// Makes the tenant that a new person's public metadata ask for, once.
    pub(crate) async fn sign_up(&self, person: &Person) -> Result<(), ClerkError> {
        const FIND: &str = "
            select c.user_id from control.clerk_users c join control.users u on u.id = c.user_id
            where c.clerk_id = $1 and u.active";
        let text = |key: &str| person.public_metadata.get(key).and_then(Value::as_str).map(str::trim);
        let Some(name) = text("companyName").filter(|name| !name.is_empty()) else { return Ok(()) };
        let row = self.control("find a person").await?.query_opt(FIND, params![person.id.as_str()]).await?;
        let Some(user) = row.map(|row| UserId::from_uuid(row.get(0))) else { return Ok(()) };
        let plan = text("plan").filter(|plan| self.tenants.app().manifest.plans.contains_key(*plan));
        let provision = Provision {
            name: name.chars().filter(|letter| !letter.is_control()).take(200).collect(),
            slug: None,
            plan: plan.map(str::to_owned),
            placement: Placement::Pool,
            owner: ProvisionOwner::User(user),
        };
        self.tenants.provision_claimed(&Actor::user(user), provision, person.id.as_str()).await?;
        self.forget_known();
        self.tell_of_tenant(&person.id).await
    }

    /// Has the organisation made of the tenant that a person's sign-up made, if Clerk can be told and
    /// was not. A process that dies in between finds it again by its slug and what it says of itself.
    async fn tell_of_tenant(&self, id: &PersonId) -> Result<(), ClerkError> {
        const UNTOLD: &str = "
            select t.id, t.name, t.slug, t.status from control.clerk_tenants c join control.tenants t on t.id = c.tenant_id
            where c.clerk_id = $1 and t.status in ('active', 'provisioning') and not exists (
                select 1 from control.clerk_tenants o where o.tenant_id = t.id and starts_with(o.clerk_id, 'org_'))";
        let Some(backend) = &self.backend else { return Ok(()) };
        let row = self.control("find a tenant to tell of").await?.query_opt(UNTOLD, params![id.as_str()]).await?;
        let Some(row) = row else { return Ok(()) };
        if row.get::<_, &str>(3) == "provisioning" {
            return Err(ClerkError::Busy);
        }
        let tenant = TenantId::from_uuid(row.get(0));
        let made = backend.make_organization(tenant, row.get(1), row.get(2), id).await?;
        self.link(&made.id, tenant).await?;
        Ok(())
    }
}
