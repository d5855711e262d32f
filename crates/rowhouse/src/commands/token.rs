//! `rowhouse token`: an access token for a member, for development.

use std::process::ExitCode;

use rowhouse_postgres::params;
use rowhouse_types::{ApiError, ErrorCode, UserId};
use serde_json::json;

use crate::compose::{Rowhouse, load_app};
use crate::output::Output;
use crate::settings::Settings;

pub(super) async fn run(
    tenant: &str,
    member: Option<String>,
    minutes: u32,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    if settings.clerk.is_some() {
        anyhow::bail!(
            "people sign in with Clerk here, so no other token is taken; get one from a page that uses Clerk"
        );
    }
    let rowhouse = Rowhouse::open(settings, load_app(settings)?, "rowhouse token").await?;
    let made = make(&rowhouse, tenant, member, minutes).await;
    rowhouse.close().await;
    let token = made?;
    output.result(&json!({ "access_token": token, "expires_in": i64::from(minutes) * 60 }), || token.clone());
    Ok(ExitCode::SUCCESS)
}

async fn make(rowhouse: &Rowhouse, tenant: &str, member: Option<String>, minutes: u32) -> anyhow::Result<String> {
    const MEMBER: &str = "
        select user_id from rowhouse.members
        where tenant_id = $1 and active and ($2::text is null or email = lower($2))
        order by role <> 'owner', joined_at, user_id limit 1";
    let tenant = super::tenant::find(rowhouse, tenant).await?;
    let ground = &rowhouse.ground;
    let connection = ground.databases.tenant(&tenant.context(&ground.authorities.tenant)).await?;
    let rows = connection.run(MEMBER, params![tenant.id, member.as_deref()]).await?;
    let Some(row) = rows.first() else {
        let message = match member {
            Some(email) => format!("{email} is no member of {}", tenant.slug),
            None => format!("{} has no members yet; its owner has to accept the invitation", tenant.slug),
        };
        return Err(ApiError::new(ErrorCode::NotFound, message).into());
    };
    let user = UserId::from_uuid(row.get(0));
    let seconds = i64::from(minutes) * 60;
    Ok(rowhouse.identity.developer_token(user, tenant.id, seconds).await.map_err(ApiError::from)?)
}
