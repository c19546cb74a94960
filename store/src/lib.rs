//! How truth lies on disk.
//!
//! - [`datadir`]: the layout of a data directory, its lock, its format version and its root key.
//! - [`journal`]: ground. Append-only, chained, one order of events; an acknowledgement waits for nothing else.
//! - [`vault`]: the key of each source record's content, in slots that can be destroyed in place.
//! - [`keyring`]: what the root key opens, so that it can change.
//! - [`seal`]: content under such a key, bound to its place in the journal.
//! - [`keyed`]: what is read by key, in sled, written behind the journal and rebuilt from it when in doubt.
//! - [`erasures`], [`stops`], [`revocations`]: ledgers outside of every backup, of who was erased, who said no, and which API keys
//!   were taken back.
//! - [`checkpoint`]: what memory holds, encrypted, so that start-up does not replay everything.
//!
//! All of it is synchronous: one writer (the commit lane) and any number of readers.
//!
//! # Starting
//! 1. [`datadir::DataDir::open`] takes the lock and finds the root key.
//! 2. [`checkpoint::Checkpoints::latest`] gives the newest checkpoint that reads, with the journal position it covers.
//! 3. [`journal::Journal::open`] verifies and streams every batch after that position, cuts a torn tail, and hands out
//!    the appender, the writer and the reader.
//! 4. [`datadir::DataDir::open_vault`] per tenant, as the replay meets them; [`vault::Vault::recover`] once the replay is over.
//! 5. [`keyed::open`] says up to where sled has kept up; what follows is applied again from the journal.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod datadir;
mod disk;
pub mod erasures;
pub mod journal;
pub mod keyed;
pub mod keyring;
pub mod keys;
pub mod ledger;
pub mod revocations;
pub mod seal;
pub mod stops;
pub mod vault;
