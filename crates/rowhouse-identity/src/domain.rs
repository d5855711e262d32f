//! Mail domains: a tenant proves one by a TXT record, and whoever has a proved address there may join.
//!
//! Must never let anybody in by a domain whose record is gone, so the record is asked for at each
//! joining too; nor give a role that holds more than whoever chose it.

use chrono::{DateTime, Utc};
use rowhouse_audit::Actor;
use rowhouse_postgres::{ConstraintKind, DatabaseError, Row, TenantContext, params};
use rowhouse_types::{EmailAddress, RoleKey, TenantId};
use serde::Serialize;
use serde_json::json;
use url::Host;
use uuid::Uuid;

use crate::dns::txt_lookup;
use crate::error::IdentityError;
use crate::identity::Identity;
use crate::keys::Claims;
use crate::limit::LimitedRoute;
use crate::member::{Manager, members_changed};
use crate::organisation_error::OrganisationError;
use crate::session::{Device, Tokens};

/// Domains that a tenant may have.
const DOMAINS_MAX: i64 = 20;
/// Where the record stands, before the domain.
const RECORD_NAME: &str = "_rowhouse";
/// What the record's text begins with.
const RECORD_BEGINS: &str = "rowhouse-domain=";

/// The record that proves a domain.
#[derive(Debug, Clone, Serialize)]
pub struct DomainRecord {
    /// `TXT`
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its text.
    pub value: String,
}

/// A domain as the people of its tenant see it.
#[derive(Debug, Clone, Serialize)]
pub struct DomainOut {
    /// Its id.
    pub id: Uuid,
    /// The domain, in ASCII.
    pub domain: String,
    /// As what people join; nobody does without one.
    pub role: Option<String>,
    /// Since when it is proved.
    pub verified_at: Option<DateTime<Utc>>,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// The record that proves it, as long as it stands.
    pub record: DomainRecord,
}

impl DomainOut {
    fn from_row(row: &Row) -> Self {
        let domain: String = row.get(1);
        let record = DomainRecord {
            kind: "TXT",
            name: format!("{RECORD_NAME}.{domain}"),
            value: format!("{RECORD_BEGINS}{}", row.get::<_, &str>(2)),
        };
        Self { id: row.get(0), role: row.get(3), verified_at: row.get(4), created_at: row.get(5), domain, record }
    }
}

/// A tenant that a person may join by their address.
#[derive(Debug, Clone, Serialize)]
pub struct JoinableOut {
    /// The tenant's id.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// Its slug.
    pub slug: String,
    /// As what.
    pub role: String,
    #[serde(skip)]
    domain: String,
    #[serde(skip)]
    proof: String,
}

/// A domain as it stands in the DNS; none for what is no name of a domain, or only one word.
pub fn domain_name(text: &str) -> Option<String> {
    let Ok(Host::Domain(ascii)) = Host::parse(text.trim().trim_end_matches('.')) else { return None };
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    (ascii.len() <= 200 && ascii.contains('.') && ascii.split('.').all(label_ok)).then(|| ascii.to_lowercase())
}

fn domain_of(email: &EmailAddress) -> Option<String> {
    domain_name(email.as_str().rsplit_once('@')?.1)
}

impl Identity {
    /// The domains of a tenant, by name, under its policies: as many as it may have, at most.
    pub async fn domains(&self, context: &TenantContext) -> Result<Vec<DomainOut>, IdentityError> {
        const LIST: &str = "
            select id, domain, proof, role, verified_at, created_at from control.domains
            where tenant_id = $1 order by domain limit 100";
        let connection = self.databases.tenant_control(context).await?;
        Ok(connection.run(LIST, params![context.tenant()]).await?.iter().map(DomainOut::from_row).collect())
    }

    /// Adds a domain ([`domain_name`]), which has yet to be proved.
    ///
    /// # Errors
    /// [`IdentityError::Role`]; [`OrganisationError::DomainTaken`]; [`OrganisationError::TooManyDomains`].
    pub async fn add_domain(
        &self,
        by: Manager<'_>,
        domain: &str,
        role: Option<RoleKey>,
    ) -> Result<DomainOut, IdentityError> {
        const ADD: &str = "
            insert into control.domains (tenant_id, id, domain, proof, role, created_by)
            select $1, rowhouse.new_id(), $2, $3, $4, $5
            where (select count(*) from control.domains where tenant_id = $1) < $6
            returning id, domain, proof, role, verified_at, created_at";
        let mut connection = self.control("add a domain").await?;
        connection.begin().await?;
        self.require_join_role(&connection, by, role.as_ref()).await?;
        let proof = Uuid::new_v4().simple().to_string();
        let values = params![by.tenant, domain, proof, role.as_ref().map(RoleKey::as_str), by.user, DOMAINS_MAX];
        let row = connection.query_opt(ADD, values).await.map_err(taken)?;
        let added = DomainOut::from_row(&row.ok_or(OrganisationError::TooManyDomains(DOMAINS_MAX))?);
        let entry = by.actor.did("add_domain").on("domain", added.id).on_tenant(by.tenant);
        let details = json!({ "domain": added.domain, "role": added.role });
        entry.with_details(details).write(&connection).await?;
        connection.commit().await?;
        Ok(added)
    }

