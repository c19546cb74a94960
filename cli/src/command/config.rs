//! `onefold config`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use onefold_cli::settings::{ConfigFile, Given, Settings, example};

use super::serve::{faulty, settings};
use super::{Failure, say};

/// The configuration of `onefold serve`: check, show, example.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks a configuration file, and that the files it names can be read: every fault, with its line.
    Check {
        /// The configuration file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Prints what `onefold serve` with these options would go by, here and now, and where each value comes from.
    Show {
        #[command(flatten)]
        given: Box<Given>,
    },
    /// Prints a configuration file with every setting, its default, and what it does.
    Example,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Check { file } => {
            let read = ConfigFile::read(file).map_err(|faults| faulty(&faults))?;
            let laid = Settings::lay(&Given::default(), &BTreeMap::new(), Some(&read));
            let settings = laid.map_err(|faults| faulty(&faults))?;
            let unreadable = settings.unreadable_files();
            if !unreadable.is_empty() {
                return Err(faulty(&unreadable));
            }
            say(&format!("{}: {} settings, all of them good\n", file.display(), read.values.len()))
        }
        Command::Show { given } => {
            let (settings, strange) = settings(given)?;
            let strange: String = strange.iter().map(|fault| format!("# {fault}\n")).collect();
            say(&(settings.shown() + &strange))
        }
        Command::Example => say(&example()),
    }
}
