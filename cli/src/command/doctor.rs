//! `onefold doctor`.

use std::path::PathBuf;

use clap::Args;
use onefold_server::doctor::{self, Finding, Level};

use super::{Failure, paint, say, say_json};

/// Looks over a data directory whose server is down: directory, lock, permissions, room, journal, keys, erasures, checkpoint,
/// keyed store. Says of each finding what it means and what to do. The exit code is 1 when a server would not start or cannot
/// serve something, and 0 otherwise.
#[derive(Args)]
pub struct Arguments {
    /// The data directory.
    #[arg(value_name = "DIR")]
    data: PathBuf,
    /// The file of the root key, where it is kept outside the data directory.
    #[arg(long, value_name = "FILE", env = "ONEFOLD_ROOT_KEY_FILE")]
    root_key_file: Option<PathBuf>,
    /// Prints the findings as JSON: a list of `check`, `level` (fine, warning, fault), `what`, `advice`.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let findings = doctor::examine(&arguments.data, arguments.root_key_file.as_deref());
    if arguments.json {
        let list = serde_json::to_value(&findings).map_err(|error| Failure::new(error.to_string()))?;
        say_json(&list)?;
    } else {
        let paint = paint(&std::io::stdout());
        let lines = findings.iter().map(|finding| line(finding, paint));
        say(&lines.collect::<String>())?;
    }
    match findings.iter().filter(|finding| finding.level == Level::Fault).count() {
        0 => Ok(()),
        1 => Err(Failure::new("1 fault")),
        count => Err(Failure::new(format!("{count} faults"))),
    }
}

fn line(finding: &Finding, paint: onefold_cli::output::Paint) -> String {
    let word = match finding.level {
        Level::Fine => paint.faint("fine   "),
        Level::Warning => paint.heading("warning"),
        Level::Fault => paint.heading("FAULT  "),
    };
    let advice = if finding.advice.is_empty() { String::new() } else { format!("         → {}\n", finding.advice) };
    format!("{word}  {}: {}\n{advice}", finding.check, finding.what)
}
