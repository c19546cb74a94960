//! Logs: structured, to standard error, without personal data.

use tracing_subscriber::EnvFilter;

/// Starts logging as the text says (`info`, `onefold=debug`, …); JSON lines when `json`.
///
/// # Errors
/// A message for people when the text is no filter or logging was started before.
pub fn start(filter: &str, json: bool) -> Result<(), String> {
    let filter = read(filter)?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json { logs.json().try_init() } else { logs.try_init() };
    started.map_err(|error| error.to_string())
}

/// Whether a text is a log filter.
///
/// # Errors
/// A message for people when it is none.
pub fn check(filter: &str) -> Result<(), String> {
    read(filter).map(drop)
}

fn read(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(filter).map_err(|error| format!("`{filter}` is no log filter: {error}"))
}

/// Tells the operator something about the configuration.
pub fn notice(lines: impl Iterator<Item = String>) {
    for line in lines {
        tracing::warn!("{line}");
    }
}
