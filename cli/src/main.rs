//! The `onefold` command.

mod client;
mod clock;
mod command;
mod ingest;

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
    /// Runs the service on a data directory.
    Serve(command::serve::Arguments),
    /// Streams the rows of files to a server.
    Import(command::import::Arguments),
    /// Shows the profile behind an identifier, a source record or an id.
    Lookup(command::lookup::Arguments),
    /// A digest of the graph, to compare two installations or two runs.
    Digest(command::digest::Arguments),
    /// Files in, clusters out: no server, no configuration.
    Resolve(command::resolve::Arguments),
    /// Writes a seeded population with truth: people and companies as several systems would hold them.
    Generate(command::generate::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(arguments) => command::serve::run(&arguments),
        Command::Import(arguments) => command::import::run(&arguments),
        Command::Lookup(arguments) => command::lookup::run(&arguments),
        Command::Digest(arguments) => command::digest::run(&arguments),
        Command::Resolve(arguments) => command::resolve::run(&arguments),
        Command::Generate(arguments) => command::generate::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("onefold: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}
