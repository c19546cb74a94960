//! `onefold restore`.

use std::path::PathBuf;

use clap::Args;
use onefold_server::restore::{self, Ledgers};

use super::{Failure, say};

/// Makes a data directory of a backup. Whoever was erased since is erased again by the first start, and what people said no
/// to since holds again, before anything is served. A damaged backup is refused, and what is damaged is named.
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
    /// The ledger of stops as it is now: `erasures/stops` in the data directory that is replaced, or your copy of it. Left
    /// out, `stops` is looked for beside the erasure ledger.
    #[arg(long, value_name = "FILE")]
    stops: Option<PathBuf>,
    /// The ledger of revocations as it is now: which API keys were taken back. Left out, `revocations` is looked for beside the
    /// erasure ledger; without one, keys that were taken back after the backup are good again.
    #[arg(long, value_name = "FILE")]
    revocations: Option<PathBuf>,
    /// There is no ledger of stops: whoever said no after the backup IS CONTACTED AGAIN.
    #[arg(long, conflicts_with = "stops")]
    without_stops: bool,
    /// Takes ledgers whose last row is not whole, without that row: only where the server was cut off while it wrote and there
    /// is no other copy. WHOEVER IS IN THAT ROW COMES BACK, OR IS CONTACTED AGAIN.
    #[arg(long)]
    torn_ledgers: bool,
    /// The file of the root key, where it is kept outside the data directory.
    #[arg(long, value_name = "FILE")]
    root_key_file: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { backup, data, ledger, root_key_file, .. } = arguments;
    let stops = stops_of(arguments)?;
    let revocations = arguments.revocations.clone().or_else(|| beside(arguments, "revocations"));
    let ledgers = Ledgers {
        erasures: ledger.as_deref(),
        stops: stops.as_deref(),
        revocations: revocations.as_deref(),
        torn: arguments.torn_ledgers,
    };
    let restored = restore::restore(backup, data, ledgers, root_key_file.as_deref())
        .map_err(|error| Failure::new(error.to_string()))?;
    let mut warning = String::new();
    if ledger.is_none() {
        warning.push_str("without the ledger: whoever was erased after the backup is back\n");
    }
    if stops.is_none() {
        warning.push_str("without the ledger of stops: whoever said no after the backup is contacted again\n");
    }
    if revocations.is_none() {
        warning.push_str("without the ledger of revocations: API keys that were taken back after the backup are good again; `onefold key list`\n");
    }
    for what in &restored.torn {
        warning.push_str(&format!("{what} ends within a row, which was left out: who is in it is not known\n"));
    }
    for what in &restored.unnamed {
        warning.push_str(&format!(
            "{what} does not say of which installation it is, since an older release wrote it: make sure that it is this one's\n"
        ));
    }
    if restored.lacks > 0 {
        warning.push_str(&format!(
            "the erasure ledger lacks {} erasures that the backup knows: it is older than the backup or lost its end, and whoever was erased since it was copied is back\n",
            restored.lacks
        ));
    }
    say(&format!(
        "restored {} files, {} bytes, {} entries, checked\nerasures that the backup knows: {}; since: {}, carried out by the first start before it serves\nstops since: {}, said again by the first start before it serves\n{warning}",
        restored.files, restored.bytes, restored.entries, restored.known, restored.pending, restored.stops
    ))
}

/// A ledger beside the erasure ledger.
fn beside(arguments: &Arguments, name: &str) -> Option<PathBuf> {
    arguments.ledger.as_ref().map(|ledger| ledger.with_file_name(name)).filter(|path| path.exists())
}

/// The ledger of stops: the one that is named, or the one beside the erasure ledger.
fn stops_of(arguments: &Arguments) -> Result<Option<PathBuf>, Failure> {
    if arguments.without_stops {
        return Ok(None);
    }
    match arguments.stops.clone().or_else(|| beside(arguments, "stops")) {
        Some(path) => Ok(Some(path)),
        None => Err(Failure::new(
            "the ledger of stops is missing: name it with --stops (`erasures/stops` in the data directory that is \
             replaced, or your copy), or say --without-stops: then whoever said no after the backup is contacted again",
        )),
    }
}
