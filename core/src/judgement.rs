//! What a steward says of two source records. It outranks evidence, holds whatever their fragments say from now on, and is
//! kept with who said it and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fragment::ObservedAt;
use crate::ids::Digest128;

/// Bytes of a steward's name at most.
pub const AUTHOR_BYTES_MAX: usize = 256;
/// Bytes of a reason at most.
pub const REASON_BYTES_MAX: usize = 2_048;

/// What is said of two source records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// One party.
    Same,
    /// Two.
    Different,
    /// Cannot be told: it joins and parts nobody, and is not asked again.
    Unsure,
}

/// A judgement as the journal keeps it, sealed under a key of its own: a reason may speak of the person.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Keyed digests of the two records, the smaller first.
    pub records: (Digest128, Digest128),
    /// What was said.
    pub verdict: Verdict,
    /// The match weight that the steward saw, in bits.
    pub seen_bits: Option<f32>,
    /// Who said it.
    pub author: String,
    /// Why, in words.
    pub reason: String,
    /// When it was said, microseconds since 1970.
    pub judged_at: ObservedAt,
    /// When it ends; `None` for never.
    pub expires_at: Option<ObservedAt>,
}

impl fmt::Debug for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Judged({:?}, ..)", self.verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judgement_does_not_show_its_words() {
        let judged = Judged {
            records: (Digest128([1; 16]), Digest128([2; 16])),
            verdict: Verdict::Same,
            seen_bits: Some(1.5),
            author: "canary".to_owned(),
            reason: "canary".to_owned(),
            judged_at: ObservedAt(1),
            expires_at: None,
        };
        assert_eq!(format!("{judged:?}"), "Judged(Same, ..)");
    }
}
