//! `onefold keys`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use onefold_server::clock::SystemClock;
use onefold_server::rotation::{self, Rotated};

use super::{Failure, say};

/// The keys that a data directory is encrypted with. (API keys are `onefold key`.)
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Replaces the root key, and the keys below it that open the vaults and checkpoints, with the server down. No data is
    /// written anew. Cut off, it goes on when it is given again; until it ends the old key opens the directory, from then
    /// on the new one alone.
    Rotate(Rotate),
}

#[derive(Args)]
struct Rotate {
    /// The data directory.
    #[arg(value_name = "DIR")]
    data: PathBuf,
    /// The file of the root key, where it is kept outside the data directory.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The file of the new root key: `(umask 077; openssl rand -hex 32 > new.key)`. Without it the root key stays, and what
    /// is below it is replaced.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Verb::Rotate(Rotate { data, from, to }) = &arguments.verb;
    let rotated = rotation::rotate(data, from.as_deref(), to.as_deref(), &SystemClock, |_| {})
        .map_err(|error| Failure::new(error.to_string()))?;
    say(&told(&rotated))
}

fn told(rotated: &Rotated) -> String {
    if rotated.already {
        return "the directory opens with the new root key, and with no other: there is nothing left to do\n"
            .to_owned();
    }
    let key = if rotated.root_key {
        "the old root key opens nothing of it any more; start with --root-key-file and the new one\n\
         keep the old one for as long as you keep backups of before: they open with it alone\n"
    } else {
        "the root key is the same as before\n"
    };
    format!(
        "rotation {}: {} vaults are under new keys; the next start reads the log whole and notes it there\n{key}",
        rotated.generation, rotated.vaults
    )
}
