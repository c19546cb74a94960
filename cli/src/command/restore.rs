//! `onefold restore`.

use std::path::PathBuf;

use clap::Args;
use onefold_server::restore;

use super::{Failure, say};

/// Makes a data directory of a backup. Whoever was erased since is erased again by the first start, before anything is
/// served. A damaged backup is refused, and what is damaged is named.
#[derive(Args)]
pub struct Arguments {
    /// The backup.
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// The new data directory.
    #[arg(value_name = "DIR")]
    data: PathBuf,
    /// The erasure ledger as it is now: `erasures/ledger` in the data directory that is replaced, or your copy of it.
    #[arg(long, value_name = "FILE", required_unless_present = "without_ledger")]
    ledger: Option<PathBuf>,
    /// There is no ledger: whoever was erased after the backup COMES BACK.
    #[arg(long, conflicts_with = "ledger")]
    without_ledger: bool,
    /// The file of the root key, where it is kept outside the data directory.
    #[arg(long, value_name = "FILE")]
    root_key_file: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { backup, data, ledger, root_key_file, .. } = arguments;
    let restored = restore::restore(backup, data, ledger.as_deref(), root_key_file.as_deref())
        .map_err(|error| Failure::new(error.to_string()))?;
    let warning =
        if ledger.is_none() { "without the ledger: whoever was erased after the backup is back\n" } else { "" };
    say(&format!(
        "restored {} files, {} bytes, {} entries, checked\nerasures that the backup knows: {}; since: {}, carried out by the first start before it serves\n{warning}",
        restored.files, restored.bytes, restored.entries, restored.known, restored.pending
    ))
}
