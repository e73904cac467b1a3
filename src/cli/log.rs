//! The log of a command, on stderr.

use super::Failure;
use crate::config::{InvalidSettings, LogFormat, Settings};
use std::ffi::OsString;
use std::io::IsTerminal;
use token_ledger_domain::Quoted;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The variable that says what is logged, such as `debug` or `token_ledger=debug`.
const LOG_FILTER: &str = "TOKEN_LEDGER_LOG";

/// Starts it, at this level unless the variable says otherwise.
pub(super) fn start(format: LogFormat, level: &str) -> Result<(), Failure> {
    let chosen = match std::env::var_os(LOG_FILTER).map(OsString::into_string) {
        Some(Err(_)) => {
            let variable = LOG_FILTER.to_owned();
            return Err(InvalidSettings::NotText { variable }.into());
        }
        Some(Ok(text)) => Some(text).filter(|text| !text.is_empty()),
        None => None,
    };
    let filter = filter(chosen.as_deref().unwrap_or(level))
        .map_err(|problem| Failure::Usage(format!("{LOG_FILTER}: {problem}")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // They would go to stderr, which is what failed, and end the request in a panic.
        .log_internal_errors(false)
        .with_ansi(
            std::io::stderr().is_terminal() && are_colours_welcome(|name| std::env::var_os(name)),
        );
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    for variable in Settings::unknown_variables() {
        tracing::warn!(variable, "the variable is no setting and means nothing");
    }
    Ok(())
}

/// Writes down why the command ended; what is left of the failure then. One that the log doesn't let
/// through is left to be told otherwise.
pub(super) fn last(failure: Failure) -> Failure {
    let ended = match failure {
        Failure::Usage(_) => Failure::Misused,
        Failure::Failed(_) => Failure::Silent,
        Failure::Silent | Failure::Misused => return failure,
    };
    if !tracing::enabled!(tracing::Level::ERROR) {
        return failure;
    }
    tracing::error!("{failure}");
    ended
}

/// What is let through. Each directive has to name a level: a level that is mistyped would be taken
/// for the name of a target, and nothing else be logged any more.
fn filter(text: &str) -> Result<EnvFilter, String> {
    if let Some(directive) = text.split(',').find(|part| !part.is_empty() && !has_level(part)) {
        return Err(format!(
            "{} names no level: write error, warn, info, debug, trace or off, alone or as \
             TARGET=LEVEL",
            Quoted(directive)
        ));
    }
    // It also tells of the schema that a file's is compared with.
    EnvFilter::try_new(format!("rusqlite_migration=warn,{text}")).map_err(|error| error.to_string())
}

/// Whether the directive ends in a level, or is about a span, which may do without.
fn has_level(directive: &str) -> bool {
    let level = match directive.rsplit_once(']') {
        Some((_, "")) => return true,
        Some((_, behind)) => behind.strip_prefix('='),
        None => directive.rsplit('=').next(),
    };
    let is_level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    level.map(str::trim).is_some_and(is_level)
}

/// Whether a terminal shows colours, and nobody has asked for none (no-color.org).
fn are_colours_welcome(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let is_refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_refused && variable("TERM").is_none_or(|terminal| terminal != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_left_out_where_nobody_wants_them() {
        let with = |set: &[(&str, &str)]| {
            are_colours_welcome(|name| {
                set.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).into())
            })
        };
        assert!(with(&[]) && with(&[("NO_COLOR", ""), ("TERM", "xterm")]));
        assert!(!with(&[("NO_COLOR", "1")]) && !with(&[("TERM", "dumb")]));
    }
}
