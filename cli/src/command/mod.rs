//! One file per command; each gives a [`Failure`] with an exit code: 1 for what went wrong, 2 for what was asked wrongly.

pub mod generate;
pub mod resolve;

use std::io::IsTerminal;

use onefold_cli::output::Paint;

/// Why a command failed.
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
}

/// Colour on a terminal, unless the user wants none.
fn paint(stream: &impl IsTerminal) -> Paint {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if stream.is_terminal() && !unwanted { Paint::Colour } else { Paint::Plain }
}
