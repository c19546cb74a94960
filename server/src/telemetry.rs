//! Logs: structured, to standard error, without personal data.

use tracing_subscriber::EnvFilter;

/// Starts logging as the text says (`info`, `onefold=debug`, …); JSON lines when `json`.
///
/// # Errors
/// A message for people when the text is no filter or logging was started before.
pub fn start(filter: &str, json: bool) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("`{filter}` is no log filter: {error}"))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json { logs.json().try_init() } else { logs.try_init() };
    started.map_err(|error| error.to_string())
}
