//! What is wrong with a piece of input: where, and what to do about it; never the input itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One fault of one field. A check reports all of them, not just the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldFault {
    /// Path of the field as the caller wrote it, e.g. `identifiers[2].value`.
    pub path: String,
    /// What kind of fault, for programs: a promise to clients, never renamed.
    pub reason: FaultReason,
    /// What is wrong and how to mend it, for people. Holds no personal data.
    pub message: String,
}

impl FieldFault {
    /// A fault of the field at `path`.
    #[must_use]
    pub fn new(path: impl Into<String>, reason: FaultReason, message: impl Into<String>) -> Self {
        Self { path: path.into(), reason, message: message.into() }
    }
}

impl fmt::Display for FieldFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The kinds of fault. The names on the wire are these in `UPPER_SNAKE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FaultReason {
    /// A required field is absent or empty.
    Missing,
    /// Longer, or more of them, than the limit named in the message.
    TooLarge,
    /// Not of the shape that the field asks for.
    Malformed,
    /// Names a source, namespace or attribute that does not exist.
    Unknown,
    /// Well formed, and the source's contract forbids it.
    ContractBroken,
    /// A time too far ahead of the server's clock.
    InTheFuture,
    /// The same thing twice where once is allowed.
    Repeated,
    /// About what was erased, and is not kept.
    Erased,
    /// What was kept cannot be read any more.
    Damaged,
}

impl FaultReason {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "MISSING",
            Self::TooLarge => "TOO_LARGE",
            Self::Malformed => "MALFORMED",
            Self::Unknown => "UNKNOWN",
            Self::ContractBroken => "CONTRACT_BROKEN",
            Self::InTheFuture => "IN_THE_FUTURE",
            Self::Repeated => "REPEATED",
            Self::Erased => "ERASED",
            Self::Damaged => "DAMAGED",
        }
    }
}
