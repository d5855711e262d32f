//! The `rowhouse` command: reads the command line and the settings, puts the services together
//! and runs one verb. Rules live in the crates below.

mod clerk;
mod cli;
mod commands;
mod compose;
mod local;
mod logs;
mod mail;
mod output;
mod settings;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use rowhouse_types::ErrorCode;

use crate::cli::Cli;
use crate::output::Output;
use crate::settings::{SettingsError, read_config};

/// Requests are many small allocations (measured: a tenth of a list's time with the system's own
/// allocator).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The config file that is read without being named.
const CONFIG_FILE: &str = "rowhouse.config.toml";
/// Wrong use of the command line or of a setting.
const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    let (cli, output) = match parse(std::env::args_os().collect()) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let settings = match cli.settings.clone().resolve() {
        Ok(settings) => settings,
        Err(error) => {
            output.failure(&error.into());
            return ExitCode::from(WRONG_USE);
        }
    };
    logs::start(&settings, &cli.command);
    match commands::run(cli.command, &settings, output) {
        Ok(code) => code,
        Err(error) => {
            output.failure(&error);
            if error.is::<SettingsError>() { ExitCode::from(WRONG_USE) } else { ExitCode::FAILURE }
        }
    }
}

/// Parses the command line, with the config file's values as defaults: flags and environment
/// variables are stronger.
///
/// # Errors
/// What was wrong has been told, and this is the exit code: also 0, for `--help`.
fn parse(line: Vec<OsString>) -> Result<(Cli, Output), ExitCode> {
    // The line may be the very thing that cannot be read, and a script still wants its document.
    let json = line.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json");
    let unread = Output { json, quiet: false };
    let command = with_config(&line).map_err(|error| {
        unread.failure(&error.into());
        ExitCode::from(WRONG_USE)
    })?;
    let parsed = command.try_get_matches_from(line).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = parsed.map_err(|error| {
        if error.use_stderr() {
            unread.refusal(ErrorCode::InvalidRequest.as_str(), error.render().to_string().trim_end());
        }
        // Where stderr is closed there is nobody to tell.
        let _ = error.print();
        u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
    })?;
    let output = Output { json: cli.json, quiet: cli.quiet };
    Ok((cli, output))
}

/// The command line's grammar, with the config file's values as defaults.
fn with_config(line: &[OsString]) -> Result<clap::Command, SettingsError> {
    let mut command = Cli::command();
    let path = named_config(line).or_else(|| Path::new(CONFIG_FILE).exists().then(|| CONFIG_FILE.into()));
    if let Some(path) = path {
        for (key, value) in read_config(Path::new(&path))? {
            command = command.mut_arg(key, |argument| argument.default_value(value));
        }
    }
    Ok(command)
}

/// The config file named by flag or environment, looked up before the real parse.
fn named_config(line: &[OsString]) -> Option<OsString> {
    let mut arguments = line.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            return arguments.next().cloned();
        }
        if let Some(value) = argument.to_str().and_then(|text| text.strip_prefix("--config=")) {
            return Some(value.into());
        }
    }
    std::env::var_os("ROWHOUSE_CONFIG")
}
