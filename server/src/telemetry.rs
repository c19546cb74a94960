//! Logs: structured, to standard error, without personal data.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;

/// Panics of this process since [`start`].
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Panics of this process since [`start`].
#[must_use]
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Counts a panic and says where it was. Not what it says: that may hold what was being worked on, e.g. the text that was
/// cut between two characters.
fn note_panic(panic: &PanicHookInfo<'_>) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    let thread = std::thread::current();
    let (file, line) = panic.location().map_or(("", 0), |at| (at.file(), at.line()));
    tracing::error!(file, line, thread = thread.name().unwrap_or_default(), "a panic: please report where it was");
}

/// Starts logging as the text says (`info`, `onefold=debug`, …); JSON lines when `json`. From then on panics are counted
/// and logged by their place alone.
///
/// # Errors
/// A message for people when the text is no filter or logging was started before.
pub fn start(filter: &str, json: bool) -> Result<(), String> {
    let filter = read(filter)?;
    // Colours are for eyes: a file, or a journal of the system, would keep their codes.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    std::panic::set_hook(Box::new(note_panic));
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
