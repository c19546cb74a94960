//! Stages that a later definition leaves out. Who reached one before stands at it until they move on, whether a call said so
//! or a fragment tells it still; nobody reaches it any more.

use serde::{Deserialize, Serialize};

use super::{Lifecycle, Pipeline, Stage, StageId};
use crate::fragment::PartyKind;
use crate::hierarchy::Moment;

/// A stage that is left out, as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Of which kind of party.
    pub party: PartyKind,
    /// Where it led.
    pub stage: Stage,
    /// The stages that led to it.
    pub from: Vec<StageId>,
    /// How many of the stages before it stayed, and which it was among all of them: its place in the order.
    pub place: (u16, u16),
    /// Since when; none: a release of before did not say.
    pub at: Option<Moment>,
}

impl LeftOut {
    /// Whether whoever reached it at this moment reached it before it was left out.
    #[must_use]
    pub fn was_there(&self, at: Moment) -> bool {
        self.at.is_none_or(|left_out| at < left_out)
    }
}

/// The lifecycle of a tenant is now this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleDefined {
    /// The whole of it.
    pub lifecycle: Lifecycle,
    /// Since when; not said by releases of before.
    pub at: Option<Moment>,
}

impl LifecycleDefined {
    /// Reads what the journal keeps; releases of before kept the lifecycle alone.
    ///
    /// # Errors
    /// [`DecisionError`](crate::decision::DecisionError) for another version or damaged bytes.
    pub fn read(payload: &[u8]) -> Result<Self, crate::decision::DecisionError> {
        crate::decision::decode(payload).or_else(|_| {
            let lifecycle = crate::decision::decode(payload)?;
            Ok(Self { lifecycle, at: None })
        })
    }
}

impl Lifecycle {
    /// This lifecycle in the place of another from a moment on: stages that it has no more are left out since then.
    #[must_use]
    pub fn in_place_of(mut self, before: &Self, at: Option<Moment>) -> Self {
        self.left_out = Vec::new();
        for party in [PartyKind::Person, PartyKind::Organisation] {
            let now = self.of(party);
            let gone = |id: StageId| !now.stages.iter().any(|stage| stage.id == id);
            let earlier = before.left_out.iter().filter(|left| left.party == party && gone(left.stage.id)).cloned();
            let mut left_out: Vec<LeftOut> = earlier.collect();
            left_out.extend(leaves(before.of(party), now).map(|(stage, from, place)| LeftOut {
                party,
                stage: stage.clone(),
                from,
                place,
                at,
            }));
            self.left_out.extend(left_out);
        }
        self
    }

    /// A stage of a kind of party that is left out.
    pub(super) fn left_out(&self, party: PartyKind, stage: StageId) -> Option<&LeftOut> {
        self.left_out.iter().find(|left| left.party == party && left.stage.id == stage)
    }
}

/// The stages of a pipeline that another has not, who led to each, and where each stood.
fn leaves<'a>(
    before: &'a Pipeline,
    now: &'a Pipeline,
) -> impl Iterator<Item = (&'a Stage, Vec<StageId>, (u16, u16))> + 'a {
    let stays = |id: StageId| now.stages.iter().any(|stage| stage.id == id);
    before.stages.iter().enumerate().filter(move |(_, stage)| !stays(stage.id)).map(move |(at, stage)| {
        let from = before.stages.iter().filter(|other| other.next.contains(&stage.id)).map(|other| other.id).collect();
        let stayed = before.stages[..at].iter().filter(|other| stays(other.id)).count();
        (stage, from, (stayed as u16, at as u16))
    })
}
