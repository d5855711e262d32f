//! `rowhouse user …`

use std::process::ExitCode;

use anyhow::Context as _;
use rowhouse_audit::Actor;
use rowhouse_types::{ApiError, EmailAddress};
use serde_json::json;

use crate::cli::UserCommand;
use crate::compose::Rowhouse;
use crate::output::Output;
use crate::settings::Settings;

pub(super) async fn run(command: UserCommand, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    // With the app: the mail speaks in its name.
    Rowhouse::work(settings, output, "rowhouse user", async |rowhouse| {
        let UserCommand::ResetMfa { email } = command;
        let email: EmailAddress = email.parse().context("EMAIL")?;
        let reset = rowhouse.identity.reset_user_factor_of(&Actor::system(), &email).await.map_err(ApiError::from)?;
        output.result(&json!({ "email": email, "reset": reset }), || match reset {
            true => format!("{email} signs in by password, sets up a new second factor, and is told by mail"),
            false => format!("{email} had no second factor"),
        });
        Ok(ExitCode::SUCCESS)
    })
    .await
}
