//! Log lines: JSON for machines, short lines for people, always on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::cli::Command;
use crate::settings::{LogFormat, Settings};

/// Whether stderr may be coloured: it is a person's terminal, and nobody said no.
fn colours_wanted() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    std::io::stderr().is_terminal() && !refused && !dumb
}

/// Starts logging. Short commands log warnings only: what they did is their result.
pub(crate) fn start(settings: &Settings, command: &Command) {
    let serving = matches!(command, Command::Serve | Command::Dev { .. });
    let fallback = if serving { settings.log.as_str() } else { "warn" };
    let named = std::env::var_os("ROWHOUSE_LOG").is_some();
    let filter = EnvFilter::try_new(if named { settings.log.as_str() } else { fallback });
    let quiet = "tokio_postgres=warn".parse().expect("a directive");
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info")).add_directive(quiet);
    let pretty = match settings.log_format {
        Some(format) => format == LogFormat::Pretty,
        None => std::io::stderr().is_terminal(),
    };
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours_wanted());
    if pretty {
        lines.with_target(false).compact().init();
    } else {
        lines.json().flatten_event(true).with_current_span(false).init();
    }
}
