//! The `onefold` command.

mod client;
mod clock;
mod command;
mod ingest;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// musl's own allocator lets one thread in at a time, and the server allocates on all of them.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Turns scattered profile fragments into people and companies.
#[derive(Parser)]
#[command(name = "onefold", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Puts a server under load at a fixed rate, and tells the latencies.
    Bench(command::bench::Arguments),
    /// Starts on an empty directory, streams generated customers, shows one of them, and why.
    Demo(command::demo::Arguments),
    /// Runs the service on a data directory.
    Serve(command::serve::Arguments),
    /// The configuration of `onefold serve`: check, show, example.
    Config(command::config::Arguments),
    /// Looks over a data directory whose server is down, and says what to do.
    Doctor(command::doctor::Arguments),
    /// Whether a server serves, service by service.
    Health(command::health::Arguments),
    /// Streams the rows of files to a server.
    Import(command::import::Arguments),
    /// Shows the profile behind an identifier, a source record or an id.
    Lookup(command::lookup::Arguments),
    /// Who this might be, of whom only some attributes are known, misspelt perhaps.
    Search(command::search::Arguments),
    /// Why two records are one profile, or why not; or how a profile hangs together.
    Explain(command::explain::Arguments),
    /// What evidence leaves open, asked one by one; judgements made, listed and taken back.
    Review(command::review::Arguments),
    /// Match models: list, show, train, preview, use.
    Model(command::model::Arguments),
    /// What happened to a profile id.
    History(command::history::Arguments),
    /// What persons allowed and forbade: record, state, history, receipt, unsubscribe, confirm, policy.
    Consent(command::consent::Arguments),
    /// Whether a person may be contacted now, and every reason.
    Decide(command::decide::Arguments),
    /// Erases a person: preview, erasure, receipt.
    Erase(command::erase::Arguments),
    /// Hands a person what is held about them: start, preview, export.
    Access(command::access::Arguments),
    /// Requests of persons: list, show, approve, extend, refuse, cancel, confirm, receipt, readmit, policy.
    Requests(command::requests::Arguments),
    /// Restricts, objects, corrects: takes in the request, verifies it and carries it out.
    Rights(command::rights::Arguments),
    /// Copies everything to a directory while the server serves.
    Backup(command::backup::Arguments),
    /// Makes a data directory of a backup; whoever was erased since is erased again before anything is served.
    Restore(command::restore::Arguments),
    /// An auditor's checks, without a server; and who read what, from one.
    Audit(command::audit::Arguments),
    /// Follows the change feed.
    Watch(command::watch::Arguments),
    /// Accounts and the people in them: put, move, close, tree, rollup, import, propose, affiliate.
    Account(command::account::Arguments),
    /// Stages of persons and accounts: define, set, show, history.
    Stage(command::stage::Arguments),
    /// Counts of a tenant.
    Stats(command::stats::Arguments),
    /// A digest of the graph, to compare two installations or two runs.
    Digest(command::digest::Arguments),
    /// Fragments that broke their contract: list, replay, discard.
    Quarantine(command::quarantine::Arguments),
    /// Tenants: create, update, list.
    Tenant(command::tenant::Arguments),
    /// API keys and their roles: create, list, revoke.
    Key(command::key::Arguments),
    /// The keys of a data directory: rotate.
    Keys(command::keys::Arguments),
    /// Sources and their contracts: put, list.
    Source(command::source::Arguments),
    /// Kinds of identifier and their laws: put, list.
    Namespace(command::namespace::Arguments),
    /// The wire contract, for other languages.
    Proto(command::proto::Arguments),
    /// Files in, clusters out: no server, no configuration.
    Resolve(command::resolve::Arguments),
    /// Writes a seeded population with truth: people and companies as several systems would hold them.
    Generate(command::generate::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Bench(arguments) => command::bench::run(&arguments),
        Command::Demo(arguments) => command::demo::run(&arguments),
        Command::Serve(arguments) => command::serve::run(&arguments),
        Command::Config(arguments) => command::config::run(&arguments),
        Command::Doctor(arguments) => command::doctor::run(&arguments),
        Command::Health(arguments) => command::health::run(&arguments),
        Command::Import(arguments) => command::import::run(&arguments),
        Command::Lookup(arguments) => command::lookup::run(&arguments),
        Command::Search(arguments) => command::search::run(&arguments),
        Command::Explain(arguments) => command::explain::run(&arguments),
        Command::Review(arguments) => command::review::run(&arguments),
        Command::Model(arguments) => command::model::run(&arguments),
        Command::History(arguments) => command::history::run(&arguments),
        Command::Consent(arguments) => command::consent::run(&arguments),
        Command::Decide(arguments) => command::decide::run(&arguments),
        Command::Erase(arguments) => command::erase::run(&arguments),
        Command::Access(arguments) => command::access::run(&arguments),
        Command::Requests(arguments) => command::requests::run(&arguments),
        Command::Rights(arguments) => command::rights::run(&arguments),
        Command::Backup(arguments) => command::backup::run(&arguments),
        Command::Restore(arguments) => command::restore::run(&arguments),
        Command::Audit(arguments) => command::audit::run(&arguments),
        Command::Watch(arguments) => command::watch::run(&arguments),
        Command::Account(arguments) => command::account::run(&arguments),
        Command::Stage(arguments) => command::stage::run(&arguments),
        Command::Stats(arguments) => command::stats::run(&arguments),
        Command::Quarantine(arguments) => command::quarantine::run(&arguments),
        Command::Tenant(arguments) => command::tenant::run(&arguments),
        Command::Key(arguments) => command::key::run(&arguments),
        Command::Keys(arguments) => command::keys::run(&arguments),
        Command::Source(arguments) => command::source::run(&arguments),
        Command::Namespace(arguments) => command::namespace::run(&arguments),
        Command::Proto(arguments) => command::proto::run(&arguments),
        Command::Digest(arguments) => command::digest::run(&arguments),
        Command::Resolve(arguments) => command::resolve::run(&arguments),
        Command::Generate(arguments) => command::generate::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("onefold: {}", onefold_cli::output::visible(&failure.message));
            ExitCode::from(failure.code)
        }
    }
}
