//! Rows to a server: read and shape ([`rows`]), stream with a bounded window ([`stream`]), count ([`tally`]).

pub mod rows;
pub mod stream;
pub mod tally;

use onefold_proto::v1 as pb;

use crate::command::Failure;

/// Rows that may wait between reader and stream.
pub const ROWS_WAITING_MAX: usize = 1_024;

/// One step of the reader.
pub enum Row {
    /// What follows needs this source.
    Source(String),
    /// A fragment or a retraction.
    Send(Box<Sending>),
    /// A row that could not be read.
    Refused {
        /// Where.
        at: At,
        /// Why; no personal data.
        reason: String,
    },
    /// Reading cannot go on.
    Failed(Failure),
}

/// Where a row was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Index of the file.
    pub file: u16,
    /// First line of the row in it.
    pub line: u64,
}

/// A row on its way.
pub struct Sending {
    /// Where it was read.
    pub at: At,
    /// What to do.
    pub action: pb::stream_fragments_request::Action,
}
