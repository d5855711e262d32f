//! The verbs, one file each.

mod app;
mod db;
mod doctor;
mod keys;
mod mail;
mod migrate;
mod oauth_client;
mod operator;
mod seed;
mod serve;
mod tenant;
mod token;
mod user;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use rowhouse_postgres::is_on_this_machine;
use tokio::runtime::Runtime;

use crate::cli::Command;
use crate::compose::Interrupted;
use crate::local::with_public_url;
use crate::output::Output;
use crate::settings::Settings;

/// Interrupted by the person: the shell's number for it.
const INTERRUPTED: u8 = 130;

/// Runs one verb on a runtime of its own. Ctrl-C ends it where it is, but for those that serve or
/// begin operations: they end in order by themselves.
pub(crate) fn run(command: Command, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    let runtime = runtime(settings)?;
    runtime.block_on(async {
        let in_order = matches!(
            command,
            Command::Serve
                | Command::Dev { .. }
                | Command::Db(_)
                | Command::Tenant(_)
                | Command::User(_)
                | Command::Seed(_)
        );
        let settings = match command {
            Command::Serve | Command::Dev { .. } => settings.clone(),
            _ => with_public_url(settings),
        };
        let verb = dispatch(command, &settings, output);
        let outcome = if in_order {
            verb.await
        } else {
            tokio::select! {
                outcome = verb => outcome,
                _ = tokio::signal::ctrl_c() => Err(Interrupted.into()),
            }
        };
        match outcome {
            Err(error) if error.is::<Interrupted>() => {
                output.message(&error.to_string());
                Ok(ExitCode::from(INTERRUPTED))
            }
            outcome => outcome,
        }
    })
}

fn runtime(settings: &Settings) -> std::io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if settings.database_url.as_deref().is_none_or(is_on_this_machine) {
        // PostgreSQL needs the other half: threads that take turns with it only wake each other
        // (measured: a tenth of a list's time).
        let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        builder.worker_threads((cores / 2).max(1));
    }
    builder.enable_all().build()
}

async fn dispatch(command: Command, settings: &Settings, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve => serve::serve(settings, output).await,
        Command::Dev { rows } => serve::dev(settings, output, rows).await,
        Command::App(command) => app::run(command, settings, output).await,
        Command::Tenant(command) => tenant::run(command, settings, output).await,
        Command::Migrate(command) => migrate::run(command, settings, output).await,
        Command::Mail(command) => mail::run(command, settings, output).await,
        Command::Operator(command) => operator::run(command, settings, output).await,
        Command::User(command) => user::run(command, settings, output).await,
        Command::Keys(command) => keys::run(command, settings, output).await,
        Command::OauthClient(command) => oauth_client::run(command, settings, output).await,
        Command::Seed(command) => seed::run(command, settings, output).await,
        Command::Token { tenant, member, minutes } => token::run(&tenant, member, minutes, settings, output).await,
        Command::Db(command) => db::run(command, settings, output).await,
        Command::Doctor => doctor::run(settings, output).await,
        Command::Openapi => app::openapi(settings, output).await,
    }
}
