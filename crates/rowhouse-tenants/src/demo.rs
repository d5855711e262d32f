//! Demo tenants and their rows: the same on every machine.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};
use rowhouse_types::{ApiError, EmailAddress, Slug};

use crate::provision::{Provision, ProvisionOwner};
use crate::service::Tenants;
use crate::tenant::{Placement, Tenant};

/// The demo tenants of `rowhouse dev`: one in each placement.
const DEMO: [(&str, &str, &str, &str, Placement); 3] = [
    ("acme", "Acme", "Ann", "Abel", Placement::Pool),
    ("globex", "Globex", "Bob", "Berg", Placement::Schema),
    ("initech", "Initech", "Cleo", "Cruz", Placement::Database),
];
/// Seeds that run at a time.
const PARALLEL: usize = 4;

/// A demo tenant and its owner.
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
        let mut demo = Vec::new();
        for (slug, name, first_name, last_name, placement) in DEMO {
            let email = format!("{}@{slug}.example", first_name.to_lowercase());
            if let Some(tenant) = self.find(slug).await? {
                demo.push(DemoTenant { tenant, email, created: false });
                continue;
            }
            let address: EmailAddress = email.parse().map_err(ApiError::internal)?;
            let owner = ProvisionOwner::NewUser {
                email: address,
                password_hash: self.identity.hash_password(password).await?,
                first_name: first_name.to_owned(),
                last_name: last_name.to_owned(),
            };
            let slug: Slug = slug.parse().map_err(ApiError::internal)?;
            let provision = Provision { name: name.to_owned(), slug: Some(slug), plan: None, placement, owner };
            let tenant = self.provision(provision).await?.tenant;
            self.seed_rows(&tenant, rows).await?;
            demo.push(DemoTenant { tenant, email, created: true });
        }
        Ok(demo)
    }

    /// Runs the app's demo seed in a tenant.
    pub async fn seed_rows(&self, tenant: &Tenant, rows: u32) -> Result<(), ApiError> {
        let Some(demo) = &self.app.demo else { return Ok(()) };
        let transaction = self.databases.tenant(&tenant.context(&self.authority)).await?.begin().await?;
        transaction.batch(&format!("set local rowhouse.demo_rows = '{rows}'; set local statement_timeout = 0")).await?;
        transaction.batch(demo).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Makes so many more tenants with rows, named `demo-0001` and so on. Gives their slugs.
    pub async fn seed_demo(
        self: &Arc<Self>,
        tenants: u32,
        rows: u64,
        placement: Placement,
        progress: &(dyn Fn(u32) + Sync),
    ) -> Result<Vec<String>, ApiError> {
        let each = u32::try_from(rows / u64::from(tenants.max(1))).unwrap_or(u32::MAX);
        let made = futures_util::stream::iter(1..=tenants).map(|number| async move {
            let text = format!("demo-{number:04}");
            if let Some(tenant) = self.find(&text).await? {
                progress(number);
                return Ok::<_, ApiError>(tenant.slug.to_string());
            }
            let email: EmailAddress = format!("owner-{number:04}@demo.example").parse().map_err(ApiError::internal)?;
            let slug: Slug = text.parse().map_err(ApiError::internal)?;
            let name = format!("Demo {number:04}");
            let owner = ProvisionOwner::NewUser {
                email,
                // Nobody signs in as these; `rowhouse token` opens them.
                password_hash: String::new(),
                first_name: "Owner".into(),
                last_name: format!("{number:04}"),
            };
            let tenant =
                self.provision(Provision { name, slug: Some(slug), plan: None, placement, owner }).await?.tenant;
            self.seed_rows(&tenant, each).await?;
            progress(number);
            Ok(tenant.slug.to_string())
        });
        made.buffer_unordered(PARALLEL).try_collect().await
    }
}
