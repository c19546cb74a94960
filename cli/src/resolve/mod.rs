//! `onefold resolve`: files in, clusters out, by the engine that serves; no server, no configuration.
//!
//! Stages, each in its own file: [`open`] (read and map), [`link`] (shape, prepare, put, settle), [`score`] and
//! [`doubt`] (against the truth), [`report`] (what to tell). Nothing is written but the answer: the keys of the digests
//! live in memory only.

pub mod doubt;
pub mod fit;
pub mod link;
pub mod open;
pub mod report;
pub mod schema;
pub mod score;

use std::io::{self, Write};
use std::path::PathBuf;

use onefold_core::ids::{ProfileId, ProfileOrdinal};

pub use link::{LinkOptions, Linked, Progress, ResolvedRow};
pub use open::{Input, OpenOptions};
pub use report::Report;

use crate::input::ReadError;
use crate::input::mapping::MappingFault;

/// A run that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The mapping file cannot be used.
    #[error(transparent)]
    Mapping(#[from] MappingFault),
    /// An option does not fit the files.
    #[error("{0}")]
    Usage(String),
    /// No column tells anything about a party.
    #[error(
        "{}: line 1: no column tells anything about a person or an organisation (columns: {columns}); \
         add one, or say with --mapping what they mean", file.display()
    )]
    NoFacts {
        /// Which file.
        file: PathBuf,
        /// Its columns.
        columns: String,
    },
    /// A file with a header and nothing else.
    #[error("{}: no row below the header", file.display())]
    NoRows {
        /// Which file.
        file: PathBuf,
    },
    /// A match model cannot be used.
    #[error("{0}")]
    Model(#[from] onefold_matching::pair::model::ModelError),
    /// The laws of a namespace cannot be compiled.
    #[error("{0}")]
    Rules(String),
    /// The answer cannot be written.
    #[error("{}: cannot be written: {source}", file.display())]
    Write {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl ResolveError {
    /// The exit code: 2 for what the caller should say otherwise, 1 for the rest.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Mapping(_) => 2,
            Self::Read(_)
            | Self::NoFacts { .. }
            | Self::NoRows { .. }
            | Self::Model(_)
            | Self::Rules(_)
            | Self::Write { .. } => 1,
        }
    }
}

/// Keys of one run's digests. Fixed, so that equal files give equal profile ids; they guard nothing, since a run leaves
/// no digest behind.
#[must_use]
pub fn run_key(purpose: &str) -> [u8; 32] {
    blake3::derive_key("onefold resolve 2026 offline run", purpose.as_bytes())
}

/// Writes `record_id,profile_id` for every row of the input, in its order.
///
/// # Errors
/// What the sink says.
pub fn write_profiles<W: Write>(linked: &Linked, out: W) -> io::Result<()> {
    let key = run_key("profile ids");
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(["record_id", "profile_id"])?;
    for row in &linked.rows {
        writer.write_record([row.record_id.as_ref(), &profile_id(row.profile, &key)])?;
    }
    writer.flush()
}

/// The text form of a profile's id in this run.
#[must_use]
pub fn profile_id(profile: ProfileOrdinal, key: &[u8; 32]) -> String {
    ProfileId::seal(profile, key).to_string()
}
