//! Demo tenants and their rows: the same on every machine. For development only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use rowhouse_audit::Actor;
use rowhouse_postgres::{DatabaseResult, Location, params, quote_identifier};
use rowhouse_types::{ApiError, EmailAddress, ErrorCode, Slug};
use serde_json::json;

use crate::provision::{Provision, ProvisionOwner};
use crate::service::Tenants;
use crate::tenant::{Placement, Tenant, TenantStatus};

/// The demo tenants of `rowhouse dev`: one in each placement.
const DEMO: [(&str, &str, &str, &str, Placement); 3] = [
    ("acme", "Acme", "Ann", "Abel", Placement::Pool),
    ("globex", "Globex", "Bob", "Berg", Placement::Schema),
    ("initech", "Initech", "Cleo", "Cruz", Placement::Database),
];
/// Seeds that run at a time: as many as PostgreSQL can have cores for on a laptop.
const PARALLEL: usize = 4;
/// How long a tenant that is half made is waited for: longer than a dead process's lease.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(60);
const WHOLE_INTERVAL: Duration = Duration::from_millis(200);

/// A demo tenant and its owner.
#[derive(Debug)]
pub struct DemoTenant {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// Its owner's address.
    pub email: String,
    /// Whether it was made now.
    pub created: bool,
}

impl Tenants {
    /// Makes the three demo tenants, if they are not there, with an owner each whose password is
    /// `password`, and about so many rows.
    pub async fn ensure_demo(self: &Arc<Self>, password: &str, rows: u32) -> Result<Vec<DemoTenant>, ApiError> {
        let making = DEMO.map(|(slug, name, first_name, last_name, placement)| async move {
            let email = format!("{}@{slug}.example", first_name.to_lowercase());
            let found = self.find_whole(slug).await?;
            let created = found.is_none();
            let tenant = match found {
                Some(tenant) => tenant,
                None => {
                    let owner = ProvisionOwner::NewUser {
                        email: email.parse().map_err(ApiError::internal)?,
                        password_hash: self.identity.hash_password(password, &[]).await?,
                        first_name: first_name.to_owned(),
                        last_name: last_name.to_owned(),
                        email_verified: true,
                    };
                    let slug: Slug = slug.parse().map_err(ApiError::internal)?;
                    let provision = Provision { name: name.to_owned(), slug: Some(slug), plan: None, placement, owner };
                    self.provision(provision).await?.tenant
                }
            };
            self.seed_rows_once(&tenant, rows).await?;
            Ok::<_, ApiError>(DemoTenant { tenant, email, created })
        });
        futures_util::future::try_join_all(making).await
    }

    /// The tenant of this slug, once it is whole. One that a killed run left half made is taken
    /// over as soon as that run's lease has ended.
    async fn find_whole(&self, slug: &str) -> Result<Option<Arc<Tenant>>, ApiError> {
        let patience = Instant::now() + WHOLE_TIMEOUT;
        loop {
            let found = self.find(slug).await?;
            let Some(half) = found.as_ref().filter(|tenant| tenant.status == TenantStatus::Provisioning) else {
                return Ok(found);
            };
            if Instant::now() > patience {
                return Err(ApiError::conflict(format!("The tenant {slug} is being set up. Try again in a moment.")));
            }
            self.resume_operations().await?;
            self.registry.forget(half.id, slug).await;
            tokio::time::sleep(WHOLE_INTERVAL).await;
        }
    }

    /// Runs the demo seed unless it has run before: a run that was interrupted between a tenant
    /// and its rows is completed by the next.
    async fn seed_rows_once(&self, tenant: &Tenant, rows: u32) -> Result<(), ApiError> {
        if self.demo_rows(tenant).await? == 0 {
            self.seed_rows(tenant, rows).await?;
        }
        Ok(())
    }

    async fn demo_rows(&self, tenant: &Tenant) -> DatabaseResult<i32> {
        let control = self.control("look up demo rows").await?;
        let row = control.query_opt("select demo_rows from control.tenants where id = $1", params![tenant.id]).await?;
        Ok(row.map_or(0, |row| row.get(0)))
    }

