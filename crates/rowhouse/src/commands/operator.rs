//! `rowhouse operator …`

use std::process::ExitCode;

use anyhow::Context as _;
use rowhouse_audit::Audit;
use rowhouse_identity::{Identity, IdentitySettings};
use rowhouse_types::{EmailAddress, MasterKey};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::cli::OperatorCommand;
use crate::compose::Ground;
use crate::output::{Output, table};
use crate::settings::Settings;

pub(super) async fn run(command: OperatorCommand, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let ground = Ground::open(settings, "rowhouse operator").await?;
    let outcome = dispatch(command, &ground, settings, output).await;
    ground.close().await;
    outcome
}

async fn dispatch(
    command: OperatorCommand,
    ground: &Ground,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let system = &ground.authorities.system;
    rowhouse_tenants::migrate_control(&ground.databases, &system.scope("operators")).await?;
    let audit = Audit::start(ground.databases.clone(), system.clone());
    let identity_settings = IdentitySettings {
        issuer: settings.public_url.clone(),
        password_score_min: settings.password_score_min,
        ..IdentitySettings::default()
    };
    let identity = Identity::open(
        ground.databases.clone(),
        system.clone(),
        ground.master_key.clone(),
        audit.clone(),
        identity_settings,
    )
    .await?;
    match command {
        OperatorCommand::Create { email } => {
            let email: EmailAddress = email.parse().context("EMAIL")?;
            let given = std::env::var("ROWHOUSE_OPERATOR_PASSWORD").ok();
            let made = given.is_none();
            let password: SecretString =
                given.map_or_else(|| MasterKey::generate().password("operator"), SecretString::from);
            let id =
                identity.create_operator(&email, password.clone()).await.map_err(rowhouse_types::ApiError::from)?;
            let shown = made.then(|| password.expose_secret().to_owned());
            output.result(&json!({ "id": id, "email": email, "password": shown }), || match &shown {
                Some(password) => format!("operator {email}\npassword {password}   (shown this once)"),
                None => format!("operator {email}"),
            });
        }
        OperatorCommand::List => {
            let operators = identity.operators().await?;
            output.result(&json!(operators), || {
                let rows = operators.iter().map(|operator| {
                    let state = if operator.active { "active" } else { "inactive" };
                    vec![
                        operator.email.clone(),
                        operator.role.clone(),
                        state.to_owned(),
                        operator.created_at.to_rfc3339(),
                    ]
                });
                table(&["EMAIL", "ROLE", "STATE", "CREATED"], rows)
            });
        }
        OperatorCommand::ResetMfa { email } => {
            let email: EmailAddress = email.parse().context("EMAIL")?;
            let had = identity.reset_operator_factor(&email).await.map_err(rowhouse_types::ApiError::from)?;
            audit.flush().await;
            output.result(&json!({ "email": email, "reset": had }), || match had {
                true => format!("{email} signs in by password and sets up a new second factor"),
                false => format!("{email} had no second factor"),
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}