    /// Looks for a domain's record: from then on it is proved. If another tenant had proved it, whose
    /// record is gone, it is theirs no longer.
    ///
    /// # Errors
    /// [`OrganisationError::DomainUnproved`] if the record is not there; [`OrganisationError::DomainTaken`];
    /// [`IdentityError::Dns`]; [`IdentityError::NotFound`]; [`IdentityError::TooManyAttempts`].
    pub async fn verify_domain(&self, by: Manager<'_>, id: Uuid, device: &Device) -> Result<DomainOut, IdentityError> {
        const FIND: &str = "
            select id, domain, proof, role, verified_at, created_at from control.domains
            where tenant_id = $1 and id = $2";
        const LAPSE: &str = "
            update control.domains set verified_at = null
            where domain = $1 and verified_at is not null and not ($2 || proof) = any($3) and tenant_id <> $4";
        const VERIFY: &str = "
            update control.domains set verified_at = coalesce(verified_at, now()) where tenant_id = $1 and id = $2
            returning id, domain, proof, role, verified_at, created_at";
        let found = {
            let connection = self.control("prove a domain").await?;
            self.count(&connection, &self.attempt_by(LimitedRoute::DOMAIN_LOOKUP, &by.user.to_string(), device))
                .await?;
            let row = connection.query_opt(FIND, params![by.tenant, id]).await?;
            DomainOut::from_row(&row.ok_or(IdentityError::NotFound)?)
        };
        let texts = txt_lookup(self.settings.dns_server, &found.record.name).await?;
        if !texts.contains(&found.record.value) {
            return Err(OrganisationError::DomainUnproved.into());
        }
        let mut connection = self.control("prove a domain").await?;
        connection.begin().await?;
        connection.query(LAPSE, params![found.domain.as_str(), RECORD_BEGINS, texts, by.tenant]).await?;
        let row = connection.query_opt(VERIFY, params![by.tenant, id]).await.map_err(taken)?;
        let verified = DomainOut::from_row(&row.ok_or(IdentityError::NotFound)?);
        let entry = by.actor.did("verify_domain").on("domain", id).on_tenant(by.tenant);
        entry.with_details(json!({ "domain": verified.domain })).write(&connection).await?;
        connection.commit().await?;
        Ok(verified)
    }

    /// Chooses as what people join by a domain, or that nobody does.
    ///
    /// # Errors
    /// [`IdentityError::Role`]; [`IdentityError::NotFound`].
    pub async fn change_domain(
        &self,
        by: Manager<'_>,
        id: Uuid,
        role: Option<RoleKey>,
    ) -> Result<DomainOut, IdentityError> {
        const CHANGE: &str = "
            update control.domains set role = $3 where tenant_id = $1 and id = $2
            returning id, domain, proof, role, verified_at, created_at";
        let mut connection = self.control("change a domain").await?;
        connection.begin().await?;
        self.require_join_role(&connection, by, role.as_ref()).await?;
        let row = connection.query_opt(CHANGE, params![by.tenant, id, role.as_ref().map(RoleKey::as_str)]).await?;
        let changed = DomainOut::from_row(&row.ok_or(IdentityError::NotFound)?);
        let entry = by.actor.did("change_domain").on("domain", id).on_tenant(by.tenant);
        entry.with_details(json!({ "role": changed.role })).write(&connection).await?;
        connection.commit().await?;
        Ok(changed)
    }

    /// Removes a domain; whoever has joined by it stays.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`].
    pub async fn remove_domain(&self, actor: &Actor, tenant: TenantId, id: Uuid) -> Result<(), IdentityError> {
        const REMOVE: &str = "delete from control.domains where tenant_id = $1 and id = $2 returning domain";
        let mut connection = self.control("remove a domain").await?;
        connection.begin().await?;
        let row = connection.query_opt(REMOVE, params![tenant, id]).await?.ok_or(IdentityError::NotFound)?;
        let entry = actor.did("remove_domain").on("domain", id).on_tenant(tenant);
        entry.with_details(json!({ "domain": row.get::<_, String>(0) })).write(&connection).await?;
        connection.commit().await?;
        Ok(())
    }

