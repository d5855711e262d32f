//! `rowhouse tenant …`

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rowhouse_audit::Actor;
use rowhouse_tenants::{ListTenants, Placement, Provision, ProvisionOwner, Tenant};
use rowhouse_types::{ApiError, EmailAddress, Slug};
use serde_json::{Value, json};

use crate::cli::{PlacementArg, TenantCommand};
use crate::compose::Rowhouse;
use crate::output::{Output, table};
use crate::settings::Settings;

impl From<PlacementArg> for Placement {
    fn from(argument: PlacementArg) -> Self {
        match argument {
            PlacementArg::Pool => Self::Pool,
            PlacementArg::Schema => Self::Schema,
            PlacementArg::Database => Self::Database,
        }
    }
}

pub(super) async fn run(command: TenantCommand, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    Rowhouse::work(settings, output, "rowhouse tenant", async |rowhouse| {
        dispatch(command, rowhouse, settings, output).await
    })
    .await
}

async fn dispatch(
    command: TenantCommand,
    rowhouse: &Rowhouse,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let tenants = &rowhouse.tenants;
    match command {
        TenantCommand::Create { name, slug, owner, plan, placement } => {
            create(rowhouse, settings, output, Made { name, slug, owner, plan, placement }).await?;
        }
        TenantCommand::List { search, status, limit, after } => {
            let status = status.map(|status| status.parse()).transpose().context("--status")?;
            let page = tenants
                .list(&ListTenants { search, status, placement: None, after, limit: limit.clamp(1, 10_000) })
                .await?;
            let data: Vec<Value> = page.tenants.iter().map(shown).collect();
            let next = page.next.clone();
            output.result(&json!(data), || {
                let rows = page.tenants.iter().map(|tenant| {
                    let created = tenant.created_at.format("%Y-%m-%d %H:%M").to_string();
                    vec![
                        tenant.slug.to_string(),
                        tenant.name.clone(),
                        tenant.status.to_string(),
                        tenant.placement.to_string(),
                        tenant.plan.clone(),
                        created,
                    ]
                });
                table(&["SLUG", "NAME", "STATUS", "PLACEMENT", "PLAN", "CREATED"], rows)
            });
            if let Some(next) = next {
                output.message(&format!("more: --after {next}"));
            }
        }
        TenantCommand::Show { tenant } => tell(&*find(rowhouse, &tenant).await?, output),
        TenantCommand::Suspend { tenant, reason } => {
            let id = find(rowhouse, &tenant).await?.id;
            let suspended = tenants.suspend_by(&Actor::system(), id, &reason).await?;
            tell(&suspended, output);
        }
        TenantCommand::Reactivate { tenant } => {
            let id = find(rowhouse, &tenant).await?.id;
            let active = tenants.reactivate(id).await?;
            tell(&active, output);
        }
        TenantCommand::Delete { tenant, confirm } => {
            let tenant = find(rowhouse, &tenant).await?;
            if confirm.as_deref() != Some(tenant.slug.as_str()) {
                bail!("this deletes {} and all its rows; to go on, add --confirm {}", tenant.name, tenant.slug);
            }
            tenants.delete(tenant.id).await?;
            output.result(&json!({ "id": tenant.id, "slug": tenant.slug }), || format!("deleted {}", tenant.slug));
        }
    }
    Ok(ExitCode::SUCCESS)
}

struct Made {
    name: String,
    slug: Option<String>,
    owner: Option<String>,
    plan: Option<String>,
    placement: PlacementArg,
}

async fn create(rowhouse: &Rowhouse, settings: &Settings, output: Output, made: Made) -> anyhow::Result<()> {
    let slug = made.slug.map(|slug| slug.parse::<Slug>()).transpose().context("--slug")?;
    let owner = match made.owner {
        None => ProvisionOwner::Nobody,
        Some(email) => ProvisionOwner::Invite(email.parse::<EmailAddress>().context("--owner")?),
    };
    let provision = Provision { name: made.name, slug, plan: made.plan, placement: made.placement.into(), owner };
    let done = rowhouse.tenants.provision(provision).await?;
    let mut data = shown(&done.tenant);
    let link = done.invitation.as_ref().map(|token| format!("{}/invite/{}", settings.public_url, token.expose()));
    data["invitation_link"] = json!(link);
    output.result(&data, || {
        let mut text = sheet(&done.tenant);
        if let Some(link) = &link {
            text.push_str(&format!("\ninvite     {link}"));
        }
        text
    });
    Ok(())
}

pub(super) async fn find(rowhouse: &Rowhouse, name: &str) -> anyhow::Result<Arc<Tenant>> {
    let found = rowhouse.tenants.find(name).await?;
    if let Some(tenant) = found {
        return Ok(tenant);
    }
    let page = rowhouse.tenants.list(&ListTenants { limit: 1000, ..ListTenants::default() }).await?;
    let hint = rowhouse_types::did_you_mean(name, page.tenants.iter().map(|tenant| tenant.slug.as_str()));
    let message = format!("there is no tenant {name:?}.{hint} See: rowhouse tenant list");
    Err(ApiError::new(rowhouse_types::ErrorCode::NotFound, message).into())
}

fn tell(tenant: &Tenant, output: Output) {
    output.result(&shown(tenant), || sheet(tenant));
}

fn shown(tenant: &Tenant) -> Value {
    json!({
        "id": tenant.id,
        "slug": tenant.slug,
        "name": tenant.name,
        "status": tenant.status,
        "plan": tenant.plan,
        "placement": tenant.placement,
        "cluster": &*tenant.location.cluster,
        "database": &*tenant.location.database,
        "schema": &*tenant.location.schema,
        "created_at": tenant.created_at,
    })
}

fn sheet(tenant: &Tenant) -> String {
    let lines = [
        ("id", tenant.id.to_string()),
        ("slug", tenant.slug.to_string()),
        ("name", tenant.name.clone()),
        ("status", tenant.status.to_string()),
        ("plan", tenant.plan.clone()),
        ("placement", tenant.placement.to_string()),
        ("database", tenant.location.database.to_string()),
        ("schema", tenant.location.schema.to_string()),
        ("created", tenant.created_at.to_rfc3339()),
    ];
    lines.iter().map(|(name, value)| format!("{name:<10} {value}")).collect::<Vec<_>>().join("\n")
}
