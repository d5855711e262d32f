//! `rowhouse mail …`

use std::process::ExitCode;

use anyhow::Context as _;
use rowhouse_mail::{MailFilter, MailOut, MailStatus};
use rowhouse_types::EmailAddress;
use serde_json::json;

use crate::cli::MailCommand;
use crate::compose::Ground;
use crate::output::{Output, table};
use crate::settings::Settings;

pub(super) async fn run(command: MailCommand, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let ground = Ground::open(settings, "rowhouse mail").await?;
    let outcome = dispatch(command, &ground, settings, output).await;
    ground.close().await;
    outcome
}

async fn dispatch(
    command: MailCommand,
    ground: &Ground,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let system = &ground.authorities.system;
    rowhouse_tenants::migrate_control(&ground.databases, &system.scope("mail")).await?;
    let mailer =
        crate::mail::open(settings, "Rowhouse", ground.databases.clone(), system.clone(), ground.master_key.clone())?;
    match command {
        MailCommand::List { status, to, limit } => {
            let to = to.map(|to| to.parse::<EmailAddress>().context("--to")).transpose()?;
            let filter = MailFilter {
                status: status.map(MailStatus::from),
                recipient: to.map(|to| to.as_str().to_owned()),
                limit: Some(limit),
                ..MailFilter::default()
            };
            let mails = mailer.list(&filter).await?;
            output.result(&json!(mails), || {
                table(&["QUEUED", "KIND", "TO", "STATUS", "ATTEMPTS", "ERROR"], mails.iter().map(line))
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(mail: &MailOut) -> Vec<String> {
    vec![
        mail.created_at.format("%Y-%m-%d %H:%M:%S").to_string(),
        mail.kind.clone(),
        mail.recipient.clone(),
        mail.status.as_str().to_owned(),
        mail.attempts.to_string(),
        mail.error.clone().unwrap_or_default(),
    ]
}
