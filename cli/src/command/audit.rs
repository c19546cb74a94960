//! `onefold audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use onefold_server::audit;

use super::{Failure, read_text, say};

/// An auditor's checks, without a server.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks the whole log of a data directory whose server is down, the erasure ledger, every destroyed key and every
    /// receipt; or one receipt, alone or against the log. Names the first thing that does not fit.
    Verify {
        /// The data directory.
        #[arg(value_name = "DIR", required_unless_present = "receipt")]
        data: Option<PathBuf>,
        /// A receipt.
        #[arg(long, value_name = "FILE")]
        receipt: Option<PathBuf>,
        /// The public key of the installation, as `onefold requests policy` shows it. Without it, and without DIR, only
        /// that the receipt was not changed is known, not who gave it out.
        #[arg(long, value_name = "HEX", requires = "receipt")]
        key: Option<String>,
        /// The file of the root key, where it is kept outside the data directory.
        #[arg(long, value_name = "FILE")]
        root_key_file: Option<PathBuf>,
    },
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::Verify { data, receipt, key, root_key_file } = &arguments.command;
    let root = root_key_file.as_deref();
    match (data, receipt) {
        (Some(data), None) => {
            let found = audit::verify(data, root).map_err(|error| Failure::new(explained(&error)))?;
            say(&format!(
                "the log is whole: {} entries in {} batches, {} segments; head {}\n\
                 erasures: {}, all in the ledger; destroyed keys: {}, all gone; receipts: {}, all signed here and in the log\n\
                 receipts are signed with {}\n",
                found.entries,
                found.batches,
                found.segments,
                found.head,
                found.erasures,
                found.destroyed_keys,
                found.receipts,
                found.public_key
            ))
        }
        (Some(data), Some(file)) => {
            let receipt =
                audit::verify_receipt_in(data, root, file).map_err(|error| Failure::new(explained(&error)))?;
            said(&receipt.words, "signed by this installation, and its places in the log are what they say")
        }
        (None, Some(file)) => {
            let text = read_text(file)?;
            let receipt = audit::verify_receipt(&text, key.as_deref())
                .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
            let known = if key.is_some() { "signed with the key you gave" } else { "not changed since it was signed" };
            said(&receipt.words, &format!("{known} ({})", receipt.public_key))
        }
        (None, None) => Err(Failure::usage("name a data directory, or a receipt")),
    }
}

fn said(words: &[String], verdict: &str) -> Result<(), Failure> {
    say(&format!("the receipt holds: {verdict}\n{}\n", words.join("\n")))
}

fn explained(error: &audit::AuditError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
