//! Stages that fragments tell of, beside those that calls told of: which are entered, which are not, and why.
//!
//! What a fragment says goes with the fragment, so what counts is found by walking what is told today, in order of time
//! (laws 1 and 2). Calls were checked when they were made and always count. What is known first of a record may be any
//! stage: its source has the way there, and a fragment that tells of the present alone tells no way. Each further stage
//! must be a step that the tenant allows. A stage that a later definition leaves out was a stage until then.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Lifecycle, StageId, StageRefused};
use crate::fragment::PartyKind;
use crate::hierarchy::Moment;

/// A stage's name as a fragment gives it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StageWord {
    /// One that the tenant's table has.
    Known(StageId),
    /// One that it has not, yet.
    Other(Box<str>),
}

impl fmt::Debug for StageWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(id) => write!(f, "Known({})", id.0),
            Self::Other(_) => f.write_str("Other(..)"),
        }
    }
}

/// A stage that the live fragment of a record tells of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Told {
    /// When it was reached.
    pub at: Moment,
    /// Which.
    pub stage: StageWord,
}

/// Why a stage that a fragment tells of is not entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotEntered {
    /// The tenant has defined no stages for this kind of party.
    Undefined,
    /// There is no such stage.
    Unknown,
    /// The stage that the record stood at does not lead there.
    Forbidden {
        /// Where it stood.
        from: StageId,
    },
}

/// Where a record stands, and what became of each stage that its fragment tells of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// The stage that was entered last, and since when.
    pub stands: Option<(StageId, Moment)>,
    /// For each told stage, in the order in which they were given: why it was not entered.
    pub refused: Vec<Option<NotEntered>>,
}

impl Lifecycle {
    /// The word for a name.
    #[must_use]
    pub fn word(&self, name: &str) -> StageWord {
        match self.names.iter().position(|known| known == name) {
            Some(at) => StageWord::Known(StageId(at as u16)),
            None => StageWord::Other(name.into()),
        }
    }

    /// What a word says.
    #[must_use]
    pub fn spoken<'a>(&'a self, word: &'a StageWord) -> &'a str {
        match word {
            StageWord::Known(id) => self.name(*id),
            StageWord::Other(name) => name,
        }
    }

    /// Walks what calls and the live fragment tell of one record, in order of time. At one moment what the fragment says
    /// comes first, in the order of the stages, so that a call has the last word. Where it stands only its last call
    /// decides, not those before.
    #[must_use]
    pub fn walk(&self, party: PartyKind, calls: &[(Moment, StageId)], told: &[Told]) -> Walk {
        let stages = &self.of(party).stages;
        // What is left out stands in front of what stood behind it.
        let place = |word: &StageWord| match word {
            StageWord::Known(id) => match stages.iter().position(|stage| stage.id == *id) {
                Some(at) => Some((at as u16, true, 0)),
                None => self.left_out(party, *id).map(|left| (left.place.0, false, left.place.1)),
            },
            StageWord::Other(_) => None,
        };
        let mut order: Vec<usize> = (0..told.len()).collect();
        order.sort_by(|a, b| {
            let key = |at: &usize| (told[*at].at, place(&told[*at].stage));
            key(a).cmp(&key(b)).then_with(|| told[*a].stage.cmp(&told[*b].stage))
        });
        let mut calls = calls.to_vec();
        calls.sort_by_key(|(at, _)| *at);
        let mut calls = calls.into_iter().peekable();
        let mut walk = Walk { stands: None, refused: vec![None; told.len()] };
        for at in order {
            while let Some((moment, stage)) = calls.next_if(|(moment, _)| *moment < told[at].at) {
                walk.stands = Some((stage, moment));
            }
            match self.entered(party, walk.stands.map(|(stage, _)| stage), &told[at]) {
                Ok(stage) => walk.enter(stage, told[at].at),
                Err(why) => walk.refused[at] = Some(why),
            }
        }
        if let Some((moment, stage)) = calls.last() {
            walk.stands = Some((stage, moment));
        }
        walk
    }

    fn entered(&self, party: PartyKind, from: Option<StageId>, told: &Told) -> Result<StageId, NotEntered> {
        let stages = &self.of(party).stages;
        if stages.is_empty() {
            return Err(NotEntered::Undefined);
        }
        let StageWord::Known(wanted) = told.stage else { return Err(NotEntered::Unknown) };
        let left_out = |id| self.left_out(party, id).filter(|left| left.was_there(told.at));
        let gone = left_out(wanted);
        if gone.is_none() && !stages.iter().any(|stage| stage.id == wanted) {
            return Err(NotEntered::Unknown);
        }
        let Some(from) = from.filter(|from| *from != wanted) else { return Ok(wanted) };
        // While a stage was one, its steps were those of then; who stands at one that is gone may go everywhere.
        let leads = match (gone, left_out(from)) {
            (Some(gone), _) => gone.from.contains(&from),
            (None, Some(from)) => from.stage.next.contains(&wanted),
            (None, None) => self.allowed(party, Some(from)).contains(&wanted),
        };
        if leads { Ok(wanted) } else { Err(NotEntered::Forbidden { from }) }
    }

    /// Why a told stage is not entered, in the words in which a call is refused.
    #[must_use]
    pub fn refusal(&self, party: PartyKind, why: NotEntered) -> StageRefused {
        match why {
            NotEntered::Undefined => StageRefused::Undefined(party),
            NotEntered::Unknown => {
                StageRefused::Unknown { known: self.names_of(self.of(party).stages.iter().map(|stage| stage.id)) }
            }
            NotEntered::Forbidden { from } => StageRefused::Forbidden {
                from: Some(self.name(from).to_owned()),
                allowed: self.names_of(self.allowed(party, Some(from)).into_iter()),
            },
        }
    }
}

impl Walk {
    /// Where it stands already it stays, since when it was.
    fn enter(&mut self, stage: StageId, at: Moment) {
        if self.stands.is_none_or(|(stands, _)| stands != stage) {
            self.stands = Some((stage, at));
        }
    }
}
