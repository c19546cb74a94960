//! One file per command; each gives a [`Failure`] with an exit code: 1 for what went wrong, 2 for what was asked wrongly.

pub mod access;
pub mod account;
pub mod audit;
pub mod backup;
pub mod bench;
pub mod config;
pub mod consent;
pub mod decide;
pub mod demo;
pub mod digest;
pub mod doctor;
pub mod erase;
pub mod explain;
pub mod generate;
pub mod health;
pub mod history;
pub mod import;
pub mod key;
pub mod keys;
pub mod lookup;
pub mod model;
pub mod namespace;
pub mod proto;
pub mod quarantine;
pub mod requests;
pub mod resolve;
pub mod restore;
pub mod review;
pub mod rights;
pub mod search;
pub mod serve;
pub mod source;
pub mod stage;
pub mod stats;
pub mod tenant;
pub mod watch;

mod card;
mod scope;
mod waterfall;
mod whole;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::ProgressState;
use onefold_cli::output::{Paint, count, visible};

use crate::client::{Target, wire};

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// For people.
    pub message: String,
}

impl Failure {
    /// Something went wrong.
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// It was asked wrongly.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }
}

/// Colour on a terminal, unless the user wants none.
fn paint(stream: &impl IsTerminal) -> Paint {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if stream.is_terminal() && !unwanted { Paint::Colour } else { Paint::Plain }
}

/// How fast a bar goes, in whole steps a second.
fn rate(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let _ = write!(out, "{}/s", count(state.per_sec() as u64));
}

/// Writes to standard output, for people. A reader that has seen enough is no failure.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(visible(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a message as JSON.
fn say_json(value: &serde_json::Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(error.to_string()))?;
    say(&(text + "\n"))
}

/// Writes the message `onefold.v1.{name}` as JSON where that was asked for, which is all then. Otherwise how to write it for
/// people.
fn for_people<M: prost::Message>(target: &Target, name: &str, message: &M) -> Result<Option<Paint>, Failure> {
    if target.json {
        say_json(&wire::json(name, message))?;
        return Ok(None);
    }
    Ok(Some(paint(&io::stdout())))
}

/// Reads the message `onefold.v1.{name}` from a file of JSON, where one was named.
fn read_message<M: prost::Message + Default>(name: &str, file: Option<&PathBuf>) -> Result<Option<M>, Failure> {
    let read = |file: &PathBuf| wire::from_json(name, &read_text(file)?, &file.display().to_string());
    file.map(read).transpose()
}

/// The last line of what people read: the same by hand.
fn by_hand(call: &str, paint: Paint) -> String {
    format!("\n{}\n", paint.faint(&format!("the call behind this: {call}")))
}

/// Reads a small file that the user named.
fn read_text(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("{}: cannot be read: {error}", file.display())))
}

/// Runs what talks to a server.
fn online<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| Failure::new(format!("threads cannot be started: {error}")))?.block_on(work)
}