    /// Runs the app's demo seed in a tenant, as the service role under its policies.
    ///
    /// # Errors
    /// Says what the database said of the seed: it is the developer's own file.
    pub async fn seed_rows(&self, tenant: &Tenant, rows: u32) -> Result<(), ApiError> {
        const RECORD: &str = "update control.tenants set demo_rows = $2 where id = $1";
        let Some(demo) = &self.app.demo else { return Ok(()) };
        let transaction = self.databases.tenant(&tenant.context(&self.authority)).await?.begin().await?;
        // A seed may take longer than the service role's statements otherwise may.
        transaction.batch(&format!("set local rowhouse.demo_rows = '{rows}'; set local statement_timeout = 0")).await?;
        transaction.batch(demo).await.map_err(|error| {
            let message = format!("seed/demo.sql failed in {}: {error}", tenant.slug);
            ApiError::new(ErrorCode::Internal, message).with_source(error)
        })?;
        transaction.commit().await?;
        let rows = i32::try_from(rows).unwrap_or(i32::MAX).max(1);
        let mut control = self.control("record demo rows").await?;
        control.begin().await?;
        control.query(RECORD, params![tenant.id, rows]).await?;
        let entry = Actor::system().did("seed_tenant").on_tenant(tenant.id);
        entry.with_details(json!({ "rows": rows })).write(&control).await?;
        control.commit().await?;
        if tenant.placement != Placement::Pool {
            self.analyze(&tenant.location).await?;
        }
        Ok(())
    }

    /// Has the planner know tables that were filled at once. The server would look at them a minute
    /// later, and until then sort a whole table for a page of it (measured: forty times as slow).
    async fn analyze(&self, location: &Location) -> DatabaseResult<()> {
        let schema = quote_identifier(&location.schema);
        let model = self.model();
        let tables: Vec<_> =
            model.entities.keys().map(|table| format!("{schema}.{}", quote_identifier(table))).collect();
        let connection = self.databases.system(&self.system.scope("analyze demo rows"), location).await?;
        connection.batch(&format!("analyze {}", tables.join(", "))).await
    }

    /// Makes so many tenants with about so many rows in all, named `demo-0001` and so on, several
    /// at a time. Those that are there already, with their rows, stay as they are. Gives their
    /// slugs.
    pub async fn seed_demo(
        self: &Arc<Self>,
        tenants: u32,
        rows: u64,
        placement: Placement,
        progress: &(dyn Fn(u32) + Sync),
    ) -> Result<Vec<String>, ApiError> {
        let each = u32::try_from(rows / u64::from(tenants.max(1))).unwrap_or(u32::MAX);
        let made = futures_util::stream::iter(1..=tenants).map(|number| async move {
            let slug = self.demo_tenant(number, placement, each).await?;
            progress(number);
            Ok::<_, ApiError>(slug)
        });
        let mut slugs: Vec<String> = made.buffer_unordered(PARALLEL).try_collect().await?;
        slugs.sort();
        if placement == Placement::Pool {
            self.analyze(&self.databases.pool_location()).await?;
        }
        Ok(slugs)
    }

    async fn demo_tenant(self: &Arc<Self>, number: u32, placement: Placement, rows: u32) -> Result<String, ApiError> {
        let slug: Slug = format!("demo-{number:04}").parse().map_err(ApiError::internal)?;
        let tenant = match self.find_whole(slug.as_str()).await? {
            Some(tenant) => tenant,
            None => {
                let email = format!("owner-{number:04}@demo.example");
                let owner = ProvisionOwner::NewUser {
                    email: email.parse::<EmailAddress>().map_err(ApiError::internal)?,
                    // Nobody signs in as these; `rowhouse token` opens them.
                    password_hash: String::new(),
                    first_name: "Owner".into(),
                    last_name: format!("{number:04}"),
                    email_verified: true,
                };
                let name = format!("Demo {number:04}");
                let provision = Provision { name, slug: Some(slug.clone()), plan: None, placement, owner };
                self.provision(provision).await?.tenant
            }
        };
        self.seed_rows_once(&tenant, rows).await?;
        Ok(slug.to_string())
    }
}
