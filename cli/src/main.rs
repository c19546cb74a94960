//! The `onefold` command.

mod clock;
mod command;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Turns scattered profile fragments into people and companies.
#[derive(Parser)]
#[command(name = "onefold", version, about, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a seeded population with truth: people and companies as several systems would hold them.
    Generate(command::generate::Arguments),
    /// Files in, clusters out: no server, no configuration.
    Resolve(command::resolve::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Generate(arguments) => command::generate::run(&arguments),
        Command::Resolve(arguments) => command::resolve::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("onefold: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}