    /// The tenants that a person may join by their proved address: those who have proved its domain,
    /// and never let them in before.
    pub async fn joinable(&self, claims: &Claims) -> Result<Vec<JoinableOut>, IdentityError> {
        const ADDRESS: &str = "
            select email from control.users where id = $1 and active and email_verified_at is not null";
        const JOINABLE: &str = "
            select t.id, t.name, t.slug, d.role, d.domain, d.proof
            from control.domains d join control.tenants t on t.id = d.tenant_id and t.status = 'active'
            where d.domain = $1 and d.verified_at is not null and d.role is not null
              and not exists (select 1 from control.memberships m where m.tenant_id = d.tenant_id and m.user_id = $2)
            order by t.name limit 100";
        let connection = self.control("look for tenants to join").await?;
        let row = connection.query_opt(ADDRESS, params![claims.user]).await?;
        let address = row.and_then(|row| row.get::<_, String>(0).parse().ok());
        let Some(domain) = address.as_ref().and_then(domain_of) else { return Ok(Vec::new()) };
        let rows = connection.query(JOINABLE, params![domain, claims.user]).await?;
        let joinable = |row: &Row| JoinableOut {
            id: TenantId::from_uuid(row.get(0)),
            name: row.get(1),
            slug: row.get(2),
            role: row.get(3),
            domain: row.get(4),
            proof: row.get(5),
        };
        Ok(rows.iter().map(joinable).collect())
    }

    /// Joins a tenant by a proved address, and goes on in it. Bring its members in step after it
    /// (`Tenants::project_members`).
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] if there is no such tenant for this address, or the domain's record is
    /// gone; [`IdentityError::Dns`]; [`IdentityError::TooManyAttempts`].
    pub async fn join_by_domain(
        &self,
        claims: &Claims,
        tenant: &str,
        actor: &Actor,
        device: Device,
    ) -> Result<(TenantId, Tokens), IdentityError> {
        // As it stands now: the domain, or its role, may have been taken away meanwhile.
        const JOIN: &str = "
            insert into control.memberships (tenant_id, user_id, role)
            select tenant_id, $2, role from control.domains
            where tenant_id = $1 and domain = $3 and verified_at is not null and role is not null
            on conflict do nothing returning role";
        let named = |joinable: &JoinableOut| joinable.slug == tenant || joinable.id.to_string() == tenant;
        let attempt = self.attempt_by(LimitedRoute::DOMAIN_LOOKUP, &claims.user.to_string(), &device);
        self.count(&self.control("join by a domain").await?, &attempt).await?;
        let joinable = self.joinable(claims).await?.into_iter().find(named).ok_or(IdentityError::NotFound)?;
        let texts = txt_lookup(self.settings.dns_server, &format!("{RECORD_NAME}.{}", joinable.domain)).await?;
        if !texts.contains(&format!("{RECORD_BEGINS}{}", joinable.proof)) {
            return Err(IdentityError::NotFound);
        }
        let mut connection = self.control("join by a domain").await?;
        connection.begin().await?;
        let row = connection.query_opt(JOIN, params![joinable.id, claims.user, joinable.domain.as_str()]).await?;
        let role: String = row.ok_or(IdentityError::NotFound)?.get(0);
        members_changed(&connection, joinable.id).await?;
        let entry = actor.did("join_by_domain").on("user", claims.user).on_tenant(joinable.id);
        entry.with_details(json!({ "domain": joinable.domain, "role": role })).write(&connection).await?;
        connection.commit().await?;
        self.forget_access(claims.user, joinable.id).await;
        let tokens = self.switch(claims, &joinable.id.to_string(), device).await?;
        Ok((joinable.id, tokens))
    }

    /// A role that people may join with: known, and no more than whoever chooses it holds. An owner is
    /// made by name only.
    async fn require_join_role(
        &self,
        connection: &rowhouse_postgres::SystemConnection,
        by: Manager<'_>,
        role: Option<&RoleKey>,
    ) -> Result<(), IdentityError> {
        let Some(role) = role else { return Ok(()) };
        let known = self.roles_hold(connection, by.tenant, [role]).await?;
        let fits = known.get(role).is_some_and(|given| by.grants.covers_all(given)) && role.as_str() != "owner";
        if fits { Ok(()) } else { Err(IdentityError::Role) }
    }
}

fn taken(error: DatabaseError) -> IdentityError {
    match error {
        DatabaseError::Constraint(violated) if violated.kind == ConstraintKind::Unique => {
            OrganisationError::DomainTaken.into()
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_name_in_the_dns() {
        for (text, name) in [
            ("Acme.Example", "acme.example"),
            (" acme.example. ", "acme.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("a-b.c1.example", "a-b.c1.example"),
        ] {
            assert_eq!(domain_name(text).as_deref(), Some(name), "{text}");
        }
        let long = format!("{}.example", "a".repeat(64));
        let bad = [
            "",
            "acme",
            "192.0.2.1",
            "[::1]",
            "a..example",
            "-a.example",
            "a_b.example",
            "a b.example",
            "a/b.c",
            &long,
        ];
        for text in bad {
            assert_eq!(domain_name(text), None, "{text}");
        }
        assert_eq!(domain_of(&"ann@BÜCHER.example".parse().unwrap()).as_deref(), Some("xn--bcher-kva.example"));
    }
}
