//! What a backup must not forget: the words by which people said no, as they are kept outside of every backup.
//!
//! A [`Stop`] holds keyed digests, numbers and the names of purposes and channels; no value of a person. A restore says
//! again what its backup does not know of them, so that nobody is contacted who said no since.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::consent::left::Version;
use crate::consent::{Decision, Jurisdiction};
use crate::decision::{self, DecisionError};
use crate::fragment::ObservedAt;
use crate::ids::{Digest128, Sequence};

/// One statement that stops or holds a use, or ends such a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The points at which it stands.
    pub points: Vec<Digest128>,
    /// The other records of those whom it was about when it was written down, and the identifiers that were theirs alone:
    /// where they are not together with its points after a restore, it is heard there too.
    pub heard_at: Vec<Digest128>,
    /// It is about an identifier.
    pub by_identifier: bool,
    /// The name of the purpose; none: every purpose.
    pub purpose: Option<String>,
    /// The name of the channel; none: every channel.
    pub channel: Option<String>,
    /// What was said.
    pub decision: Decision,
    /// When the person said it.
    pub given_at: ObservedAt,
    /// When it came here.
    pub recorded_at: ObservedAt,
    /// Under whose law.
    pub jurisdiction: Option<Jurisdiction>,
    /// The restriction that it ends, if it was made for one.
    pub ends: Option<Sequence>,
    /// It is a restriction that a person's request brought: nothing but its own end ends it.
    pub upon_request: bool,
}

impl Stop {
    /// Without what was erased; `None` when it stands nowhere else.
    #[must_use]
    pub fn without(mut self, erased: impl Fn(&Digest128) -> bool) -> Option<Self> {
        self.points.retain(|point| !erased(point));
        self.heard_at.retain(|point| !erased(point));
        (!self.points.is_empty()).then_some(self)
    }

    /// Of where it is heard too what these points, which its own stand together with now, do not reach.
    #[must_use]
    pub fn out_of_reach(&self, together: &HashSet<Digest128>) -> Vec<Digest128> {
        self.heard_at.iter().filter(|point| !together.contains(point)).copied().collect()
    }
}

/// Statements at a point are heard at others too, until something new is told of the point: a restore brought back less
/// of the person than there was when they said no, or a fragment of the record was never taken in. Holds keyed digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandsOn {
    /// The record, or the identifier.
    pub point: Digest128,
    /// Records and identifiers.
    pub heard_at: Vec<Digest128>,
    /// The version of the record that would have brought them, and was never taken in: only what is newer ends it. Not in what was
    /// written before this was kept.
    pub of: Option<Version>,
}

impl StandsOn {
    /// Reads what the journal keeps.
    ///
    /// # Errors
    /// [`DecisionError`] for what is none.
    pub fn read(payload: &[u8]) -> Result<Self, DecisionError> {
        decision::decode(payload).or_else(|_| decision::decode(&[payload, &[0]].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> Digest128 {
        Digest128([number; 16])
    }

    fn stop(points: &[u8], heard_at: &[u8]) -> Stop {
        Stop {
            points: points.iter().copied().map(digest).collect(),
            heard_at: heard_at.iter().copied().map(digest).collect(),
            by_identifier: false,
            purpose: Some("marketing".to_owned()),
            channel: None,
            decision: Decision::Withdrawn,
            given_at: ObservedAt(1),
            recorded_at: ObservedAt(2),
            jurisdiction: None,
            ends: None,
            upon_request: false,
        }
    }

    #[test]
    fn an_erasure_takes_its_points_out_and_what_stands_nowhere_else_goes() {
        let erased = |point: &Digest128| [digest(1), digest(5)].contains(point);
        assert_eq!(stop(&[1, 2], &[5, 6]).without(erased), Some(stop(&[2], &[6])));
        assert_eq!(stop(&[1], &[6]).without(erased), None);
    }

    #[test]
    fn what_was_written_before_versions_were_kept_is_read() {
        #[derive(Serialize)]
        struct Before {
            point: Digest128,
            heard_at: Vec<Digest128>,
        }
        let before = decision::encode(&Before { point: digest(1), heard_at: vec![digest(2), digest(3)] });
        let plain = StandsOn { point: digest(1), heard_at: vec![digest(2), digest(3)], of: None };
        assert_eq!(StandsOn::read(&before), Ok(plain.clone()));
        for stands in [StandsOn { of: Some((ObservedAt(7), digest(4))), ..plain.clone() }, plain] {
            let payload = decision::encode(&stands);
            assert_eq!(StandsOn::read(&payload), Ok(stands));
        }
        assert!(StandsOn::read(&before[..before.len() - 2]).is_err());
    }

    #[test]
    fn what_stands_together_again_needs_no_hearing_elsewhere() {
        let together = HashSet::from([digest(1), digest(6)]);
        assert_eq!(stop(&[1], &[6, 7]).out_of_reach(&together), [digest(7)]);
    }
}
