//! Why a server cannot start.

use std::net::SocketAddr;
use std::path::PathBuf;

use onefold_core::ids::TenantId;
use onefold_store::datadir::DataDirError;
use onefold_store::journal::JournalError;
use onefold_store::ledger::LedgerError;
use onefold_store::vault::VaultError;

use crate::app::keeper;
use crate::secret;

/// A server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can be reached by other machines, and nothing protects the data there.
    #[error(
        "{0} can be reached from other machines, and this server was started without encryption or authentication: give --tls-cert, --tls-key and --require-auth, listen on 127.0.0.1, or say --allow-insecure-remote"
    )]
    RemoteWithoutProtection(SocketAddr),
    /// The metrics could be read by other machines.
    #[error(
        "metrics on {0} can be read from other machines, by whoever asks: listen on 127.0.0.1, or say --allow-remote-metrics"
    )]
    RemoteMetrics(SocketAddr),
    /// Traces cannot be sent to where they should be.
    #[error("where traces go {0}")]
    Traces(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Requests of controllers cannot be taken as it is said.
    #[error("OpenDSR cannot be served: {0}")]
    OpenDsr(String),
    /// An origin of web pages is none.
    #[error("the web origin cannot be used: {0}")]
    WebOrigin(crate::grpc::InvalidOrigin),
    /// Segments are too small for what one batch may hold.
    #[error("segment_bytes is {given}: give at least {least}, so that every batch fits into a segment")]
    SegmentTooSmall {
        /// What was given.
        given: u32,
        /// The least there may be.
        least: u32,
    },
    /// The root key's file cannot be used.
    #[error("the root key file {path} {why}")]
    RootKeyFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A certificate or a private key cannot be used.
    #[error("encryption cannot be set up: {0}")]
    Tls(String),
    /// The file of the administrator's key cannot be used.
    #[error("the admin key file {path} {source}")]
    AdminKeyFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: secret::SecretFileError,
    },
    /// The administrator's key cannot be used.
    #[error("the admin key {0}")]
    AdminKey(&'static str),
    /// The token issuer's keys cannot be used, or not be asked for.
    #[error("the keys of the token issuer cannot be used: {0}")]
    Tokens(String),
    /// Every call would need a key, and there is none.
    #[error(
        "--require-auth is on and there is no key to call with: `(umask 077; openssl rand -hex 32 > admin.key)`, start with --admin-key-file admin.key, and make the first key with `onefold key create LABEL --role ROLE --api-key-file admin.key`"
    )]
    NobodyMayCall,
    /// The data directory cannot be opened.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The journal cannot be opened.
    #[error("the journal cannot be opened: {0}")]
    Journal(#[from] JournalError),
    /// The keyed store cannot be opened.
    #[error("the keyed store cannot be opened: {0}")]
    Keyed(#[from] onefold_store::keyed::KeyedError),
    /// The keyed store cannot be brought up to the journal.
    #[error(transparent)]
    CatchUp(#[from] keeper::CatchUpError),
    /// The vault cannot be opened.
    #[error("the vault of tenant number {tenant} cannot be opened: {1}; restore a backup", tenant = .0.0)]
    Vault(TenantId, VaultError),
    /// The erasure ledger or the ledger of stops cannot be used: without the one nobody can be kept erased.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The signed heads of the log cannot be opened.
    #[error("the signed heads of the log cannot be read or written: {0}")]
    Heads(std::io::Error),
    /// The log does not hold a head that was signed: what it acknowledged is gone.
    #[error(
        "the log does not hold its head of {time} (segment {segment}, offset {offset}), which was signed here: it was cut \
         back, or another was put in its place, and what was acknowledged since would be lost, erasures among it; bring the \
         log back, or take a backup with `onefold restore`; whoever wants this log all the same moves \
         heads/heads.jsonl away"
    )]
    CutBack {
        /// When it was signed.
        time: String,
        /// Its segment.
        segment: u32,
        /// Its offset.
        offset: u32,
    },
    /// A checkpoint cannot be looked for.
    #[error("the checkpoints cannot be read: {0}")]
    Checkpoint(#[from] onefold_store::checkpoint::CheckpointError),
    /// The journal holds something that does not fit together.
    #[error("the journal does not fit together: {0}")]
    Replay(String),
    /// A new data directory finds no room for its first entries.
    #[error(
        "there is no room for the first entries of the data directory: make some on its disk, or raise the quota or the \
         limit on file sizes (`ulimit -f`), and start again"
    )]
    NoRoom,
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
    /// The start was interrupted.
    #[error("the start was interrupted")]
    Interrupted,
}
